//! `POST /download/:clientId` and `POST /downloads`: from a body to transfers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tiny_http::Request;

use super::Server;
use super::control::{self, Turn, body, caller, client_id};
use super::parked::Wants;
use super::replies::{self, Answer};
use crate::clock;
use crate::hub::{Denied, Order};
use crate::limits;
use crate::names::{ClientId, FileKey, RequestId, download_name};
use crate::random;
use crate::settings::value;
use crate::transfer::Transfer;

/// The body of `POST /download/:clientId`; it may be absent or empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Wish {
    file_key: Option<String>,
    queue_for: Option<String>,
    max_rate: Option<Value>,
}

/// The body of `POST /downloads`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Batch {
    #[serde(default)]
    clients: Option<Vec<String>>,
    #[serde(default)]
    meta: Map<String, Value>,
    #[serde(default)]
    file_key: Option<String>,
    #[serde(default)]
    queue_for: Option<String>,
    #[serde(default)]
    max_rate: Option<Value>,
}

/// What is asked for, checked.
#[derive(Debug, Clone)]
struct Wanted {
    file_key: Option<FileKey>,
    queue_for_ms: Option<u64>,
    max_rate: Option<u64>,
    batch_id: Option<RequestId>,
    requested_by: String,
}

/// Why there is no transfer.
enum NoTransfer {
    Denied(Denied),
    /// The server's disk does not take its record.
    Unsaved,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused {
    client_id: String,
    error: &'static str,
}

/// One transfer.
pub(super) fn one(
    server: &Arc<Server>,
    client: &str,
    query: &[(String, String)],
    request: &mut Request,
) -> Result<Turn, Answer> {
    let client = client_id(client)?;
    let wait = control::number(query, "wait", limits::MAX_WAIT_SECONDS)?;
    let wish: Wish = parse(&body(request)?)?;
    let wanted = check(wish, None, caller(request))?;
    let transfer = begin(server, &client, &wanted).map_err(|why| why.answer())?;
    Ok(match wait {
        Some(seconds) => Turn::Park(transfer.request_id, Wants::Outcome, seconds),
        None => Turn::Answer(Answer::json(202, &replies::accepted(&transfer))),
    })
}

/// The same for many clients. Each takes a sync of the disk, so the caller gets a thread.
pub(super) fn many(server: &Arc<Server>, request: &mut Request) -> Result<Turn, Answer> {
    let batch: Batch = parse(&body(request)?)?;
    let Batch { clients, meta, file_key, queue_for, max_rate } = batch;
    if clients.is_none() && meta.is_empty() {
        return Err(replies::bad_request(
            "say which clients: \"clients\":[\"shop-9*\"], \"meta\":{…}, or both",
        ));
    }
    let patterns = clients.unwrap_or_else(|| vec!["*".to_owned()]);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-*".contains(c);
    if let Some(bad) = patterns.iter().find(|pattern| pattern.is_empty() || !pattern.chars().all(plain)) {
        let bad = crate::names::printable(bad);
        return Err(replies::bad_request(&format!(
            "{bad}: clients are named by their ids, * stands for any characters"
        )));
    }
    let batch_id = random::request_id();
    let wanted = check(Wish { file_key, queue_for, max_rate }, Some(batch_id), caller(request))?;
    let server = server.clone();
    Ok(Turn::Thread(Box::new(move |request| {
        let (mut transfers, mut refused) = (Vec::new(), Vec::new());
        for client in select(&server, &patterns, &meta, &mut refused) {
            match begin(&server, &client, &wanted) {
                Ok(transfer) => transfers.push(transfer),
                Err(why) => refused.push(Refused { client_id: client.to_string(), error: why.error() }),
            }
        }
        let answer = serde_json::json!({ "batchId": batch_id, "transfers": transfers, "refused": refused });
        Answer::json(202, &answer).send(request);
    })))
}

/// The clients that a batch means, by id. One that is named in full and is not connected is tried all the same, so
/// that the caller hears of it.
fn select(
    server: &Server,
    patterns: &[String],
    meta: &Map<String, Value>,
    refused: &mut Vec<Refused>,
) -> Vec<ClientId> {
    let connected = server.ask(|hub| hub.clients(|_| None));
    let matches = |client: &ClientId| patterns.iter().any(|pattern| glob(pattern, client.as_str()));
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
            Ok(client) if meta.is_empty() => chosen.push(client),
            _ => refused.push(Refused { client_id: named.clone(), error: "not connected" }),
        }
    }
    chosen.sort();
    chosen.dedup();
    chosen
}

/// Whether `text` is what `pattern` says; `*` stands for any characters, none too.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Answer> {
    let body = match body.trim_ascii() {
        b"" => b"{}",
        body => body,
    };
    if !body.starts_with(b"{") {
        // serde would take an array for the fields in their order.
        return Err(replies::bad_request("the body: a JSON object is expected"));
    }
    serde_json::from_slice(body).map_err(|error| replies::bad_request(&format!("the body: {error}")))
}

fn check(wish: Wish, batch_id: Option<RequestId>, requested_by: String) -> Result<Wanted, Answer> {
    let file_key = wish.file_key.filter(|key| !key.is_empty()).map(FileKey::try_from).transpose();
    let file_key = file_key.map_err(|bad| replies::bad_request(&format!("fileKey: {bad}")))?;
    let queue_for_ms = match wish.queue_for {
        None => None,
        Some(text) => match value::duration(&text) {
            Ok(time) if time <= limits::MAX_QUEUE_TIME => Some(time.as_millis() as u64),
            Ok(_) => return Err(replies::bad_request("queueFor: at most 31d")),
            Err(bad) => return Err(replies::bad_request(&format!("queueFor: {bad}"))),
        },
    };
    let max_rate = match wish.max_rate {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => Some(number.as_u64().ok_or_else(bad_rate)?),
        Some(Value::String(text)) => Some(value::size(&text).map_err(|_| bad_rate())?),
        Some(_) => return Err(bad_rate()),
    };
    if max_rate.is_some_and(|rate| rate < limits::MIN_RATE) {
        return Err(bad_rate());
    }
    Ok(Wanted { file_key, queue_for_ms, max_rate, batch_id, requested_by })
}

fn bad_rate() -> Answer {
    replies::bad_request("maxRate is bytes a second, 1Ki or more, such as 2000000 or \"2M\"")
}

/// Accepts one transfer: its record is on disk before this returns.
fn begin(server: &Server, client: &ClientId, wanted: &Wanted) -> Result<Transfer, NoTransfer> {
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
            batch_id: wanted.batch_id,
            out_path: server.spool.out_path(&filename).display().to_string(),
            filename,
            requested_by: wanted.requested_by.clone(),
            max_rate: wanted.max_rate,
            queue_for_ms: wanted.queue_for_ms,
        };
        match server.ask(|hub| hub.admit(order, now)) {
            Err(Denied::NameTaken) => {}
            Err(denied) => return Err(NoTransfer::Denied(denied)),
            Ok(transfer) => return release(server, transfer),
        }
    }
}

fn release(server: &Server, transfer: Transfer) -> Result<Transfer, NoTransfer> {
    let id = transfer.request_id;
    if let Err(error) = server.save(id) {
        log::error!("transfer {id} of {} is not accepted: {error}", transfer.client_id);
        server.ask(|hub| hub.retract(id));
        server.spool.forget(id);
        return Err(NoTransfer::Unsaved);
    }
    let key = transfer.file_key.as_ref().map_or("null", FileKey::as_str);
    log::info!(
        "transfer {id} accepted clientId={} fileKey={} by={}",
        transfer.client_id,
        crate::names::printable(key),
        transfer.requested_by
    );
    server.act(|hub, now| hub.release(id, now));
    Ok(server.ask(|hub| hub.transfer(id).cloned()).unwrap_or(transfer))
}

impl NoTransfer {
    fn error(&self) -> &'static str {
        match self {
            NoTransfer::Denied(Denied::NotConnected) => "not connected",
            NoTransfer::Denied(Denied::TooMany) => "too many concurrent transfers",
            NoTransfer::Denied(Denied::Impossible(_) | Denied::NameTaken) => "bad request",
            NoTransfer::Denied(Denied::Stopping) => "stopping",
            NoTransfer::Unsaved => "disk full",
        }
    }

    fn answer(&self) -> Answer {
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
            NoTransfer::Unsaved => {
                Answer::error(507, self.error(), "the server can't write to UPLOAD_DIR; its log says why")
            }
        }
    }
}

pub(super) fn not_connected() -> Answer {
    let message = "this client is not connected; GET /clients lists those that are, queueFor waits for it";
    Answer::error(404, "not connected", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, matches) in [
            ("shop-001", "shop-001", true),
            ("shop-001", "shop-0011", false),
            ("shop-9*", "shop-9", true),
            ("shop-9*", "shop-91", true),
            ("*", "anything", true),
            ("*-west", "shop-west", true),
            ("*-west", "shop-west2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn wishes() {
        let check =
            |text: &str| parse::<Wish>(text.as_bytes()).and_then(|wish| check(wish, None, String::new()));
        for none in ["", "  \n", "{}", r#"{"fileKey":null}"#, r#"{"fileKey":""}"#] {
            assert_eq!(check(none).unwrap().file_key, None);
        }
        let wanted = check(r#"{"fileKey":"logs/x","queueFor":"24h","maxRate":"2M"}"#).unwrap();
        assert_eq!((wanted.queue_for_ms, wanted.max_rate), (Some(86_400_000), Some(2_000_000)));
        let deep = format!("{{\"fileKey\":{}", "[".repeat(10_000));
        for bad in [
            r#"{"fileKey":5}"#,
            r#"{"filekey":null}"#,
            "{",
            "[]",
            r#"{"queueFor":"soon"}"#,
            r#"{"queueFor":"32d"}"#,
            r#"{"maxRate":-1}"#,
            r#"{"maxRate":0}"#,
            r#"{"maxRate":"x"}"#,
            r#"{"maxRate":true}"#,
            &deep,
        ] {
            assert!(check(bad).is_err(), "{bad:.40}");
        }
        assert!(check(&format!(r#"{{"fileKey":"{}"}}"#, "k".repeat(10_000))).is_err());
        assert!(check(r#"{"fileKey":"a\u0000b"}"#).is_err());
    }
}
