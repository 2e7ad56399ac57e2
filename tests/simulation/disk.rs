//! The server's disk: records, parts, downloads, and what of them outlives a kill or a power cut. `spool.rs` in memory.
//!
//! What was synced survives. A kill takes nothing that was written; a power cut may undo each name that was made or
//! removed since its folder was synced, and scrambles data that was not.

mod publishing;

use std::collections::BTreeMap;
use std::rc::Rc;

use towline::hash::hash_all;
use towline::names::RequestId;
use towline::transfer::{Failure, FailureCode, Status, Transfer};

use crate::dice::Dice;
use crate::part::{File, Part};

/// Why the disk did not do something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    Full,
    Broken,
    /// The server is no more; what it still does in this step never happened.
    Crashed,
}

impl Trouble {
    pub fn failure(self) -> Failure {
        let code = if self == Trouble::Full { FailureCode::DiskFull } else { FailureCode::WriteFailed };
        Failure::new(code, "simulated")
    }
}

/// How a server ends without having been asked to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Crash {
    Kill,
    PowerCut,
}

#[derive(Default, Clone)]
struct Names {
    record: Option<Rc<str>>,
    part: Option<File>,
}

#[derive(Default)]
struct Folder {
    now: Names,
    /// As of the folder's last sync.
    synced: Names,
    /// Whether the folder itself would survive.
    is_durable: bool,
    /// Its record has a name already, and what it says is not synced.
    is_record_loose: bool,
    /// The next one, synced, without a name. A start does not look at it.
    ready: Option<Rc<str>>,
}

fn text_of(transfer: &Transfer) -> Rc<str> {
    serde_json::to_string(transfer).expect("a transfer holds strings and numbers only").into()
}

/// What is synced for a record.
enum Step {
    Record,
    Folder,
    StateFolder,
}

/// The disk.
#[derive(Default)]
pub struct Disk {
    folders: BTreeMap<RequestId, Folder>,
    /// Folders that were removed, and could come back.
    ghosts: BTreeMap<RequestId, Folder>,
    pub downloads: BTreeMap<String, File>,
    /// Parts that were renamed, before the sync that makes it last.
    renamed: Vec<(RequestId, String)>,
    /// Bytes that may still be written.
    pub room: u64,
    /// One write in so many fails; 0 is none.
    pub trouble_in: u64,
    /// The server crashes when it has done so many pieces of work.
    pub crash_after: Option<u64>,
    pub has_crashed: bool,
    /// What a power cut did.
    pub renames_undone: u64,
    pub ghosts_back: u64,
}

impl Disk {
    pub fn new() -> Disk {
        Disk { room: u64::MAX, ..Disk::default() }
    }

    /// Every piece of work passes here; it may fail, or be where the server crashes.
    pub fn work(&mut self, dice: &mut Dice) -> Result<(), Trouble> {
        self.quiet_work()?;
        match dice.one_in(self.trouble_in) {
            true => Err(dice.pick(&[Trouble::Full, Trouble::Broken])),
            false => Ok(()),
        }
    }

    /// The same, for work that does not fail for want of room.
    fn quiet_work(&mut self) -> Result<(), Trouble> {
        if let Some(left) = &mut self.crash_after {
            self.has_crashed |= *left == 0;
            *left = left.saturating_sub(1);
        }
        if self.has_crashed { Err(Trouble::Crashed) } else { Ok(()) }
    }

    pub fn save(&mut self, transfer: &Transfer, dice: &mut Dice) -> Result<(), Trouble> {
        let id = transfer.request_id;
        if !self.folders.contains_key(&id) {
            self.work(dice)?;
            self.folders.insert(id, Folder::default());
        }
        if transfer.status.is_final() {
            self.remove_part(id);
        }
        let text = text_of(transfer);
        let folder = self.folders.get_mut(&id).expect("it was just made");
        let is_first = folder.now.record.is_none();
        if is_first || folder.ready.take().is_none_or(|ready| ready != text) {
            self.work(dice)?; // write
            if !is_first {
                self.work(dice)?; // sync what is to replace another
            }
        }
        self.quiet_work()?; // rename
        let folder = self.folders.get_mut(&id).expect("it was just made");
        (folder.now.record, folder.is_record_loose) = (Some(text), is_first);
        let synced = self.sync_names(id, is_first, dice);
        if let (true, Err(Trouble::Full | Trouble::Broken)) = (is_first, &synced) {
            let folder = self.folders.get_mut(&id).expect("it was just made");
            (folder.now.record, folder.is_record_loose) = (None, false);
        }
        synced
    }

    /// What makes a name last, one after the other; for a first record that is three things.
    fn sync_names(&mut self, id: RequestId, is_first: bool, dice: &mut Dice) -> Result<(), Trouble> {
        let mut steps = vec![Step::Folder];
        if is_first {
            steps.push(Step::Record);
            steps.push(Step::StateFolder);
            steps.rotate_left(dice.below(3) as usize);
        }
        for step in steps {
            self.work(dice)?;
            let folder = self.folders.get_mut(&id).expect("it was just made");
            match step {
                Step::Record => folder.is_record_loose = false,
                Step::Folder => folder.synced = folder.now.clone(),
                Step::StateFolder => {
                    folder.is_durable = true;
                    self.ghosts.clear();
                }
            }
        }
        Ok(())
    }

    pub fn forget(&mut self, id: RequestId) {
        if self.quiet_work().is_ok()
            && let Some(folder) = self.folders.remove(&id)
            && folder.is_durable
        {
            self.ghosts.insert(id, folder);
        }
    }

    pub fn part(
        &mut self,
        id: RequestId,
        from_nothing: bool,
        older: Option<&str>,
        dice: &mut Dice,
    ) -> Result<Part, Trouble> {
        self.work(dice)?;
        let folder = self.folders.get_mut(&id).ok_or(Trouble::Broken)?;
        let file = folder.now.part.get_or_insert_default().clone();
        if from_nothing {
            file.borrow_mut().set_length(0);
        }
        let older = older.and_then(|older| self.downloads.get(older));
        let older = older.map(|older| (older.clone(), older.borrow().bytes.len() as u64));
        Ok(Part::new(file, older))
    }

    pub fn remove_part(&mut self, id: RequestId) -> bool {
        if self.quiet_work().is_err() {
            return false;
        }
        self.folders.get_mut(&id).is_some_and(|folder| folder.now.part.take().is_some())
    }

    /// What a server finds when it starts, oldest first; and what it set aside.
    pub fn recover(&mut self, now_ms: u64, dice: &mut Dice) -> (Vec<(Transfer, u64)>, Vec<RequestId>) {
        let (mut found, mut aside) = (Vec::new(), Vec::new());
        let ids: Vec<RequestId> = self.folders.keys().copied().collect();
        for id in ids {
            match self.recover_one(id, now_ms, dice) {
                Ok(recovered) => found.push(recovered),
                Err(()) => {
                    self.folders.remove(&id);
                    aside.push(id);
                }
            }
        }
        found.sort_by_key(|(transfer, _)| transfer.created_at);
        (found, aside)
    }

    fn recover_one(&mut self, id: RequestId, now_ms: u64, dice: &mut Dice) -> Result<(Transfer, u64), ()> {
        let record = self.folders[&id].now.record.clone().ok_or(())?;
        let mut transfer: Transfer = serde_json::from_str(&record).map_err(|_| ())?;
        if transfer.status == Status::Verifying && self.is_published(&transfer) {
            transfer.status = Status::Completed;
            transfer.finished_at = Some(now_ms);
            transfer.failure = None;
            let _found_so_again = self.save(&transfer, dice);
        }
        if transfer.status.is_final() {
            self.remove_part(id);
            return Ok((transfer, 0));
        }
        let part = self.folders[&id].now.part.as_ref();
        Ok((transfer, part.map_or(0, |part| part.borrow().bytes.len() as u64)))
    }

    fn is_published(&self, transfer: &Transfer) -> bool {
        let file = self.downloads.get(&transfer.filename);
        file.is_some_and(|file| {
            let hashed = hash_all(&file.borrow().bytes[..]).expect("memory can be read");
            Some(hashed.0) == transfer.sha256
        })
    }

    /// The server is no more.
    pub fn crash(&mut self, crash: Crash, dice: &mut Dice) {
        (self.has_crashed, self.crash_after) = (false, None);
        if crash == Crash::PowerCut {
            self.lose_power(dice);
        }
        self.renamed.clear();
        self.ghosts.clear();
        for folder in self.folders.values_mut() {
            folder.synced = folder.now.clone();
            (folder.is_durable, folder.is_record_loose) = (true, false); // a start syncs what it finds
            folder.ready = None;
            folder.now.part.iter().for_each(|part| part.borrow_mut().outlive());
        }
    }

    fn lose_power(&mut self, dice: &mut Dice) {
        for (id, filename) in std::mem::take(&mut self.renamed) {
            if dice.one_in(2)
                && let Some(file) = self.downloads.remove(&filename)
                && let Some(folder) = self.folders.get_mut(&id)
            {
                folder.now.part = Some(file);
                self.renames_undone += 1;
            }
        }
        for (id, ghost) in std::mem::take(&mut self.ghosts) {
            if dice.one_in(2) {
                self.folders.insert(id, Folder { now: ghost.synced.clone(), ..ghost });
                self.ghosts_back += 1;
            }
        }
        self.folders.retain(|_, folder| folder.is_durable || dice.one_in(2));
        for folder in self.folders.values_mut() {
            if folder.is_record_loose
                && let Some(record) = &mut folder.now.record
            {
                *record = record[..dice.below(record.len() as u64 + 1) as usize].into();
            }
            if dice.one_in(2) {
                folder.now.record.clone_from(&folder.synced.record);
            }
            let is_download = |part: &File| self.downloads.values().any(|file| Rc::ptr_eq(file, part));
            if dice.one_in(2) && !folder.synced.part.as_ref().is_some_and(is_download) {
                folder.now.part.clone_from(&folder.synced.part);
            }
            folder.now.part.iter().for_each(|part| part.borrow_mut().lose_power(dice));
        }
    }

    pub fn has_part(&self, id: RequestId) -> bool {
        self.folders.get(&id).is_some_and(|folder| folder.now.part.is_some())
    }

    pub fn part_file(&self, id: RequestId) -> Option<&File> {
        self.folders.get(&id)?.now.part.as_ref()
    }

    /// The status in the record.
    pub fn saved(&self, id: RequestId) -> Option<Transfer> {
        let record = self.folders.get(&id)?.now.record.as_ref()?;
        serde_json::from_str(record).ok()
    }

    pub fn folders(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.folders.keys().copied()
    }

    /// Somebody damages a record.
    pub fn damage_record(&mut self, id: RequestId) {
        if let Some(folder) = self.folders.get_mut(&id) {
            folder.now.record = folder.now.record.as_ref().map(|text| text[..text.len() / 2].into());
            folder.synced = folder.now.clone();
        }
    }
}
