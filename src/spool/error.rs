//! What the disk refused: with the path for the log, without it for the API.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::transfer::{Failure, FailureCode};

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// Taking `UPLOAD_DIR` for this server alone.
    Take,
    MakeFolder,
    /// Storing bytes of a file.
    Write,
    /// Writing a record and putting it in its place.
    SaveRecord,
    /// Setting its time.
    Date,
    Sync,
    SyncFolder,
    Publish,
    Remove,
    SetAside,
    Read,
    /// Asking for the room that is left.
    Measure,
}

impl Doing {
    #[cfg(test)]
    const ALL: [Doing; 12] = [
        Doing::Take,
        Doing::MakeFolder,
        Doing::Write,
        Doing::SaveRecord,
        Doing::Date,
        Doing::Sync,
        Doing::SyncFolder,
        Doing::Publish,
        Doing::Remove,
        Doing::SetAside,
        Doing::Read,
        Doing::Measure,
    ];

    /// Behind "can't", with a path to follow.
    fn before_a_path(self) -> &'static str {
        match self {
            Doing::Take => "use",
            Doing::MakeFolder => "make the folder",
            Doing::Write => "write",
            Doing::SaveRecord => "save the record",
            Doing::Date => "date",
            Doing::Sync => "sync",
            Doing::SyncFolder => "sync the folder",
            Doing::Publish => "publish",
            Doing::Remove => "remove",
            Doing::SetAside => "rename to",
            Doing::Read => "read",
            Doing::Measure => "measure the room in",
        }
    }

    /// Behind "the server can't", without a path.
    fn alone(self) -> &'static str {
        match self {
            Doing::Take => "use its folder for downloads",
            Doing::MakeFolder => "make a folder on its disk",
            Doing::Write => "write the file to its disk",
            Doing::SaveRecord => "save the transfer's record on its disk",
            Doing::Date => "date the file on its disk",
            Doing::Sync => "sync the file to its disk",
            Doing::SyncFolder => "sync a folder to its disk",
            Doing::Publish => "publish the file under its name",
            Doing::Remove => "remove what is not needed any more from its disk",
            Doing::SetAside => "rename a file on its disk",
            Doing::Read => "read from its disk",
            Doing::Measure => "see how much room its disk has",
        }
    }
}

/// What went wrong on the disk: what we were doing, to which path, and the system's reason.
#[derive(Debug)]
pub struct SpoolError {
    doing: Doing,
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't {} {}: {}", self.doing.before_a_path(), self.path.display(), self.error)
    }
}

impl std::error::Error for SpoolError {}

impl SpoolError {
    /// The failure that this means for a transfer. The path is the server's business, not that of whoever reads the API.
    pub fn failure(&self) -> Failure {
        let code = match self.error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                FailureCode::DiskFull
            }
            _ => FailureCode::WriteFailed,
        };
        Failure::new(code, format!("the server can't {}: {}", self.doing.alone(), self.error))
    }
}

/// For `map_err`: what was being done, and to which path.
pub(super) fn at(doing: Doing, path: &Path) -> impl FnOnce(io::Error) -> SpoolError + '_ {
    move |error| SpoolError { doing, path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_told_what_failed_and_why_and_no_path() {
        for doing in Doing::ALL {
            let error = at(doing, Path::new("/srv/private/part"))(io::ErrorKind::ReadOnlyFilesystem.into());
            let (logged, told) = (error.to_string(), error.failure().message);
            assert!(logged.starts_with("can't ") && logged.contains(" /srv/private/part: "), "{logged}");
            assert!(told.starts_with("the server can't ") && !told.contains('/'), "{told}");
            assert!(told.contains(" disk") || told.contains("file under") || told.contains("folder for"));
            assert!(told.ends_with(": read-only filesystem or storage medium"), "{told}");
        }
    }

    #[test]
    fn a_full_disk_has_a_code_of_its_own() {
        let code = |kind: io::ErrorKind| at(Doing::Write, Path::new("/x"))(kind.into()).failure().code;
        assert_eq!(code(io::ErrorKind::StorageFull), FailureCode::DiskFull);
        assert_eq!(code(io::ErrorKind::QuotaExceeded), FailureCode::DiskFull);
        assert_eq!(code(io::ErrorKind::FileTooLarge), FailureCode::DiskFull);
        for other in [io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::NotFound, io::ErrorKind::Other] {
            assert_eq!(code(other), FailureCode::WriteFailed);
        }
    }
}
