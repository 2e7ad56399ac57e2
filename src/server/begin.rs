//! From what is wanted to a transfer whose record is on disk.

use super::Server;
use super::audit::Again;
use super::callers::Caller;
use super::orders::not_connected;
use super::replies::{self, Answer};
use super::wish::Wanted;
use crate::clock;
use crate::hub::{Admitted, Denied, Order};
use crate::names::{ClientId, FileKey, RequestId, Sha256Hash, download_name, printable};
use crate::random;
use crate::record::{Idempotency, IdempotencyKey};
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

/// Accepts one transfer, or finds the one that this request has already: its record is on disk before this returns.
pub(super) fn begin(
    server: &Server,
    client: &ClientId,
    wanted: &Wanted,
    origin: &Origin,
) -> Result<Begun, NoTransfer> {
    let mut is_noted = false;
    let mut note = |id, again| {
        if !std::mem::replace(&mut is_noted, true) {
            server.audit_pull(id, client, wanted, origin, again);
        }
    };
    loop {
        match admit(server, client, wanted, origin)? {
            Admitted::New(transfer) => {
                note(transfer.request_id, Again::No);
                return release(server, transfer).map(Begun::Now);
            }
            Admitted::Again(transfer) => {
                note(transfer.request_id, Again::Yes);
                log::info!("transfer {} is asked for again by={}", transfer.request_id, origin.requested_by);
                return Ok(Begun::Before(transfer));
            }
            // Whoever was first is about to save it. To save it here as well costs less than to wait, and makes it as
            // safe. Should the first be unable to and retract it, there is none the next time round.
            Admitted::Pending(id) => {
                note(id, Again::Yes);
                server.save(id).map_err(|_| NoTransfer::Unsaved)?;
                server.act(|hub, now| hub.release(id, now));
            }
        }
    }
}

/// Finds a name for the download, and asks the hub.
fn admit(
    server: &Server,
    client: &ClientId,
    wanted: &Wanted,
    origin: &Origin,
) -> Result<Admitted, NoTransfer> {
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

fn release(server: &Server, transfer: Transfer) -> Result<Transfer, NoTransfer> {
    let id = transfer.request_id;
    if let Err(error) = server.save(id)
        && server.take_back(id)
    {
        log::error!("transfer {id} of {} is not accepted: {error}", transfer.client_id);
        return Err(NoTransfer::Unsaved);
    }
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
