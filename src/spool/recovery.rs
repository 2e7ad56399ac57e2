//! What an earlier run has left, read when the server starts.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use super::error::{Doing, at};
use super::saving::NEW;
use super::{PART, RECORD, Spool, open_plainly, remove_if_there};
use crate::hash::hash_all;
use crate::limits;
use crate::names::RequestId;
use crate::record::Record;
use crate::transfer::{Status, Transfer};

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
    /// Reads what an earlier run left, oldest first. A transfer that was being published is `completed` when its
    /// file is there with the recorded hash, and is to be saved so. What can't be read is set aside.
    pub fn recover(&self) -> Vec<Recovered> {
        let entries = match fs::read_dir(self.state_dir()) {
            Ok(entries) => entries,
            Err(error) => {
                log::warn!("{}", at(Doing::Read, self.state_dir())(error));
                return Vec::new();
            }
        };
        let id_of = |entry: fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse().ok());
        let ids: Vec<RequestId> = entries.flatten().filter_map(id_of).collect();
        let mut found = self.take_up_all(&ids);
        found.sort_by_key(|found: &Recovered| found.record.transfer.created_at);
        if !found.is_empty() {
            self.make_certain(&found);
        }
        found
    }

    /// Reads them, many at a time where there are many: a disk that has to look for each is asked for several.
    fn take_up_all(&self, ids: &[RequestId]) -> Vec<Recovered> {
        let take_up = |ids: &[RequestId]| ids.iter().filter_map(|id| self.take_up(*id)).collect::<Vec<_>>();
        let share = ids.len().div_ceil(limits::RECOVERY_THREADS).max(limits::RECOVERED_AT_LEAST);
        thread::scope(|scope| {
            let mut shares = ids.chunks(share);
            let own = shares.next().unwrap_or_default();
            let spawn = |ids| {
                let spawned = thread::Builder::new()
                    .name("recover".to_owned())
                    .spawn_scoped(scope, move || take_up(ids));
                (ids, spawned)
            };
            let others: Vec<_> = shares.map(spawn).collect();
            let mut found = take_up(own);
            for (ids, spawned) in others {
                found.extend(match spawned {
                    Ok(reader) => reader.join().expect("a panic ends the process"),
                    Err(_) => take_up(ids), // without a thread of its own
                });
            }
            found
        })
    }

    /// What a killed run had written and not synced yet is here, and could still be lost with the power: whoever hears of
    /// a transfer from now on must find it again.
    fn make_certain(&self, found: &[Recovered]) {
        if self.home.sync_all_of_it() {
            return;
        }
        let folders = found.iter().filter(|found| !found.record.transfer.status.is_final());
        let folders = folders.map(|found| self.folder(found.record.transfer.request_id));
        let sync =
            |path: &Path| File::open(path).and_then(|file| file.sync_all()).map_err(at(Doing::Sync, path));
        let each = folders.map(|folder| sync(&folder.join(RECORD)).and_then(|()| sync(&folder)));
        for error in
            each.chain([sync(self.state_dir()), sync(self.home.upload_dir())]).filter_map(Result::err)
        {
            log::warn!("{error}");
        }
    }

    /// One transfer; nothing when there is none, or it is set aside.
    fn take_up(&self, id: RequestId) -> Option<Recovered> {
        let text = match read_record(&self.folder(id).join(RECORD)) {
            Ok(text) => Ok(text),
            // Nothing was accepted whose record had no name: a kill came before that, or while it was being forgotten.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.remove_empty(id) => return None,
            Err(error) => Err(format!("{RECORD}: {error}")),
        };
        let recovered = text.and_then(|text| self.recover_one(id, &text));
        recovered.inspect_err(|why| self.set_aside(id, why)).ok()
    }

    /// Removes the folder of a transfer that holds no more than a record on its way.
    fn remove_empty(&self, id: RequestId) -> bool {
        let folder = self.folder(id);
        remove_if_there(&folder.join(NEW)).is_ok() && fs::remove_dir(folder).is_ok()
    }

    fn recover_one(&self, id: RequestId, text: &[u8]) -> Result<Recovered, String> {
        let mut record = Record::read(text, id).map_err(|bad| format!("{RECORD}: {bad}"))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_before_the_first_record_has_its_name_leaves_nothing() {
        let dir = std::env::temp_dir().join(format!("towline-recovery-{}", std::process::id()));
        let spool = Spool::open(&dir).unwrap();
        let id = "5207f011-b9cf-4128-9058-5196a78c5f81";
        let folder = spool.state_dir().join(id);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(NEW), "{ \"half\":").unwrap();
        assert!(spool.recover().is_empty());
        let left: Vec<_> =
            fs::read_dir(spool.state_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains(id)), "{left:?}");
        fs::remove_dir_all(dir).unwrap();
    }
}
