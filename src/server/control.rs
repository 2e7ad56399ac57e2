//! The control plane: one thread that takes requests from tiny_http, routes them and answers. It waits for
//! nobody, and for the disk only while a line of the audit log is written: a caller that wants to is parked, one that takes a file or asks for many transfers gets a thread of its own.

use std::io::Read;
use std::str::FromStr;
use std::sync::Arc;

use serde::Serialize;
use tiny_http::{Method, Request};

use super::callers::{self, Caller};
use super::orders::Wish;
use super::parked::{View, Wants, about};
use super::replies::{self, Answer};
use super::{Server, file, orders};
use crate::audit::{Event, Who, operator_name};
use crate::door::query::{parse_query, split_target};
use crate::encoding::percent_decoded;
use crate::hub::{Cursor, Filter, Uncancellable};
use crate::keys::Scope;
use crate::limits;
use crate::line::Outbox;
use crate::names::{BadName, ClientId, RequestId};
use crate::protocol::{Dialect, ToAgent, to_text};
use crate::random;
use crate::record::IdempotencyKey;
use crate::transfer::{Status, Transfer};

/// What becomes of a request.
pub(super) enum Turn {
    /// It is answered now.
    Answer(Answer),
    /// It waits for this transfer for so many seconds.
    Park(RequestId, Wants, u64),
    /// It waits for what the agent at the other end lists.
    Listing(ClientId, Arc<Outbox>, Option<String>, View, String),
    /// It asks for a transfer: answered when that is on the disk.
    Order(Box<Wish>),
    /// It gets a thread of its own.
    Thread(Box<dyn FnOnce(Request) + Send>),
}

/// Answers requests until tiny_http gives up.
pub(super) fn serve(server: &Arc<Server>, http: &tiny_http::Server) {
    loop {
        match http.recv() {
            Ok(request) => take(server, request),
            Err(error) => {
                log::error!("the control plane begins again: {error}");
                return;
            }
        }
    }
}

fn take(server: &Arc<Server>, mut request: Request) {
    let what = route(server, &mut request).unwrap_or_else(Turn::Answer);
    turn(server, what, request);
}

/// Does with a request what is to become of it.
pub(super) fn turn(server: &Server, what: Turn, request: Request) {
    match what {
        Turn::Answer(answer) => {
            server.audit_refusal(&request, &answer);
            server.answer(request, answer);
        }
        Turn::Park(id, wants, seconds) => park(server, id, wants, seconds, request),
        Turn::Listing(client, outbox, path, view, by) => {
            let id = random::request_id();
            let requested_by = Some(operator_name(&by));
            let due = server.now().mono + limits::LISTING_TIME.as_millis() as u64;
            let mut state = server.lock();
            let parked = state.parked.park(id, Wants::Listing(client, view), due, request);
            server.wake_timekeeper(&state);
            drop(state);
            // Asked after it is parked, so that no answer comes too early. A line that is gone does not answer, and
            // the caller is told so when its time is over.
            let _gone = outbox.text(&to_text(&ToAgent::List { request_id: id, path, requested_by }));
            refuse_parking(parked);
        }
        // All that the control plane has at once fits.
        Turn::Order(wish) => match server.orders.try_send((*wish, request)) {
            Ok(()) => {}
            Err(full) => replies::busy("too many requests at once; try again").send(full.into_inner().1),
        },
        Turn::Thread(work) => server.in_a_thread(request, work),
    }
}

/// Keeps the caller beside the transfer, unless that has ended already.
fn park(server: &Server, id: RequestId, wants: Wants, seconds: u64, request: Request) {
    let mut state = server.lock();
    let Some(transfer) = state.hub.transfer(id).cloned() else {
        drop(state);
        return replies::no_such_transfer().send(request);
    };
    if transfer.status.is_final() || seconds == 0 {
        drop(state);
        return about(&wants, &transfer).send(request);
    }
    let parked = state.parked.park(id, wants, server.now().mono + seconds * 1000, request);
    server.wake_timekeeper(&state);
    drop(state);
    refuse_parking(parked);
}

fn refuse_parking(parked: Result<(), Box<Request>>) {
    if let Err(request) = parked {
        replies::busy("too many callers wait; ask without wait").send(*request);
    }
}

/// Finds out what is asked. An `Err` is as good an answer.
fn route(server: &Arc<Server>, request: &mut Request) -> Result<Turn, Answer> {
    let target = request.url().to_owned();
    let (path, query) = split_target(&target);
    let query =
        parse_query(query).map_err(|bad| replies::bad_request(&format!("the query can't be read: {bad}")))?;
    let segments = path.strip_prefix('/').unwrap_or(path).split('/').map(percent_decoded);
    let segments: Vec<String> = segments
        .collect::<Result<_, _>>()
        .map_err(|bad| replies::bad_request(&format!("the path can't be read: {bad}")))?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = match request.method() {
        Method::Head => Method::Get, // tiny_http leaves the body out
        other => other.clone(),
    };
    match (&method, &segments[..]) {
        (Method::Get, ["healthz"]) => return Ok(json(200, &serde_json::json!({ "status": "ok" }))),
        (Method::Get, ["readyz"]) => return Ok(Turn::Answer(server.readiness())),
        _ => {}
    }
    let caller = callers::caller(server, request).ok_or_else(replies::unauthorized)?;
    let (read, pull, cancel) =
        (|| caller.with(Scope::Read), || caller.with(Scope::Pull), || caller.with(Scope::Cancel));
    let turn = match (&method, &segments[..]) {
        (Method::Get, ["clients"]) => clients(server, read()?),
        (Method::Get, ["clients", client]) => one_client(server, read()?, client)?,
        (Method::Get, ["clients", client, "files"]) => files(server, read()?, client, &query)?,
        (Method::Post, ["download", client]) => orders::one(pull()?, client, &query, request)?,
        (Method::Post, ["downloads"]) => orders::many(server, pull()?, request)?,
        (Method::Get, ["transfers"]) => transfers(server, read()?, &query)?,
        (Method::Get, ["transfers", id]) => one_transfer(server, read()?, named(id)?, &query)?,
        (Method::Delete, ["transfers", id]) => end(server, cancel()?, named(id)?)?,
        (Method::Get, ["transfers", id, "file"]) => file::serve(server, pull()?, named(id)?, request)?,
        _ => return Err(no_route(&segments)),
    };
    Ok(turn)
}

/// 405 for a path that is there with another method, else 404.
fn no_route(segments: &[&str]) -> Answer {
    let allowed = match segments {
        ["healthz" | "readyz" | "clients" | "transfers"]
        | ["clients", _]
        | ["clients", _, "files"]
        | ["transfers", _, "file"] => "GET, HEAD",
        ["transfers", _] => "GET, HEAD, DELETE",
        ["download", _] | ["downloads"] => "POST",
        _ => return replies::not_found(),
    };
    let message = format!("this route takes {allowed}");
    Answer::error(405, "method not allowed", &message).with("Allow", allowed)
}

fn json<T: Serialize>(status: u16, body: &T) -> Turn {
    Turn::Answer(Answer::json(status, body))
}

/// The value of a header; the first one when there are several.
pub(super) fn header(request: &Request, name: &'static str) -> Option<String> {
    let found = request.headers().iter().find(|header| header.field.equiv(name));
    found.map(|header| header.value.as_str().to_owned())
}

/// What the caller names its request, so that it can repeat it.
pub(super) fn idempotency_key(request: &Request) -> Result<Option<IdempotencyKey>, Answer> {
    let key = header(request, "idempotency-key").map(IdempotencyKey::try_from).transpose();
    key.map_err(|bad| replies::bad_request(&bad.to_string()))
}

/// The body, which the door has read whole and bounded.
pub(super) fn body(request: &mut Request) -> Result<Vec<u8>, Answer> {
    let mut body = Vec::new();
    let read = request.as_reader().take(limits::MAX_BODY_BYTES as u64 + 1).read_to_end(&mut body);
    read.map_err(|error| replies::bad_request(&format!("the body can't be read: {error}")))?;
    Ok(body)
}

/// `?name=` as a number up to `most`.
pub(super) fn number(query: &[(String, String)], name: &str, most: u64) -> Result<Option<u64>, Answer> {
    let Some(text) = value(query, name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| *number <= most);
    number
        .map(Some)
        .ok_or_else(|| replies::bad_request(&format!("{name} is a whole number from 0 to {most}")))
}

fn value<'q>(query: &'q [(String, String)], name: &str) -> Option<&'q str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// An id, of whatever kind.
pub(super) fn named<T: FromStr<Err = BadName>>(text: &str) -> Result<T, Answer> {
    text.parse().map_err(|bad: BadName| replies::bad_request(&bad.to_string()))
}

fn clients(server: &Server, caller: &Caller) -> Turn {
    let now = server.now();
    let state = server.lock();
    let mut clients = state.hub.clients(now, |client| Server::seen(&state.links, now, client));
    drop(state);
    clients.retain(|client| caller.operator.sees_client(&client.client_id));
    clients.iter_mut().for_each(|client| caller.hide_shares(client));
    json(200, &clients)
}

fn one_client(server: &Server, caller: &Caller, client: &str) -> Result<Turn, Answer> {
    let client: &ClientId = &named(client)?;
    caller.reach_client(client.as_str())?;
    let now = server.now();
    let state = server.lock();
    let found = state.hub.client(client, now, |client| Server::seen(&state.links, now, client));
    drop(state);
    let mut found = found.ok_or_else(|| {
        Answer::error(404, "not found", "this client has not been seen; GET /clients lists those connected")
    })?;
    caller.hide_shares(&mut found);
    Ok(json(200, &found))
}

/// Asks the agent what it offers.
fn files(server: &Server, caller: &Caller, client: &str, query: &[(String, String)]) -> Result<Turn, Answer> {
    let client: ClientId = named(client)?;
    caller.reach_client(client.as_str())?;
    let path = value(query, "path").map(str::to_owned);
    if path.as_ref().is_some_and(|path| path.len() > limits::MAX_FILE_KEY_BYTES) {
        return Err(replies::bad_request("path is longer than 4096 bytes"));
    }
    let view = View::new(caller, path.as_deref())?;
    let state = server.lock();
    let link = state.links.get(&client).cloned();
    let dialect = state.hub.line_of(&client).and_then(|(_, dialect)| dialect);
    drop(state);
    let Some(link) = link else { return Err(orders::not_connected()) };
    if dialect != Some(Dialect::V2) {
        return Err(Answer::error(
            409,
            "not supported",
            "only a Towline agent can list files; this client speaks v1",
        ));
    }
    let (by, asked) = (caller.to_string(), path.as_deref());
    server.audit(&Event::ListingAsked { who: Who::of(&by), client_id: &client, path: asked });
    Ok(Turn::Listing(client, link.outbox, path, view, by))
}

fn transfers(server: &Server, caller: &Caller, query: &[(String, String)]) -> Result<Turn, Answer> {
    let status = match value(query, "status") {
        None => None,
        Some(word) => {
            Some(Status::ALL.into_iter().find(|status| status.as_str() == word).ok_or_else(|| {
                let words = Status::ALL.map(Status::as_str).join(", ");
                replies::bad_request(&format!("status is one of {words}"))
            })?)
        }
    };
    let before = match value(query, "before") {
        None => None,
        Some(text) => match (text.parse(), text.parse()) {
            (Ok(time), _) => Some(Cursor::Time(time)),
            (_, Ok(id)) => Some(Cursor::Transfer(id)),
            _ => return Err(replies::bad_request("before is a requestId, or milliseconds since the epoch")),
        },
    };
    let filter = Filter {
        client_id: value(query, "clientId").map(named).transpose()?,
        status,
        batch_id: value(query, "batchId").map(named).transpose()?,
        before,
    };
    let most = limits::MAX_LISTED_TRANSFERS as u64;
    let limit = number(query, "limit", most)?.unwrap_or(limits::DEFAULT_LISTED_TRANSFERS as u64);
    let sees = |transfer: &Transfer| caller.operator.sees(transfer);
    Ok(json(200, &server.ask(|hub| hub.list(&filter, sees, limit as usize))))
}

fn one_transfer(
    server: &Server,
    caller: &Caller,
    id: RequestId,
    query: &[(String, String)],
) -> Result<Turn, Answer> {
    caller.transfer(server, id)?;
    let seconds = number(query, "wait", limits::MAX_WAIT_SECONDS)?.unwrap_or(0);
    Ok(Turn::Park(id, Wants::State, seconds))
}

fn end(server: &Server, caller: &Caller, id: RequestId) -> Result<Turn, Answer> {
    // Once it has ended a cancel is only refused.
    if !caller.transfer(server, id)?.status.is_final() {
        server.audit(&Event::CancelAsked { who: Who::of(&caller.to_string()), request_id: id });
    }
    let mut refused = None;
    server.act(|hub, now| {
        hub.cancel(id, now).unwrap_or_else(|why| {
            refused = Some(why);
            Vec::new()
        })
    });
    match refused {
        None => {
            log::info!("transfer {id} cancelled by={caller}");
            Ok(Turn::Park(id, Wants::State, 0))
        }
        Some(Uncancellable::Unknown) => Err(replies::no_such_transfer()),
        Some(Uncancellable::TooLate(transfer)) => {
            let message = format!("the transfer is {} and can't be cancelled any more", transfer.status);
            Err(Answer::error(409, "already ended", &message))
        }
    }
}
