//! The server's disk: records, parts, downloads. The only module that writes below `UPLOAD_DIR`.
//!
//! ```text
//! UPLOAD_DIR/<download>                      complete, verified, synced; put there by a rename that replaces nothing
//! UPLOAD_DIR/.towline/lock                   held by the one server that runs here
//! UPLOAD_DIR/.towline/<requestId>/record.json  the transfer, as the API shows it; replaced by rename
//! UPLOAD_DIR/.towline/<requestId>/part         what has arrived so far
//! ```
//! Like a mail queue it can be read with `ls` and `cat`, and it alone is enough to go on after a power cut. What can't
//! be read is set aside with a warning, and is never a reason not to start.

mod part;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::hash::hash_all;
use crate::names::RequestId;
use crate::transfer::{Failure, FailureCode, Status, Transfer};
pub use part::{Begin, KeepError, Part};
use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;

const STATE_FOLDER: &str = ".towline";
const RECORD: &str = "record.json";
const PART: &str = "part";

/// What went wrong on the disk: what we were doing, to which path, and the system's reason.
#[derive(Debug)]
pub struct SpoolError {
    doing: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't {} {}: {}", self.doing, self.path.display(), self.error)
    }
}

impl std::error::Error for SpoolError {}

impl SpoolError {
    /// The failure that this means for a transfer.
    pub fn failure(&self) -> Failure {
        let code = match self.error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                FailureCode::DiskFull
            }
            _ => FailureCode::WriteFailed,
        };
        // The path is the server's business, not that of whoever reads the API.
        Failure::new(code, format!("the server can't {} the file: {}", self.doing, self.error))
    }
}

fn at<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SpoolError + 'a {
    move |error| SpoolError { doing, path: path.to_owned(), error }
}

/// The server's disk; see the module.
#[derive(Debug)]
pub struct Spool {
    upload_dir: PathBuf,
    state_dir: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// What is left of a transfer.
#[derive(Debug)]
pub struct Recovered {
    /// Its record.
    pub transfer: Transfer,
    /// The length of its part, in bytes.
    pub part: u64,
}

impl Spool {
    /// Opens, and makes if need be, the spool in `upload_dir`, for this process alone.
    ///
    /// # Errors
    /// When it is no folder, can't be written, or another server runs there.
    pub fn open(upload_dir: &Path) -> Result<Spool, SpoolError> {
        let upload_dir = std::path::absolute(upload_dir).map_err(at("use", upload_dir))?;
        fs::create_dir_all(&upload_dir).map_err(at("make the folder", &upload_dir))?;
        let state_dir = upload_dir.join(STATE_FOLDER);
        match fs::DirBuilder::new().mode(0o700).create(&state_dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at("make the folder", &state_dir)(error));
            }
            _ => {}
        }
        let path = state_dir.join("lock");
        let lock = File::create(&path).map_err(at("write", &path))?;
        lock.try_lock().map_err(|_| {
            at("use", &upload_dir)(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another towline-server runs there",
            ))
        })?;
        sync_folder(&upload_dir)?;
        Ok(Spool { upload_dir, state_dir, _lock: lock })
    }

    /// Where Towline keeps its own: `UPLOAD_DIR/.towline`.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The whole path of a download.
    pub fn out_path(&self, filename: &str) -> PathBuf {
        self.upload_dir.join(filename)
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
        let stat = rustix::fs::statvfs(&self.upload_dir)
            .map_err(|error| at("look at", &self.upload_dir)(error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Writes a record; when this returns, it survives a power cut. A transfer that has ended has no part any more.
    ///
    /// # Errors
    /// The record that was there before is still whole.
    pub fn save(&self, transfer: &Transfer) -> Result<(), SpoolError> {
        let folder = self.folder(transfer.request_id);
        let is_new = match fs::create_dir(&folder) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(at("make the folder", &folder)(error)),
        };
        let (record, fresh) = (folder.join(RECORD), folder.join("record.json.new"));
        if transfer.status.is_final() {
            self.remove_part(transfer.request_id); // first: what it took may be what the record lacks
        }
        let mut text =
            serde_json::to_vec_pretty(transfer).expect("a transfer holds strings and numbers only");
        text.push(b'\n');
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()
        };
        write().map_err(at("write", &fresh))?;
        fs::rename(&fresh, &record).map_err(at("rename to", &record))?;
        sync_folder(&folder)?;
        if is_new { sync_folder(&self.state_dir) } else { Ok(()) }
    }

    /// Removes a record and whatever is with it.
    pub fn forget(&self, id: RequestId) {
        let folder = self.folder(id);
        if let Err(error) = fs::remove_dir_all(&folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{}", at("remove", &folder)(error));
        }
    }

    /// Begins a part with what is here, or without.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn part(&self, id: RequestId, begin: Begin<'_>) -> Result<Part, SpoolError> {
        let path = self.folder(id).join(PART);
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(matches!(begin, Begin::Empty));
        let file = options.open(&path).map_err(at("write", &path))?;
        let length = file.metadata().map_err(at("look at", &path))?.len();
        let older = match begin {
            Begin::WithWhatIsHere { older: Some(older) } => self.older(older),
            Begin::WithWhatIsHere { older: None } | Begin::Empty => None,
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
        let part = self.folder(id).join(PART);
        if let Err(error) = fs::remove_file(&part)
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{}", at("remove", &part)(error));
        }
    }

    /// Puts a synced part under its name, replacing nothing; when this returns, it survives a power cut.
    ///
    /// # Errors
    /// The part is removed then, and there is nothing under the name that was not there before.
    pub fn publish(&self, part: Part, filename: &str) -> Result<(), SpoolError> {
        let to = self.out_path(filename);
        if let Err(error) = rename_new(&part.path, &to) {
            part.discard();
            return Err(at("publish", &to)(error));
        }
        sync_folder(&self.upload_dir).inspect_err(|_| {
            // Not certain to survive a power cut, so not published.
            if let Err(error) = fs::remove_file(&to) {
                log::error!(
                    "{} is there though its transfer failed: {}",
                    to.display(),
                    at("remove", &to)(error)
                );
            }
        })
    }

    /// Opens a download; a link is not followed.
    ///
    /// # Errors
    /// `NotFound` when it was removed since.
    pub fn open_download(&self, filename: &str) -> io::Result<File> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32; // nor does a pipe block
        let opened = fs::OpenOptions::new().read(true).custom_flags(flags).open(self.out_path(filename));
        opened.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::LOOP) => io::ErrorKind::NotFound.into(), // a link has taken its name
            _ => error,
        })
    }

    /// Reads what an earlier run left, oldest first. A transfer that was being published is `completed` when its
    /// file is there with the recorded hash. What can't be read is set aside.
    pub fn recover(&self) -> Vec<Recovered> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.state_dir) {
            Ok(entries) => entries,
            Err(error) => {
                log::warn!("{}", at("read", &self.state_dir)(error));
                return found;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<RequestId>().ok()) else { continue };
            match self.recover_one(id) {
                Ok(recovered) => found.push(recovered),
                Err(why) => self.set_aside(id, &why),
            }
        }
        found.sort_by_key(|found: &Recovered| found.transfer.created_at);
        found
    }

    fn recover_one(&self, id: RequestId) -> Result<Recovered, String> {
        let folder = self.folder(id);
        let text = fs::read(folder.join(RECORD)).map_err(|error| format!("{RECORD}: {error}"))?;
        let mut transfer: Transfer =
            serde_json::from_slice(&text).map_err(|error| format!("{RECORD}: {error}"))?;
        if transfer.request_id != id {
            return Err(format!("{RECORD} is that of {}", transfer.request_id));
        }
        if transfer.filename.is_empty()
            || transfer.filename.contains('/')
            || transfer.filename.starts_with('.')
        {
            return Err(format!("{RECORD}: filename is no file name"));
        }
        if transfer.status == Status::Verifying && self.is_published(&transfer) {
            transfer.status = Status::Completed;
            transfer.finished_at = Some(crate::clock::now_ms());
            transfer.failure = None;
            self.save(&transfer).map_err(|error| error.to_string())?;
        }
        if transfer.status.is_final() {
            self.remove_part(id);
            return Ok(Recovered { transfer, part: 0 });
        }
        let part = match fs::symlink_metadata(folder.join(PART)) {
            Ok(stat) if stat.is_file() => stat.len(),
            Ok(_) => return Err(format!("{PART} is no file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(format!("{PART}: {error}")),
        };
        Ok(Recovered { transfer, part })
    }

    fn is_published(&self, transfer: &Transfer) -> bool {
        let hashed = self.open_download(&transfer.filename).and_then(hash_all);
        hashed.is_ok_and(|(hash, _)| Some(hash) == transfer.sha256)
    }

    fn set_aside(&self, id: RequestId, why: &str) {
        let aside = self.state_dir.join(format!("damaged-{id}"));
        match fs::rename(self.folder(id), &aside) {
            Ok(()) => log::warn!("transfer {id} is damaged and set aside as {}: {why}", aside.display()),
            Err(error) => {
                log::warn!("transfer {id} is damaged ({why}) and {}", at("rename to", &aside)(error))
            }
        }
    }

    fn folder(&self, id: RequestId) -> PathBuf {
        self.state_dir.join(id.to_string())
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
                log::warn!("{}", at("remove", from)(error)); // it goes with the record
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn sync_folder(path: &Path) -> Result<(), SpoolError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(at("sync the folder", path))
}
