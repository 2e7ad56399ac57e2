//! What a server may cause in a time: messages, and lines in the log, which must not fill the disk of the machine that holds
//! the till's database. What the agent does by itself (dialling, stopping) is no business of this.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::limits;
use crate::protocol::Violation;

/// The server's messages in this second.
pub(super) struct Messages {
    since: Instant,
    count: u32,
}

impl Messages {
    pub(super) fn none() -> Messages {
        Messages { since: Instant::now(), count: 0 }
    }

    /// One more has come.
    ///
    /// # Errors
    /// When it is one too many.
    pub(super) fn count(&mut self) -> Result<(), Violation> {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Messages::none();
        }
        self.count += 1;
        match self.count > limits::MAX_SERVER_MESSAGES_A_SECOND {
            true => Err(Violation::TooManyMessages),
            false => Ok(()),
        }
    }
}

/// Lines that a server has caused lately.
pub(super) struct Journal(Mutex<Period>);

struct Period {
    since: Instant,
    lines: u32,
}

impl Journal {
    pub(super) fn new() -> Journal {
        Journal(Mutex::new(Period { since: Instant::now(), lines: 0 }))
    }

    /// Whether one more line may be written; says how many were left out when a period is over.
    pub(super) fn has_room(&self) -> bool {
        let mut period = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if period.since.elapsed() >= limits::COMPLAINT_PAUSE {
            let left_out = period.lines.saturating_sub(limits::MAX_LINES_BY_SERVER);
            if left_out > 0 {
                log::warn!("{left_out} lines about what the server asked were left out");
            }
            *period = Period { since: Instant::now(), lines: 0 };
        }
        period.lines = period.lines.saturating_add(1);
        period.lines <= limits::MAX_LINES_BY_SERVER
    }
}

/// As the macro of `log` of that name, unless the server has caused too many lines: `by_server!(agent, warn, "…", …)`.
macro_rules! by_server {
    ($agent:expr, $level:ident, $($words:tt)+) => {
        if $agent.journal.has_room() {
            log::$level!($($words)+);
        }
    };
}
pub(super) use by_server;
