//! Why there are no new certificates.

use std::fmt;
use std::path::PathBuf;

use super::folder::FolderError;
use super::issue::IssueError;

/// What went wrong.
#[derive(Debug)]
pub(super) enum CertsError {
    Folder(FolderError),
    Issue(IssueError),
    /// There is nothing to sign with.
    NoAuthority(PathBuf),
    /// What was made would not be taken.
    NotProven {
        ca: PathBuf,
        why: String,
    },
    /// The time is not known.
    Clock(String),
}

impl From<FolderError> for CertsError {
    fn from(error: FolderError) -> CertsError {
        CertsError::Folder(error)
    }
}

impl From<IssueError> for CertsError {
    fn from(error: IssueError) -> CertsError {
        CertsError::Issue(error)
    }
}

impl fmt::Display for CertsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertsError::Folder(error) => error.fmt(f),
            CertsError::Issue(error) => error.fmt(f),
            CertsError::NoAuthority(path) => {
                write!(f, "{} is not there; `towline-server certs init` makes an authority", path.display())
            }
            CertsError::NotProven { ca, why } => write!(
                f,
                "what was made would not be taken ({why}): {} and ca.key beside it must be of one `towline-server certs init`",
                ca.display()
            ),
            CertsError::Clock(now) => {
                write!(
                    f,
                    "the clock of this machine stands at {now}: set it right, for certificates have dates"
                )
            }
        }
    }
}
