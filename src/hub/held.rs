//! What the server has of a file before an attempt: the part that an earlier one left, and the last download.

use super::{Action, Hub};
use crate::names::{ClientId, FileKey, RequestId};
use crate::protocol::Dialect;
use crate::transfer::Status;

/// What an attempt begins with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Held {
    /// Nothing. What an earlier attempt may have left is thrown away.
    #[default]
    Nothing,
    /// Bytes of an earlier state of the file, from 0 on: in the part, and behind its end in an older download.
    Some {
        /// How many.
        bytes: u64,
        /// The download's file name.
        older: Option<String>,
    },
}

/// Which file of which client.
pub(super) type Source = (ClientId, Option<FileKey>);

impl Held {
    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        match self {
            Held::Nothing => 0,
            Held::Some { bytes, .. } => *bytes,
        }
    }
}

impl Hub {
    /// What the attempt that was asked for last began with.
    pub fn held(&self, id: RequestId) -> Held {
        self.transfers.get(&id).map(|entry| entry.held.clone()).unwrap_or_default()
    }

    /// What an attempt can begin with. After a wrong hash the part is mended by itself; after another one it is not
    /// believed any more.
    pub(super) fn what_is_held(&self, id: RequestId, dialect: Dialect) -> Held {
        let entry = &self.transfers[&id];
        if dialect == Dialect::V1 || entry.mismatched_attempts > 1 {
            return Held::Nothing;
        }
        let latest = self.latest.get(&source(entry)).filter(|_| entry.mismatched_attempts == 0);
        let older = latest.map(|latest| &self.transfers[latest].transfer);
        let bytes = entry.part.max(older.and_then(|older| older.size).unwrap_or(0));
        match bytes {
            0 => Held::Nothing,
            bytes => Held::Some { bytes, older: older.map(|older| older.filename.clone()) },
        }
    }

    /// A completed transfer is what the next pull of this file begins with.
    pub(super) fn note_latest(&mut self, id: RequestId) {
        let entry = &self.transfers[&id];
        if entry.transfer.status != Status::Completed {
            return;
        }
        let finished = |id: &RequestId| self.transfers[id].transfer.finished_at;
        let source = source(entry);
        if self.latest.get(&source).is_none_or(|before| finished(before) <= entry.transfer.finished_at) {
            self.latest.insert(source, id);
        }
    }

    /// A transfer is about to be forgotten.
    pub(super) fn note_forgotten(&mut self, id: RequestId) {
        let Some(source) = self.transfers.get(&id).map(source) else { return };
        if self.latest.get(&source) == Some(&id) {
            self.latest.remove(&source);
        }
    }

    /// An attempt has ended, and another one will follow: its part takes room until then. When all that wait take too
    /// much, those that were asked for first begin again.
    pub(super) fn part_waits(&mut self, id: RequestId, actions: &mut Vec<Action>) {
        let entry = self.entry(id);
        entry.part = entry.part.max(entry.transfer.bytes);
        let (seq, part) = (entry.seq, entry.part);
        if part == 0 || entry.dialect == Some(Dialect::V1) {
            entry.part = 0; // a v1 client will start again; and what was given up may still be there
            return actions.push(Action::Discard(id));
        }
        self.waiting_bytes += part - self.waiting_parts.insert(seq, part).unwrap_or(0);
        while self.waiting_bytes > self.config.max_spool_bytes
            && let Some((seq, part)) = self.waiting_parts.pop_first()
        {
            self.waiting_bytes -= part;
            let id = self.live[&seq];
            self.entry(id).part = 0;
            actions.push(Action::Discard(id));
        }
    }

    /// The part is in use again, or gone.
    pub(super) fn part_waits_no_more(&mut self, id: RequestId) {
        if let Some(part) = self.waiting_parts.remove(&self.transfers[&id].seq) {
            self.waiting_bytes -= part;
        }
    }

    /// Whether the part of this transfer was given up, and is not in use.
    pub fn is_part_given_up(&self, id: RequestId) -> bool {
        self.transfers.get(&id).is_some_and(|entry| {
            entry.part == 0 && matches!(entry.transfer.status, Status::Queued | Status::Interrupted)
        })
    }
}

fn source(entry: &super::Entry) -> Source {
    (entry.transfer.client_id.clone(), entry.transfer.file_key.clone())
}
