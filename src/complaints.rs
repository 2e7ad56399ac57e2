//! Warnings about what a stranger may cause thousands of times a second: all of it is counted, little of it is logged.

use std::fmt::Display;
use std::sync::Mutex;
use std::time::Instant;

use crate::limits;
use crate::lock::lock;

/// Complaints of one kind: at most [`limits::COMPLAINTS_AT_ONCE`] lines in each [`limits::COMPLAINT_PAUSE`]. The first
/// line after that says how many were left out.
#[derive(Debug)]
pub struct Complaints(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the first of these lines was written.
    since: Option<Instant>,
    lines: u32,
    unsaid: u64,
    total: u64,
}

impl Complaints {
    /// None yet.
    pub const fn new() -> Complaints {
        Complaints(Mutex::new(State { since: None, lines: 0, unsaid: 0, total: 0 }))
    }

    /// Counts one, and logs it as a warning if that is not too much.
    pub fn about(&self, what: impl Display) {
        match self.count(Instant::now()) {
            None => {}
            Some((0, _)) => log::warn!("{what}"),
            Some((unsaid, total)) => {
                log::warn!("{what} ({unsaid} more warnings of this kind since the last, {total} in all)");
            }
        }
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        lock(&self.0).total
    }

    /// Whether this one is to be said; if so, how many were not said before it, and how many there were with it.
    fn count(&self, now: Instant) -> Option<(u64, u64)> {
        let mut state = lock(&self.0);
        state.total += 1;
        if state.since.is_none_or(|since| now.saturating_duration_since(since) >= limits::COMPLAINT_PAUSE) {
            (state.since, state.lines) = (Some(now), 0);
        }
        if state.lines == limits::COMPLAINTS_AT_ONCE {
            state.unsaid += 1;
            return None;
        }
        state.lines += 1;
        Some((std::mem::take(&mut state.unsaid), state.total))
    }
}

impl Default for Complaints {
    fn default() -> Complaints {
        Complaints::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_hardly_said() {
        let (complaints, begun) = (Complaints::new(), Instant::now());
        let said = |times: usize, at| {
            (0..times).filter_map(|_| complaints.count(at).map(|(unsaid, _)| unsaid)).collect::<Vec<_>>()
        };
        let few = limits::COMPLAINTS_AT_ONCE as usize;
        assert_eq!(said(10_000, begun), vec![0; few]);
        assert!(said(10, begun + limits::COMPLAINT_PAUSE / 2).is_empty());
        let later = begun + limits::COMPLAINT_PAUSE;
        assert_eq!(said(1, later), [10_010 - few as u64], "what was not said is told at the next occasion");
        assert_eq!(said(10_000, later), vec![0; few - 1]);
        assert_eq!(complaints.total(), 20_011);
    }
}
