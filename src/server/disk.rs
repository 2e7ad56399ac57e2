//! The server and its disk: every record is written until the disk has taken it, and whether there is room.
//!
//! A disk that takes nothing for a while must not leave records behind that are out of date: what could not be saved is
//! noted, and the timekeeper saves it again until it is. While nothing is noted nobody wakes up for it.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Condvar, Mutex, PoisonError};

use super::Server;
use super::replies::Answer;
use crate::limits;
use crate::lock::lock;
use crate::names::RequestId;
use crate::record::Record;
use crate::spool::{Part, SpoolError};

/// Transfers whose records on disk are out of date. Each is there once, so their number is bounded by that of transfers.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    ids: BTreeSet<RequestId>,
    /// The last one that was tried in this round.
    tried: Option<RequestId>,
    /// When to try the next ones, by the monotonic clock; set as long as there are any.
    due: Option<u64>,
}

impl Unsaved {
    /// Notes one; whether it was not noted before.
    fn add(&mut self, id: RequestId, due: u64) -> bool {
        self.due.get_or_insert(due);
        self.ids.insert(id)
    }

    /// It is saved; whether that was the last one.
    fn remove(&mut self, id: RequestId) -> bool {
        let was_last = self.ids.remove(&id) && self.ids.is_empty();
        if was_last {
            (self.tried, self.due) = (None, None);
        }
        was_last
    }

    /// The next few to try, when it is time.
    fn next(&self, now: u64) -> Vec<RequestId> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let from = self.tried.map_or(Unbounded, Excluded);
        self.ids.range((from, Unbounded)).take(limits::SAVES_AT_ONCE).copied().collect()
    }

    /// `tried` have been tried. When any of them could be saved, the others may be as well, and come at once.
    fn tried(&mut self, tried: &[RequestId], now: u64) {
        if self.ids.is_empty() {
            return; // the last one was saved
        }
        let later = now + limits::SAVE_AGAIN_TIME.as_millis() as u64;
        let any_saved = tried.iter().any(|id| !self.ids.contains(id));
        self.tried = tried.last().copied().filter(|last| self.ids.last() > Some(last));
        self.due = Some(if any_saved && self.tried.is_some() { now } else { later });
    }

    /// When the timekeeper has something to do here.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due
    }
}

/// Makes what is done to the records of one transfer follow each other.
#[derive(Debug, Default)]
pub(super) struct Saving {
    busy: Mutex<Busy>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Busy {
    ids: HashSet<RequestId>,
    /// Who waits for one of them; most often nobody does.
    waiting: usize,
}

/// Nobody else writes or removes these records, or removes their parts, as long as this is there.
pub(super) struct Turn<'s> {
    saving: &'s Saving,
    ids: &'s [RequestId],
}

impl Saving {
    /// Waits until nobody is at any of `ids`, each of which is there once. Who has a turn takes no other one.
    pub(super) fn turn<'s>(&'s self, ids: &'s [RequestId]) -> Turn<'s> {
        let mut busy = lock(&self.busy);
        while ids.iter().any(|id| busy.ids.contains(id)) {
            busy.waiting += 1;
            busy = self.freed.wait(busy).unwrap_or_else(PoisonError::into_inner);
            busy.waiting -= 1;
        }
        busy.ids.extend(ids);
        Turn { saving: self, ids }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut busy = lock(&self.saving.busy);
        self.ids.iter().for_each(|id| {
            busy.ids.remove(id);
        });
        if busy.waiting > 0 {
            self.saving.freed.notify_all();
        }
    }
}

impl Server {
    /// Writes records of transfers, each once, as they stand now; a later save never writes an earlier state. They share
    /// their syncs.
    pub(super) fn save_all(&self, ids: &[RequestId]) -> Vec<Result<(), SpoolError>> {
        let _turn = self.saving.turn(ids);
        let records: Vec<Option<Record>> = self.ask(|hub| ids.iter().map(|id| hub.record(*id)).collect());
        // One that is not there was forgotten in between.
        let there: Vec<Record> = records.iter().flatten().cloned().collect();
        let mut saved = self.spool.save_all(&there).into_iter();
        let mut results = Vec::new();
        for (id, record) in ids.iter().zip(records) {
            let saved = record.map_or(Ok(()), |_| saved.next().expect("an answer for each"));
            results.push(saved.inspect(|()| self.is_saved(*id)));
        }
        results
    }

    /// Writes the record that says what a part holds, and makes that last as well.
    pub(super) fn save_with_part(&self, id: RequestId, part: &Part) -> Result<(), SpoolError> {
        let ids = [id];
        let _turn = self.saving.turn(&ids);
        if let Some(record) = self.ask(|hub| hub.record(id)) {
            self.spool.save_with_part(&record, part)?;
        }
        self.is_saved(id);
        Ok(())
    }

    /// Puts a part under its name. `last`, its record from then on, is written with it, but for its name.
    pub(super) fn publish(&self, part: Part, last: &Record) -> Result<(), SpoolError> {
        let ids = [last.transfer.request_id];
        let _turn = self.saving.turn(&ids);
        self.spool.publish(part, last)
    }

    /// Writes a record as it stands now; what the disk does not take now is saved again until it does.
    pub(super) fn keep_saved(&self, id: RequestId) {
        self.keep_all_saved(&[id]);
    }

    /// The same for several, each once.
    pub(super) fn keep_all_saved(&self, ids: &[RequestId]) {
        for (id, saved) in ids.iter().zip(self.save_all(ids)) {
            let Err(error) = saved else { continue };
            let due = self.now().mono + limits::SAVE_AGAIN_TIME.as_millis() as u64;
            let mut state = self.lock();
            let is_news = state.unsaved.add(*id, due);
            self.wake_timekeeper(&state);
            drop(state);
            if is_news {
                log::error!("the record of {id} is out of date on disk until it can be saved: {error}");
            }
        }
    }

    /// Saves again what could not be saved before, when it is time.
    pub(super) fn save_again(&self) {
        let ids = self.lock().unsaved.next(self.now().mono);
        if ids.is_empty() {
            return;
        }
        self.keep_all_saved(&ids);
        let now = self.now().mono;
        self.lock().unsaved.tried(&ids, now);
    }

    /// Removes a transfer's record and whatever is with it.
    pub(super) fn forget(&self, id: RequestId) {
        let ids = [id];
        let _turn = self.saving.turn(&ids);
        self.spool.forget(id);
        self.lock().unsaved.remove(id);
    }

    /// Takes back a transfer whose record could not be saved; whether it could: not when somebody else has saved it. It
    /// is in turn, so that no save of another writes it once more.
    pub(super) fn take_back(&self, id: RequestId) -> bool {
        let ids = [id];
        let _turn = self.saving.turn(&ids);
        let is_taken_back = self.ask(|hub| hub.retract(id));
        if is_taken_back {
            self.spool.forget(id);
            self.lock().unsaved.remove(id);
        }
        is_taken_back
    }

    /// Gives up the part of a transfer that waits, unless an attempt has begun with it meanwhile.
    pub(super) fn discard(&self, id: RequestId) {
        let ids = [id];
        let _turn = self.saving.turn(&ids);
        if self.ask(|hub| hub.is_part_given_up(id)) {
            self.spool.remove_part(id);
        }
    }

    /// The record of this one is on the disk as it stood when its save began.
    fn is_saved(&self, id: RequestId) {
        let now = self.now().mono;
        let mut state = self.lock();
        let was_last = state.unsaved.remove(id);
        if self.spool.was_made_anew() {
            // The records of all others have gone.
            let others: Vec<RequestId> = state.hub.accepted().filter(|other| *other != id).collect();
            for other in others {
                state.unsaved.add(other, now);
            }
            self.wake_timekeeper(&state);
        }
        drop(state);
        if was_last {
            log::info!("all records are on disk again");
        }
    }

    /// Whether a pull that is asked for now has a chance.
    pub(super) fn readiness(&self) -> Answer {
        let state = self.lock();
        let (is_stopping, is_unsaved) = (state.hub.is_stopping(), state.unsaved.next_due().is_some());
        drop(state);
        if is_stopping {
            return Answer::error(503, "stopping", "the server is stopping");
        }
        if is_unsaved {
            return Answer::error(503, "disk full", "the server can't write to UPLOAD_DIR; its log says why");
        }
        if !self.audit.is_written() {
            return Answer::error(503, "disk full", "the server can't write its audit log; its log says why");
        }
        match self.spool.room() {
            Ok(room) if room >= self.settings.min_free_bytes => {
                Answer::json(200, &serde_json::json!({ "status": "ready" }))
            }
            Ok(_) => {
                let message = "the disk of UPLOAD_DIR has less than MIN_FREE_BYTES: make room there";
                Answer::error(503, "disk full", message)
            }
            Err(error) => Answer::error(503, "disk full", &error.failure().message),
        }
    }

    /// Says at the start what would otherwise only show when a pull fails.
    pub(super) fn warn_of_a_full_disk(&self) {
        let keep = self.settings.min_free_bytes;
        match self.spool.room() {
            Ok(room) if room >= keep => {}
            Ok(room) => log::warn!(
                "the disk of UPLOAD_DIR has {room} bytes free, less than MIN_FREE_BYTES={keep}: pulls fail until there is room"
            ),
            Err(error) => log::warn!("{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: u64 = limits::SAVE_AGAIN_TIME.as_millis() as u64;

    fn ids(count: usize) -> Vec<RequestId> {
        let mut ids: Vec<RequestId> = (0..count).map(|_| crate::random::request_id()).collect();
        ids.sort();
        ids
    }

    #[test]
    fn nothing_is_due_while_nothing_is_unsaved() {
        let mut unsaved = Unsaved::default();
        let id = ids(1)[0];
        assert_eq!((unsaved.next_due(), unsaved.next(9)), (None, vec![]));
        assert!(!unsaved.remove(id));
        assert!(unsaved.add(id, 5) && !unsaved.add(id, 6), "noted once");
        assert_eq!((unsaved.next_due(), unsaved.next(4), unsaved.next(5)), (Some(5), vec![], vec![id]));
        assert!(unsaved.remove(id));
        unsaved.tried(&[id], 7);
        assert_eq!(unsaved.next_due(), None);
    }

    #[test]
    fn a_disk_that_takes_nothing_is_tried_with_a_few_at_a_time_and_all_come_to_their_turn() {
        let mut unsaved = Unsaved::default();
        let ids = ids(2 * limits::SAVES_AT_ONCE + 1);
        ids.iter().for_each(|id| assert!(unsaved.add(*id, 0)));
        let mut seen = Vec::new();
        for round in 0..3 {
            let few = unsaved.next(round * WAIT);
            assert!(few.len() <= limits::SAVES_AT_ONCE);
            unsaved.tried(&few, round * WAIT);
            assert_eq!(unsaved.next_due(), Some((round + 1) * WAIT));
            seen.extend(few);
        }
        assert_eq!(seen, ids);
        assert_eq!(unsaved.next(3 * WAIT), ids[..limits::SAVES_AT_ONCE], "and again from the start");
    }

    #[test]
    fn once_the_disk_takes_records_the_others_follow_at_once() {
        let mut unsaved = Unsaved::default();
        let ids = ids(3 * limits::SAVES_AT_ONCE);
        ids.iter().for_each(|id| assert!(unsaved.add(*id, 0)));
        let (broken, mut rounds) = (ids[5], 0);
        while unsaved.next_due() == Some(0) {
            let few = unsaved.next(0);
            for id in few.iter().filter(|id| **id != broken) {
                unsaved.remove(*id);
            }
            unsaved.tried(&few, 0);
            rounds += 1;
        }
        // One that can't be saved waits, and keeps no other from it.
        assert_eq!((rounds, unsaved.next_due(), unsaved.next(WAIT)), (3, Some(WAIT), vec![broken]));
    }
}
