//! `POST /download/:clientId` and `POST /downloads`: transfers of one client, and of many.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use serde::Serialize;
use serde_json::{Map, Value};
use tiny_http::Request;

use super::Server;
use super::begin::{Ask, Begun, NoTransfer, Origin, begin};
use super::callers::{Caller, forbidden};
use super::control::{self, Turn, body, idempotency_key, named};
use super::parked::Wants;
use super::replies::{self, Answer};
use super::wish::{self, Choice, Wanted};
use crate::audit::About;
use crate::glob;
use crate::hub::Denied;
use crate::limits;
use crate::names::ClientId;
use crate::random;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    client_id: String,
    error: &'static str,
    #[serde(skip)]
    status: u16,
}

/// A transfer that a caller wants, and the caller.
pub(super) struct Wish {
    client: ClientId,
    wanted: Wanted,
    origin: Origin,
    /// For how many seconds to wait for its end.
    wait: Option<u64>,
}

/// One transfer.
pub(super) fn one(
    caller: &Caller,
    client: &str,
    query: &[(String, String)],
    request: &mut Request,
) -> Result<Turn, Answer> {
    let client: ClientId = named(client)?;
    caller.reach_client(client.as_str())?;
    let wait = control::number(query, "wait", limits::MAX_WAIT_SECONDS)?;
    let key = idempotency_key(request)?;
    let wanted = wish::read_one(&body(request)?)?;
    let reach = caller.operator.reach_file(wanted.file_key.as_ref());
    reach.map_err(|lack| forbidden(&lack).about(about(&client, &wanted)))?;
    let hash = wanted.fingerprint(&format!("POST /download/{client}"), None);
    let origin = Origin::new(caller, key, hash);
    Ok(Turn::Order(Box::new(Wish { client, wanted, origin, wait })))
}

/// Begins what is asked for, and answers. All that has come while the disk took the last ones is begun together, so the
/// disk is no bottleneck.
pub(super) fn take_orders(server: &Server, orders: &Receiver<(Wish, Request)>) {
    while let Ok(first) = orders.recv() {
        let (mut wishes, mut requests): (Vec<Wish>, Vec<Request>) = (Vec::new(), Vec::new());
        let more = orders.try_iter().take(limits::SAVES_TOGETHER - 1);
        for (wish, request) in std::iter::once(first).chain(more) {
            wishes.push(wish);
            requests.push(request);
        }
        let asks = wishes.iter().map(|Wish { client, wanted, origin, .. }| Ask { client, wanted, origin });
        let asks: Vec<Ask<'_>> = asks.collect();
        let begun = begin(server, &asks);
        for ((begun, wish), request) in begun.into_iter().zip(&wishes).zip(requests) {
            control::turn(server, outcome(begun, wish), request);
        }
    }
}

fn outcome(begun: Result<Begun, NoTransfer>, wish: &Wish) -> Turn {
    let accepted = |transfer| Answer::json(202, &replies::accepted(transfer));
    match (begun, wish.wait) {
        (Ok(Begun::Now(transfer)), None) => Turn::Answer(accepted(&transfer)),
        (Ok(Begun::Before(transfer)), None) => Turn::Answer(replies::replayed(accepted(&transfer))),
        (Ok(Begun::Now(transfer)), Some(seconds)) => Turn::Park(transfer.request_id, Wants::Outcome, seconds),
        (Ok(Begun::Before(transfer)), Some(seconds)) => {
            Turn::Park(transfer.request_id, Wants::OutcomeAgain, seconds)
        }
        (Err(why), _) => Turn::Answer(why.answer().about(about(&wish.client, &wish.wanted))),
    }
}

fn about(client: &ClientId, wanted: &Wanted) -> About {
    let (client_id, file_key) = (Some(client.clone()), Some(wanted.file_key.clone()));
    About { client_id, file_key, ..About::default() }
}

/// The same for many clients. They take the disk a while, so the caller gets a thread.
pub(super) fn many(server: &Arc<Server>, caller: &Caller, request: &mut Request) -> Result<Turn, Answer> {
    let key = idempotency_key(request)?;
    let (choice, wanted) = wish::read_many(&body(request)?)?;
    let about = About { file_key: Some(wanted.file_key.clone()), ..About::default() };
    if let Err(lack) = caller.operator.reach_file(wanted.file_key.as_ref()) {
        return Err(forbidden(&lack).about(about));
    }
    let hash = wanted.fingerprint("POST /downloads", Some(&choice));
    let batch_id = random::request_id();
    let origin = Origin { batch_id: Some(batch_id), ..Origin::new(caller, key, hash) };
    let (server, caller) = (server.clone(), caller.clone());
    Ok(Turn::Thread(Box::new(move |request| {
        let answer = begin_all(&server, &caller, &choice, &wanted, &origin);
        let answer = answer.unwrap_or_else(|why| why.answer().about(about));
        server.audit_refusal(&request, &answer);
        answer.send(request);
    })))
}

/// A transfer of each client. A batch that was made before has those that it has; clients that have none yet, for the
/// server was stopped in the middle or they were not there, get one.
fn begin_all(
    server: &Server,
    caller: &Caller,
    choice: &Choice,
    wanted: &Wanted,
    origin: &Origin,
) -> Result<Answer, NoTransfer> {
    let now = server.now();
    let before = server.ask(|hub| hub.begun(origin.idempotency.as_ref(), now));
    let before = before.map_err(NoTransfer::Denied)?;
    let (mut transfers, mut refused, mut is_new) = (Vec::new(), Vec::new(), true);
    let mut clients = select(server, caller, choice, &mut refused);
    refused.retain(|refused| before.iter().all(|client| client.as_str() != refused.client_id));
    clients.extend(before);
    // Also one that it reached when it made this request before.
    clients.retain(|client| {
        let is_reached = caller.operator.sees_client(client);
        if !is_reached {
            refused.push(Refused { client_id: client.to_string(), error: "forbidden", status: 403 });
        }
        is_reached
    });
    clients.sort();
    clients.dedup();
    let asks: Vec<Ask<'_>> = clients.iter().map(|client| Ask { client, wanted, origin }).collect();
    for (client, begun) in clients.iter().zip(begin(server, &asks)) {
        match begun {
            Ok(Begun::Now(transfer)) => transfers.push(transfer),
            Ok(Begun::Before(transfer)) => {
                transfers.push(transfer);
                is_new = false;
            }
            // Another batch was faster with this key, so none of ours is there.
            Err(why @ NoTransfer::Denied(Denied::KeyTaken)) => return Err(why),
            Err(why) => {
                let (error, status) = (why.error(), why.answer().status());
                refused.push(Refused { client_id: client.to_string(), error, status });
            }
        }
    }
    for Refused { client_id, error, status } in &refused {
        server.audit_left_out(client_id, *status, error, wanted, origin);
    }
    // A repeat has the first one's batch.
    let batch_id = transfers.first().map_or(origin.batch_id, |transfer| transfer.batch_id);
    let answer = serde_json::json!({ "batchId": batch_id, "transfers": transfers, "refused": refused });
    let answer = Answer::json(202, &answer);
    Ok(if is_new { answer } else { replies::replayed(answer) })
}

/// The clients that a batch means. One that is named in full and is not connected is tried all the same, so
/// that the caller hears of it; so is one that its key does not reach. Patterns and labels choose among those that it
/// reaches: of the others it learns nothing.
fn select(server: &Server, caller: &Caller, choice: &Choice, refused: &mut Vec<Refused>) -> Vec<ClientId> {
    let Choice { patterns, meta } = choice;
    let now = server.now();
    let mut connected = server.ask(|hub| hub.clients(now, |_| None));
    connected.retain(|client| caller.operator.sees_client(&client.client_id));
    let matches = |client: &ClientId| patterns.iter().any(|pattern| glob::matches(pattern, client.as_str()));
    let has_labels =
        |labels: &Map<String, Value>| meta.iter().all(|(key, value)| labels.get(key) == Some(value));
    let mut chosen: Vec<ClientId> = connected
        .iter()
        .filter(|client| matches(&client.client_id) && has_labels(&client.meta))
        .map(|client| client.client_id.clone())
        .collect();
    for named in patterns.iter().filter(|pattern| !pattern.contains('*')) {
        match named.parse::<ClientId>() {
            Ok(client) if connected.iter().any(|known| known.client_id == client) => {}
            Ok(client) if meta.is_empty() || !caller.operator.sees_client(&client) => chosen.push(client),
            _ => refused.push(Refused { client_id: named.clone(), error: "not connected", status: 404 }),
        }
    }
    chosen
}

pub(super) fn not_connected() -> Answer {
    let message = "this client is not connected; GET /clients lists those that are, queueFor waits for it";
    Answer::error(404, "not connected", message)
}
