//! Deadlines, and the one loop that looks again.

use std::time::{Duration, Instant};

/// How long anything may take that ought to happen soon, on a machine under load.
pub const SOON: Duration = Duration::from_secs(20);

/// A point in time after which a test gives up.
#[derive(Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    pub fn soon() -> Deadline {
        Deadline::after(SOON)
    }

    pub fn after(time: Duration) -> Deadline {
        Deadline(Instant::now() + time)
    }

    pub fn passed(self) -> bool {
        Instant::now() >= self.0
    }

    /// What is left, never zero: a socket takes no timeout of zero.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }
}

/// Asks until there is an answer, for what nobody tells: a process's threads, a list that a client leaves.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(SOON, what, ask)
}

/// The same with a time of its own.
#[track_caller]
pub fn within<T>(time: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(time);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(!deadline.passed(), "not within {time:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A pause that is itself what is tested, as of a slow peer; never a wait for something.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
