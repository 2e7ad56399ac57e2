//! From what is wanted to a transfer whose record is on disk.

use std::collections::BTreeMap;

use super::Server;
use super::audit::Again;
use super::callers::Caller;
use super::orders::not_connected;
use super::replies::{self, Answer};
use super::wish::Wanted;
use crate::clock;
use crate::hub::{Admitted, Denied, Order};
use crate::limits;
use crate::names::{ClientId, FileKey, RequestId, Sha256Hash, download_name, printable};
use crate::random;
use crate::record::{Idempotency, IdempotencyKey};
use crate::spool::SpoolError;
use crate::transfer::Transfer;

/// The request that transfers come from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) batch_id: Option<RequestId>,
    pub(super) requested_by: String,
    pub(super) idempotency: Option<Idempotency>,
}

/// A transfer that the request has.
#[derive(Debug)]
pub(super) enum Begun {
    /// It has begun just now.
    Now(Transfer),
    /// It began when the request was made before.
    Before(Transfer),
}

/// Why there is no transfer.
#[derive(Debug)]
pub(super) enum NoTransfer {
    /// The hub says no.
    Denied(Denied),
    /// The server's disk does not take its record.
    Unsaved,
}

impl Origin {
    /// A request by `caller` that may be repeated when it has a key, and then asks for what `request` is the hash of.
    pub(super) fn new(caller: &Caller, key: Option<IdempotencyKey>, request: Sha256Hash) -> Origin {
        let name = caller.name().to_owned();
        let idempotency = key.map(|key| Idempotency { caller: name, key, request });
        Origin { batch_id: None, requested_by: caller.to_string(), idempotency }
    }
}

/// A transfer that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) client: &'a ClientId,
    pub(super) wanted: &'a Wanted,
    pub(super) origin: &'a Origin,
}

/// Accepts these transfers, each as if by itself, or finds those that their requests have already: their records are on
/// disk before this returns. They are written together, so many take hardly longer than one.
pub(super) fn begin(server: &Server, asks: &[Ask<'_>]) -> Vec<Result<Begun, NoTransfer>> {
    let at_once = asks.chunks(limits::SAVES_TOGETHER);
    at_once.flat_map(|asks| begin_together(server, asks)).collect()
}

fn begin_together(server: &Server, asks: &[Ask<'_>]) -> Vec<Result<Begun, NoTransfer>> {
    let mut results: Vec<Option<Result<Begun, NoTransfer>>> = asks.iter().map(|_| None).collect();
    let mut is_noted = vec![false; asks.len()];
    while results.iter().any(Option::is_none) {
        let (mut new, mut pending) = (Vec::new(), Vec::new());
        for (number, ask) in asks.iter().enumerate() {
            if results[number].is_some() {
                continue;
            }
            let (id, again) = match admit(server, ask) {
                Ok(Admitted::New(transfer)) => {
                    new.push((number, transfer.request_id));
                    (transfer.request_id, Again::No)
                }
                // Whoever was first is about to save it: one of these, or another thread. To save it here as well costs
                // less than to wait, and makes it as safe. Should the first be unable to and retract it, there is none
                // the next time round.
                Ok(Admitted::Pending(id)) => {
                    pending.push((number, id));
                    (id, Again::Yes)
                }
                Ok(Admitted::Again(transfer)) => {
                    let (id, by) = (transfer.request_id, &ask.origin.requested_by);
                    log::info!("transfer {id} is asked for again by={by}");
                    results[number] = Some(Ok(Begun::Before(transfer)));
                    (id, Again::Yes)
                }
                Err(why) => {
                    results[number] = Some(Err(why));
                    continue;
                }
            };
            if !std::mem::replace(&mut is_noted[number], true) {
                server.audit_pull(id, ask, again);
            }
        }
        let mut ids: Vec<RequestId> = new.iter().chain(&pending).map(|(_, id)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        let saved: BTreeMap<RequestId, Result<(), SpoolError>> =
            ids.iter().copied().zip(server.save_all(&ids)).collect();
        for (number, id) in new {
            results[number] = Some(release(server, id, &saved[&id]).map(Begun::Now));
        }
        for (number, id) in pending {
            match &saved[&id] {
                Ok(()) => server.act(|hub, now| hub.release(id, now)), // and found the next time round
                Err(_) => results[number] = Some(Err(NoTransfer::Unsaved)),
            }
        }
    }
    results.into_iter().flatten().collect()
}

/// Finds a name for the download, and asks the hub.
fn admit(server: &Server, ask: &Ask<'_>) -> Result<Admitted, NoTransfer> {
    let Ask { client, wanted, origin } = *ask;
    let id = random::request_id();
    let now = server.now();
    let mut named_for = now.wall;
    loop {
        // Two pulls in one millisecond get two names: the later one takes the next millisecond that is free.
        let filename = download_name(client, &clock::iso8601(named_for), wanted.file_key.as_ref());
        named_for += 1;
        if server.spool.is_taken(&filename) {
            continue;
        }
        let order = Order {
            request_id: id,
            client_id: client.clone(),
            file_key: wanted.file_key.clone(),
            batch_id: origin.batch_id,
            out_path: server.spool.out_path(&filename).display().to_string(),
            filename,
            requested_by: origin.requested_by.clone(),
            max_rate: wanted.max_rate,
            queue_for_ms: wanted.queue_for_ms,
            idempotency: origin.idempotency.clone(),
        };
        match server.ask(|hub| hub.admit(order, now)) {
            Err(Denied::NameTaken) => {}
            admitted => return admitted.map_err(NoTransfer::Denied),
        }
    }
}

/// Its record is saved, or not: it goes on, or never was.
fn release(server: &Server, id: RequestId, saved: &Result<(), SpoolError>) -> Result<Transfer, NoTransfer> {
    if let Err(error) = saved
        && server.take_back(id)
    {
        log::error!("transfer {id} is not accepted: {error}");
        return Err(NoTransfer::Unsaved);
    }
    let released = server.ask(|hub| hub.transfer(id).cloned());
    let transfer = released.ok_or(NoTransfer::Unsaved)?; // it was cancelled, and has been forgotten
    let key = transfer.file_key.as_ref().map_or("null", FileKey::as_str);
    log::info!(
        "transfer {id} accepted clientId={} fileKey={} by={}",
        transfer.client_id,
        printable(key),
        transfer.requested_by
    );
    server.act(|hub, now| hub.release(id, now));
    Ok(server.ask(|hub| hub.transfer(id).cloned()).unwrap_or(transfer))
}

impl NoTransfer {
    /// The short text of the API's `error`.
    pub(super) fn error(&self) -> &'static str {
        match self {
            NoTransfer::Denied(Denied::NotConnected) => "not connected",
            NoTransfer::Denied(Denied::TooMany) => "too many concurrent transfers",
            NoTransfer::Denied(Denied::Impossible(_) | Denied::NameTaken) => "bad request",
            NoTransfer::Denied(Denied::Stopping) => "stopping",
            NoTransfer::Denied(Denied::KeyTaken) => "unprocessable content",
            NoTransfer::Unsaved => "disk full",
        }
    }

    /// The whole answer.
    pub(super) fn answer(&self) -> Answer {
        match self {
            NoTransfer::Denied(Denied::NotConnected) => not_connected(),
            NoTransfer::Denied(Denied::TooMany) => {
                let message = "the queue is full (MAX_QUEUED_TRANSFERS); try again later";
                Answer::error(429, self.error(), message).with("Retry-After", "10")
            }
            NoTransfer::Denied(Denied::Impossible(why)) => replies::bad_request(why),
            NoTransfer::Denied(Denied::NameTaken) => replies::bad_request("the name is taken; try again"),
            NoTransfer::Denied(Denied::Stopping) => {
                Answer::error(503, self.error(), "the server is stopping; try again soon")
                    .with("Retry-After", "10")
            }
            NoTransfer::Denied(Denied::KeyTaken) => {
                let message = "this Idempotency-Key stands for another request of the last 24 hours: send that one unchanged, or this one with a key of its own";
                Answer::error(422, self.error(), message)
            }
            NoTransfer::Unsaved => {
                Answer::error(507, self.error(), "the server can't write to UPLOAD_DIR; its log says why")
            }
        }
    }
}
