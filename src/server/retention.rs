//! Old downloads, where `KEEP_DOWNLOADS_DAYS` is set. Records are the hub's matter.

use std::thread;
use std::time::{Duration, SystemTime};

use super::Server;
use crate::limits;

impl Server {
    /// Removes downloads that are older than so many days, now and then every hour.
    pub(super) fn keep_downloads(&self, days: u32) -> ! {
        let age = Duration::from_secs(u64::from(days) * 24 * 3600);
        loop {
            if let Some(before) = SystemTime::now().checked_sub(age) {
                self.spool.remove_downloads(before);
            }
            thread::sleep(limits::RETENTION_PAUSE);
        }
    }
}
