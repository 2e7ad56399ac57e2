//! How fast bytes may go: a schedule without bursts. Pure; time comes in as an argument.

use std::time::Duration;

use crate::limits;

/// How far behind its schedule a sender may catch up: longer than a late wake-up, far shorter than a visible burst.
const CATCH_UP: Duration = Duration::from_millis(100);
/// A piece takes this long at the most, so that a slow rate is smooth and a stop is quick.
const PIECE: Duration = Duration::from_millis(50);

/// A rate, and until when it is used up. (The "virtual scheduling" form of the leaky bucket: ITU-T I.371, annex A.)
#[derive(Debug, Clone)]
pub struct Pace {
    rate: u64,
    free_at: Duration,
}

impl Pace {
    /// A pace of `rate` bytes a second (at least 1).
    pub fn new(rate: u64) -> Pace {
        Pace { rate: rate.max(1), free_at: Duration::ZERO }
    }

    /// Books `bytes` at `now` (since any fixed moment) and says how long to wait before they may go.
    pub fn book(&mut self, now: Duration, bytes: usize) -> Duration {
        let start = self.free_at.max(now.saturating_sub(CATCH_UP));
        self.free_at = start + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        start.saturating_sub(now)
    }
}

/// The chunk to use at `rate` bytes a second: at most `chunk`, and what goes in 50 ms.
pub fn chunk_for(rate: Option<u64>, chunk: usize) -> usize {
    let Some(rate) = rate else { return chunk };
    let piece = (rate as f64 * PIECE.as_secs_f64()) as usize;
    piece.clamp(limits::MIN_CHUNK_BYTES, chunk.max(limits::MIN_CHUNK_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends for ten seconds, each wake-up late by `late`; returns the bytes and the most in any 200 ms.
    fn ten_seconds(rate: u64, late: Duration) -> (u64, u64) {
        let mut pace = Pace::new(rate);
        let chunk = chunk_for(Some(rate), 256 << 10);
        let (mut now, mut sent) = (Duration::ZERO, Vec::new());
        loop {
            let wait = pace.book(now, chunk);
            if !wait.is_zero() {
                now += wait + late;
            }
            if now >= Duration::from_secs(10) {
                break;
            }
            sent.push((now, chunk as u64));
        }
        let window = |from: Duration| {
            let until = from + Duration::from_millis(200);
            sent.iter().filter(|(at, _)| (from..until).contains(at)).map(|(_, bytes)| bytes).sum::<u64>()
        };
        (sent.iter().map(|(_, bytes)| bytes).sum(), sent.iter().map(|(at, _)| window(*at)).max().unwrap())
    }

    #[test]
    fn within_three_percent_and_smooth() {
        for rate in [20_000, 1_000_000, 50_000_000] {
            for late in [Duration::ZERO, Duration::from_millis(3), Duration::from_millis(20)] {
                let (bytes, most) = ten_seconds(rate, late);
                let ratio = bytes as f64 / (10 * rate) as f64;
                assert!((0.97..=1.03).contains(&ratio), "{rate} {late:?}: {ratio}");
                assert!(most as f64 <= 0.2 * rate as f64 * 2.0, "{rate} {late:?}: {most} bytes in 200 ms");
            }
        }
    }

    #[test]
    fn a_pause_is_not_saved_up() {
        let mut pace = Pace::new(1000);
        assert_eq!(pace.book(Duration::ZERO, 500), Duration::ZERO);
        let later = Duration::from_secs(100);
        let at_once = (0..10).take_while(|_| pace.book(later, 100).is_zero()).count();
        assert!(at_once <= 2, "{at_once} pieces of a tenth of a second went at once");
    }

    #[test]
    fn chunks() {
        assert_eq!(chunk_for(None, 65536), 65536);
        assert_eq!(chunk_for(Some(100_000), 65536), 5000);
        assert_eq!(chunk_for(Some(1), 65536), 1024);
        assert_eq!(chunk_for(Some(u64::MAX), 65536), 65536);
    }
}
