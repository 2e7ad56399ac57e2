//! The file of a log, as it is written: each line behind the last one, in the next file when one is full.
//!
//! - A line is one `write`, and is in the file when [`Chain::append`] returns. What of it could be written before an error
//!   is cut off again.
//! - The file is locked: nobody else of ours writes to it.
//! - Whoever moves or removes the file gets a new one that goes on with the chain.
//! - What a power cut has left of a last line is cut off, and a line says so. A file whose last line is none of ours, or
//!   whose only one does not begin as ours do, is set aside, untouched.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::line::{self, Link};
use super::place::{Place, open_plainly, open_to_append};
use crate::folder;
use crate::hash::hash_all;
use crate::limits;
use crate::names::Sha256Hash;
use crate::spool::rename_new;

/// A log's end.
#[derive(Debug)]
pub(super) struct Chain {
    place: Place,
    rotate_bytes: u64,
    open: Option<Open>,
    /// The last line; nothing until the file has been read.
    last: Option<Link>,
    /// What was found and has no line yet.
    found: Vec<Found>,
    /// Full files that are not known to be on the disk.
    full: Vec<Arc<File>>,
    /// The name of a new file is not known to be there.
    has_new_name: bool,
}

/// What is to be synced, in this order: what is full, the names, the file.
#[derive(Debug)]
pub(super) struct Unsynced {
    full: Vec<Arc<File>>,
    folder: Option<PathBuf>,
    file: Option<Arc<File>>,
}

impl Unsynced {
    /// Waits until it is on the disk.
    pub(super) fn sync(self) -> io::Result<()> {
        let full = self.full.iter().map(|file| file.sync_data());
        let folder = self.folder.iter().map(|path| folder::sync(path));
        let file = self.file.iter().map(|file| file.sync_data());
        full.chain(folder).chain(file).fold(Ok(()), io::Result::and)
    }
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    device: u64,
    inode: u64,
    length: u64,
    /// The number of its first line.
    first: u64,
    /// The length at which it is full.
    full: u64,
}

/// What was found when a file was opened, and stands in the chain from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(super) enum Found {
    /// The last line was torn, by a power cut most likely.
    TornLineCutOff {
        /// What was cut off.
        bytes: u64,
        /// Its hash.
        sha256: Sha256Hash,
    },
    /// The file did not end with a line of ours, or not with the last one.
    FileSetAside {
        /// As this, beside the log.
        name: String,
    },
    /// The file had been moved or removed.
    FileBeganAnew,
}

/// How a file ends.
#[derive(Debug, PartialEq)]
struct Tail {
    /// Its last whole line.
    last: Option<Link>,
    /// Bytes of whole lines.
    length: u64,
    /// All of it may have been written here.
    is_ours: bool,
}

impl Chain {
    pub(super) fn new(place: Place, rotate_bytes: u64) -> Chain {
        Chain {
            place,
            rotate_bytes,
            open: None,
            last: None,
            found: Vec::new(),
            full: Vec::new(),
            has_new_name: false,
        }
    }

    /// Where it stands.
    pub(super) fn last(&self) -> Option<Link> {
        self.last
    }

    /// What is to be synced, once.
    pub(super) fn take_unsynced(&mut self) -> Unsynced {
        Unsynced {
            full: std::mem::take(&mut self.full),
            folder: std::mem::take(&mut self.has_new_name).then(|| self.place.folder().to_owned()),
            file: self.open.as_ref().map(|open| open.file.clone()),
        }
    }

    /// Writes an event that was at `time`.
    ///
    /// # Errors
    /// Then it is not in the log, and may be written once more.
    pub(super) fn append(&mut self, time: u64, body: &str) -> io::Result<()> {
        self.make_ready(time)?;
        if self.open.as_ref().is_some_and(|open| open.length >= open.full) {
            self.rotate(time)?;
        }
        while let Some(found) = self.found.first() {
            let body = line::body(found);
            self.write(time, &body)?;
            self.found.remove(0);
        }
        self.write(time, body)
    }

    fn write(&mut self, time: u64, body: &str) -> io::Result<()> {
        let (Some(last), Some(open)) = (self.last, &mut self.open) else {
            return Err(io::Error::other("the log is not open")); // `append` has opened it
        };
        let (line, next) = line::line(last, time, body);
        let mut file: &File = &open.file;
        if let Err(error) = file.write_all(line.as_bytes()) {
            if file.set_len(open.length).is_err() {
                self.open = None; // opened again, it is looked at as at a start
            }
            return Err(error);
        }
        open.length += line.len() as u64;
        self.last = Some(next);
        Ok(())
    }

    /// Sees to it that the file is open, and that what has its name is this file.
    fn make_ready(&mut self, time: u64) -> io::Result<()> {
        let there = fs::symlink_metadata(self.place.path());
        if self.open.as_ref().zip(there.ok()).is_some_and(|(open, there)| open.is_on(&there)) {
            return Ok(());
        }
        let had_file = self.open.take().is_some();
        let known = self.found.len();
        self.open_file(time)?;
        if had_file && self.found.len() == known && self.open.as_ref().is_some_and(|open| open.length == 0) {
            self.note(Found::FileBeganAnew);
        }
        Ok(())
    }

    fn note(&mut self, found: Found) {
        log::warn!("{}: {}", self.place.path().display(), found.in_words());
        self.found.push(found);
    }

    /// Opens the file, and finds out where the chain stands.
    fn open_file(&mut self, time: u64) -> io::Result<()> {
        let path = self.place.path();
        let mut file = open_locked(&self.place)?;
        let length = file.metadata()?.len();
        let tail = read_tail(&file, length)?;
        let mut whole = tail.length;
        let goes_on = tail.last.is_none_or(|last| self.last.is_none_or(|ours| ours == last));
        if !tail.is_ours || !goes_on {
            let aside = self.place.aside(time);
            rename_new(&path, &aside)?;
            file = open_locked(&self.place)?;
            whole = 0;
            let name = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.note(Found::FileSetAside { name });
        } else if whole < length {
            let sha256 = hash_all(At { file: &file, at: whole })?.0;
            file.set_len(whole)?;
            self.note(Found::TornLineCutOff { bytes: length - whole, sha256 });
        }
        let in_file = tail.last.filter(|_| whole > 0);
        let last = match (self.last, in_file) {
            (Some(last), _) | (None, Some(last)) => last,
            (None, None) => self.last_of_old()?,
        };
        self.last = Some(last);
        let first = first_of(&file).unwrap_or(last.seq + 1);
        let (device, inode) = file.metadata().map(|stat| (stat.dev(), stat.ino()))?;
        self.has_new_name |= whole == 0; // it is to last as its lines do
        let file = Arc::new(file);
        self.open = Some(Open { file, device, inode, length: whole, first, full: self.rotate_bytes });
        Ok(())
    }

    /// Where the newest of the full files ends.
    fn last_of_old(&mut self) -> io::Result<Link> {
        let Some(newest) = self.place.look()?.0.pop() else { return Ok(Link::START) };
        let file = open_plainly(&newest.path)?;
        let length = file.metadata()?.len();
        let tail = read_tail(&file, length)?;
        if let Some(last) = tail.last
            && tail.length < length
        {
            // A power cut, before what was full was synced.
            let sha256 = hash_all(At { file: &file, at: tail.length })?.0;
            open_to_append(&newest.path)?.set_len(tail.length)?;
            self.note(Found::TornLineCutOff { bytes: length - tail.length, sha256 });
            return Ok(last);
        }
        // What does not end with a line of ours does not verify, whatever we write behind it.
        let damaged = Link { seq: newest.first, ..Link::START };
        Ok(tail.last.unwrap_or(damaged))
    }

    /// Gives a full file its own name and begins the next one. Whoever syncs begins with the full one: a power cut is not
    /// to cost its end and leave what was written after it.
    fn rotate(&mut self, time: u64) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let old = self.place.old(open.first);
        if let Err(error) = rename_new(&self.place.path(), &old) {
            log::error!(
                "{} is full and can't be named {}: {error}",
                self.place.path().display(),
                old.display()
            );
            open.full += self.rotate_bytes; // it goes on in this one for as long again
            return Ok(());
        }
        if let Some(last) = self.last {
            log::info!("{} is full, audit head seq={} hash={}", old.display(), last.seq, last.hash);
        }
        self.full.extend(self.open.take().map(|open| open.file.clone()));
        self.open_file(time)
    }
}

impl Open {
    fn is_on(&self, there: &Metadata) -> bool {
        (self.device, self.inode) == (there.dev(), there.ino())
    }
}

impl Drop for Open {
    /// The thread that syncs may still have the file, and with it the lock, when it is to be opened again.
    fn drop(&mut self) {
        let _goes_with_the_file = self.file.unlock();
    }
}

impl Found {
    fn in_words(&self) -> String {
        match self {
            Found::TornLineCutOff { bytes, .. } => format!("{bytes} bytes of a torn last line are cut off"),
            Found::FileSetAside { name } => format!(
                "it does not end with the last line of this log, and is set aside as {name}; `towline-server audit verify` says what is in it"
            ),
            Found::FileBeganAnew => "it was moved or removed, and begins anew behind what it held".to_owned(),
        }
    }
}

fn open_locked(place: &Place) -> io::Result<File> {
    let file = open_to_append(&place.path())?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::ResourceBusy, "another process writes to it")
        }
        TryLockError::Error(error) => error,
    })?;
    Ok(file)
}

/// The last whole line of a file of this length, when it is one of ours. Looks at its end only.
fn read_tail(file: &File, length: u64) -> io::Result<Tail> {
    let from = length.saturating_sub(limits::MAX_AUDIT_TAIL_BYTES);
    let mut end = vec![0; usize::try_from(length - from).unwrap_or(0)];
    file.read_exact_at(&mut end, from)?;
    let Some(feed) = end.iter().rposition(|byte| *byte == b'\n') else {
        return Ok(Tail { last: None, length: 0, is_ours: from == 0 && is_torn_line(&end) });
    };
    let begin = end[..feed].iter().rposition(|byte| *byte == b'\n').map_or(0, |feed| feed + 1);
    let last = &end[begin..feed];
    let link = line::read(last).map(|head| Link { seq: head.seq, hash: line::hash(last) });
    Ok(Tail { last: link, length: from + feed as u64 + 1, is_ours: link.is_some() })
}

/// Whether this may be what a power cut has left of a line: its beginning, zeros behind it as some file systems leave them.
fn is_torn_line(bytes: &[u8]) -> bool {
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    let text = &bytes[..bytes.len() - zeros];
    text.starts_with(line::BEGIN) || line::BEGIN.starts_with(text)
}

/// The number of a file's first line.
fn first_of(file: &File) -> Option<u64> {
    let mut begin = vec![0; limits::MAX_AUDIT_LINE_BYTES];
    let read = file.read_at(&mut begin, 0).ok()?;
    let first = begin[..read].split(|byte| *byte == b'\n').next()?;
    line::read(first).map(|head| head.seq)
}

/// Reads a file from a place on, whatever its position is.
struct At<'f> {
    file: &'f File,
    at: u64,
}

impl io::Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
