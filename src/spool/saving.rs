//! Writing records, several at once: what must be durable before the next step is synced for all of them together.
//!
//! ```text
//! the first of a transfer:  folder made, record.json.new written and renamed to record.json
//!                             -> it, its folder and `.towline` are synced
//! every later one:          record.json.new written -> it is synced, and a part with it
//!                           renamed to record.json  -> its folder is synced
//! ```
//! So a record that was there is never replaced by one that is not on the disk, and nobody is told before the last sync has
//! returned. Of a first one nobody knows before that: what a power cut leaves of it is of no use to anybody. One that could not
//! be synced is removed, so where there is a record its folder is known to last.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::error::{Doing, at};
use super::{PART, Part, RECORD, Spool, SpoolError, remove_if_there};
use crate::record::Record;

/// A record on its way.
struct Fresh {
    file: File,
    folder: PathBuf,
    /// There was none.
    is_first: bool,
    /// Of a transfer that has ended: whether its part is gone.
    removed: Result<(), SpoolError>,
}

impl Spool {
    /// Writes a record; when this returns, it survives a power cut. A transfer that has ended has no part any more.
    ///
    /// # Errors
    /// The record that was there before is still whole.
    pub fn save(&self, entry: &Record) -> Result<(), SpoolError> {
        self.save_with(std::slice::from_ref(entry), None).pop().expect("an answer for each")
    }

    /// Writes several, of different transfers, each as if by itself.
    pub fn save_all(&self, entries: &[Record]) -> Vec<Result<(), SpoolError>> {
        self.save_with(entries, None)
    }

    /// Writes a record and what it says of its part: both survive a power cut when this returns.
    ///
    /// # Errors
    /// Nothing is certain about the part then. The record that was there before is still whole.
    pub fn save_with_part(&self, entry: &Record, part: &Part) -> Result<(), SpoolError> {
        self.save_with(std::slice::from_ref(entry), Some(part)).pop().expect("an answer for each")
    }

    fn save_with(&self, entries: &[Record], part: Option<&Part>) -> Vec<Result<(), SpoolError>> {
        let fresh: Vec<_> = entries.iter().map(|entry| self.write_fresh(entry)).collect();
        // Those that replace another are synced before they do.
        let later: Vec<&Fresh> = fresh.iter().flatten().filter(|fresh| !fresh.is_first).collect();
        let mut files: Vec<&File> = later.iter().map(|fresh| &fresh.file).collect();
        files.extend(part.map(|part| &part.file));
        let mut synced = self.home.settle(&files).into_iter();
        let written: Vec<io::Result<()>> = later.iter().map(|_| synced.next().expect("one each")).collect();
        let part_synced = synced.next().unwrap_or(Ok(()));
        let mut written = written.into_iter();
        let named = fresh.into_iter().map(|fresh| {
            let fresh = fresh?;
            let synced = if fresh.is_first { Ok(()) } else { written.next().expect("one each") };
            if let (Some(part), Err(error)) = (part, &part_synced) {
                let _kept = fs::remove_file(fresh.folder.join(NEW)); // what it says is not so
                return Err(at(Doing::Sync, &part.path)(again(error)));
            }
            match synced.and_then(|()| fs::rename(fresh.folder.join(NEW), fresh.folder.join(RECORD))) {
                Ok(()) => Ok(fresh),
                Err(error) => Err(give_up(&fresh.folder, error)),
            }
        });
        let named = named.collect();
        self.settle_names(named)
    }

    /// All but the name.
    fn write_fresh(&self, entry: &Record) -> Result<Fresh, SpoolError> {
        let folder = self.make_folder(entry.transfer.request_id)?;
        let removed = match entry.transfer.status.is_final() {
            true => remove_if_there(&folder.join(PART)),
            false => Ok(()),
        };
        let mut text = serde_json::to_vec_pretty(entry).expect("a record holds strings and numbers only");
        text.push(b'\n');
        let written =
            File::create(folder.join(NEW)).and_then(|mut file| file.write_all(&text).map(|()| file));
        match written {
            Ok(file) => {
                let is_first = fs::symlink_metadata(folder.join(RECORD)).is_err();
                Ok(Fresh { file, folder, is_first, removed })
            }
            Err(error) => Err(give_up(&folder, error)),
        }
    }

    /// Makes the names last, and with them records that were the first in their folders.
    fn settle_names(&self, named: Vec<Result<Fresh, SpoolError>>) -> Vec<Result<(), SpoolError>> {
        let opened: Vec<_> = named
            .into_iter()
            .map(|fresh| {
                let fresh = fresh?;
                match File::open(&fresh.folder) {
                    Ok(folder) => Ok((fresh, folder)),
                    Err(error) => Err(self.not_settled(&fresh, error)),
                }
            })
            .collect();
        let has_first = opened.iter().flatten().any(|(fresh, _)| fresh.is_first);
        let state_dir = has_first.then(|| File::open(self.state_dir()));
        let mut files: Vec<&File> = opened.iter().flatten().map(|(_, folder)| folder).collect();
        let names = files.len();
        files.extend(
            opened.iter().flatten().filter(|(fresh, _)| fresh.is_first).map(|(fresh, _)| &fresh.file),
        );
        files.extend(state_dir.iter().flatten());
        let mut synced = self.home.settle(&files);
        let state_dir_synced = match state_dir {
            None => Ok(()),
            Some(Ok(_)) => synced.pop().expect("one each"),
            Some(Err(error)) => Err(error),
        };
        let mut firsts = synced.split_off(names).into_iter();
        let mut synced = synced.into_iter();
        let settled = opened.into_iter().map(|opened| {
            let (fresh, _) = opened?;
            let mut done = synced.next().expect("one each");
            if fresh.is_first {
                let first = firsts.next().expect("one each");
                done = done.and(first).and(state_dir_synced.as_ref().map_err(again).copied());
            }
            done.map_err(|error| self.not_settled(&fresh, error))?;
            fresh.removed
        });
        settled.collect()
    }

    /// A name that may not last. A first one goes: where there is a record, its folder is known to last.
    fn not_settled(&self, fresh: &Fresh, error: io::Error) -> SpoolError {
        if fresh.is_first {
            let _kept = fs::remove_file(fresh.folder.join(RECORD)); // the transfer is taken back, and its folder goes
        }
        at(Doing::SyncFolder, &fresh.folder)(error)
    }
}

const NEW: &str = "record.json.new";

/// What was not saved is out of the way, on a disk that takes even that; the next save writes over it.
fn give_up(folder: &Path, error: io::Error) -> SpoolError {
    let _kept = fs::remove_file(folder.join(NEW));
    at(Doing::SaveRecord, &folder.join(RECORD))(error)
}

/// The same error, for each of those that it is about.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
