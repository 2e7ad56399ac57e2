//! How a session ends: what ended it, what the server is told, and what the agent makes of it.

use std::time::Duration;

use crate::limits;
use crate::line::{Line, LineEnd, close};
use crate::protocol::Violation;

/// How a session ended.
pub(super) struct SessionEnd {
    /// For the log.
    pub(super) why: String,
    /// The server's close code, when it gave one.
    pub(super) code: Option<u16>,
    /// Whether bytes of a file were sent, to a server that kept to the rules.
    pub(super) progressed: bool,
    /// When the server asked us to come back.
    pub(super) come_back_after: Option<Duration>,
}

/// What ends the reading.
pub(super) enum Stop {
    Line(LineEnd),
    Violation(Violation),
}

impl Stop {
    /// Whether the server kept to the rules of both protocols.
    pub(super) fn is_within_the_rules(&self) -> bool {
        match self {
            Stop::Violation(_) | Stop::Line(LineEnd::Broken(_)) => false,
            Stop::Line(LineEnd::Closed { .. } | LineEnd::Silent | LineEnd::Dropped(_)) => true,
        }
    }
}

/// Tells a server that broke the rules so, and shuts the line.
pub(super) fn finish(line: &mut Line, stop: &Stop) {
    match stop {
        Stop::Line(_) => line.outbox().shut(),
        Stop::Violation(violation) => line.close(close::POLICY, &violation.to_string()),
    }
}

pub(super) fn ended(stop: &Stop, progressed: bool, come_back_after: Option<Duration>) -> SessionEnd {
    let (why, code) = match stop {
        Stop::Line(end @ LineEnd::Closed { code, .. }) => (format!("line {end}"), Some(*code)),
        Stop::Line(end) => (format!("line lost: {end}"), None),
        Stop::Violation(violation) => (format!("the server broke the protocol: {violation}"), None),
    };
    SessionEnd { why, code, progressed, come_back_after }
}

/// A moment at or up to half later than the server asked for, so that a fleet does not come back as one.
pub(super) fn spread(after_ms: u64) -> Duration {
    let after = Duration::from_millis(after_ms).min(limits::BACKOFF_MOST * 10);
    let fraction = f64::from(u32::from_ne_bytes(crate::random::bytes())) / f64::from(u32::MAX);
    after.mul_f64(1.0 + fraction / 2.0)
}
