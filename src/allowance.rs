//! What may leave an agent: so many pulls an hour, so many bytes a day. Pure; time comes in as an argument.
//!
//! - A pull counts when its file has been opened. Another attempt at it, by the same transfer at the same file, does not
//!   count again within the hour, unless that file has been sent whole meanwhile: a server can't have many files, nor one
//!   file many times, under one id.
//! - The hour slides exactly: each pull that counts is remembered until it is over. The day slides in steps: bytes are
//!   remembered by the five minutes in which they went, and count until the last of those is a day ago. So never more than
//!   the limit leaves in any 24 hours.
//! - Memory does not depend on what a server asks: a pull that is refused leaves nothing behind.
//!
//! All of it is forgotten when the agent is started again: it keeps nothing on the disk, and needs no right to write.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::hash::Hasher;
use crate::names::{FileKey, RequestId, Sha256Hash};

const HOUR: Duration = Duration::from_secs(3600);
const STEP: Duration = Duration::from_secs(300);
const STEPS_A_DAY: u64 = 24 * 3600 / STEP.as_secs();

/// One transfer's pull of one file, by hash, so that it is small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pull(Sha256Hash);

impl Pull {
    /// The pull of `key` by the transfer `id`.
    pub fn new(id: RequestId, key: Option<&FileKey>) -> Pull {
        let mut hasher = Hasher::default();
        hasher.update(id.to_string().as_bytes()); // of a fixed length
        hasher.update(&[key.is_some().into()]);
        hasher.update(key.map_or("", FileKey::as_str).as_bytes());
        Pull(hasher.hash())
    }
}

/// A limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// As many pulls as may be in an hour.
    Pulls {
        /// How many that is.
        most: usize,
        /// When there is room for another one.
        wait: Duration,
    },
    /// As many bytes as may leave in a day.
    Bytes {
        /// How many that is.
        most: u64,
        /// When there is room for what was to leave; never, where that alone is more.
        wait: Option<Duration>,
    },
}

/// What is left of both limits.
#[derive(Debug, Default)]
pub struct Allowance {
    pulls: Option<Pulls>,
    bytes: Option<Bytes>,
}

#[derive(Debug)]
struct Pulls {
    most: usize,
    /// Those of the last hour, the oldest first.
    counted: VecDeque<(Duration, Pull)>,
    /// Those of them whose file has not been sent whole yet.
    open: HashMap<Pull, Duration>,
}

#[derive(Debug)]
struct Bytes {
    most: u64,
    /// By step, the oldest first; never more than a day and a step.
    steps: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Allowance {
    /// Limits of so many pulls an hour and so many bytes a day, where they are set.
    pub fn new(pulls_an_hour: Option<usize>, bytes_a_day: Option<u64>) -> Allowance {
        Allowance {
            pulls: pulls_an_hour.map(|most| Pulls { most, counted: VecDeque::new(), open: HashMap::new() }),
            bytes: bytes_a_day.map(|most| Bytes { most, steps: VecDeque::new(), sum: 0 }),
        }
    }

    /// A pull begins at `now` (since any fixed moment), of which `bytes` will surely leave.
    ///
    /// # Errors
    /// With the limit that it meets; it does not count then.
    pub fn begin(&mut self, now: Duration, pull: Pull, bytes: u64) -> Result<(), Spent> {
        if let Some(limit) = &mut self.bytes {
            limit.room_for(now, bytes)?;
        }
        self.pulls.as_mut().map_or(Ok(()), |limit| limit.count(now, pull))
    }

    /// The file of this pull has been sent whole: whoever wants it again pulls it again.
    pub fn sent_whole(&mut self, pull: Pull) {
        if let Some(limit) = &mut self.pulls {
            limit.open.remove(&pull);
        }
    }

    /// So many bytes of a file leave at `now`.
    ///
    /// # Errors
    /// When the day's are used up; they may not leave then.
    pub fn leave(&mut self, now: Duration, bytes: u64) -> Result<(), Spent> {
        let Some(limit) = &mut self.bytes else { return Ok(()) };
        limit.room_for(now, bytes)?;
        limit.count(now, bytes);
        Ok(())
    }
}

impl Pulls {
    fn count(&mut self, now: Duration, pull: Pull) -> Result<(), Spent> {
        while let Some((at, old)) = self.counted.front().copied().filter(|(at, _)| now >= *at + HOUR) {
            self.counted.pop_front();
            if self.open.get(&old) == Some(&at) {
                self.open.remove(&old);
            }
        }
        if self.open.contains_key(&pull) {
            return Ok(());
        }
        if self.counted.len() >= self.most {
            let frees = self.counted.front().map_or(now, |(at, _)| *at + HOUR);
            return Err(Spent::Pulls { most: self.most, wait: frees.saturating_sub(now) });
        }
        self.counted.push_back((now, pull));
        self.open.insert(pull, now);
        Ok(())
    }
}

impl Bytes {
    fn room_for(&mut self, now: Duration, bytes: u64) -> Result<(), Spent> {
        let step = step_of(now);
        while let Some((_, old)) = self.steps.front().filter(|(at, _)| step > at + STEPS_A_DAY) {
            self.sum -= old;
            self.steps.pop_front();
        }
        let mut over = self.sum.saturating_add(bytes).saturating_sub(self.most);
        if over == 0 {
            return Ok(());
        }
        let frees = self.steps.iter().find(|(_, old)| {
            over = over.saturating_sub(*old);
            over == 0
        });
        let wait = frees.map(|(at, _)| (STEP * (at + STEPS_A_DAY + 1) as u32).saturating_sub(now));
        Err(Spent::Bytes { most: self.most, wait })
    }

    fn count(&mut self, now: Duration, bytes: u64) {
        self.sum += bytes; // there is room for them, so this is at most `most`
        match self.steps.back_mut() {
            Some((at, sum)) if *at == step_of(now) => *sum += bytes,
            _ => self.steps.push_back((step_of(now), bytes)),
        }
    }
}

fn step_of(now: Duration) -> u64 {
    now.as_secs() / STEP.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pull(number: u8, key: &str) -> Pull {
        Pull::new(RequestId::from_random([number; 16]), Some(&key.parse().unwrap()))
    }

    #[test]
    fn without_limits_nothing_counts() {
        let mut all = Allowance::new(None, None);
        for number in 0..100 {
            assert_eq!(all.begin(at(0), pull(number, "a"), u64::MAX), Ok(()));
            assert_eq!(all.leave(at(0), u64::MAX), Ok(()));
        }
    }

    #[test]
    fn the_hour_slides() {
        let mut all = Allowance::new(Some(2), None);
        let spent = |wait| Err(Spent::Pulls { most: 2, wait: at(wait) });
        assert_eq!(all.begin(at(0), pull(1, "a"), 0), Ok(()));
        assert_eq!(all.begin(at(600), pull(2, "a"), 0), Ok(()));
        assert_eq!(all.begin(at(601), pull(3, "a"), 0), spent(2999));
        assert_eq!(all.begin(at(3599), pull(3, "a"), 0), spent(1));
        assert_eq!(all.begin(at(3600), pull(3, "a"), 0), Ok(()));
        assert_eq!(all.begin(at(3600), pull(4, "a"), 0), spent(600));
        assert_eq!(all.begin(at(100_000), pull(4, "a"), 0), Ok(()));
    }

    #[test]
    fn another_attempt_at_a_pull_is_no_other_pull() {
        let mut all = Allowance::new(Some(1), None);
        for second in 0..100 {
            assert_eq!(all.begin(at(second), pull(1, "a"), 0), Ok(()), "an attempt that came to nothing");
        }
        // Under the same id, but another file; the same file, but sent whole before.
        assert!(all.begin(at(100), pull(1, "b"), 0).is_err());
        assert!(all.begin(at(100), Pull::new(RequestId::from_random([1; 16]), None), 0).is_err());
        all.sent_whole(pull(1, "a"));
        assert!(all.begin(at(100), pull(1, "a"), 0).is_err());
        // What was sent whole and is pulled again in the next hour is open then, whatever the old entry's end.
        assert_eq!(all.begin(at(3600), pull(1, "a"), 0), Ok(()));
        assert_eq!(all.begin(at(3601), pull(1, "a"), 0), Ok(()));
    }

    #[test]
    fn an_attempt_after_the_hour_is_a_pull_of_that_hour() {
        let mut all = Allowance::new(Some(1), None);
        assert_eq!(all.begin(at(0), pull(1, "a"), 0), Ok(()));
        assert_eq!(all.begin(at(3600), pull(2, "a"), 0), Ok(()));
        assert!(all.begin(at(3601), pull(1, "a"), 0).is_err());
    }

    #[test]
    fn the_day_slides_and_never_gives_more_than_its_limit() {
        let mut all = Allowance::new(None, Some(1000));
        let day = 24 * 3600;
        assert_eq!(all.leave(at(10), 600), Ok(()));
        assert_eq!(all.leave(at(299), 100), Ok(()));
        assert_eq!(all.leave(at(3000), 300), Ok(()));
        let spent = |wait| Err(Spent::Bytes { most: 1000, wait });
        // Those of the first five minutes count until the last of them is a day old.
        assert_eq!(all.leave(at(3000), 1), spent(Some(at(day + 300 - 3000))));
        assert_eq!(all.leave(at(3000), 701), spent(Some(at(day + 3300 - 3000))));
        assert_eq!(all.leave(at(3000), 1001), spent(None));
        assert_eq!(all.leave(at(day + 299), 1), spent(Some(at(1))));
        assert_eq!(all.leave(at(day + 300), 701), spent(Some(at(3000))));
        assert_eq!(all.leave(at(day + 300), 700), Ok(()));
        assert_eq!(all.leave(at(day + 300), 0), Ok(()));
        assert_eq!(all.leave(at(day + 3299), 1), spent(Some(at(1))));
        assert_eq!(all.leave(at(day + 3300), 300), Ok(()));
    }

    #[test]
    fn a_file_that_does_not_fit_is_not_begun_and_does_not_count() {
        let mut all = Allowance::new(Some(1), Some(1000));
        assert_eq!(all.begin(at(0), pull(1, "a"), 1001), Err(Spent::Bytes { most: 1000, wait: None }));
        assert_eq!(all.begin(at(0), pull(2, "a"), 1000), Ok(()));
        assert_eq!(all.leave(at(0), 1000), Ok(()));
        assert!(matches!(all.begin(at(1), pull(2, "a"), 1), Err(Spent::Bytes { wait: Some(_), .. })));
    }

    #[test]
    fn memory_is_bounded_by_the_limits() {
        let mut all = Allowance::new(Some(50), Some(u64::MAX));
        for second in 0..400_000_u64 {
            let id = RequestId::from_random(u128::from(second).to_be_bytes());
            let began = all.begin(at(second), Pull::new(id, None), 0);
            assert!(began.is_ok() || second % 3600 >= 50);
            assert_eq!(all.leave(at(second), 1 << 40), Ok(()));
        }
        let (pulls, bytes) = (all.pulls.unwrap(), all.bytes.unwrap());
        assert!(pulls.counted.len() <= 50 && pulls.open.len() <= 50);
        assert!(bytes.steps.len() as u64 <= STEPS_A_DAY + 1);
        assert_eq!(bytes.sum, bytes.steps.iter().map(|(_, sum)| sum).sum::<u64>());
    }
}
