//! Writing records, several at once: what must be durable before the next step is synced for all of them together.
//!
//! ```text
//! the first of a transfer:  folder made, record.json.new written and renamed to record.json
//!                             -> it, its folder and `.towline` are synced
//! every later one:          record.json.new written -> it is synced, and a part with it
//!                           renamed to record.json  -> its folder is synced
//! the last of a download:   the same, but record.json.new is synced with the folder of downloads, right after the rename
//! ```
//! So a record that was there is never replaced by one that is not on the disk, and nobody is told before the last sync has
//! returned. Of a first one nobody knows before that: what a power cut leaves of it is of no use to anybody. One that could not
//! be synced is removed, so where there is a record its folder is known to last.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::error::{Doing, at};
use super::{PART, Part, RECORD, Spool, SpoolError, remove_if_there};
use crate::lock::lock;
use crate::names::RequestId;
use crate::record::Record;

/// Records that are written and synced, and have no name yet. Each waits for its save, which comes at once.
#[derive(Debug, Default)]
pub(super) struct Ready(Mutex<HashMap<RequestId, Record>>);

impl Ready {
    fn put(&self, record: &Record) {
        self.lock().insert(record.transfer.request_id, record.clone());
    }

    pub(super) fn take(&self, id: RequestId) -> Option<Record> {
        self.lock().remove(&id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RequestId, Record>> {
        lock(&self.0)
    }
}

/// A record on its way.
struct Fresh {
    /// To be synced; nothing when it was made ready before.
    file: Option<File>,
    folder: PathBuf,
    /// There was none.
    is_first: bool,
    /// Of a transfer that has ended: whether its part is gone.
    removed: Result<(), SpoolError>,
}

impl Fresh {
    fn synced_before_its_name(&self) -> Option<&File> {
        self.file.as_ref().filter(|_| !self.is_first)
    }
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
        let mut files: Vec<&File> =
            fresh.iter().flatten().filter_map(Fresh::synced_before_its_name).collect();
        files.extend(part.map(|part| &part.file));
        let mut written = self.home.settle(&files);
        let part_synced = part.map_or(Ok(()), |_| written.pop().expect("one each"));
        let mut written = written.into_iter();
        let named = fresh.into_iter().map(|fresh| {
            let fresh = fresh?;
            let synced = fresh.synced_before_its_name().map_or(Ok(()), |_| written.next().expect("one each"));
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

    /// Syncs `folder`, and with it the next record of a transfer: its save has the name left to do.
    pub(super) fn settle_with_next(&self, folder: &File, next: &Record) -> io::Result<()> {
        // One that can't be written now is written by its save, which says why not.
        let fresh = self.write_fresh(next).ok();
        let file = fresh.as_ref().and_then(|fresh| fresh.file.as_ref());
        let files: Vec<&File> = std::iter::once(folder).chain(file).collect();
        let mut synced = self.home.settle(&files).into_iter();
        let folder_synced = synced.next().expect("one each");
        match (&folder_synced, synced.next(), fresh) {
            (Ok(()), Some(Ok(())), _) => self.ready.put(next),
            (Err(_), _, Some(fresh)) => drop(fs::remove_file(fresh.folder.join(NEW))), // what it says is not so
            _ => {}
        }
        folder_synced
    }

    /// All but the name.
    fn write_fresh(&self, entry: &Record) -> Result<Fresh, SpoolError> {
        let id = entry.transfer.request_id;
        let folder = self.folder(id);
        let record = folder.join(RECORD);
        let is_first = match fs::symlink_metadata(&record) {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(at(Doing::Read, &record)(error)),
        };
        if is_first {
            self.make_folder(id)?;
        } else {
            self.home.check()?;
        }
        let removed = match entry.transfer.status.is_final() {
            true => remove_if_there(&folder.join(PART)),
            false => Ok(()),
        };
        let is_ready = self.ready.take(id).is_some_and(|ready| ready == *entry);
        if is_ready && !is_first {
            return Ok(Fresh { file: None, folder, is_first, removed });
        }
        let mut text = serde_json::to_vec_pretty(entry).expect("a record holds strings and numbers only");
        text.push(b'\n');
        let written =
            File::create(folder.join(NEW)).and_then(|mut file| file.write_all(&text).map(|()| file));
        match written {
            Ok(file) => Ok(Fresh { file: Some(file), folder, is_first, removed }),
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
        let firsts = opened.iter().flatten().filter(|(fresh, _)| fresh.is_first);
        files.extend(firsts.filter_map(|(fresh, _)| fresh.file.as_ref()));
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

pub(super) const NEW: &str = "record.json.new";

/// What was not saved is out of the way, on a disk that takes even that; the next save writes over it.
fn give_up(folder: &Path, error: io::Error) -> SpoolError {
    let _kept = fs::remove_file(folder.join(NEW));
    at(Doing::SaveRecord, &folder.join(RECORD))(error)
}

/// The same error, for each of those that it is about.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::hub::Held;
    use crate::transfer::{Status, Transfer};

    struct Scene {
        spool: Spool,
        last: Record,
        folder: PathBuf,
    }

    impl Scene {
        /// A transfer that is `verifying`, with a part.
        fn new(name: &str) -> (Scene, Part) {
            let dir = std::env::temp_dir().join(format!("towline-saving-{name}-{}", std::process::id()));
            let spool = Spool::open(&dir).unwrap();
            let text = r#"{"requestId":"5207f011-b9cf-4128-9058-5196a78c5f81","clientId":"a","fileKey":null,
                "batchId":null,"status":"queued","filename":"a.bin","outPath":"/srv/a.bin","sourceName":null,"size":null,
                "bytes":4,"bytesOnWire":4,"sha256":null,"attempts":1,"requestedBy":"operator@127.0.0.1:1","maxRate":null,
                "createdAt":1,"startedAt":2,"finishedAt":null,"expiresAt":null,"failure":null}"#;
            let transfer: Transfer = serde_json::from_str(text).unwrap();
            let id = transfer.request_id;
            let folder = spool.state_dir().join(id.to_string());
            let last = Record { transfer, idempotency: None };
            let scene = Scene { spool, last, folder };
            scene.spool.save(&scene.at(Status::Queued)).unwrap();
            let mut part = scene.spool.part(id, &Held::Nothing).unwrap();
            part.store(b"1234").unwrap();
            part.seal().unwrap();
            scene.spool.save_with_part(&scene.at(Status::Verifying), &part).unwrap();
            (scene, part)
        }

        fn at(&self, status: Status) -> Record {
            let transfer = Transfer { status, ..self.last.transfer.clone() };
            Record { transfer, idempotency: None }
        }

        /// The status that a file says, and which file it is.
        fn says(&self, name: &str) -> Option<(Status, u64)> {
            let path = self.folder.join(name);
            let text = fs::read(&path).ok()?;
            let record = Record::read(&text, self.last.transfer.request_id).unwrap();
            Some((record.transfer.status, fs::metadata(path).unwrap().ino()))
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            fs::remove_dir_all(self.folder.parent().unwrap().parent().unwrap()).unwrap();
        }
    }

    #[test]
    fn the_last_record_is_made_ready_with_the_name_and_takes_effect_with_its_save() {
        let (scene, part) = Scene::new("ready");
        let last = scene.at(Status::Completed);
        scene.spool.publish(part, &last).unwrap();
        assert_eq!(fs::read(scene.spool.out_path("a.bin")).unwrap(), b"1234");
        assert_eq!(scene.says(RECORD).unwrap().0, Status::Verifying, "until it is saved");
        let ready = scene.says(NEW).unwrap();
        assert_eq!(ready.0, Status::Completed);
        scene.spool.save(&last).unwrap();
        assert_eq!((scene.says(RECORD), scene.says(NEW)), (Some(ready), None), "the same file");
        scene.spool.save(&last).unwrap();
        assert_ne!(scene.says(RECORD), Some(ready), "made ready for one save");
    }

    #[test]
    fn what_was_made_ready_and_is_not_what_is_saved_is_written_anew() {
        let (scene, part) = Scene::new("other");
        let last = scene.at(Status::Completed);
        scene.spool.publish(part, &last).unwrap();
        let ready = scene.says(NEW).unwrap().1;
        scene.spool.save(&scene.at(Status::Verifying)).unwrap();
        assert_eq!(scene.says(RECORD).unwrap().0, Status::Verifying);
        scene.spool.save(&last).unwrap();
        let (status, file) = scene.says(RECORD).unwrap();
        assert!(status == Status::Completed && file != ready);
    }

    #[test]
    fn where_the_record_has_gone_meanwhile_it_is_a_first_one() {
        let (scene, part) = Scene::new("gone");
        let last = scene.at(Status::Completed);
        scene.spool.publish(part, &last).unwrap();
        fs::remove_dir_all(&scene.folder).unwrap();
        scene.spool.save(&last).unwrap();
        assert_eq!(scene.says(RECORD).unwrap().0, Status::Completed);
    }

    #[test]
    fn nothing_is_made_ready_for_a_part_that_does_not_get_its_name() {
        let (scene, part) = Scene::new("taken");
        fs::write(scene.spool.out_path("a.bin"), "another").unwrap();
        scene.spool.publish(part, &scene.at(Status::Completed)).unwrap_err();
        assert_eq!((scene.says(NEW), scene.says(PART)), (None, None));
        assert_eq!(fs::read(scene.spool.out_path("a.bin")).unwrap(), b"another");
    }
}
