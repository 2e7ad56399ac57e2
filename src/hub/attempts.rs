//! Attempts: when one begins, what becomes of a transfer when one comes to nothing.

use super::moves::{is_at, take_out};
use super::orders::{Denied, check_possible};
use super::{Action, Hub, Now};
use crate::limits;
use crate::names::{ClientId, RequestId};
use crate::protocol::Dialect;
use crate::refusal::RefusalCode;
use crate::transfer::{Failure, FailureCode, Status};

impl Hub {
    /// An attempt came to nothing: the transfer waits for its client, is tried again, or fails.
    pub fn attempt_failed(&mut self, id: RequestId, attempt: u32, failure: Failure, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        let running = [Status::Requested, Status::Receiving, Status::Verifying];
        let Some(entry) = self.transfers.get_mut(&id).filter(|entry| is_at(entry, attempt, &running)) else {
            return actions;
        };
        entry.publishing = None;
        if failure.code == FailureCode::ClientDisconnected {
            self.interrupt(id, failure, now, &mut actions);
        } else {
            if !is_agents_word(failure.code) {
                self.withdraw(id, &mut actions); // the agent may still be sending
            }
            if self.may_try_again(id, failure.code) {
                self.try_again(id, failure, now, &mut actions);
            } else {
                self.end(id, Status::Failed, Some(failure), now, &mut actions);
            }
        }
        self.dispatch(now, &mut actions);
        actions
    }

    /// Whether another attempt may end better. Attempts of a v1 client can't be told apart, so it has no other on one line.
    fn may_try_again(&mut self, id: RequestId, why: FailureCode) -> bool {
        let entry = self.entry(id);
        let tells_attempts_apart = entry.dialect == Some(Dialect::V2);
        match why {
            FailureCode::FileChanged => {
                entry.changed_attempts += 1;
                entry.changed_attempts < limits::MAX_CHANGED_ATTEMPTS
            }
            FailureCode::ChecksumMismatch if tells_attempts_apart => {
                entry.mismatched_attempts += 1;
                entry.mismatched_attempts < limits::MAX_MISMATCHED_ATTEMPTS
            }
            FailureCode::Stalled if tells_attempts_apart => self.count_attempt(id),
            _ => false,
        }
    }

    /// Counts an attempt that came to nothing; says whether another one may get further.
    fn count_attempt(&mut self, id: RequestId) -> bool {
        let entry = self.entry(id);
        let is_progress = entry.transfer.bytes > entry.most_bytes;
        entry.most_bytes = entry.most_bytes.max(entry.transfer.bytes);
        entry.idle_attempts = if is_progress { 0 } else { entry.idle_attempts + 1 };
        entry.idle_attempts < limits::MAX_IDLE_ATTEMPTS && entry.transfer.attempts < limits::MAX_ATTEMPTS
    }

    fn try_again(&mut self, id: RequestId, failure: Failure, now: Now, actions: &mut Vec<Action>) {
        if !self.is_ready(id) {
            return self.wait_for_client(id, failure, now, actions); // it went before its attempt had ended
        }
        self.give_back_slot(id);
        self.entry(id).transfer.failure = Some(failure);
        self.part_waits(id, actions);
        self.requeue(id);
    }

    /// The client is gone: the transfer waits for it, unless it has come to nothing too often.
    pub(super) fn interrupt(&mut self, id: RequestId, failure: Failure, now: Now, actions: &mut Vec<Action>) {
        let was_running = self.entry(id).transfer.status != Status::Queued;
        if was_running && !self.count_attempt(id) {
            return self.end(id, Status::Failed, Some(failure), now, actions);
        }
        self.wait_for_client(id, failure, now, actions);
    }

    fn wait_for_client(&mut self, id: RequestId, failure: Failure, now: Now, actions: &mut Vec<Action>) {
        let was_running = self.entry(id).transfer.status != Status::Queued;
        self.give_back_slot(id);
        let day = limits::INTERRUPTED_TIME.as_millis() as u64;
        self.set_status(id, Status::Interrupted);
        let entry = self.entry(id);
        entry.transfer.failure = Some(failure);
        entry.transfer.expires_at = Some(now.wall + day);
        entry.transfer.sha256 = None;
        let client = entry.transfer.client_id.clone();
        self.set_due(id, Some(now.mono + day));
        if was_running {
            self.part_waits(id, actions); // that of a queued one waits already, or has been given up
        }
        actions.push(Action::Save(id));
        let known = self.clients.entry(client).or_default();
        if !was_running {
            take_out(&mut known.queue, id);
        }
        if known.ready().is_some() {
            self.requeue(id); // it is back before its writer had stopped
        } else {
            known.waiting.push(id);
        }
    }

    /// Whether the client of this transfer can be asked.
    fn is_ready(&self, id: RequestId) -> bool {
        let client = &self.transfers[&id].transfer.client_id;
        self.clients.get(client).is_some_and(|known| known.ready().is_some())
    }

    /// Puts a transfer back in its client's queue, where it stood: first come, first served.
    pub(super) fn requeue(&mut self, id: RequestId) {
        self.set_due(id, None);
        self.set_status(id, Status::Queued);
        let entry = self.entry(id);
        entry.transfer.expires_at = None;
        let (client, seq) = (entry.transfer.client_id.clone(), entry.seq);
        let queue = &mut self.clients.entry(client.clone()).or_default().queue;
        let at = queue.partition_point(|other| self.transfers[other].seq < seq);
        queue.insert(at, id);
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
        known.running.push(id);
        known.connection.as_mut().expect("a client that is ready is connected").note_asked(id);
        self.slots += 1;
        self.part_waits_no_more(id);
        let held = self.what_is_held(id, dialect);
        let have = held.bytes();
        self.set_status(id, Status::Requested);
        let entry = self.entry(id);
        entry.held = held;
        entry.dialect = Some(dialect);
        let transfer = &mut entry.transfer;
        transfer.attempts = transfer.attempts.saturating_add(1); // a damaged record may say anything
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
        actions.push(Action::Request { client, generation, dialect, id, file_key, attempt, max_rate, have });
        if is_outdated {
            actions.push(Action::Save(id));
        }
    }

    /// A transfer's time is over: it was not answered, or its client did not come.
    pub(super) fn transfer_is_due(&mut self, id: RequestId, now: Now, actions: &mut Vec<Action>) {
        let entry = self.entry(id);
        entry.due = None;
        let (status, attempt) = (entry.transfer.status, entry.transfer.attempts);
        let client = entry.transfer.client_id.clone();
        let connected = self.clients.get(&client).is_some_and(|known| known.connection.is_some());
        match status {
            Status::Requested => {
                let seconds = self.config.stall_ms / 1000;
                let message = format!("the client did not answer the request within {seconds} s");
                let failure = Failure::new(FailureCode::Stalled, message);
                actions.extend(self.attempt_failed(id, attempt, failure, now));
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
}

/// Whether the agent itself said so, and so has stopped already.
fn is_agents_word(code: FailureCode) -> bool {
    code == FailureCode::AgentError
        || RefusalCode::ALL.into_iter().any(|word| FailureCode::from(word) == code)
}
