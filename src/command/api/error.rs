//! Why a call of the REST API failed, what that means, and what to do next.

use std::fmt;

use serde::Deserialize;

use crate::exit::Exit;
use crate::names::printable;

/// What an answer of 404 is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// A client that is not connected.
    Client,
    /// A transfer that is not known.
    Transfer,
}

/// Why a call failed.
#[derive(Debug)]
pub struct ApiError {
    pub(super) doing: String,
    pub(super) server: String,
    pub(super) fault: Fault,
}

#[derive(Debug)]
pub(super) enum Fault {
    /// The request was not sent.
    Unreachable(String),
    /// Nor was it then: there was nobody to trust. The text is fit to print.
    Insecure(String),
    /// It was, or a part of it, and its answer did not come.
    Lost(String),
    NotAuthorised,
    /// The key is valid, and lacks what this takes.
    Forbidden(String),
    NoSuchClient,
    NoSuchTransfer,
    Refused {
        status: u16,
        text: String,
    },
    Malformed(String),
}

/// What an answer other than 2xx means.
pub(super) fn refusal(status: u16, about: About, text: &str) -> Fault {
    #[derive(Deserialize)]
    struct Said {
        error: String,
        #[serde(default)]
        message: String,
    }
    let said: Result<Said, _> = serde_json::from_str(text);
    match (status, about, said) {
        (403, _, Ok(said)) if said.error == "forbidden" => Fault::Forbidden(said.message),
        (401 | 403, _, _) => Fault::NotAuthorised,
        (404, About::Client, Ok(_)) => Fault::NoSuchClient,
        (404, About::Transfer, Ok(_)) => Fault::NoSuchTransfer,
        (_, _, Ok(said)) if said.message.is_empty() => Fault::Refused { status, text: said.error },
        (_, _, Ok(said)) => Fault::Refused { status, text: format!("{}: {}", said.error, said.message) },
        (_, _, Err(_)) => Fault::Malformed(format!("status {status} without a reason")),
    }
}

impl ApiError {
    /// How the program ends when this ends it.
    pub fn exit(&self) -> Exit {
        use Fault::{Insecure, Lost, Malformed, NoSuchTransfer, Refused, Unreachable};
        match self.fault {
            Fault::NotAuthorised | Fault::Forbidden(_) => Exit::NotAuthorised,
            Fault::NoSuchClient => Exit::NoSuchClient,
            Refused { status: 400, .. } => Exit::BadUsage, // the server found what we did not look for
            Unreachable(_) | Insecure(_) | Lost(_) | NoSuchTransfer | Refused { .. } | Malformed(_) => {
                Exit::Failed
            }
        }
    }

    /// Whether the same call may succeed a little later: the server is away, stopping, or busy.
    pub fn may_pass(&self) -> bool {
        match self.fault {
            Fault::Unreachable(_) | Fault::Lost(_) => true,
            Fault::Refused { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            Fault::Insecure(_)
            | Fault::NotAuthorised
            | Fault::Forbidden(_)
            | Fault::NoSuchClient
            | Fault::NoSuchTransfer
            | Fault::Malformed(_) => false,
        }
    }

    /// Whether the server may have done what it was asked all the same.
    pub fn leaves_open(&self) -> bool {
        match self.fault {
            Fault::Lost(_) => true,
            Fault::Refused { status, .. } => matches!(status, 502 | 504), // of a proxy, about a server behind it
            Fault::Unreachable(_)
            | Fault::Insecure(_)
            | Fault::NotAuthorised
            | Fault::Forbidden(_)
            | Fault::NoSuchClient
            | Fault::NoSuchTransfer
            | Fault::Malformed(_) => false,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApiError { doing, server, fault } = self;
        write!(f, "cannot {doing}: ")?;
        match fault {
            Fault::Unreachable(why) => {
                let why = printable(why);
                write!(f, "no answer from {server} ({why}); does the server run, and is SERVER right?")
            }
            Fault::Insecure(why) => write!(f, "no secure connection to {server}: {why}"),
            Fault::Lost(why) => {
                let why = printable(why);
                write!(f, "the answer of {server} did not come ({why}); does its log say why?")
            }
            Fault::NotAuthorised => {
                write!(f, "{server} does not accept the key; is API_KEY, or AUTH_SECRET, that of the server?")
            }
            Fault::Forbidden(lack) => write!(f, "{server} forbids it: {}", printable(lack)),
            Fault::NoSuchClient => {
                write!(f, "it is not connected to {server}; `towline clients` lists those that are")
            }
            Fault::NoSuchTransfer => {
                write!(f, "{server} knows no such transfer; `towline transfers` lists them")
            }
            Fault::Refused { status, text } => write!(f, "{server} says {status} {}", printable(text)),
            Fault::Malformed(why) => {
                let why = printable(why);
                write!(f, "the answer of {server} is not that of a Towline server ({why}); is SERVER right?")
            }
        }
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use super::super::Api;
    use super::*;
    use crate::settings::{OperatorSettings, Secret};

    #[test]
    fn answers_become_exit_codes_and_advice() {
        let (server, key) = ("http://h:1".to_owned(), Secret::new("k3y"));
        let api = Api::new(OperatorSettings { server, key, tls_ca: None }).unwrap();
        let json = r#"{"error":"conflict","message":"it has ended"}"#;
        for (status, about, text, exit, wanted) in [
            (401, About::Client, "", Exit::NotAuthorised, "does not accept the key"),
            (403, About::Transfer, json, Exit::NotAuthorised, "does not accept the key"),
            (
                403,
                About::Transfer,
                r#"{"error":"forbidden","message":"the key of nightly lacks the scope pull"}"#,
                Exit::NotAuthorised,
                "http://h:1 forbids it: the key of nightly lacks the scope pull",
            ),
            (404, About::Client, r#"{"error":"not connected"}"#, Exit::NoSuchClient, "`towline clients`"),
            (404, About::Transfer, json, Exit::Failed, "`towline transfers`"),
            (404, About::Client, "<html>", Exit::Failed, "is SERVER right?"),
            (400, About::Client, json, Exit::BadUsage, "says 400 conflict: it has ended"),
            (409, About::Transfer, json, Exit::Failed, "says 409 conflict: it has ended"),
            (302, About::Transfer, "", Exit::Failed, "is SERVER right?"),
        ] {
            let error = api.error("do it", refusal(status, about, text));
            assert_eq!(error.exit(), exit, "{status}");
            let text = error.to_string();
            assert!(text.starts_with("cannot do it: ") && text.contains(wanted), "{text}");
            assert!(!text.contains("k3y") && !text.contains('\n'), "{text}");
        }
        let unreachable = api.error("do it", Fault::Unreachable("connection refused".to_owned()));
        assert!(
            unreachable.may_pass() && unreachable.to_string().contains("http://h:1 (connection refused)")
        );
        assert!(!unreachable.leaves_open());
        let lost = api.error("do it", Fault::Lost("connection reset".to_owned()));
        assert!(lost.may_pass() && lost.leaves_open() && lost.exit() == Exit::Failed);
        assert!(lost.to_string().contains("http://h:1 did not come (connection reset)"), "{lost}");
        for (status, open) in [(502, true), (503, false), (504, true), (429, false), (400, false)] {
            assert_eq!(api.error("do it", refusal(status, About::Client, json)).leaves_open(), open);
        }
        assert!(api.error("do it", refusal(503, About::Client, json)).may_pass());
        assert!(!api.error("do it", refusal(409, About::Client, json)).may_pass());
    }
}
