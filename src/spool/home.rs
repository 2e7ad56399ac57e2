//! The folders that all else is in, and the lock that says whose they are.
//!
//! Whoever is about to make something in them asks [`Home::check`] first, which costs one look at the lock's file. When
//! that is not the one that we hold (somebody has removed the folder, or put another one in its place) all is made
//! anew and locked anew: a lock on a file that has no name keeps no second server out.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use rustix::fs::OFlags;

use super::error::{Doing, SpoolError, at};
use super::syncs::{Syncs, sync_whole, syncs_whole};
use crate::folder;
use crate::lock::lock;

/// Towline's own folder in `UPLOAD_DIR`.
pub const STATE_FOLDER: &str = ".towline";
const LOCK: &str = "lock";

/// `UPLOAD_DIR` and `.towline` in it, for this process alone.
#[derive(Debug)]
pub(super) struct Home {
    upload_dir: PathBuf,
    state_dir: PathBuf,
    /// The lock that we hold; nothing while the folders can't be had. Held for a look at the disk, and to make them anew.
    held: Mutex<Option<Lock>>,
    made_anew: AtomicBool,
}

/// A file that is locked as long as it is open.
#[derive(Debug)]
struct Lock {
    file: Arc<File>,
    device: u64,
    inode: u64,
    /// Whether all that is on its file system can be synced at once.
    syncs_whole: bool,
    /// Of this file system alone: another may be mounted over it.
    syncs: Arc<Syncs>,
}

impl Home {
    /// Makes the folders if need be, and locks them.
    ///
    /// # Errors
    /// When they can't be made, or another server has them.
    pub(super) fn open(upload_dir: &Path) -> Result<Home, SpoolError> {
        let upload_dir = std::path::absolute(upload_dir).map_err(at(Doing::Take, upload_dir))?;
        let state_dir = upload_dir.join(STATE_FOLDER);
        let lock = take(&upload_dir, &state_dir)?;
        Ok(Home { upload_dir, state_dir, held: Mutex::new(Some(lock)), made_anew: AtomicBool::new(false) })
    }

    pub(super) fn upload_dir(&self) -> &Path {
        &self.upload_dir
    }

    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Sees to it that the folders are there and ours.
    ///
    /// # Errors
    /// When they can't be made, or another server has taken them meanwhile.
    pub(super) fn check(&self) -> Result<(), SpoolError> {
        let mut held = lock(&self.held);
        let there = fs::symlink_metadata(self.state_dir.join(LOCK));
        if held.as_ref().zip(there.ok()).is_some_and(|(lock, there)| lock.is_on(&there)) {
            return Ok(());
        }
        *held = None; // first: it may be in the way of the new one, on a file system that numbers its files anew
        *held = Some(take(&self.upload_dir, &self.state_dir)?);
        // Also when there was a lock already, of another server or on a disk that had been away: what we have saved
        // meanwhile is not there.
        log::warn!("{} is made anew: it had gone, or is another one", self.state_dir.display());
        self.made_anew.store(true, Relaxed);
        Ok(())
    }

    /// When this returns, these files and folders in them have been synced, or not, each.
    pub(super) fn settle(&self, files: &[&File]) -> Vec<io::Result<()>> {
        let held = lock(&self.held)
            .as_ref()
            .map(|lock| (lock.syncs.clone(), lock.file.clone(), lock.device, lock.syncs_whole));
        let Some((syncs, lock, device, syncs_whole)) = held else {
            return files.iter().map(|file| file.sync_all()).collect();
        };
        // The lock's file was opened before anything was written, so errors since then are told of. What is on another
        // file system, for one was mounted meanwhile, is not what would be synced.
        let is_there = |file: &&File| file.metadata().is_ok_and(|stat| stat.dev() == device);
        match syncs_whole && files.iter().all(is_there) {
            true => syncs.settle(files, Some(&|| sync_whole(&lock))),
            false => syncs.settle(files, None),
        }
    }

    /// Syncs all that is on their file system; false when that can't be relied on.
    pub(super) fn sync_all_of_it(&self) -> bool {
        lock(&self.held).as_ref().is_some_and(|lock| lock.syncs_whole && sync_whole(&lock.file).is_ok())
    }

    /// Whether the folders have been made anew since this was last asked: what we had in them is gone.
    pub(super) fn was_made_anew(&self) -> bool {
        self.made_anew.load(Relaxed) && self.made_anew.swap(false, Relaxed)
    }
}

impl Lock {
    fn is_on(&self, there: &Metadata) -> bool {
        (self.device, self.inode) == (there.dev(), there.ino())
    }
}

/// Makes what is missing, and locks it.
fn take(upload_dir: &Path, state_dir: &Path) -> Result<Lock, SpoolError> {
    fs::create_dir_all(upload_dir).map_err(at(Doing::MakeFolder, upload_dir))?;
    match DirBuilder::new().mode(0o700).create(state_dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(at(Doing::MakeFolder, state_dir)(error));
        }
        _ => {}
    }
    let path = state_dir.join(LOCK);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32; // nor does a pipe block
    let open = OpenOptions::new().write(true).create(true).truncate(false).custom_flags(flags).open(&path);
    let file = open.map_err(at(Doing::Write, &path))?;
    file.try_lock().map_err(|error| {
        let busy = || io::Error::new(io::ErrorKind::ResourceBusy, "another towline-server runs there");
        at(Doing::Take, upload_dir)(match error {
            TryLockError::WouldBlock => busy(),
            TryLockError::Error(error) => error,
        })
    })?;
    let metadata = file.metadata().map_err(at(Doing::Read, &path))?;
    folder::sync(upload_dir).map_err(at(Doing::SyncFolder, upload_dir))?;
    let syncs_whole = syncs_whole(&file);
    let (device, inode, syncs) = (metadata.dev(), metadata.ino(), Arc::default());
    Ok(Lock { file: Arc::new(file), device, inode, syncs_whole, syncs })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("towline-home-{}-{name}", std::process::id()));
        assert!(!path.exists());
        path
    }

    #[test]
    fn one_server_a_folder() {
        let dir = folder("one");
        let home = Home::open(&dir).unwrap();
        let told = Home::open(&dir).unwrap_err().to_string();
        assert!(told.ends_with("another towline-server runs there"), "{told}");
        drop(home);
        Home::open(&dir).unwrap();
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_has_gone_is_made_anew_and_locked() {
        let dir = folder("gone");
        let home = Home::open(&dir).unwrap();
        for gone in [dir.clone(), home.state_dir().to_owned()] {
            fs::remove_dir_all(&gone).unwrap();
            home.check().unwrap();
            assert!(home.was_made_anew() && !home.was_made_anew());
            assert_eq!(fs::metadata(home.state_dir()).unwrap().permissions().mode() & 0o777, 0o700);
            assert!(Home::open(&dir).is_err(), "a second server is kept out");
        }
        fs::remove_file(home.state_dir().join(LOCK)).unwrap();
        home.check().unwrap();
        assert!(Home::open(&dir).is_err());
        home.check().unwrap();
        assert!(home.was_made_anew() && !home.was_made_anew());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_folder_that_another_server_has_taken_is_ours_again_after_it() {
        let dir = folder("taken");
        let home = Home::open(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let other = Home::open(&dir).unwrap();
        for _ in 0..2 {
            let told = home.check().unwrap_err().to_string();
            assert!(told.ends_with("another towline-server runs there"), "{told}");
        }
        other.check().unwrap();
        assert!(!other.was_made_anew());
        drop(other);
        home.check().unwrap();
        assert!(Home::open(&dir).is_err());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_another_server_has_left_is_not_what_we_had() {
        let dir = folder("left");
        let home = Home::open(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        drop(Home::open(&dir).unwrap());
        home.check().unwrap();
        assert!(home.was_made_anew(), "our records are not there");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_comes_back_with_its_place() {
        let dir = folder("blocked");
        let home = Home::open(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        fs::write(&dir, "in the way").unwrap();
        assert!(home.check().is_err());
        fs::remove_file(&dir).unwrap();
        home.check().unwrap();
        assert!(home.was_made_anew());
        fs::remove_dir_all(dir).unwrap();
    }
}
