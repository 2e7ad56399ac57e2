//! Callers of the REST API: let in by their key at the door, in their own connection's thread, before anything of their
//! body is read; and looked up again by the control plane, which trusts what the door says of them and nothing else.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tiny_http::Request;

use super::Server;
use super::control::header;
use super::replies::{self, Answer};
use crate::door::control_socket::ControlSocket;
use crate::door::hall::Ticket;
use crate::door::head::{Head, HeadError};
use crate::door::query::{parse_query, split_target};
use crate::door::relay::{self, KEY_HEADER, PEER_HEADER, Relayed};
use crate::door::reply;
use crate::encoding::percent_decoded;
use crate::hub::ClientView;
use crate::keys::key::holds_key;
use crate::keys::{Lack, Operator, Scope};
use crate::names::{RequestId, printable};
use crate::protocol::Kind;
use crate::stream::Stream;
use crate::transfer::Transfer;

/// An operator who asks for something.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) operator: Arc<Operator>,
    /// Where it asks from, as the door saw it.
    address: String,
}

impl Caller {
    /// The caller, when it has this scope.
    pub(super) fn with(&self, scope: Scope) -> Result<&Caller, Answer> {
        self.operator.may(scope).map_err(|lack| forbidden(&lack)).map(|()| self)
    }

    /// Its name, which its keys have in common.
    pub(super) fn name(&self) -> &str {
        self.operator.name.as_str()
    }

    /// A transfer that it may see; any other is as if there were none.
    pub(super) fn transfer(&self, server: &Server, id: RequestId) -> Result<Transfer, Answer> {
        let found = server.ask(|hub| hub.transfer(id).cloned());
        found.filter(|transfer| self.operator.sees(transfer)).ok_or_else(replies::no_such_transfer)
    }

    /// Leaves out of a client's shares what its key does not reach.
    pub(super) fn hide_shares(&self, client: &mut ClientView) {
        // Of a share only its agent knows whether it is a file.
        client.shares.retain(|share| self.operator.sees_entry(share, Kind::Other));
    }

    /// Refuses it where its key does not reach the client.
    pub(super) fn reach_client(&self, client: &str) -> Result<(), Answer> {
        self.operator.reach_client(client).map_err(|lack| forbidden(&lack))
    }
}

/// As in `requestedBy` and in logs.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name(), self.address)
    }
}

/// The answer to an operator whose key lacks something.
pub(super) fn forbidden(lack: &Lack) -> Answer {
    Answer::error(403, "forbidden", &lack.to_string())
}

/// Answers a caller: with 401 here, or by the control plane.
pub(super) fn serve(
    server: &Server,
    control: &ControlSocket,
    socket: &Stream,
    peer: SocketAddr,
    head: &Head,
    ticket: &Ticket<'_>,
    deadline: Instant,
) {
    let is_probe = matches!(&*head.method, "GET" | "HEAD") && is_probe(&head.target);
    let key = if is_probe { None } else { authenticate(server, head, peer, ticket) };
    if key.is_none() && !is_probe {
        server.audit_stranger(peer, &head.method, &head.target);
        let headers = &[("WWW-Authenticate", "Bearer")];
        let message = replies::HOW_TO_SEND_A_KEY;
        return reply::refuse_request(socket, &head.method, 401, "unauthorized", message, headers);
    }
    // A probe proves nothing: it stays a stranger, and has few places, so that probes keep nobody else out.
    if !is_probe && !ticket.vouch() {
        return; // it has made way for another meanwhile
    }
    let places = if is_probe { &server.probes } else { &server.relays };
    // A probe has no body that anybody needs, and a stranger's is not read.
    let body = if is_probe { Ok(Vec::new()) } else { relay::read_body(socket, head, deadline) };
    match body {
        Ok(body) => {
            let Some(place) = places.enter() else {
                return reply::refuse(socket, 503, "busy", "too many requests at once; try again", &[]);
            };
            if let Err(error) = relay::relay(socket, head, &body, control, &Relayed { peer, key }, place) {
                log::debug!("{peer} went before it had its answer: {error}");
            }
        }
        Err(error) => turn_back(server, socket, peer, &error),
    }
}

/// Answers who made no request that is taken.
pub(super) fn turn_back(server: &Server, socket: &Stream, peer: SocketAddr, error: &HeadError) {
    if let HeadError::Refused { status, message, .. } = error {
        server.refused.requests.about(format_args!("{peer} refused: {status}: {}", printable(message)));
    }
    error.refuse(socket);
}

/// What stands for the key of the caller; a wrong one has waited by then.
fn authenticate(server: &Server, head: &Head, peer: SocketAddr, ticket: &Ticket<'_>) -> Option<String> {
    if has_key_in_url(&head.target) {
        // Told of here and not at the end: whoever sent it may believe that it is what let them in.
        server.refused.callers.about(format_args!(
            "{peer} sends a key in the URL, where every log on its way may show it: it is not looked at"
        ));
    }
    // None at all is no attempt at one.
    let offered = offered(head).filter(|key| !key.is_empty())?;
    let found = server.admit_operator(&offered);
    if found.is_none() {
        server.refused.callers.about(format_args!("a caller at {peer} has a wrong key"));
        ticket.hold(server.gate.hold_for(peer));
    }
    found
}

/// The key that a caller offers: `x-api-key`, and where there is none `Authorization: Bearer`.
fn offered(head: &Head) -> Option<String> {
    let text = |value: &[u8]| str::from_utf8(value).ok().map(str::to_owned);
    match head.header("x-api-key") {
        Some(key) => text(key),
        None => head.header("authorization").and_then(bearer).map(str::to_owned),
    }
}

/// The secret in a header of `Authorization: Bearer`, with the scheme in any case.
pub(super) fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, secret) = str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim_start())
}

/// Whether the target is one that needs no key.
fn is_probe(target: &str) -> bool {
    let path = split_target(target).0;
    let segment = path.strip_prefix('/').map(percent_decoded);
    matches!(segment.as_ref().map(|segment| segment.as_deref()), Some(Ok("healthz" | "readyz")))
}

fn has_key_in_url(target: &str) -> bool {
    const NAMES: [&str; 8] =
        ["token", "key", "api_key", "api-key", "apikey", "x-api-key", "access_token", "auth_secret"];
    let query = parse_query(split_target(target).1).unwrap_or_default();
    holds_key(target) || query.iter().any(|(name, _)| NAMES.contains(&name.to_ascii_lowercase().as_str()))
}

/// The caller whom the door has let in, with the rights that it has now.
pub(super) fn caller(server: &Server, request: &Request) -> Option<Caller> {
    let operator = server.gate.operator(&header(request, KEY_HEADER)?)?;
    let address = header(request, PEER_HEADER).unwrap_or_else(|| "unknown".to_owned());
    Some(Caller { operator, address })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes() {
        for target in ["/healthz", "/readyz", "/healthz?x=1", "/%68ealthz"] {
            assert!(is_probe(target), "{target}");
        }
        for target in
            ["/", "/healthz/", "//healthz", "/clients", "/healthz/../clients", "*", "/%zz", "/healthz%2f"]
        {
            assert!(!is_probe(target), "{target}");
        }
    }

    #[test]
    fn keys_in_urls() {
        for target in ["/clients?token=x", "/?a=1&API_KEY=", "/clients?x=twl_a_b", "/twl_a_b"] {
            assert!(has_key_in_url(target), "{target}");
        }
        for target in ["/clients", "/transfers?clientId=token", "/clients?%zz"] {
            assert!(!has_key_in_url(target), "{target}");
        }
    }

    #[test]
    fn bearers() {
        assert_eq!(bearer(b"bEARER  x y"), Some("x y"));
        for none in [&b"Bearer"[..], b"Basic x", b"", b"Bearerx", b"Bearer \xff"] {
            assert_eq!(bearer(none), None);
        }
    }
}
