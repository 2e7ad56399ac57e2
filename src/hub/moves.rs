//! The moves of a transfer that was accepted. `end` is the only way into a final status.

use super::orders::{Denied, check_possible};
use super::{Action, Hub, Now};
use crate::limits;
use crate::names::{ClientId, RequestId, Sha256Hash};
use crate::protocol::Dialect;
use crate::refusal::RefusalCode;
use crate::transfer::{Failure, FailureCode, Status};

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
            _ => Expected::Never,
        }
    }

    /// The agent has the file open: `requested` → `receiving`.
    pub fn begin(&mut self, id: RequestId, attempt: u32, source_name: String, size: u64) -> Begun {
        match self.transfers.get_mut(&id) {
            Some(entry) if is_at(entry, attempt, &[Status::Requested]) => {
                entry.transfer.status = Status::Receiving;
                entry.transfer.source_name = Some(source_name);
                entry.transfer.size = Some(size);
                self.set_due(id, None); // its writer counts from here
                Begun::Wanted
            }
            _ => Begun::Unwanted,
        }
    }

    /// `length` more bytes of payload are stored.
    pub fn stored(&mut self, id: RequestId, attempt: u32, length: u64) {
        if let Some(entry) = self.transfers.get_mut(&id)
            && is_at(entry, attempt, &[Status::Receiving])
        {
            entry.transfer.bytes += length;
            entry.transfer.bytes_on_wire += length;
        }
    }

    /// Hash and size agree: `receiving` → `verifying`.
    pub fn verify(&mut self, id: RequestId, attempt: u32, sha256: Sha256Hash) -> Begun {
        match self.transfers.get_mut(&id) {
            Some(entry) if is_at(entry, attempt, &[Status::Receiving]) => {
                entry.transfer.status = Status::Verifying;
                entry.transfer.sha256 = Some(sha256);
                entry.transfer.size = Some(entry.transfer.bytes);
                Begun::Wanted
            }
            _ => Begun::Unwanted,
        }
    }

    /// The record says `verifying`; from now on it is too late to cancel.
    pub fn publish(&mut self, id: RequestId, attempt: u32) -> Begun {
        match self.transfers.get_mut(&id) {
            Some(entry) if is_at(entry, attempt, &[Status::Verifying]) => {
                entry.publishing = true;
                Begun::Wanted
            }
            _ => Begun::Unwanted,
        }
    }

    /// The file is published.
    pub fn complete(&mut self, id: RequestId, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.transfers.get(&id).is_some_and(|entry| entry.transfer.status == Status::Verifying) {
            self.end(id, Status::Completed, None, now, &mut actions);
            self.dispatch(now, &mut actions);
        }
        actions
    }

    /// An attempt came to nothing: the transfer waits for its client, is tried again, or fails.
    pub fn attempt_failed(&mut self, id: RequestId, attempt: u32, failure: Failure, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        let running = [Status::Requested, Status::Receiving, Status::Verifying];
        let Some(entry) = self.transfers.get_mut(&id).filter(|entry| is_at(entry, attempt, &running)) else {
            return actions;
        };
        entry.publishing = false;
        match failure.code {
            FailureCode::ClientDisconnected => self.interrupt(id, failure, now, &mut actions),
            FailureCode::FileChanged => {
                entry.changed_attempts += 1;
                if entry.changed_attempts < limits::MAX_CHANGED_ATTEMPTS {
                    self.give_back_slot(id);
                    self.entry(id).transfer.failure = Some(failure);
                    self.requeue(id);
                } else {
                    self.end(id, Status::Failed, Some(failure), now, &mut actions);
                }
            }
            _ => {
                if !is_agents_word(failure.code) {
                    self.withdraw(id, &mut actions); // the agent may still be sending
                }
                self.end(id, Status::Failed, Some(failure), now, &mut actions);
            }
        }
        self.dispatch(now, &mut actions);
        actions
    }

    /// The client is gone: the transfer waits for it, unless it has come to nothing too often.
    pub(super) fn interrupt(&mut self, id: RequestId, failure: Failure, now: Now, actions: &mut Vec<Action>) {
        let entry = self.entry(id);
        let was_running = entry.transfer.status != Status::Queued;
        if was_running {
            let progress = entry.transfer.bytes > entry.most_bytes;
            entry.most_bytes = entry.most_bytes.max(entry.transfer.bytes);
            entry.idle_attempts = if progress { 0 } else { entry.idle_attempts + 1 };
            if entry.idle_attempts >= limits::MAX_IDLE_ATTEMPTS {
                return self.end(id, Status::Failed, Some(failure), now, actions);
            }
        }
        self.give_back_slot(id);
        let day = limits::INTERRUPTED_TIME.as_millis() as u64;
        let entry = self.entry(id);
        entry.transfer.status = Status::Interrupted;
        entry.transfer.failure = Some(failure);
        entry.transfer.expires_at = Some(now.wall + day);
        entry.transfer.sha256 = None;
        let client = entry.transfer.client_id.clone();
        self.set_due(id, Some(now.mono + day));
        actions.push(Action::Save(id));
        let known = self.clients.entry(client).or_default();
        known.queue.retain(|queued| *queued != id);
        if known.ready().is_some() {
            self.requeue(id); // it is back before its writer had stopped
        } else {
            known.waiting.push(id);
        }
    }

    /// Puts a transfer at the head of its client's queue.
    pub(super) fn requeue(&mut self, id: RequestId) {
        self.set_due(id, None);
        let entry = self.entry(id);
        entry.transfer.status = Status::Queued;
        entry.transfer.expires_at = None;
        let client = entry.transfer.client_id.clone();
        self.clients.entry(client.clone()).or_default().queue.push_front(id);
        self.turns.join(&client);
    }

    /// Gives free slots to whose turn it is.
    pub(super) fn dispatch(&mut self, now: Now, actions: &mut Vec<Action>) {
        while self.slots < self.config.max_concurrent && !self.stopping {
            let (clients, most) = (&self.clients, self.config.max_per_client);
            let may = |client: &ClientId| {
                clients.get(client).is_some_and(|known| known.ready().is_some() && known.slots < most)
            };
            let Some(client) = self.turns.take(may) else { return };
            let known = self.clients.get_mut(&client).expect("only known clients may be served");
            let Some(id) = known.queue.pop_front() else { continue };
            if !known.queue.is_empty() {
                self.turns.join(&client);
            }
            self.request(id, &client, now, actions);
        }
    }

    /// `queued` → `requested`, with a slot.
    fn request(&mut self, id: RequestId, client: &ClientId, now: Now, actions: &mut Vec<Action>) {
        let known = self.clients.get_mut(client).expect("a client whose turn it is is known");
        let (generation, dialect) = known.ready().expect("only clients that are ready get a turn");
        known.slots += 1;
        self.slots += 1;
        let entry = self.entry(id);
        let transfer = &mut entry.transfer;
        transfer.status = Status::Requested;
        transfer.attempts += 1;
        transfer.bytes = 0;
        transfer.sha256 = None;
        transfer.started_at.get_or_insert(now.wall);
        entry.generation = Some(generation);
        // A record that says otherwise would be taken at its word after a restart.
        let is_outdated = transfer.expires_at.is_some() || transfer.attempts > 1;
        transfer.expires_at = None;
        let (attempt, file_key, max_rate) = (transfer.attempts, transfer.file_key.clone(), transfer.max_rate);
        // A transfer that was queued for an offline client meets its dialect only now.
        if let Err(Denied::Impossible(why)) = check_possible(dialect, file_key.as_ref(), max_rate) {
            let failure = Failure::new(FailureCode::BadRequest, why);
            return self.end(id, Status::Failed, Some(failure), now, actions);
        }
        self.set_due(id, Some(now.mono + self.config.stall_ms));
        let client = client.clone();
        actions.push(Action::Request { client, generation, dialect, id, file_key, attempt, max_rate });
        if is_outdated {
            actions.push(Action::Save(id));
        }
    }

    /// A transfer's time is over: it was not answered, or its client did not come.
    pub(super) fn transfer_is_due(&mut self, id: RequestId, now: Now, actions: &mut Vec<Action>) {
        let entry = self.entry(id);
        entry.due = None;
        let (status, client) = (entry.transfer.status, entry.transfer.client_id.clone());
        let connected = self.clients.get(&client).is_some_and(|known| known.connection.is_some());
        match status {
            Status::Requested => {
                let seconds = self.config.stall_ms / 1000;
                let message = format!("the client did not answer the request within {seconds} s");
                self.withdraw(id, actions);
                let failure = Failure::new(FailureCode::Stalled, message);
                self.end(id, Status::Failed, Some(failure), now, actions);
            }
            Status::Queued if connected => self.entry(id).transfer.expires_at = None, // it came; now it only waits its turn
            Status::Queued | Status::Interrupted => {
                let failure = Failure::new(FailureCode::Expired, "the client did not come in time");
                self.end(id, Status::Expired, Some(failure), now, actions);
            }
            Status::Receiving
            | Status::Verifying
            | Status::Completed
            | Status::Failed
            | Status::Cancelled
            | Status::Expired => {}
        }
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
        let entry = self.entry(id);
        assert!(!entry.transfer.status.is_final() && status.is_final(), "an ended transfer never changes");
        entry.transfer.status = status;
        entry.transfer.finished_at = Some(now.wall);
        entry.transfer.expires_at = None;
        entry.transfer.failure = failure;
        self.held -= usize::from(std::mem::take(&mut entry.held));
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
            known.queue.retain(|queued| *queued != id);
            known.waiting.retain(|waiting| *waiting != id);
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
            actions.push(Action::Withdraw { client: client.clone(), generation, id });
        }
    }

    fn give_back_slot(&mut self, id: RequestId) {
        let transfer = &self.transfers[&id].transfer;
        if matches!(transfer.status, Status::Requested | Status::Receiving | Status::Verifying) {
            let client = transfer.client_id.clone();
            self.slots -= 1;
            self.clients.get_mut(&client).expect("a client with a slot is known").slots -= 1;
            self.turns.step_back(&client);
        }
    }
}

fn is_at(entry: &super::Entry, attempt: u32, statuses: &[Status]) -> bool {
    entry.transfer.attempts == attempt && statuses.contains(&entry.transfer.status)
}

/// Whether the agent itself said so, and so has stopped already.
fn is_agents_word(code: FailureCode) -> bool {
    code == FailureCode::AgentError
        || RefusalCode::ALL.into_iter().any(|word| FailureCode::from(word) == code)
}
