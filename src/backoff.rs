//! How long an agent waits before it dials again: exponential, with full jitter. Pure; randomness comes in.
//!
//! (Full jitter: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. A fleet that lost its server comes
//! back spread over the whole window instead of in waves.)

use std::time::Duration;

use crate::limits;

/// Counts the dials in a row that came to nothing.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next pause; `random` is uniform over all of `u32`.
    ///
    /// The window doubles from 1 s to 60 s; the pause lies anywhere in it, but not under a tenth of a second.
    pub fn pause(&mut self, random: u32) -> Duration {
        let window = limits::BACKOFF_FIRST * 2u32.saturating_pow(self.failures.min(16));
        self.failures += 1;
        let fraction = f64::from(random) / f64::from(u32::MAX);
        window.min(limits::BACKOFF_MOST).mul_f64(fraction).max(limits::BACKOFF_FIRST / 10)
    }

    /// The line made progress or was healthy for a minute: begin again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_a_minute_and_begins_again() {
        let mut backoff = Backoff::default();
        let seconds: Vec<u64> = (0..8).map(|_| backoff.pause(u32::MAX).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        for _ in 0..1000 {
            assert_eq!(backoff.pause(u32::MAX).as_secs(), 60);
        }
        backoff.reset();
        assert_eq!(backoff.pause(u32::MAX / 2).as_millis(), 500);
        assert_eq!(backoff.pause(0).as_millis(), 100);
    }
}
