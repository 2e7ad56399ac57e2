//! What the server puts on record, and of whom. A line that the disk does not take waits in memory, and what it is about goes
//! on: a full disk must not keep an operator from the shops.

use std::net::SocketAddr;

use tiny_http::{Method, Request};

use super::Server;
use super::begin::{Ask, Origin};
use super::replies::Answer;
use super::wish::Wanted;
use super::{callers, control};
use crate::audit::{About, Event, Who, cut};
use crate::door::query::split_target;
use crate::door::relay::PEER_HEADER;
use crate::keys::key::holds_key;
use crate::names::RequestId;

impl Server {
    /// Puts an event on record, before whoever caused it has an answer.
    pub(super) fn audit(&self, event: &Event<'_>) {
        let _complained_of = self.audit.note(event);
    }

    /// A request of the API that is answered so: on record when that is a refusal, and of something that would be on record.
    pub(super) fn audit_refusal(&self, request: &Request, answer: &Answer) {
        let Some(error) = answer.refusal() else { return };
        let path = split_target(request.url()).0;
        if !matches!(answer.status(), 401 | 403) && is_a_look(request.method(), path) {
            return;
        }
        let caller = match answer.status() {
            401 => control::header(request, PEER_HEADER).unwrap_or_default(),
            _ => callers::caller(self, request).map(|caller| caller.to_string()).unwrap_or_default(),
        };
        self.audit(&Event::Refused {
            who: Who::of(&caller),
            method: cut(request.method().as_str()),
            path: shown(path),
            status: answer.status(),
            error,
            about: answer.what(),
        });
    }

    /// A caller of the API without a key, or with a wrong one.
    pub(super) fn audit_stranger(&self, peer: SocketAddr, method: &str, target: &str) {
        self.audit(&Event::Refused {
            who: Who::of(&peer.to_string()),
            method: cut(method),
            path: shown(split_target(target).0),
            status: 401,
            error: "unauthorized",
            about: &About::default(),
        });
    }

    /// A pull that is asked for and has a transfer; `again` when that was there before.
    pub(super) fn audit_pull(&self, request_id: RequestId, ask: &Ask<'_>, again: Again) {
        let Ask { client: client_id, wanted, origin } = *ask;
        self.audit(&Event::PullAsked {
            who: Who::of(&origin.requested_by),
            client_id,
            file_key: wanted.file_key.as_ref(),
            request_id,
            batch_id: origin.batch_id,
            again: again == Again::Yes,
        });
    }

    /// One client of a batch that gets no transfer.
    pub(super) fn audit_left_out(
        &self,
        client: &str,
        status: u16,
        error: &str,
        wanted: &Wanted,
        origin: &Origin,
    ) {
        let about = About {
            client_id: client.parse().ok(),
            file_key: Some(wanted.file_key.clone()),
            batch_id: origin.batch_id,
            ..About::default()
        };
        let who = Who::of(&origin.requested_by);
        self.audit(&Event::Refused { who, method: "POST", path: "/downloads", status, error, about: &about });
    }
}

/// A path as it may be shown: no key is in it.
fn shown(path: &str) -> &str {
    if holds_key(path) { "(not shown: it holds a key)" } else { cut(path) }
}

/// Whether a request only looks at what the server knows: programs ask again and again, until there is something.
fn is_a_look(method: &Method, path: &str) -> bool {
    matches!(method, Method::Get | Method::Head) && !path.ends_with("/file") && !path.ends_with("/files")
}

/// Whether a request is a repeat of one that has its transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    Yes,
    No,
}
