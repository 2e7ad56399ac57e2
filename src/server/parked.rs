//! Callers that wait: for a transfer's end, for a listing. Each is kept as its unanswered request, without a thread;
//! whoever ends what it waits for answers it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tiny_http::Request;

use super::Server;
use super::callers::{Caller, forbidden};
use super::replies::{self, Answer};
use crate::keys::Operator;
use crate::limits;
use crate::names::{ClientId, RequestId};
use crate::protocol::Entry;
use crate::transfer::{Status, Transfer};

/// What a caller wants to hear when its time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wants {
    /// The transfer's state, whatever it is, as 200: `GET …?wait=`.
    State,
    /// How it ended, told by the status code: `POST …?wait=`.
    Outcome,
    /// The same, when an earlier request began it.
    OutcomeAgain,
    /// What this agent offers.
    Listing(ClientId, View),
}

/// What a caller may see of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    operator: Arc<Operator>,
    /// The folder that is listed, without a slash at its end; nothing for the shares.
    folder: Option<String>,
}

impl View {
    /// # Errors
    /// When the caller's key reaches nothing in it.
    pub(super) fn new(caller: &Caller, path: Option<&str>) -> Result<View, Answer> {
        let folder = path.map(|path| path.strip_suffix('/').unwrap_or(path));
        let folder = folder.filter(|folder| !folder.is_empty()).map(str::to_owned);
        caller.operator.reach_into(folder.as_deref()).map_err(|lack| forbidden(&lack))?;
        Ok(View { operator: caller.operator.clone(), folder })
    }

    fn shows(&self, entry: &Entry) -> bool {
        match &self.folder {
            Some(folder) => self.operator.sees_entry(&format!("{folder}/{}", entry.name), entry.kind),
            None => self.operator.sees_entry(&entry.name, entry.kind),
        }
    }
}

/// An unanswered request.
pub(super) struct Waiting {
    id: RequestId,
    wants: Wants,
    due: u64,
    request: Request,
}

/// An answer and who gets it.
pub(super) struct Reply {
    request: Request,
    answer: Answer,
}

impl Reply {
    /// Sends it; a caller that has gone has no use for it.
    pub(super) fn send(self, server: &Server) {
        server.answer(self.request, self.answer);
    }
}

/// All callers that wait.
#[derive(Default)]
pub(super) struct Parked {
    waiting: HashMap<u64, Waiting>,
    by_id: HashMap<RequestId, Vec<u64>>,
    due: BTreeSet<(u64, u64)>,
    next: u64,
}

impl Parked {
    /// Keeps a caller until `due`.
    ///
    /// # Errors
    /// Gives the request back when too many wait already.
    pub(super) fn park(
        &mut self,
        id: RequestId,
        wants: Wants,
        due: u64,
        request: Request,
    ) -> Result<(), Box<Request>> {
        if self.waiting.len() >= limits::MAX_PARKED {
            return Err(Box::new(request));
        }
        self.next += 1;
        self.by_id.entry(id).or_default().push(self.next);
        self.due.insert((due, self.next));
        self.waiting.insert(self.next, Waiting { id, wants, due, request });
        Ok(())
    }

    /// Everybody who waits for this transfer, which has ended.
    pub(super) fn take_ended(&mut self, transfer: &Transfer) -> Vec<Reply> {
        let waiting = self.take(transfer.request_id);
        waiting.into_iter().map(|waiting| waiting.about(transfer)).collect()
    }

    /// Whoever asked `client` for this listing: no other agent answers for it.
    pub(super) fn take_listing(&mut self, id: RequestId, client: &ClientId) -> Option<Waiting> {
        let is_listing =
            |number: &u64| matches!(&self.waiting[number].wants, Wants::Listing(asked, _) if asked == client);
        if !self.by_id.get(&id)?.iter().all(is_listing) {
            return None;
        }
        self.take(id).pop()
    }

    /// Everybody whose time is over.
    pub(super) fn take_due(&mut self, now: u64) -> Vec<Waiting> {
        let mut over = Vec::new();
        while let Some((due, number)) = self.due.first().copied() {
            if due > now {
                break;
            }
            self.due.remove(&(due, number));
            if let Some(waiting) = self.waiting.remove(&number) {
                if let Some(numbers) = self.by_id.get_mut(&waiting.id) {
                    numbers.retain(|other| *other != number);
                    if numbers.is_empty() {
                        self.by_id.remove(&waiting.id);
                    }
                }
                over.push(waiting);
            }
        }
        over
    }

    /// When the next one's time is over, by the monotonic clock.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }

    fn take(&mut self, id: RequestId) -> Vec<Waiting> {
        let numbers = self.by_id.remove(&id).unwrap_or_default();
        let taken: Vec<Waiting> = numbers.iter().filter_map(|number| self.waiting.remove(number)).collect();
        for (waiting, number) in taken.iter().zip(numbers) {
            self.due.remove(&(waiting.due, number));
        }
        taken
    }
}

impl Waiting {
    /// The answer with what was listed.
    pub(super) fn listed(self, mut entries: Vec<Entry>, truncated: bool) -> Reply {
        if let Wants::Listing(_, view) = &self.wants {
            entries.retain(|entry| view.shows(entry));
        }
        let answer = Answer::json(200, &serde_json::json!({ "entries": entries, "truncated": truncated }));
        Reply { request: self.request, answer }
    }

    /// The answer when the agent said no to a listing.
    pub(super) fn not_listed(self, code: &str, message: &str) -> Reply {
        let status = match code {
            "file_not_found" | "not_shared" => 404,
            "bad_request" => 400,
            "too_many_transfers" => 503,
            _ => 502,
        };
        Reply {
            request: self.request,
            answer: Answer::error(status, "not listed", &format!("{code}: {message}")),
        }
    }

    /// The answer when its time is over.
    pub(super) fn late(self, server: &Server) -> Reply {
        match (&self.wants, server.ask(|hub| hub.transfer(self.id).cloned())) {
            (Wants::State | Wants::Outcome | Wants::OutcomeAgain, Some(transfer)) => self.about(&transfer),
            (Wants::Listing(..), _) => {
                let answer = Answer::error(504, "no answer", "the agent did not answer in time; try again");
                Reply { request: self.request, answer }
            }
            (_, None) => Reply { request: self.request, answer: replies::no_such_transfer() },
        }
    }

    fn about(self, transfer: &Transfer) -> Reply {
        Reply { request: self.request, answer: about(&self.wants, transfer) }
    }
}

/// What a caller that wants this hears of a transfer.
pub(super) fn about(wants: &Wants, transfer: &Transfer) -> Answer {
    match wants {
        Wants::Outcome => outcome(transfer),
        Wants::OutcomeAgain => replies::replayed(outcome(transfer)),
        Wants::State | Wants::Listing(..) => Answer::json(200, transfer),
    }
}

/// How a transfer stands, told by the status code, as README has it under "The API".
fn outcome(transfer: &Transfer) -> Answer {
    let status = match transfer.status {
        Status::Completed => 200,
        Status::Failed => 502,
        Status::Cancelled => 409,
        Status::Expired => 504,
        Status::Queued | Status::Requested | Status::Receiving | Status::Verifying | Status::Interrupted => {
            202
        }
    };
    Answer::json(status, &replies::accepted(transfer))
}
