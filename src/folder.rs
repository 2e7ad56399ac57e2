//! Folders: which one a file is in, and how what happens in it comes to last.

use std::fs::File;
use std::io;
use std::path::Path;

/// The folder that `path` is in; that of a bare name is the working directory.
pub fn of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// When this returns, what has been made, renamed and removed in the folder survives a power cut.
///
/// # Errors
/// When the folder is not there, or the disk does not take it.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
