//! From a request for `WS_PATH` to a session: who is it, may it, is there room, is it here already.
//!
//! Every refusal comes before the upgrade, as an HTTP status: a v1 client takes every open line for health, and
//! would hammer at a server that accepts and closes.

use std::collections::hash_map::Entry;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use super::callers::bearer;
use super::gate::LineKey;
use super::session::Session;
use super::{Link, Server};
use crate::audit::{Event, cut};
use crate::clock;
use crate::door::hall::Ticket;
use crate::door::head::Head;
use crate::door::query::{parse_query, split_target};
use crate::door::reply::refuse;
use crate::hub::Contested;
use crate::keys::without_keys;
use crate::limits;
use crate::line::{Keeping, Line, Probe, handshake, http};
use crate::names::{ClientId, printable};
use crate::protocol::{Dialect, ToAgent, to_text};
use crate::stream::Stream;
use crate::stream::tls::Acceptor;
use crate::threads;

/// A no, as it is answered.
struct No {
    status: u16,
    error: &'static str,
    message: String,
    headers: &'static [(&'static str, &'static str)],
    /// In seconds.
    retry_after: Option<u64>,
}

impl No {
    fn new(status: u16, error: &'static str, message: impl Into<String>) -> No {
        No { status, error, message: message.into(), headers: &[], retry_after: None }
    }
}

/// Lets a client in, or refuses it. Its ticket for the door is given back when it is in, or has been answered.
pub(super) fn serve(server: &Arc<Server>, socket: Stream, peer: SocketAddr, head: Head, ticket: Ticket<'_>) {
    let socket = Arc::new(socket);
    let mut turn = None;
    match open(server, &socket, peer, head, &ticket, &mut turn) {
        Ok((client, generation, line, key)) => {
            drop((ticket, turn)); // from here on it counts as a client
            server.audit(&Event::AgentConnected { client_id: &client, address: &peer.to_string() });
            hand_over(server, client, peer, generation, line, key);
        }
        Err(no) => {
            let No { status, error, message, .. } = &no;
            server.refused.agents.about(format_args!("agent at {peer} refused: {status} {error}: {message}"));
            if no.status == 401 {
                ticket.hold(server.gate.hold_for(peer));
            }
            let (address, message) = (&*peer.to_string(), cut(message));
            server.audit(&Event::AgentRefused { address, status: *status, error, message });
            let seconds = no.retry_after.map(|seconds| seconds.to_string());
            let retry = seconds.as_deref().map(|seconds| ("Retry-After", seconds));
            let headers: Vec<_> = no.headers.iter().copied().chain(retry).collect();
            refuse(&socket, *status, error, &no.message, &headers);
        }
    }
}

/// Serves a client until its line ends, in a thread of its own. What has been done until here, a TLS handshake most of
/// all, went deep into this thread's stack and left memory in its cache, and would be kept for as long as the line is there.
fn hand_over(
    server: &Arc<Server>,
    client: ClientId,
    peer: SocketAddr,
    generation: u64,
    line: Line,
    key: LineKey,
) {
    let link =
        Link { generation, outbox: line.outbox().clone(), pulse: line.pulse().clone(), key: key.clone() };
    let (serving, its_id) = (server.clone(), client.clone());
    let serve = move || Session::new(&serving, its_id, peer, generation, line, key).run();
    if let Err(error) = threads::spawn("session", limits::SMALL_STACK, serve) {
        let (client_id, address) = (&client, &*peer.to_string());
        server.refused.agents.about(format_args!("{client} loses its line: no thread for it: {error}"));
        server.audit(&Event::AgentDisconnected { client_id, address });
        server.leave(&client, &link, || ());
        link.outbox.shut();
    }
}

fn open<'s>(
    server: &'s Server,
    socket: &Arc<Stream>,
    peer: SocketAddr,
    head: Head,
    ticket: &Ticket<'_>,
    turn: &mut Option<Turn<'s>>,
) -> Result<(ClientId, u64, Line, LineKey), No> {
    let (client, key) = authorize(server, &head)?;
    certified(server, socket, &client)?;
    let response = answer_handshake(&head)?;
    if !server.ask(|hub| hub.has_room()) {
        return Err(full());
    }
    *turn = Some(Turn::take(server, &client)?);
    if !ticket.vouch() {
        return Err(No::new(503, "unavailable", "it had to make way for others at the door")); // it hears nothing of this
    }
    make_way(server, &client, peer)?;
    let keeping = Keeping { beat: server.settings.heartbeat, max_message: server.max_message() };
    let gone = |error: std::io::Error| No::new(400, "bad request", error.to_string());
    let mut line = Line::accepted(socket.clone(), head.tail, keeping).map_err(gone)?;
    line.use_chunks(server.chunks.clone());
    let generation = enter(server, &client, peer, &line, &key, &response, socket)?;
    match socket.protection() {
        Some(tls) => log::info!("{client} connected address={peer} tls={tls}"),
        None => log::info!("{client} connected address={peer}"),
    }
    Ok((client, generation, line, key))
}

/// The client's id, when it has a key of its own, or the secret of all.
fn authorize(server: &Server, head: &Head) -> Result<(ClientId, LineKey), No> {
    let bad = |message: String| No::new(400, "bad request", message);
    if head.method != "GET" {
        return Err(No {
            headers: &[("Allow", "GET")],
            ..No::new(405, "method not allowed", "this route takes GET")
        });
    }
    let (_, query) = split_target(&head.target);
    let query = parse_query(query).map_err(|why| bad(format!("the query can't be read: {why}")))?;
    let values = |name: &str| -> Vec<&str> {
        query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    };
    let client: ClientId = match values("clientId")[..] {
        [client] => client.parse().map_err(|why| {
            // A key, put there by mistake, must not come into logs.
            bad(format!("clientId {}: {why}", printable(&without_keys(client))))
        })?,
        [] => return Err(bad("clientId is missing".to_owned())),
        _ => return Err(bad("clientId stands there more than once".to_owned())),
    };
    let bearer = head.header("authorization").and_then(bearer);
    let token = match values("token")[..] {
        [token] => Some(token),
        [] => None,
        _ => return Err(bad("token stands there more than once".to_owned())),
    };
    let Some(key) = bearer.or(token).and_then(|secret| server.admit_client(secret, &client)) else {
        let message = format!("{client} has no secret, or a wrong one: check its AUTH_SECRET");
        return Err(No {
            headers: &[("WWW-Authenticate", "Bearer")],
            ..No::new(401, "unauthorized", message)
        });
    };
    if token.is_some() && server.gate.is_first_in_url(&client) {
        log::warn!(
            "{client} sends its secret in the URL, where every log on its way may show it: \
             a v1 client knows no better, a Towline agent does without TOKEN_IN_URL"
        );
    }
    Ok((client, key))
}

/// Whether the client has shown a certificate in its own name, where that is wanted.
fn certified(server: &Server, socket: &Stream, client: &ClientId) -> Result<(), No> {
    if !server.tls.as_ref().is_some_and(Acceptor::wants_certificates) {
        return Ok(());
    }
    let names = socket.peer_names();
    let message = match names {
        Some(names) if names.iter().any(|name| name == client.as_str()) => return Ok(()),
        Some(names) => {
            let names = names.join(", ");
            format!(
                "{client} shows a certificate for {}: give it one in its own name",
                printable(&format!("{names:?}"))
            )
        }
        None => {
            format!("{client} shows no certificate, which this server wants: set TLS_CERT and TLS_KEY there")
        }
    };
    Err(No::new(401, "unauthorized", message))
}

/// The bytes that accept the handshake (RFC 6455, section 4.2.2).
fn answer_handshake(head: &Head) -> Result<Vec<u8>, No> {
    let bad = |message: String| No::new(400, "bad request", message);
    if head.content_length.is_some_and(|length| length > 0) {
        // Its bytes would be taken for frames here, and for a body by whoever stands between.
        return Err(bad("a WebSocket handshake has no body".to_owned()));
    }
    let mut request = http::Request::builder().method("GET").uri("/").version(http::Version::HTTP_11);
    for (name, value) in &head.headers {
        request = request.header(name.as_str(), value.as_slice());
    }
    let request = request.body(()).map_err(|error| bad(error.to_string()))?;
    if !request.headers().contains_key(http::header::UPGRADE) {
        let headers = &[("Upgrade", "websocket"), ("Connection", "Upgrade")];
        let message = "this route is for agents; it takes a WebSocket handshake";
        return Err(No { headers, ..No::new(426, "upgrade required", message) });
    }
    let response = handshake::create_response(&request).map_err(|error| bad(error.to_string()))?;
    let mut bytes = Vec::new();
    handshake::write_response(&mut bytes, &response).map_err(|error| bad(error.to_string()))?;
    Ok(bytes)
}

/// The right to come in as this client, which few have at a time, each until it is in or has gone: whoever has stolen a key
/// can't fill the door with calls that wait for the line that is there. Those beyond stay strangers.
struct Turn<'s> {
    server: &'s Server,
    client: ClientId,
}

impl Turn<'_> {
    fn take<'s>(server: &'s Server, client: &ClientId) -> Result<Turn<'s>, No> {
        let mut state = server.lock();
        let count = state.entering.entry(client.clone()).or_default();
        if *count < limits::MAX_ENTERING {
            *count += 1;
            return Ok(Turn { server, client: client.clone() });
        }
        drop(state);
        let message = format!("others come in as {client} this moment: give each machine its own CLIENT_ID");
        let retry_after = Some(limits::PROBE_TIME.as_secs());
        Err(No { retry_after, ..No::new(409, "already connected", message) })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.server.lock();
        if let Entry::Occupied(mut count) = state.entering.entry(self.client.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A client that is connected already keeps its line if it still answers; otherwise that line is given up.
fn make_way(server: &Server, client: &ClientId, peer: SocketAddr) -> Result<(), No> {
    let Some(link) = server.lock().links.get(client).cloned() else { return Ok(()) };
    match link.pulse.probe(&link.outbox, limits::PROBE_TIME) {
        Probe::Alive => return Err(taken(server, client, peer)),
        Probe::Over => return Ok(()),
        Probe::Silent => {}
    }
    log::warn!("{client} connects from {peer}; its line of before does not answer and is given up");
    link.outbox.shut();
    server.leave(client, &link, || ());
    Ok(())
}

/// Two machines have one id: the one that is connected stays, and both are named.
fn taken(server: &Server, client: &ClientId, peer: SocketAddr) -> No {
    let message = format!("a client {client} is connected and answers: give each machine its own CLIENT_ID");
    let no = No::new(409, "already connected", message);
    let now = server.now();
    let noticed = server.ask(|hub| {
        let contested = hub.contest(client, &peer.to_string(), now)?;
        Some((hub.client(client, now, |_| None)?.address, contested))
    });
    let Some((address, contested)) = noticed else { return no }; // the other one has gone this moment
    if contested.is_news() {
        let (times, since) = (contested.times, clock::iso8601(contested.since));
        log::warn!(
            "two machines call themselves {client}: {address} is connected and answers, {peer} is refused (times={times} since={since}); give each its own CLIENT_ID"
        );
    }
    No { retry_after: Some(contested.retry_after()), ..no }
}

fn log_turns(client: &ClientId, peer: SocketAddr, contested: &Contested) {
    if contested.is_news() {
        let Contested { address, times, .. } = contested;
        log::warn!(
            "lines of {client} come from {address} and {peer} in turn (times={times}): if these are two machines, give each its own CLIENT_ID"
        );
    }
}

fn full() -> No {
    No { retry_after: Some(30), ..No::new(503, "busy", "the server takes no more clients now") }
}

/// Tells the hub, accepts the handshake, says hello, and only then puts the line where others find and write to it.
fn enter(
    server: &Server,
    client: &ClientId,
    peer: SocketAddr,
    line: &Line,
    key: &LineKey,
    response: &[u8],
    mut socket: &Stream,
) -> Result<u64, No> {
    let now = server.now();
    let (outbox, pulse) = (line.outbox().clone(), line.pulse().clone());
    let (connected, contested) = server.ask(|hub| {
        let before = hub.contested(client, now).map_or(0, |contested| contested.times);
        let connected = hub.connect(client, peer.to_string(), now).ok_or_else(|| hub.has_room());
        let contested = hub.contested(client, now).filter(|contested| contested.times > before);
        (connected, contested.cloned())
    });
    // Somebody else with this id may have been quicker since `make_way`.
    let generation =
        connected.map_err(|has_room| if has_room { taken(server, client, peer) } else { full() })?;
    if let Some(contested) = contested {
        log_turns(client, peer, &contested);
    }
    let hello = ToAgent::Hello {
        server_time: clock::iso8601(now.wall),
        protocol: Some(Dialect::V2.number()),
        heartbeat_seconds: Some(server.settings.heartbeat.as_secs()),
    };
    if socket.write_all(response).is_err() || outbox.text(&to_text(&hello)).is_err() {
        outbox.shut(); // its session finds out, and leaves
    }
    let link = Link { generation, outbox, pulse, key: key.clone() };
    let mut state = server.lock();
    state.links.insert(client.clone(), link.clone());
    server.wake_timekeeper(&state);
    drop(state);
    server.end_if_revoked(client, &link);
    Ok(generation)
}
