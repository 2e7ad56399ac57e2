//! How long the answer to a wrong key is held back, by where it comes from. Pure: the time comes in as an argument.
//!
//! Only a wrong key waits. A right one from the same address never does: a whole shop, or a whole office, may be behind
//! one address. Failures are forgotten one by one, so that an agent with an old key in a shop costs the others nothing,
//! and itself little.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits;
use crate::network::network;

/// Failures, by address.
#[derive(Debug)]
pub struct Failures {
    known: HashMap<IpAddr, Count>,
    /// Of all addresses for which there was no room.
    others: Count,
    swept: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    /// When the last of them was forgotten, or the first came.
    since: Instant,
}

impl Failures {
    /// None yet.
    pub fn new(now: Instant) -> Failures {
        Failures { known: HashMap::new(), others: Count { failures: 0, since: now }, swept: now }
    }

    /// A key from this address was wrong; returns how long its answer is to be held back.
    pub fn note(&mut self, from: IpAddr, now: Instant) -> Duration {
        let source = network(from);
        let is_full = self.known.len() >= limits::MAX_FAILING_ADDRESSES && !self.known.contains_key(&source);
        if is_full && now.saturating_duration_since(self.swept) >= limits::FAILURE_FORGOTTEN {
            self.swept = now;
            self.known.retain(|_, count| count.at(now) > 0);
        }
        let count = match self.known.len() < limits::MAX_FAILING_ADDRESSES || self.known.contains_key(&source)
        {
            true => self.known.entry(source).or_insert(Count { failures: 0, since: now }),
            false => &mut self.others,
        };
        count.at(now);
        count.failures = (count.failures + 1).min(limits::MAX_COUNTED_FAILURES);
        pause(count.failures)
    }
}

impl Count {
    /// How many there are by now.
    fn at(&mut self, now: Instant) -> u32 {
        let step = limits::FAILURE_FORGOTTEN;
        let steps = now.saturating_duration_since(self.since).as_millis() / step.as_millis();
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        if steps >= self.failures {
            *self = Count { failures: 0, since: now };
        } else {
            self.failures -= steps;
            self.since += step * steps;
        }
        self.failures
    }
}

/// The first few cost nothing: anybody mistypes. Then each doubles it.
fn pause(failures: u32) -> Duration {
    let paid = failures.saturating_sub(limits::FREE_FAILURES);
    match paid.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => (limits::FIRST_HOLD * 2_u32.pow(doublings.min(16))).min(limits::MAX_HOLD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_failure_costs_more_each_time_and_is_forgotten() {
        let start = Instant::now();
        let mut failures = Failures::new(start);
        let address = ip("192.0.2.1");
        let holds: Vec<u128> = (0..12).map(|_| failures.note(address, start).as_millis()).collect();
        assert_eq!(holds, [0, 0, 0, 100, 200, 400, 800, 1600, 3000, 3000, 3000, 3000]);
        assert_eq!(failures.note(ip("192.0.2.2"), start), Duration::ZERO, "another address");

        let mut failures = Failures::new(start);
        for _ in 0..100 {
            failures.note(address, start);
        }
        let soon = start + limits::FAILURE_FORGOTTEN;
        assert_eq!(failures.note(address, soon), limits::MAX_HOLD);
        let later = start + limits::FAILURE_FORGOTTEN * limits::MAX_COUNTED_FAILURES;
        assert_eq!(failures.note(address, later), Duration::ZERO, "a few minutes later");
        // One that comes as rarely as they are forgotten never waits: an agent that tries again once a minute.
        let mut failures = Failures::new(start);
        for n in 0..50 {
            assert_eq!(failures.note(address, start + limits::FAILURE_FORGOTTEN * n), Duration::ZERO);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let start = Instant::now();
        let mut failures = Failures::new(start);
        for n in 1..=3 {
            assert_eq!(failures.note(ip(&format!("2001:db8:1:2::{n}")), start), Duration::ZERO);
        }
        assert_eq!(failures.note(ip("2001:db8:1:2:ffff::1"), start), limits::FIRST_HOLD);
        assert_eq!(failures.note(ip("2001:db8:1:3::1"), start), Duration::ZERO);
        for _ in 0..4 {
            failures.note(ip("192.0.2.1"), start);
        }
        assert_eq!(failures.note(ip("::ffff:192.0.2.1"), start), limits::FIRST_HOLD * 2, "the same");
    }

    #[test]
    fn the_table_has_a_bound_and_strangers_share_what_is_left() {
        let start = Instant::now();
        let mut failures = Failures::new(start);
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..limits::MAX_FAILING_ADDRESSES as u32 {
            assert_eq!(failures.note(address(n), start), Duration::ZERO);
        }
        let beyond: Vec<Duration> = (0..5).map(|n| failures.note(address(u32::MAX - n), start)).collect();
        assert_eq!(beyond[3..], [limits::FIRST_HOLD, limits::FIRST_HOLD * 2]);
        assert_eq!(failures.known.len(), limits::MAX_FAILING_ADDRESSES);
        // When the others are forgotten there is room again.
        let later = start + limits::FAILURE_FORGOTTEN * 2;
        assert_eq!(failures.note(address(u32::MAX), later), Duration::ZERO);
        assert_eq!(failures.known.len(), 1);
    }
}
