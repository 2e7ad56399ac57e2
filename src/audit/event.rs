//! What stands in an audit log: one variant an event, its fields in their order. Text from outside is bounded by the
//! types, or cut here.

use serde::Serialize;

use super::budget::Kind;
use crate::limits;
use crate::names::{ClientId, FileKey, RequestId, Sha256Hash, disguises};
use crate::transfer::{Status, Transfer};

/// Who did something: the name of a key, and the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Who<'a> {
    /// Nothing for whoever had no valid key.
    pub by: Option<&'a str>,
    /// `ip:port`.
    pub address: &'a str,
}

impl<'a> Who<'a> {
    /// Takes `<key name>@<ip:port>` apart.
    pub fn of(caller: &'a str) -> Who<'a> {
        match caller.rsplit_once('@') {
            Some((by, address)) => Who { by: Some(by), address },
            None => Who { by: None, address: caller },
        }
    }
}

/// What a request was about, as far as it got.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<ClientId>,
    /// The file; `null` is the agent's `FILE_PATH`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_key: Option<Option<FileKey>>,
    /// The transfer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_id: Option<RequestId>,
}

/// An event of the server.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "the fields are those of a transfer and of the API, by the same names")]
pub enum Event<'a> {
    /// The server takes requests from now on.
    ServerStarted { version: &'static str, port: u16 },
    /// It was told to stop, and has.
    ServerStopped,
    /// A pull was asked for, and is accepted.
    PullAsked {
        #[serde(flatten)]
        who: Who<'a>,
        client_id: &'a ClientId,
        file_key: Option<&'a FileKey>,
        request_id: RequestId,
        batch_id: Option<RequestId>,
        /// A repeat, by its Idempotency-Key, of a request that was made before.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// A cancel was asked for. What came of it: the transfer's end, or a refusal.
    CancelAsked {
        #[serde(flatten)]
        who: Who<'a>,
        request_id: RequestId,
    },
    /// A folder view was asked for, and the agent is.
    ListingAsked {
        #[serde(flatten)]
        who: Who<'a>,
        client_id: &'a ClientId,
        path: Option<&'a str>,
    },
    /// A downloaded file was taken from the server; `first` and `last` are bytes, when it was a part.
    FileTaken {
        #[serde(flatten)]
        who: Who<'a>,
        client_id: &'a ClientId,
        file_key: Option<&'a FileKey>,
        request_id: RequestId,
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        last: Option<u64>,
    },
    /// A request to the API was refused.
    Refused {
        #[serde(flatten)]
        who: Who<'a>,
        method: &'a str,
        /// Without its query.
        path: &'a str,
        status: u16,
        error: &'a str,
        #[serde(flatten)]
        about: &'a About,
    },
    /// A transfer has ended for good.
    TransferEnded {
        client_id: &'a ClientId,
        file_key: Option<&'a FileKey>,
        request_id: RequestId,
        status: Status,
        bytes: u64,
        sha256: Option<Sha256Hash>,
        code: Option<&'static str>,
    },
    /// An agent's line is open.
    AgentConnected { client_id: &'a ClientId, address: &'a str },
    /// It is not any more.
    AgentDisconnected { client_id: &'a ClientId, address: &'a str },
    /// Somebody who wanted to be an agent was refused.
    AgentRefused { address: &'a str, status: u16, error: &'a str, message: &'a str },
}

impl<'a> Event<'a> {
    /// How this transfer has ended.
    pub fn ended(transfer: &'a Transfer) -> Event<'a> {
        Event::TransferEnded {
            client_id: &transfer.client_id,
            file_key: transfer.file_key.as_ref(),
            request_id: transfer.request_id,
            status: transfer.status,
            bytes: transfer.bytes,
            sha256: transfer.sha256,
            code: transfer.failure.as_ref().map(|failure| failure.code.as_str()),
        }
    }
}

/// An event of an agent: what its owner wants to know.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "the fields have the names of the wire")]
pub enum AgentEvent<'a> {
    /// The agent has begun.
    AgentStarted { version: &'static str, client_id: &'a ClientId },
    /// It was told to stop.
    AgentStopping,
    /// It has a line.
    Connected { server: &'a str },
    /// A file was asked for; nothing of it has been read.
    FileAsked {
        by: Option<&'a str>,
        file_key: Option<&'a FileKey>,
        /// The name of the share; nothing for `FILE_PATH`, and for what names none.
        share: Option<&'a str>,
        request_id: RequestId,
        attempt: u32,
    },
    /// What came of it. `bytes` left this machine.
    FileEnded {
        by: Option<&'a str>,
        file_key: Option<&'a FileKey>,
        request_id: RequestId,
        attempt: u32,
        /// `sent`, `line lost`, or the code of the refusal.
        outcome: &'a str,
        bytes: u64,
        sha256: Option<Sha256Hash>,
    },
    /// A folder view was asked for.
    ListingAsked { by: Option<&'a str>, path: Option<&'a str> },
    /// A listing was refused.
    ListingRefused { by: Option<&'a str>, path: Option<&'a str>, code: &'a str },
}

/// What may be written to a log.
pub trait Entry: Serialize {
    /// Of what kind it is; nothing when each has a line, however many there are.
    fn kind(&self) -> Option<Kind>;
}

impl Entry for Event<'_> {
    fn kind(&self) -> Option<Kind> {
        match self {
            Event::Refused { who: Who { by: None, .. }, .. } => Some(Kind::Strangers),
            Event::Refused { .. } => Some(Kind::Refusals),
            Event::AgentRefused { .. } => Some(Kind::AgentsRefused),
            Event::AgentConnected { .. } | Event::AgentDisconnected { .. } => Some(Kind::Lines),
            Event::ServerStarted { .. }
            | Event::ServerStopped
            | Event::PullAsked { .. }
            | Event::CancelAsked { .. }
            | Event::ListingAsked { .. }
            | Event::FileTaken { .. }
            | Event::TransferEnded { .. } => None,
        }
    }
}

impl Entry for AgentEvent<'_> {
    fn kind(&self) -> Option<Kind> {
        match self {
            AgentEvent::FileAsked { .. } | AgentEvent::ListingAsked { .. } => Some(Kind::Asked),
            AgentEvent::Connected { .. } => Some(Kind::Lines),
            // What follows one that is on record, once.
            AgentEvent::FileEnded { .. }
            | AgentEvent::ListingRefused { .. }
            | AgentEvent::AgentStarted { .. }
            | AgentEvent::AgentStopping => None,
        }
    }
}

/// The name in `<key name>@<address>`, as an agent is told it: printable and bounded.
pub fn operator_name(caller: &str) -> String {
    clean_name(Who::of(caller).by.unwrap_or(caller))
}

/// A name as a peer told it, made so.
pub fn clean_name(name: &str) -> String {
    name.chars().filter(|c| !disguises(*c)).take(limits::MAX_LABEL_BYTES).collect()
}

/// Text from outside that no type bounds, cut.
pub fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(limits::MAX_PRINTED_CHARS).map_or(text.len(), |(at, _)| at);
    &text[..end]
}
