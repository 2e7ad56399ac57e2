//! The agent's files: the only file that opens what an operator may pull, and the only one that names cap-std.
//!
//! - What the shop's owner wrote, `FILE_PATH` and the path of each share, is trusted, and resolved by the
//!   operating system at each pull: a share may be missing today and mounted tomorrow.
//! - What an operator asks for *beneath* a share is not: it is resolved beneath the share's directory handle,
//!   so no `..`, absolute path or symbolic link leaves it. Links that stay inside are followed.
//! - Only regular files are served. A look before the open keeps devices and pipes from being opened at all; the
//!   answer that counts is the one of the *handle*, because the name may have changed its meaning since.
//! - No message names an absolute path of this machine; [`Shares::warnings`] does, for the agent's own log.
//!
//! Nothing is cached and no handle is kept between pulls. No thread, no socket.

#[cfg(test)]
mod attacks;
pub mod listing;
#[cfg(test)]
mod tests;

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptionsExt as _};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::names::{self, FileKey, ShareName, SharedPath, printable};
use crate::refusal::{Refusal, RefusalCode};

/// How every file is opened. `NONBLOCK`: a pipe that took the file's place since we looked must not hang the
/// open (reads of a regular file are the same with it). `NOCTTY`: nor may a terminal become ours.
const OPEN_FLAGS: i32 = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC).bits() as i32;

/// What the agent offers: its `FILE_PATH` and its named shares.
#[derive(Debug, Clone)]
pub struct Shares {
    file_path: Option<PathBuf>,
    shares: Vec<(ShareName, PathBuf)>,
}

/// What says that a file is still as it was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Last modification, as finely as the file system keeps it.
    pub modified: SystemTime,
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    /// The handle, at offset 0.
    pub file: File,
    /// Size and modification time as of the open, from the handle.
    pub stamp: Stamp,
    /// What the file is called here, without folders: for a share that names a file, that file's name.
    pub name: String,
}

impl OpenFile {
    /// Size and modification time as of now, from the handle.
    ///
    /// # Errors
    /// `read_failed` when the system cannot say.
    pub fn restat(&self) -> Result<Stamp, Refusal> {
        let stamp = self.file.metadata().and_then(|metadata| Stamp::of(&metadata));
        stamp.map_err(|error| refusal(&error, &self.name))
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> io::Result<Stamp> {
        Ok(Stamp { size: metadata.len(), modified: metadata.modified()? })
    }
}

impl Shares {
    /// Offers `file_path` for a pull without a file key, and `shares` by name.
    pub fn new(file_path: Option<PathBuf>, shares: Vec<(ShareName, PathBuf)>) -> Shares {
        Shares { file_path, shares }
    }

    /// The names of the shares, in the order of `SHARES`.
    pub fn names(&self) -> impl Iterator<Item = &ShareName> {
        self.shares.iter().map(|(name, _)| name)
    }

    /// What cannot be pulled right now, a line each, for the agent's own log: the agent starts all the same.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.file_path.is_none() && self.shares.is_empty() {
            warnings.push("neither FILE_PATH nor SHARES is set: nothing can be pulled from here".to_owned());
        }
        if let Some(path) = &self.file_path
            && let Err(refusal) = open_trusted(path, "FILE_PATH")
        {
            warnings.push(format!("FILE_PATH {}: {refusal}", path.display()));
        }
        for (name, path) in &self.shares {
            let what = format!("share {name}");
            let found = match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => {
                    fs::read_dir(path).map(drop).map_err(|error| refusal(&error, &what))
                }
                Ok(_) => open_trusted(path, &what).map(drop),
                Err(error) => Err(refusal(&error, &what)),
            };
            if let Err(refusal) = found {
                warnings.push(format!("share {name} {}: {refusal}", path.display()));
            }
        }
        warnings
    }

    /// Opens what `key` names; without a key, `FILE_PATH`.
    ///
    /// # Errors
    /// With the code that tells the operator why: see [`RefusalCode`].
    pub fn open(&self, key: Option<&FileKey>) -> Result<OpenFile, Refusal> {
        let Some(key) = key else {
            let unset = || Refusal::new(RefusalCode::FileNotFound, "FILE_PATH is not set on this client");
            return open_trusted(self.file_path.as_ref().ok_or_else(unset)?, "FILE_PATH");
        };
        let (share, path) = self.locate(key)?;
        let shown = printable(key.as_str()).to_string();
        let Some(path) = path else {
            return open_trusted(share, &shown);
        };
        let folder = open_folder(share, &shown)?;
        let metadata = folder.metadata(&path).map_err(|error| refusal(&error, &shown))?;
        if !metadata.is_file() {
            return Err(not_a_file(&shown));
        }
        let mut options = cap_std::fs::OpenOptions::new();
        options.read(true).custom_flags(OPEN_FLAGS);
        let file = folder.open_with(&path, &options).map_err(|error| refusal(&error, &shown))?;
        checked(file.into_std(), Path::new(&path), &shown)
    }

    /// The share's own path, and the path asked for beneath it.
    fn locate(&self, key: &FileKey) -> Result<(&Path, Option<String>), Refusal> {
        let asked = SharedPath::parse(key)
            .map_err(|wanted| Refusal::new(RefusalCode::BadRequest, wanted.to_string()))?;
        let found = self.shares.iter().find(|(name, _)| *name == asked.share);
        let unknown = || {
            let message = format!("this client has no share {}", asked.share);
            Refusal::new(RefusalCode::NotShared, message)
        };
        let (_, share) = found.ok_or_else(unknown)?;
        Ok((share, asked.path))
    }
}

/// Opens a file by a path that the shop's owner wrote.
fn open_trusted(path: &Path, shown: &str) -> Result<OpenFile, Refusal> {
    let metadata = fs::metadata(path).map_err(|error| refusal(&error, shown))?;
    if !metadata.is_file() {
        return Err(not_a_file(shown));
    }
    let opened = fs::OpenOptions::new().read(true).custom_flags(OPEN_FLAGS).open(path);
    checked(opened.map_err(|error| refusal(&error, shown))?, path, shown)
}

/// Opens the folder of a share, by the path that the shop's owner wrote. What is beneath it is reached through
/// the handle alone.
fn open_folder(path: &Path, shown: &str) -> Result<Dir, Refusal> {
    let metadata = fs::metadata(path).map_err(|error| refusal(&error, shown))?;
    if !metadata.is_dir() {
        let message = format!("{shown}: the share is not a folder, so nothing lies beneath it");
        return Err(Refusal::new(RefusalCode::NotShared, message));
    }
    Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| refusal(&error, shown))
}

/// Takes a handle for what it is: only a regular file passes.
fn checked(file: File, path: &Path, shown: &str) -> Result<OpenFile, Refusal> {
    let metadata = file.metadata().map_err(|error| refusal(&error, shown))?;
    if !metadata.is_file() {
        return Err(not_a_file(shown));
    }
    let stamp = Stamp::of(&metadata).map_err(|error| refusal(&error, shown))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(OpenFile { file, stamp, name: names::source_name(&name) })
}

fn not_a_file(shown: &str) -> Refusal {
    Refusal::new(RefusalCode::NotAFile, format!("{shown}: not a regular file"))
}

/// The code for what the system said. `shown` is what the operator asked for, never a path of this machine.
fn refusal(error: &io::Error, shown: &str) -> Refusal {
    let (code, why) = match Errno::from_io_error(error) {
        // cap-std's own verdict is the one that carries no number of the system's.
        None if error.kind() == io::ErrorKind::PermissionDenied => {
            (RefusalCode::NotShared, "leads out of its share")
        }
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => {
            (RefusalCode::FileNotFound, "no such file")
        }
        Some(Errno::LOOP) => (RefusalCode::FileNotFound, "its links lead nowhere"),
        Some(Errno::ACCESS | Errno::PERM) => (RefusalCode::PermissionDenied, "the agent may not read it"),
        Some(Errno::ISDIR | Errno::NXIO | Errno::NODEV) => return not_a_file(shown),
        // A lease, such as a file server's, is broken by our open; a later one succeeds.
        Some(Errno::AGAIN) => (RefusalCode::ReadFailed, "another program holds it, try again"),
        _ => return Refusal::new(RefusalCode::ReadFailed, format!("{shown}: {error}")),
    };
    Refusal::new(code, format!("{shown}: {why}"))
}

/// Milliseconds since the Unix epoch; 0 before it.
fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
