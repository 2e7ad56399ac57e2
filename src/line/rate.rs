//! How often something comes.

use std::time::{Duration, Instant};

/// Counts what comes in one span of time after the other.
#[derive(Debug)]
pub struct Rate {
    since: Instant,
    count: u32,
}

impl Rate {
    /// Nothing has come yet.
    pub fn new() -> Rate {
        Rate { since: Instant::now(), count: 0 }
    }

    /// Counts one more. Whether there were more than `most` in this `span`.
    pub fn exceeds(&mut self, most: u32, span: Duration) -> bool {
        self.exceeds_at(most, span, Instant::now())
    }

    fn exceeds_at(&mut self, most: u32, span: Duration, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) > span {
            *self = Rate { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count > most
    }
}

impl Default for Rate {
    fn default() -> Rate {
        Rate::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_are_allowed_in_each_span() {
        let (mut rate, span) = (Rate::new(), Duration::from_secs(1));
        let begun = Instant::now();
        for seconds in [0, 2, 4] {
            let now = begun + Duration::from_secs(seconds);
            assert!((0..100).all(|_| !rate.exceeds_at(100, span, now)));
            assert!(rate.exceeds_at(100, span, now));
        }
    }
}
