//! What a server makes an agent log, at a bounded rate: it must not fill the disk of the machine that holds the till's
//! database. What the agent does by itself (dialling, stopping) is no business of this.

use std::sync::Mutex;
use std::time::Instant;

use crate::limits;
use crate::lock::lock;

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
        let mut period = lock(&self.0);
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
