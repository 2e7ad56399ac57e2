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

mod error;
mod home;
mod old_downloads;
mod part;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::hash::hash_all;
use crate::hub::Held;
use crate::limits;
use crate::names::RequestId;
use crate::record::Record;
use crate::transfer::{Status, Transfer};
use error::{Doing, at};
pub use home::STATE_FOLDER;
use home::{Home, sync_folder};
pub use part::{KeepError, Part};
use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;

pub use error::SpoolError;

const RECORD: &str = "record.json";
const PART: &str = "part";

/// The server's disk; see the module.
#[derive(Debug)]
pub struct Spool {
    home: Home,
}

/// What an earlier run left of a transfer.
#[derive(Debug)]
pub struct Recovered {
    /// As it stands.
    pub record: Record,
    /// The length of its part, in bytes.
    pub part: u64,
    /// Whether its record says the same.
    pub is_saved: bool,
}

impl Spool {
    /// Opens, and makes if need be, the spool in `upload_dir`, for this process alone.
    ///
    /// # Errors
    /// When it is no folder, can't be written, or another server runs there.
    pub fn open(upload_dir: &Path) -> Result<Spool, SpoolError> {
        Ok(Spool { home: Home::open(upload_dir)? })
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

    /// Writes a record; when this returns, it survives a power cut. A transfer that has ended has no part any more.
    ///
    /// # Errors
    /// The record that was there before is still whole.
    pub fn save(&self, entry: &Record) -> Result<(), SpoolError> {
        let folder = self.make_folder(entry.transfer.request_id)?;
        let removed = match entry.transfer.status.is_final() {
            true => remove_if_there(&folder.join(PART)),
            false => Ok(()),
        };
        let (record, fresh) = (folder.join(RECORD), folder.join("record.json.new"));
        if fs::symlink_metadata(&record).is_err() {
            sync_folder(self.state_dir())?; // the folder may be new; once there is a record in it, it is known to last
        }
        let mut text = serde_json::to_vec_pretty(entry).expect("a record holds strings and numbers only");
        text.push(b'\n');
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, &record)
        };
        if let Err(error) = write() {
            let _kept = fs::remove_file(&fresh); // on a disk that takes nothing; the next save writes over it
            return Err(at(Doing::SaveRecord, &record)(error));
        }
        sync_folder(&folder)?;
        removed
    }

    /// The folder of a transfer, made if need be.
    fn make_folder(&self, id: RequestId) -> Result<PathBuf, SpoolError> {
        self.home.check()?;
        let folder = self.folder(id);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(at(Doing::MakeFolder, &folder)(error))
            }
            _ => Ok(folder),
        }
    }

    /// Removes a record and whatever is with it.
    pub fn forget(&self, id: RequestId) {
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

    /// Puts a synced part under its name, replacing nothing; when this returns, it survives a power cut.
    ///
    /// # Errors
    /// The part is removed then, and there is nothing under the name that was not there before.
    pub fn publish(&self, part: Part, filename: &str) -> Result<(), SpoolError> {
        let to = self.out_path(filename);
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
        sync_folder(self.home.upload_dir()).inspect_err(|_| {
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

    /// Reads what an earlier run left, oldest first. A transfer that was being published is `completed` when its
    /// file is there with the recorded hash, and is to be saved so. What can't be read is set aside.
    pub fn recover(&self) -> Vec<Recovered> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(self.state_dir()) {
            Ok(entries) => entries,
            Err(error) => {
                log::warn!("{}", at(Doing::Read, self.state_dir())(error));
                return found;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse::<RequestId>().ok()) else { continue };
            // Nothing was accepted whose record was not written: a kill came before it, or while it was being forgotten.
            if fs::remove_dir(self.folder(id)).is_ok() {
                continue;
            }
            match self.recover_one(id) {
                Ok(recovered) => found.push(recovered),
                Err(why) => self.set_aside(id, &why),
            }
        }
        found.sort_by_key(|found: &Recovered| found.record.transfer.created_at);
        found
    }

    fn recover_one(&self, id: RequestId) -> Result<Recovered, String> {
        let folder = self.folder(id);
        let text = read_record(&folder.join(RECORD)).map_err(|error| format!("{RECORD}: {error}"))?;
        let mut record = Record::read(&text, id).map_err(|bad| format!("{RECORD}: {bad}"))?;
        let transfer = &mut record.transfer;
        let was_published = transfer.status == Status::Verifying && self.is_published(transfer);
        if was_published {
            transfer.status = Status::Completed;
            transfer.finished_at = Some(crate::clock::now_ms());
            transfer.failure = None;
        }
        if record.transfer.status.is_final() {
            self.remove_part(id);
            return Ok(Recovered { record, part: 0, is_saved: !was_published });
        }
        Ok(Recovered { record, part: self.recover_part(id), is_saved: true })
    }

    /// The length of what is left of a part. What can't be one is set aside, and the transfer begins again.
    fn recover_part(&self, id: RequestId) -> u64 {
        let part = self.folder(id).join(PART);
        match fs::symlink_metadata(&part) {
            Ok(stat) if stat.is_file() => return stat.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return 0,
            Ok(_) => log::warn!("{} is no file", part.display()),
            Err(error) => log::warn!("{}", at(Doing::Read, &part)(error)),
        }
        let aside = self.state_dir().join(format!("damaged-{id}-{PART}"));
        match fs::rename(&part, &aside) {
            Ok(()) => log::warn!("the part of transfer {id} is set aside as {}", aside.display()),
            Err(error) => log::warn!("{}", at(Doing::SetAside, &aside)(error)),
        }
        0
    }

    fn is_published(&self, transfer: &Transfer) -> bool {
        let hashed = self.open_download(&transfer.filename).and_then(hash_all);
        hashed.is_ok_and(|(hash, _)| Some(hash) == transfer.sha256)
    }

    fn set_aside(&self, id: RequestId, why: &str) {
        let aside = self.state_dir().join(format!("damaged-{id}"));
        match fs::rename(self.folder(id), &aside) {
            Ok(()) => log::warn!("transfer {id} is damaged and set aside as {}: {why}", aside.display()),
            Err(error) => {
                log::warn!("transfer {id} is damaged ({why}) and {}", at(Doing::SetAside, &aside)(error))
            }
        }
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

/// Reads a record, if it is a file and no longer than one can be.
fn read_record(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_plainly(path)?;
    let (stat, mut text) = (file.metadata()?, Vec::new());
    if !stat.is_file() || stat.len() > limits::MAX_RECORD_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "no file, or too long for a record"));
    }
    file.take(limits::MAX_RECORD_BYTES).read_to_end(&mut text)?;
    Ok(text)
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
