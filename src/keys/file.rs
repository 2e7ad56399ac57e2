//! `KEYS_FILE` on the disk: read with its rights checked, changed whole or not at all.
//!
//! - What is looked at (a regular file, nobody else's to read or write) is looked at on the open handle.
//! - A change is written beside the file, synced, and renamed over it, under a lock on a file beside it that stays: so
//!   nobody ever sees half a file, and of two changes at once none is lost.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{Gid, OFlags, Uid};

use super::ring::{BadRing, Ring};
use crate::folder;
use crate::limits;

/// Bits of a file's mode that let others than its owner read or write it.
const FOREIGN: u32 = 0o066;

/// What is wrong with a file of keys.
#[derive(Debug)]
pub struct KeysError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Io { doing: &'static str, error: io::Error },
    NotRegular,
    Foreign(u32),
    TooLarge,
    Locked,
    Bad(BadRing),
}

impl KeysError {
    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(&self.why, Why::Io { doing: "open", error } if error.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the same file may be read well the next time: it is not the file that is bad.
    pub fn may_pass(&self) -> bool {
        matches!(self.why, Why::Io { .. }) && !self.is_missing()
    }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path.display())?;
        match &self.why {
            Why::Io { doing, error } => write!(f, "can't {doing} it: {error}"),
            Why::NotRegular => f.write_str("it is not a regular file"),
            Why::Foreign(mode) => write!(
                f,
                "others than its owner may read or write it (mode {mode:03o}): run `chmod 600` on it"
            ),
            Why::TooLarge => {
                write!(f, "it is larger than {} MiB", limits::MAX_KEYS_FILE_BYTES >> 20)
            }
            Why::Locked => {
                f.write_str("another `keys` command has been changing it for too long; is it stopped?")
            }
            Why::Bad(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for KeysError {}

/// What tells one state of a file from another, as far as the file system does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    inode: (u64, u64),
    size: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// That of what is at `path` now.
    pub fn of(path: &Path) -> Option<Stamp> {
        fs::metadata(path).ok().map(|found| Stamp::new(&found))
    }

    /// Whether a change from now on would show: a file system may count time in steps of two seconds. A time that is far off
    /// comes from another clock than ours, and says nothing.
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        now.abs_diff(self.changed.0) > limits::FILE_TIME_STEP.as_secs()
    }

    fn new(found: &Metadata) -> Stamp {
        Stamp {
            inode: (found.dev(), found.ino()),
            size: found.len(),
            mode: found.mode(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// Reads the ring at `path`.
///
/// # Errors
/// When there is none, it may not be read, others may, or it is not understood.
pub fn load(path: &Path) -> Result<Ring, KeysError> {
    read(path).map(|(ring, _)| ring)
}

/// Changes the ring at `path`, which is made when it is missing. When `change` fails, nothing has changed.
///
/// # Errors
/// As [`load`]; or when it can't be written.
pub fn edit<T, E>(
    path: &Path,
    change: impl FnOnce(&mut Ring) -> Result<T, E>,
) -> Result<Result<T, E>, KeysError> {
    // Written where a link leads, so that the link stays.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let owner = fs::metadata(path).ok().map(|found| (found.uid(), found.gid()));
    let _lock = lock(path, owner)?;
    let mut ring = match load(path) {
        Err(error) if error.is_missing() => Ring::default(),
        loaded => loaded?,
    };
    match change(&mut ring) {
        Err(error) => Ok(Err(error)),
        Ok(changed) => write(path, &ring, owner).map(|()| Ok(changed)),
    }
}

fn read(path: &Path) -> Result<(Ring, Metadata), KeysError> {
    let at = |why| KeysError { path: path.to_owned(), why };
    let doing = |doing| move |error| KeysError { path: path.to_owned(), why: Why::Io { doing, error } };
    let flags = OFlags::NONBLOCK.bits() as i32; // a pipe must not make us wait
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(doing("open"))?;
    let found = file.metadata().map_err(doing("look at"))?;
    if !found.is_file() {
        return Err(at(Why::NotRegular));
    }
    if found.mode() & FOREIGN != 0 {
        return Err(at(Why::Foreign(found.mode() & 0o777)));
    }
    let mut bytes = Vec::new();
    file.take(limits::MAX_KEYS_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(doing("read"))?;
    if bytes.len() as u64 > limits::MAX_KEYS_FILE_BYTES {
        return Err(at(Why::TooLarge));
    }
    let text =
        str::from_utf8(&bytes).map_err(|error| at(Why::Bad(BadRing::Form(format!("not UTF-8: {error}")))))?;
    let ring = Ring::parse(text).map_err(|bad| at(Why::Bad(bad)))?;
    Ok((ring, found))
}

/// The lock that makes changes follow each other, until it is dropped.
fn lock(path: &Path, owner: Option<(u32, u32)>) -> Result<File, KeysError> {
    let path = &beside(path, ".lock");
    let doing = |error| KeysError { path: path.clone(), why: Why::Io { doing: "lock", error } };
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = open.open(path).map_err(doing)?;
    give(&file, owner).map_err(doing)?;
    let deadline = Instant::now() + limits::KEYS_LOCK_TIME;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(doing(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(KeysError { path: path.clone(), why: Why::Locked });
            }
            Err(TryLockError::WouldBlock) => thread::sleep(limits::KEYS_LOCK_PAUSE),
        }
    }
}

fn write(path: &Path, ring: &Ring, owner: Option<(u32, u32)>) -> Result<(), KeysError> {
    let new = beside(path, ".new");
    let text = ring.render();
    if text.len() as u64 > limits::MAX_KEYS_FILE_BYTES {
        return Err(KeysError { path: path.to_owned(), why: Why::TooLarge });
    }
    let written = write_new(&new, text.as_bytes(), owner)
        .and_then(|()| fs::rename(&new, path))
        .and_then(|()| folder::sync(folder::of(path)));
    written.map_err(|error| {
        // What is left of it has no keys in it, and the next change removes it.
        let _ = fs::remove_file(&new);
        KeysError { path: path.to_owned(), why: Why::Io { doing: "write", error } }
    })
}

fn write_new(new: &Path, text: &[u8], owner: Option<(u32, u32)>) -> io::Result<()> {
    // One that was killed in the middle may have left it; we have the lock.
    fs::remove_file(new).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    give(&file, owner)?;
    file.write_all(text)?;
    file.sync_all()
}

/// Gives `file` to the owner of the file of keys: root may change the keys of a server that runs as another user. That user
/// may have made it another name of a file that is not its own: such a one is not given away.
fn give(file: &File, owner: Option<(u32, u32)>) -> io::Result<()> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    let found = file.metadata()?;
    if (found.uid(), found.gid()) == (uid, gid) || found.nlink() != 1 {
        return Ok(());
    }
    rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(io::Error::from)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::{NewKey, Owner};
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("towline-keys-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn path(&self) -> PathBuf {
            self.0.join("keys.json")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn add(path: &Path, number: u8) {
        let new = NewKey::from_random([number; 6], [number; 32]);
        let owner = Owner::Client(format!("shop-{number}").parse().unwrap());
        assert_eq!(edit(path, |ring| Ok::<_, Infallible>(ring.add(&new, owner, 7))).unwrap(), Ok(true));
    }

    fn told(path: &Path) -> String {
        load(path).unwrap_err().to_string()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = Folder::new("written");
        let path = folder.path();
        assert!(load(&path).unwrap_err().is_missing());
        (1..=3).for_each(|number| add(&path, number));
        assert_eq!(load(&path).unwrap().keys().len(), 3);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(beside(&path, ".lock")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "nothing else is left");
        // A change that fails leaves it as it was, and so does one that was killed in the middle.
        let before = (fs::read(&path).unwrap(), Stamp::of(&path));
        assert_eq!(edit(&path, |_| Err::<(), _>("no")).unwrap(), Err("no"));
        assert_eq!((fs::read(&path).unwrap(), Stamp::of(&path)), before);
        fs::write(beside(&path, ".new"), "{\"ver").unwrap();
        add(&path, 4);
        assert_eq!(load(&path).unwrap().keys().len(), 4);
        let stamp = Stamp::of(&path).unwrap();
        assert_ne!(Some(stamp), before.1);
        let now = SystemTime::now();
        for (later, settled) in [(0, false), (10, true)] {
            assert_eq!(stamp.is_settled(now + std::time::Duration::from_secs(later)), settled);
        }
    }

    #[test]
    fn parallel_changes_lose_none() {
        let folder = Folder::new("parallel");
        let path = &folder.path();
        thread::scope(|scope| {
            for number in 1..=16 {
                scope.spawn(move || add(path, number));
            }
        });
        assert_eq!(load(path).unwrap().keys().len(), 16);
    }

    #[test]
    fn a_file_that_others_may_touch_is_refused() {
        let folder = Folder::new("mode");
        let path = folder.path();
        add(&path, 1);
        for mode in [0o640, 0o620, 0o604, 0o602, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let told = told(&path);
            assert!(told.contains(&format!("(mode {mode:03o})")) && told.contains("keys.json: "), "{told}");
            assert!(edit(&path, |_| Ok::<_, Infallible>(())).is_err(), "nor is it made better by the way");
        }
        for mode in [0o600, 0o400, 0o700] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            load(&path).unwrap();
        }
    }

    #[test]
    fn what_is_no_file_is_refused_and_a_link_is_followed() {
        let folder = Folder::new("kinds");
        let path = folder.path();
        fs::create_dir(&path).unwrap();
        assert!(told(&path).contains("not a regular file"), "{}", told(&path));
        fs::remove_dir(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(told(&path).contains("not a regular file"), "and a pipe makes nobody wait");
        fs::remove_file(&path).unwrap();

        add(&folder.0.join("real.json"), 1);
        symlink("real.json", &path).unwrap();
        add(&path, 2);
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink(), "the link stays");
        assert_eq!(load(&folder.0.join("real.json")).unwrap().keys().len(), 2);

        fs::remove_file(&path).unwrap();
        let big = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        big.set_len(limits::MAX_KEYS_FILE_BYTES + 1).unwrap();
        assert!(told(&path).contains("larger than 16 MiB"));
        big.set_len(0).unwrap();
        (&big).write_all(b"{\"version\":1,\"keys\":[\xff]}").unwrap();
        assert!(told(&path).contains("not UTF-8"));
    }
}
