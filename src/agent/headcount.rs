//! How many of a process's agents have a line, for `towline swarm`.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::lock::lock;

/// Told of each line that is there and each that is gone; tells when all are there.
pub struct Headcount {
    all: usize,
    tell: fn(usize, Duration),
    count: Mutex<Count>,
}

struct Count {
    here: usize,
    /// Since when some are missing.
    since: Instant,
}

impl Headcount {
    /// Of so many agents, which are being started. `tell` gets their number, and the time in which some were missing.
    pub fn new(all: usize, tell: fn(usize, Duration)) -> Headcount {
        Headcount { all, tell, count: Mutex::new(Count { here: 0, since: Instant::now() }) }
    }

    pub(super) fn came(&self) {
        let mut count = self.lock();
        count.here += 1;
        if count.here == self.all {
            (self.tell)(self.all, count.since.elapsed()); // locked: one line after the other
        }
    }

    pub(super) fn went(&self) {
        let mut count = self.lock();
        if count.here == self.all {
            count.since = Instant::now();
        }
        count.here -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        lock(&self.count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[test]
    fn tells_each_time_when_the_last_one_has_come() {
        static TOLD: AtomicUsize = AtomicUsize::new(0);
        let headcount = Headcount::new(3, |all, _| {
            assert_eq!(all, 3);
            TOLD.fetch_add(1, Relaxed);
        });
        let told = || TOLD.load(Relaxed);
        headcount.came();
        headcount.came();
        assert_eq!(told(), 0);
        headcount.came();
        assert_eq!(told(), 1);
        headcount.went();
        headcount.went();
        headcount.came();
        assert_eq!(told(), 1);
        headcount.came();
        assert_eq!(told(), 2);
    }
}
