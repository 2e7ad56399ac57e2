//! Removes downloads by age: regular files right in `UPLOAD_DIR` with the name of a download, and nothing else that may
//! lie there. No link is followed, no folder entered.

use std::fs;
use std::time::SystemTime;

use super::Spool;
use super::error::{Doing, at};
use crate::names::is_download_name;

impl Spool {
    /// Removes every download that was last written before `before`. What can't be removed is logged and stays; whoever
    /// has one open reads on.
    pub fn remove_downloads(&self, before: SystemTime) {
        let upload_dir = self.home.upload_dir();
        let read = || fs::read_dir(upload_dir).map_err(at(Doing::Read, upload_dir));
        let entries = match self.home.check().and_then(|()| read()) {
            Ok(entries) => entries,
            Err(error) => return log::warn!("{error}"),
        };
        for entry in entries.flatten() {
            if !entry.file_name().to_str().is_some_and(is_download_name) {
                continue;
            }
            let path = entry.path();
            // Of the entry itself, should it be a link.
            let written =
                entry.metadata().and_then(|metadata| Ok((metadata.is_file(), metadata.modified()?)));
            let removed = match written {
                Ok((true, at)) if at < before => fs::remove_file(&path),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            match removed {
                Ok(()) => log::info!("removed {}: KEEP_DOWNLOADS_DAYS", path.display()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {} // somebody else was faster
                Err(error) => log::warn!("{}", at(Doing::Remove, &path)(error)),
            }
        }
    }
}
