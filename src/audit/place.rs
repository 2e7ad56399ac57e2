//! Where a log lies: its file, and the older files beside it that were full. Shared by who writes and who verifies.
//!
//! `audit.jsonl` is written to; when it is full it becomes `audit.000000000001.jsonl`, by the number of its first line.
//! What could not be gone on with is set aside as `audit.damaged-<time>.jsonl`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::folder;

/// A log's file, by its path.
#[derive(Debug, Clone)]
pub(super) struct Place {
    folder: PathBuf,
    stem: String,
    /// With its dot; empty when the name has none.
    extension: String,
}

/// A file of a log that is not written to any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Old {
    /// The number of its first line, as its name says.
    pub(super) first: u64,
    pub(super) path: PathBuf,
}

impl Place {
    /// The log at `path`; nothing when that is no name of a file.
    pub(super) fn new(path: &Path) -> Option<Place> {
        let name = path.file_name()?.to_str()?;
        let at = name.rfind('.').filter(|at| *at > 0).unwrap_or(name.len());
        let (stem, extension) = name.split_at(at);
        Some(Place {
            folder: folder::of(path).to_owned(),
            stem: stem.to_owned(),
            extension: extension.to_owned(),
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file that is written to.
    pub(super) fn path(&self) -> PathBuf {
        self.named("")
    }

    /// The name of a full file whose first line has this number: such that `ls` lists them in order.
    pub(super) fn old(&self, first: u64) -> PathBuf {
        self.named(&format!(".{first:012}"))
    }

    pub(super) fn aside(&self, time: u64) -> PathBuf {
        self.named(&format!("{ASIDE}{time}"))
    }

    fn named(&self, middle: &str) -> PathBuf {
        self.folder.join(format!("{}{middle}{}", self.stem, self.extension))
    }

    /// The full files in their order, and those that were set aside.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub(super) fn look(&self) -> io::Result<(Vec<Old>, Vec<PathBuf>)> {
        let (mut old, mut aside) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let middle = name.and_then(|name| name.strip_prefix(&self.stem)?.strip_suffix(&self.extension));
            let Some(middle) = middle else { continue };
            if middle.starts_with(ASIDE) {
                aside.push(path);
            } else if let Some(first) = middle.strip_prefix('.').and_then(number) {
                old.push(Old { first, path });
            }
        }
        old.sort();
        aside.sort();
        Ok((old, aside))
    }
}

const ASIDE: &str = ".damaged-";

fn number(text: &str) -> Option<u64> {
    (text.len() >= 12 && text.bytes().all(|digit| digit.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Opens for reading; a link is not followed, a pipe not waited for.
///
/// # Errors
/// Also when it is no regular file.
pub(super) fn open_plainly(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true), path)
}

/// Opens to read and to append, made if need be, for its owner alone.
///
/// # Errors
/// Also when it is no regular file.
pub(super) fn open_to_append(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true).append(true).create(true).mode(0o600), path)
}

fn regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beside_a_name() {
        for (path, old) in [
            ("/x/audit.jsonl", "/x/audit.000000000007.jsonl"),
            ("taken", "./taken.000000000007"),
            ("/x/.taken", "/x/.taken.000000000007"),
            ("a.b.log", "./a.b.000000000007.log"),
        ] {
            let place = Place::new(Path::new(path)).unwrap();
            assert_eq!(place.old(7), Path::new(old));
            assert_eq!(place.path().file_name(), Path::new(path).file_name());
        }
        assert!(Place::new(Path::new("/")).is_none() && Place::new(Path::new("x/..")).is_none());
    }

    #[test]
    fn numbers_of_old_files() {
        assert_eq!(number("000000000007"), Some(7));
        assert_eq!(number("1000000000007"), Some(1_000_000_000_007));
        for bad in ["", "7", "00000000000x", "+00000000007", "99999999999999999999999"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
