//! What operators ask for: a new transfer, a list, a cancel.

use super::clients::client_is_gone;
use super::{Action, Entry, Held, Hub, Now};
use crate::limits;
use crate::names::{ClientId, FileKey, RequestId, SharedPath};
use crate::protocol::Dialect;
use crate::record::{Idempotency, Record};
use crate::transfer::{Status, Transfer};

/// A new transfer.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its id, fresh.
    pub request_id: RequestId,
    /// Whose file.
    pub client_id: ClientId,
    /// Which file.
    pub file_key: Option<FileKey>,
    /// The batch that it is of.
    pub batch_id: Option<RequestId>,
    /// The name of the download; must not exist.
    pub filename: String,
    /// Its whole path.
    pub out_path: String,
    /// Who asks.
    pub requested_by: String,
    /// Bytes a second.
    pub max_rate: Option<u64>,
    /// How long it may wait for a client that is not connected, in milliseconds.
    pub queue_for_ms: Option<u64>,
    /// The request that it is of, when that can be repeated.
    pub idempotency: Option<Idempotency>,
}

/// What an order has come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Admitted {
    /// A transfer, which is held back until its record is saved.
    New(Transfer),
    /// The request was made before, and this is its transfer as it stands.
    Again(Transfer),
    /// The same, but its record is not known to be saved yet. Whoever saves it may release it.
    Pending(RequestId),
}

/// Why a transfer was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// No such client, or it is offline and the order does not wait.
    NotConnected,
    /// The queue is full.
    TooMany,
    /// Another transfer has the name; take another one.
    NameTaken,
    /// The client can't do what is asked; the text says why.
    Impossible(String),
    /// The server stops.
    Stopping,
    /// The Idempotency-Key stands for another request.
    KeyTaken,
}

/// Why a transfer was not cancelled.
#[derive(Debug, Clone, PartialEq)]
pub enum Uncancellable {
    /// No such transfer.
    Unknown,
    /// It has ended, or is being published.
    TooLate(Box<Transfer>),
}

/// Which transfers to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this client.
    pub client_id: Option<ClientId>,
    /// With this status.
    pub status: Option<Status>,
    /// Of this batch.
    pub batch_id: Option<RequestId>,
    /// Older than this.
    pub before: Option<Cursor>,
}

/// A place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// Asked for before this moment, in milliseconds since the epoch.
    Time(u64),
    /// Asked for before this transfer.
    Transfer(RequestId),
}

impl Hub {
    /// Accepts a transfer and reserves its name. It is held back until [`Hub::release`], so that its record can be
    /// on disk before anything else happens; [`Hub::retract`] takes it back.
    ///
    /// A request that was made before, by its key, gets the transfer that it has for this client. That comes first:
    /// it is answered also when nothing new is accepted.
    ///
    /// # Errors
    /// Says why it was not accepted; nothing has changed then.
    pub fn admit(&mut self, mut order: Order, now: Now) -> Result<Admitted, Denied> {
        if let Some(request) = self.earlier(order.idempotency.as_ref(), now)? {
            if let Some(id) = request.transfers.get(&order.client_id) {
                let entry = &self.transfers[id];
                return Ok(match entry.unsaved {
                    true => Admitted::Pending(*id),
                    false => Admitted::Again(entry.transfer.clone()),
                });
            }
            order.batch_id = request.batch_id;
        }
        if self.stopping {
            return Err(Denied::Stopping);
        }
        let client = self.clients.get(&order.client_id).ok_or(Denied::NotConnected)?;
        if client.connection.is_none() && order.queue_for_ms.is_none() {
            return Err(Denied::NotConnected);
        }
        if let Some((_, dialect)) = client.ready() {
            check_possible(dialect, order.file_key.as_ref(), order.max_rate)?;
        }
        let starts_at_once = client.ready().is_some()
            && client.queue.is_empty()
            && client.slots < self.config.max_per_client
            && self.slots + self.unsaved < self.config.max_concurrent;
        let queued = self.lists.count(Status::Queued);
        if (!starts_at_once && queued >= self.config.max_queued)
            || self.live.len() >= limits::MAX_LIVE_TRANSFERS
        {
            return Err(Denied::TooMany);
        }
        if !self.reserved.insert(order.filename.clone()) {
            return Err(Denied::NameTaken);
        }
        let expires_at =
            order.queue_for_ms.filter(|_| client.connection.is_none()).map(|time| now.wall + time);
        let idempotency = order.idempotency.take();
        let transfer = new_transfer(order, expires_at, now);
        self.unsaved += 1;
        let record = Record { transfer: transfer.clone(), idempotency };
        self.insert(Entry { unsaved: true, ..Entry::new(record) });
        Ok(Admitted::New(transfer))
    }

    /// The record is on disk: the transfer joins its client's queue.
    pub fn release(&mut self, id: RequestId, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(entry) = self.transfers.get_mut(&id) else { return actions }; // cancelled, and forgotten
        if !std::mem::take(&mut entry.unsaved) {
            return actions;
        }
        let (client, expires_at) = (entry.transfer.client_id.clone(), entry.transfer.expires_at);
        self.unsaved -= 1;
        self.set_due(id, expires_at.map(|at| now.mono + at.saturating_sub(now.wall)));
        let known = self.clients.entry(client.clone()).or_default();
        known.queue.push_back(id);
        let is_gone = known.connection.is_none();
        if known.ready().is_some() {
            self.turns.join(&client); // else when it is
        }
        if is_gone && expires_at.is_none() {
            self.interrupt(id, client_is_gone(), now, &mut actions); // while its record was written
        }
        self.dispatch(now, &mut actions);
        actions
    }

    /// The record could not be saved: the transfer never was, and its key is free. Returns whether that is so: not
    /// when it was released, because somebody else has saved it, or has ended.
    pub fn retract(&mut self, id: RequestId) -> bool {
        if !self.transfers.get(&id).is_some_and(|entry| entry.unsaved) {
            return false;
        }
        if let Some(entry) = self.transfers.remove(&id) {
            self.unsaved -= 1;
            self.lists.remove(&entry.transfer, entry.seq);
            self.live.remove(&entry.seq);
            self.reserved.remove(&entry.transfer.filename);
            if let Some(made) = &entry.idempotency {
                self.repeats.forget(made, &entry.transfer);
            }
        }
        true
    }

    /// Ends a transfer by an operator's wish.
    ///
    /// # Errors
    /// When there is none, or it is too late.
    pub fn cancel(&mut self, id: RequestId, now: Now) -> Result<Vec<Action>, Uncancellable> {
        let entry = self.transfers.get(&id).ok_or(Uncancellable::Unknown)?;
        if entry.transfer.status.is_final() || entry.publishing.is_some() {
            return Err(Uncancellable::TooLate(Box::new(entry.transfer.clone())));
        }
        let mut actions = Vec::new();
        self.withdraw(id, &mut actions);
        self.end(id, Status::Cancelled, None, now, &mut actions);
        self.dispatch(now, &mut actions);
        Ok(actions)
    }

    /// Takes up a transfer that was found on disk when the server started: what had not ended waits for its client.
    ///
    /// Transfers come oldest first. What was in the middle of something is shown as `why` says, and has `part` bytes.
    pub fn restore(
        &mut self,
        mut record: Record,
        part: u64,
        why: crate::transfer::Failure,
        now: Now,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let transfer = &mut record.transfer;
        let id = transfer.request_id;
        self.clients.entry(transfer.client_id.clone()).or_default();
        if transfer.status.is_final() {
            self.insert(Entry::new(record));
            self.note_latest(id);
            self.forget_old_transfers(now, &mut actions);
            return actions;
        }
        let is_queued = transfer.status == Status::Queued;
        let day = limits::INTERRUPTED_TIME.as_millis() as u64;
        if !is_queued {
            transfer.status = Status::Interrupted;
            transfer.failure = Some(why);
        }
        if !is_queued || transfer.expires_at.is_none() {
            transfer.expires_at.get_or_insert(now.wall + day);
            actions.push(Action::Save(id));
        }
        let (client, expires_at) = (transfer.client_id.clone(), transfer.expires_at);
        self.reserved.insert(transfer.filename.clone());
        transfer.bytes = part;
        self.insert(Entry { most_bytes: part, part, ..Entry::new(record) });
        if part > 0 {
            self.part_waits(id, &mut actions);
        }
        self.set_due(id, expires_at.map(|at| now.mono + at.saturating_sub(now.wall)));
        let known = self.clients.entry(client.clone()).or_default();
        if is_queued {
            known.queue.push_back(id);
        } else {
            known.waiting.push(id);
        }
        actions
    }

    fn insert(&mut self, mut entry: Entry) {
        entry.seq = self.next_seq;
        self.next_seq += 1;
        let id = entry.transfer.request_id;
        self.lists.add(&entry.transfer, entry.seq);
        if let Some(made) = &entry.idempotency {
            self.repeats.note(made, &entry.transfer);
        }
        if entry.transfer.status.is_final() {
            self.ended.push_back(id);
        } else {
            self.live.insert(entry.seq, id);
        }
        self.transfers.insert(id, entry);
    }
}

impl Entry {
    fn new(Record { transfer, idempotency }: Record) -> Entry {
        Entry {
            transfer,
            idempotency,
            seq: 0,
            generation: None,
            due: None,
            most_bytes: 0,
            idle_attempts: 0,
            changed_attempts: 0,
            mismatched_attempts: 0,
            dialect: None,
            part: 0,
            held: Held::Nothing,
            has_room: false,
            unsaved: false,
            publishing: None,
        }
    }
}

/// What a client that speaks this dialect can do.
pub(super) fn check_possible(
    dialect: Dialect,
    file_key: Option<&FileKey>,
    max_rate: Option<u64>,
) -> Result<(), Denied> {
    match dialect {
        Dialect::V1 if max_rate.is_some() => {
            Err(Denied::Impossible("maxRate needs a Towline agent; this client speaks v1".to_owned()))
        }
        Dialect::V1 => Ok(()),
        Dialect::V2 => match file_key.map(SharedPath::parse) {
            Some(Err(bad)) => Err(Denied::Impossible(bad.to_string())),
            Some(Ok(_)) | None => Ok(()),
        },
    }
}

fn new_transfer(order: Order, expires_at: Option<u64>, now: Now) -> Transfer {
    Transfer {
        request_id: order.request_id,
        client_id: order.client_id,
        file_key: order.file_key,
        batch_id: order.batch_id,
        status: Status::Queued,
        filename: order.filename,
        out_path: order.out_path,
        source_name: None,
        size: None,
        bytes: 0,
        bytes_on_wire: 0,
        sha256: None,
        attempts: 0,
        requested_by: order.requested_by,
        max_rate: order.max_rate,
        created_at: now.wall,
        started_at: None,
        finished_at: None,
        expires_at,
        failure: None,
    }
}
