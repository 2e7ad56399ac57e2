//! Lines that are not in the file yet: most often one, for as long as it takes to write it. Pure.

use std::collections::VecDeque;

use serde::Serialize;

use super::line;
use crate::limits;

/// What waits, oldest first, within a bound.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: VecDeque<(u64, String)>,
    bytes: usize,
    /// The time of the first that was dropped, and how many were.
    lost: Option<(u64, u64)>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "lines_lost")]
struct LinesLost {
    count: u64,
}

impl Backlog {
    pub(super) fn push(&mut self, time: u64, body: String) {
        self.bytes += body.len();
        self.waiting.push_back((time, body));
        while self.bytes > limits::MAX_AUDIT_BACKLOG_BYTES {
            let Some((time, dropped)) = self.waiting.pop_front() else { break };
            self.bytes -= dropped.len();
            let (_, count) = self.lost.get_or_insert((time, 0));
            *count += 1;
        }
    }

    /// What is to be written next: that lines were lost comes first.
    pub(super) fn first(&self) -> Option<(u64, String)> {
        match self.lost {
            Some((time, count)) => Some((time, line::body(&LinesLost { count }))),
            None => self.waiting.front().cloned(),
        }
    }

    /// That has been written.
    pub(super) fn written(&mut self) {
        if self.lost.take().is_none()
            && let Some((_, body)) = self.waiting.pop_front()
        {
            self.bytes -= body.len();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out() {
        let mut backlog = Backlog::default();
        assert!(backlog.is_empty() && backlog.first().is_none());
        backlog.push(1, "{a}".to_owned());
        backlog.push(2, "{b}".to_owned());
        assert_eq!(backlog.first(), Some((1, "{a}".to_owned())));
        backlog.written();
        assert_eq!(backlog.first(), Some((2, "{b}".to_owned())));
        backlog.written();
        assert!(backlog.is_empty());
    }

    #[test]
    fn beyond_the_bound_the_oldest_go_and_are_counted() {
        let mut backlog = Backlog::default();
        let body = "x".repeat(1 << 10);
        let fit = limits::MAX_AUDIT_BACKLOG_BYTES as u64 / 1024;
        (1..=fit + 7).for_each(|time| backlog.push(time, body.clone()));
        assert_eq!(backlog.first(), Some((1, r#"{"event":"lines_lost","count":7}"#.to_owned())));
        assert_eq!(backlog.bytes, limits::MAX_AUDIT_BACKLOG_BYTES);
        backlog.written();
        for time in 8..=fit + 7 {
            assert_eq!(backlog.first().unwrap().0, time);
            backlog.written();
        }
        assert!(backlog.is_empty() && backlog.bytes == 0);
    }
}
