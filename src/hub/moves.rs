//! The moves of an attempt that goes well, and the end of a transfer. `end` is the only way into a final status.

use std::collections::VecDeque;

use super::held::Held;
use super::{Action, Hub, Now};
use crate::names::{ClientId, RequestId, Sha256Hash};
use crate::protocol::Dialect;
use crate::record::Record;
use crate::transfer::{Failure, Status};

/// What a line may say about a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// It was asked for on this line, and this attempt has not been answered yet.
    Attempt(u32),
    /// It was asked for on this line and is over, or somebody else's matter now.
    Late,
    /// It was never asked for on this line.
    Never,
}

/// Whether an attempt that starts is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Go on.
    Wanted,
    /// It ended in between.
    Unwanted,
}

impl Hub {
    /// What to make of a message about `id` on this line.
    pub fn expected(&self, client: &ClientId, generation: u64, id: RequestId) -> Expected {
        match self.transfers.get(&id) {
            Some(entry) if entry.transfer.client_id == *client && entry.generation == Some(generation) => {
                match entry.transfer.status {
                    Status::Requested => Expected::Attempt(entry.transfer.attempts),
                    _ => Expected::Late,
                }
            }
            // It may have ended, and been forgotten, before its first message came.
            _ if self.was_asked(client, generation, id) => Expected::Late,
            _ => Expected::Never,
        }
    }

    /// The agent has the file open: `requested` → `receiving`.
    pub fn begin(&mut self, id: RequestId, attempt: u32, source_name: String, size: u64) -> Begun {
        match self.transfers.get_mut(&id) {
            Some(entry) if is_at(entry, attempt, &[Status::Requested]) => {
                entry.transfer.source_name = Some(source_name);
                entry.transfer.size = Some(size);
                entry.has_room = false;
                if size < entry.most_bytes {
                    entry.most_bytes = 0; // a smaller file has taken its place, and never gets as far
                }
                if entry.held == Held::Nothing {
                    entry.part = 0; // it is thrown away
                }
                self.set_status(id, Status::Receiving);
                self.set_due(id, None); // its writer counts from here
                Begun::Wanted
            }
            _ => Begun::Unwanted,
        }
    }

    /// Whether this attempt is under way: nobody has ended it.
    pub fn is_receiving(&self, id: RequestId, attempt: u32) -> bool {
        self.transfers.get(&id).is_some_and(|entry| is_at(entry, attempt, &[Status::Receiving]))
    }

    /// `bytes` more of the file are here, for which `on_wire` bytes went over the line, either way.
    pub fn covered(&mut self, id: RequestId, attempt: u32, bytes: u64, on_wire: u64) {
        if let Some(entry) = self.transfers.get_mut(&id)
            && is_at(entry, attempt, &[Status::Receiving])
        {
            entry.transfer.bytes += bytes;
            entry.transfer.bytes_on_wire = entry.transfer.bytes_on_wire.saturating_add(on_wire);
        }
    }

    /// Hash and size agree: `receiving` → `verifying`.
    pub fn verify(&mut self, id: RequestId, attempt: u32, sha256: Sha256Hash) -> Begun {
        match self.transfers.get_mut(&id) {
            Some(entry) if is_at(entry, attempt, &[Status::Receiving]) => {
                entry.transfer.sha256 = Some(sha256);
                entry.transfer.size = Some(entry.transfer.bytes);
                self.set_status(id, Status::Verifying);
                Begun::Wanted
            }
            _ => Begun::Unwanted,
        }
    }

    /// The record says `verifying`; from now on it is too late to cancel. Returns the record as it will be once this is
    /// [`completed`](Hub::complete), or nothing for an attempt that is not wanted any more.
    pub fn publish(&mut self, id: RequestId, attempt: u32, now: Now) -> Option<Record> {
        let entry = self.transfers.get_mut(&id)?;
        if !is_at(entry, attempt, &[Status::Verifying]) {
            return None;
        }
        entry.publishing = Some(now.wall);
        let mut transfer = entry.transfer.clone();
        (transfer.status, transfer.finished_at) = (Status::Completed, Some(now.wall));
        (transfer.expires_at, transfer.failure) = (None, None);
        Some(Record { transfer, idempotency: entry.idempotency.clone() })
    }

    /// The file is published.
    pub fn complete(&mut self, id: RequestId, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.transfers.get(&id).is_some_and(|entry| entry.transfer.status == Status::Verifying) {
            self.end(id, Status::Completed, None, now, &mut actions);
            self.note_latest(id);
            self.dispatch(now, &mut actions);
        }
        actions
    }

    /// The end of a transfer, for good.
    pub(super) fn end(
        &mut self,
        id: RequestId,
        status: Status,
        failure: Option<Failure>,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        self.give_back_slot(id);
        self.set_due(id, None);
        self.part_waits_no_more(id);
        let was = self.entry(id).transfer.status;
        assert!(!was.is_final() && status.is_final(), "an ended transfer never changes");
        self.set_status(id, status);
        let entry = self.entry(id);
        entry.transfer.finished_at = Some(entry.publishing.take().unwrap_or(now.wall));
        entry.transfer.expires_at = None;
        entry.transfer.failure = failure;
        self.unsaved -= usize::from(std::mem::take(&mut entry.unsaved));
        let entry = self.entry(id);
        if status != Status::Completed {
            entry.transfer.sha256 = None;
            actions.push(Action::Stop(id));
        }
        let (seq, client, filename) =
            (entry.seq, entry.transfer.client_id.clone(), entry.transfer.filename.clone());
        self.live.remove(&seq);
        self.ended.push_back(id);
        self.reserved.remove(&filename);
        if let Some(known) = self.clients.get_mut(&client) {
            match was {
                Status::Queued => take_out(&mut known.queue, id),
                Status::Interrupted => known.waiting.retain(|waiting| *waiting != id),
                _running_or_ended => {}
            }
        }
        actions.push(Action::Save(id));
        actions.push(Action::Tell(id));
        self.forget_old_transfers(now, actions);
    }

    /// Tells the agent, if it was asked on a line that is still there and understands.
    pub(super) fn withdraw(&self, id: RequestId, actions: &mut Vec<Action>) {
        let entry = &self.transfers[&id];
        let client = &entry.transfer.client_id;
        if !matches!(entry.transfer.status, Status::Requested | Status::Receiving) {
            return;
        }
        if let Some((generation, Dialect::V2)) = self.clients.get(client).and_then(|known| known.ready())
            && entry.generation == Some(generation)
        {
            let attempt = entry.transfer.attempts;
            actions.push(Action::Withdraw { client: client.clone(), generation, id, attempt });
        }
    }

    pub(super) fn give_back_slot(&mut self, id: RequestId) {
        let transfer = &self.transfers[&id].transfer;
        if matches!(transfer.status, Status::Requested | Status::Receiving | Status::Verifying) {
            let client = transfer.client_id.clone();
            self.slots -= 1;
            self.claims.remove(&id);
            let known = self.clients.get_mut(&client).expect("a client with a slot is known");
            known.slots -= 1;
            known.running.retain(|running| *running != id);
            self.turns.step_back(&client);
        }
    }
}

/// Takes a transfer out of its client's queue; most often it is the first there.
pub(super) fn take_out(queue: &mut VecDeque<RequestId>, id: RequestId) {
    if let Some(at) = queue.iter().position(|queued| *queued == id) {
        queue.remove(at);
    }
}

pub(super) fn is_at(entry: &super::Entry, attempt: u32, statuses: &[Status]) -> bool {
    entry.transfer.attempts == attempt && statuses.contains(&entry.transfer.status)
}
