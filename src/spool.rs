//! The server's disk: records, parts, downloads. The only module that writes below `UPLOAD_DIR`.
//!
//! ```text
//! UPLOAD_DIR/<download>                      complete, verified, synced; put there by a rename that replaces nothing
//! UPLOAD_DIR/.towline/lock                   held by the one server that runs here
//! UPLOAD_DIR/.towline/<requestId>/record.json  the transfer, as the API shows it; replaced by rename
//! UPLOAD_DIR/.towline/<requestId>/record.json.new  the next one, which counts when it has the name
//! UPLOAD_DIR/.towline/<requestId>/part         what has arrived so far
//! ```
//! Like a mail queue it can be read with `ls` and `cat`, and it alone is enough to go on after a power cut. What can't
//! be read is set aside with a warning, and is never a reason not to start.

mod error;
mod home;
mod old_downloads;
mod part;
mod recovery;
mod saving;
mod syncs;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::hub::Held;
use crate::names::RequestId;
use crate::record::Record;
use error::{Doing, at};
use home::Home;
pub use home::STATE_FOLDER;
pub use part::{KeepError, Part};
pub use recovery::Recovered;
use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;
use saving::Ready;

pub use error::SpoolError;

const RECORD: &str = "record.json";
const PART: &str = "part";

/// The server's disk; see the module.
#[derive(Debug)]
pub struct Spool {
    home: Home,
    ready: Ready,
}

impl Spool {
    /// Opens, and makes if need be, the spool in `upload_dir`, for this process alone.
    ///
    /// # Errors
    /// When it is no folder, can't be written, or another server runs there.
    pub fn open(upload_dir: &Path) -> Result<Spool, SpoolError> {
        Ok(Spool { home: Home::open(upload_dir)?, ready: Ready::default() })
    }

    /// Where Towline keeps its own: `UPLOAD_DIR/.towline`.
    pub fn state_dir(&self) -> &Path {
        self.home.state_dir()
    }

    /// Whether what was in `UPLOAD_DIR` has gone, and the folders were made anew, since this was last asked. Every
    /// method that makes something sees to that.
    pub fn was_made_anew(&self) -> bool {
        self.home.was_made_anew()
    }

    /// The whole path of a download.
    pub fn out_path(&self, filename: &str) -> PathBuf {
        self.home.upload_dir().join(filename)
    }

    /// Whether there is something under this name.
    pub fn is_taken(&self, filename: &str) -> bool {
        fs::symlink_metadata(self.out_path(filename)).is_ok()
    }

    /// Bytes that may still be written.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn room(&self) -> Result<u64, SpoolError> {
        self.home.check()?;
        let dir = self.home.upload_dir();
        let stat = rustix::fs::statvfs(dir).map_err(|error| at(Doing::Measure, dir)(error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// The folder of a transfer, made if need be.
    fn make_folder(&self, id: RequestId) -> Result<PathBuf, SpoolError> {
        self.home.check()?;
        let folder = self.folder(id);
        // Looked for first: to make one, even one that is there, takes a lock that all transfers share.
        if fs::symlink_metadata(&folder).is_ok() {
            return Ok(folder);
        }
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(at(Doing::MakeFolder, &folder)(error))
            }
            _ => Ok(folder),
        }
    }

    /// Removes a record and whatever is with it.
    pub fn forget(&self, id: RequestId) {
        self.ready.take(id);
        let folder = self.folder(id);
        if let Err(error) = fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{}", at(Doing::Remove, &folder)(error));
        }
    }

    /// Begins a part with what is here, or without.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn part(&self, id: RequestId, held: &Held) -> Result<Part, SpoolError> {
        let path = self.make_folder(id)?.join(PART);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(*held == Held::Nothing);
        let file = options.open(&path).map_err(at(Doing::Write, &path))?;
        let length = file.metadata().map_err(at(Doing::Read, &path))?.len();
        let older = match held {
            Held::Some { older: Some(older), .. } => self.older(older),
            Held::Some { older: None, .. } | Held::Nothing => None,
        };
        Ok(Part::new(file, path, length, older))
    }

    /// A download and its length. One that was removed since has none.
    fn older(&self, filename: &str) -> Option<(File, u64)> {
        let file = self.open_download(filename).ok()?;
        let stat = file.metadata().ok()?;
        stat.is_file().then_some((file, stat.len()))
    }

    /// Removes the part of a transfer, if there is one.
    pub fn remove_part(&self, id: RequestId) {
        if let Err(error) = remove_if_there(&self.folder(id).join(PART)) {
            log::warn!("{error}"); // the last save of its record tries again
        }
    }

    /// Puts a synced part under its name, replacing nothing; when this returns, it survives a power cut. `last`, the record
    /// that says so, is made ready meanwhile: whoever saves it then finds it written and synced, but for its name.
    ///
    /// # Errors
    /// The part is removed then, and there is nothing under the name that was not there before.
    pub fn publish(&self, part: Part, last: &Record) -> Result<(), SpoolError> {
        let (dir, to) = (self.home.upload_dir(), self.out_path(&last.transfer.filename));
        if let Err(error) = part.is_in_its_place().and_then(|()| rename_new(&part.path, &to)) {
            part.discard();
            let error = match error.kind() {
                io::ErrorKind::NotFound => {
                    io::Error::new(io::ErrorKind::NotFound, "what had arrived has gone from its disk")
                }
                _ => error,
            };
            return Err(at(Doing::Publish, &to)(error));
        }
        let named = File::open(dir).and_then(|dir| self.settle_with_next(&dir, last));
        named.map_err(at(Doing::SyncFolder, dir)).inspect_err(|_| {
            // Not certain to survive a power cut, so not published.
            if let Err(error) = fs::remove_file(&to) {
                log::error!(
                    "{} is there though its transfer failed: {}",
                    to.display(),
                    at(Doing::Remove, &to)(error)
                );
            }
        })
    }

    /// Opens a download; a link is not followed.
    ///
    /// # Errors
    /// `NotFound` when it was removed since.
    pub fn open_download(&self, filename: &str) -> io::Result<File> {
        open_plainly(&self.out_path(filename)).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => io::ErrorKind::NotFound.into(), // a link has taken its name
            _ => error,
        })
    }

    fn folder(&self, id: RequestId) -> PathBuf {
        self.state_dir().join(id.to_string())
    }
}

/// Renames, unless something is there already. File systems that can't do that in one step link and unlink.
///
/// # Errors
/// `AlreadyExists` among others; `from` is as it was then.
pub fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            if let Err(error) = fs::remove_file(from) {
                log::warn!("{}", at(Doing::Remove, from)(error)); // it goes with the record
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Opens for reading, without following a link or waiting for the other end of a pipe.
fn open_plainly(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn remove_if_there(path: &Path) -> Result<(), SpoolError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(Doing::Remove, path)(error)),
        _ => Ok(()),
    }
}
