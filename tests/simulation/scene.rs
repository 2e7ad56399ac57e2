//! What all actors of a world share: time, chance, lines, the disk, and what is noted about them.

use crate::coverage::{Coverage, Seen};
use crate::dice::Dice;
use crate::disk::Disk;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::wire::Line;

/// When worlds begin, since the epoch.
pub const EPOCH_MS: u64 = 1_761_924_600_000;

pub struct Scene {
    pub plan: Plan,
    pub dice: Dice,
    /// Milliseconds since the world began.
    pub time: u64,
    /// What the server's wall clock shows more than that.
    pub clock: u64,
    /// Counts what was done.
    pub step: u64,
    pub disk: Disk,
    /// All lines that ever were; others name them by their place.
    pub lines: Vec<Line>,
    pub ledger: Ledger,
    pub coverage: Coverage,
    pub is_traced: bool,
    /// No more faults.
    pub is_calm: bool,
    /// Counts what was started at agents.
    pub serial: u64,
}

impl Scene {
    pub fn note(&mut self, what: Seen) {
        self.coverage.note(what);
    }
}

/// Says what happens, when a single seed is looked at.
macro_rules! trace {
    ($scene:expr, $($text:tt)*) => {
        if $scene.is_traced {
            use std::io::Write;
            let (step, time) = ($scene.step, $scene.time);
            writeln!(std::io::stderr(), "{step:>6} {time:>9} ms  {}", format_args!($($text)*)).expect("stderr");
        }
    };
}
pub(crate) use trace;
