//! How the programs end.

use std::process::{ExitCode, Termination};

/// Exit codes of all three programs, as README lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Failed; the reason has been printed.
    Failed,
    /// A flag, an argument or a setting is wrong.
    BadUsage,
    /// The server did not accept the key.
    NotAuthorised,
    /// No such client, or it is not connected.
    NoSuchClient,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::BadUsage => 2,
            Exit::NotAuthorised => 3,
            Exit::NoSuchClient => 4,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
