//! Answers of the control plane, and nothing that decides which.

use std::io::Cursor;

use serde::Serialize;
use tiny_http::{Header, Request, Response};

use crate::audit::About;
use crate::transfer::{Status, Transfer};

/// An answer in memory.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The word of a refusal.
    error: Option<&'static str>,
    /// What was refused, as far as it got.
    about: Box<About>,
}

impl Answer {
    /// `body` as JSON.
    pub(super) fn json<T: Serialize>(status: u16, body: &T) -> Answer {
        let body = serde_json::to_vec(body).expect("answers hold strings and numbers only");
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Answer { status, headers, body, error: None, about: Box::default() }
    }

    /// No body.
    pub(super) fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Vec::new(), error: None, about: Box::default() }
    }

    /// `{"error","message"}`.
    pub(super) fn error(status: u16, error: &'static str, message: &str) -> Answer {
        let answer = Answer::json(status, &serde_json::json!({ "error": error, "message": message }));
        Answer { error: Some(error), ..answer }
    }

    /// Notes what is refused by it, for the record.
    pub(super) fn about(mut self, about: About) -> Answer {
        *self.about = about;
        self
    }

    /// Its status code.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Its word, when it is a refusal.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        self.error
    }

    /// What is refused by it.
    pub(super) fn what(&self) -> &About {
        &self.about
    }

    /// Adds a header. A value that is not visible ASCII would let a peer write headers of its own; it is left out.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// Bytes of the body.
    pub(super) fn length(&self) -> usize {
        self.body.len()
    }

    /// Sends it. A caller that has gone has no use for it.
    pub(super) fn send(self, request: Request) {
        let length = self.body.len();
        let response = Response::new(
            self.status.into(),
            self.headers.iter().filter_map(|(name, value)| header(name, value)).collect(),
            Cursor::new(self.body),
            Some(length),
            None,
        );
        if let Err(error) = request.respond(response.with_chunked_threshold(usize::MAX)) {
            log::debug!("a caller went before its answer: {error}");
        }
    }
}

/// A header, unless its value could end it (tiny_http 0.12 lets CR and LF pass: CVE-2026-66753).
pub(super) fn header(name: &str, value: &str) -> Option<Header> {
    if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return None;
    }
    Header::from_bytes(name, value).ok()
}

/// A transfer with v1's `ok` in front: whether it is done, or may still be.
#[derive(Debug, Serialize)]
pub(super) struct Accepted<'a> {
    ok: bool,
    #[serde(flatten)]
    transfer: &'a Transfer,
}

pub(super) fn accepted(transfer: &Transfer) -> Accepted<'_> {
    let ok = !transfer.status.is_final() || transfer.status == Status::Completed;
    Accepted { ok, transfer }
}

pub(super) fn bad_request(message: &str) -> Answer {
    Answer::error(400, "bad request", message)
}

/// The answer about a transfer that an earlier request with this Idempotency-Key began.
pub(super) fn replayed(answer: Answer) -> Answer {
    answer.with("Idempotency-Replayed", "true")
}

/// The message of a 401.
pub(super) const HOW_TO_SEND_A_KEY: &str = "send a valid key as `x-api-key: <key>` or `Authorization: Bearer <key>`; one in the URL is not looked at";

pub(super) fn unauthorized() -> Answer {
    Answer::error(401, "unauthorized", HOW_TO_SEND_A_KEY).with("WWW-Authenticate", "Bearer")
}

pub(super) fn not_found() -> Answer {
    Answer::error(404, "not found", "there is no such route; README.md lists them")
}

pub(super) fn no_such_transfer() -> Answer {
    Answer::error(404, "not found", "there is no such transfer; GET /transfers lists them")
}

pub(super) fn busy(message: &str) -> Answer {
    Answer::error(503, "busy", message).with("Retry-After", "5")
}
