//! Reads the head of one request: under one deadline, bounded, and strictly.
//!
//! httparse decides what a token is; what it lets pass and we do not (bare line feeds, repeated headers, two
//! lengths) is refused here. Invariant: a [`Head`] that exists has one meaning.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::ErrorKind;
use std::time::Instant;

use super::{read_before, reply};
use crate::limits;
use crate::stream::Stream;

/// Headers that may come once: for each of them it matters which one is believed.
const SINGLE: [&str; 12] = [
    "host",
    "content-length",
    "content-type",
    "expect",
    "authorization",
    "x-api-key",
    "idempotency-key",
    "range",
    "if-range",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
];

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// As it was sent: `GET`, `POST`, any token.
    pub method: String,
    /// Path and query, ASCII, starting with `/`; or `*`.
    pub target: String,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor: u8,
    /// In the order they came; the values without surrounding space, and without control characters.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Bytes of the body; absent when the request states none.
    pub content_length: Option<usize>,
    /// What was read beyond the head: the beginning of the body, or of an agent's first frame.
    pub tail: Vec<u8>,
}

impl Head {
    /// The first value of header `name`, in any case of letters. The headers that matter come once only:
    /// [`read_head`] has seen to it.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// Every value of header `name`.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }
}

/// Why there is no request: its head or its body did not come, or not as it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadError {
    /// The caller never sent a byte, or is gone: there is nobody to answer.
    Quiet,
    /// The caller gets this answer.
    Refused {
        /// HTTP status.
        status: u16,
        /// The short text of the API's `error`.
        error: &'static str,
        /// What to do, the API's `message`.
        message: Cow<'static, str>,
    },
}

impl HeadError {
    /// Answers the caller, if there is one, and waits for it to hang up.
    pub fn refuse(&self, socket: &Stream) {
        match self {
            // Under TLS, an end that nobody told looks like a cut. Whoever is gone already misses nothing.
            HeadError::Quiet => drop(socket.finish()),
            HeadError::Refused { status, error, message } => {
                reply::refuse(socket, *status, error, message, &[]);
            }
        }
    }
}

/// Shorthand for a refusal.
pub(super) fn refused(status: u16, error: &'static str, message: impl Into<Cow<'static, str>>) -> HeadError {
    HeadError::Refused { status, error, message: message.into() }
}

pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> HeadError {
    refused(400, "bad request", message)
}

/// Reads a request's head from `socket`, all of it before `deadline`.
///
/// # Errors
/// [`HeadError::Quiet`] when the caller sent nothing or is gone; otherwise the answer that it gets.
pub fn read_head(socket: &Stream, deadline: Instant) -> Result<Head, HeadError> {
    let mut arriving = Arriving::default();
    let mut chunk = Vec::with_capacity(limits::READ_BUFFER_BYTES);
    loop {
        chunk.clear();
        match read_before(socket, &mut chunk, deadline) {
            Ok(0) if arriving.is_empty() => return Err(HeadError::Quiet),
            Ok(0) => return Err(bad_request("the connection ended before the request's head did")),
            Ok(_) => {
                if let Some(head) = arriving.take(&chunk)? {
                    return Ok(head);
                }
            }
            Err(error) if error.kind() == ErrorKind::TimedOut && !arriving.is_empty() => {
                return Err(refused(408, "timeout", "the request's head took too long"));
            }
            Err(_) => return Err(HeadError::Quiet),
        }
    }
}

/// A head that arrives in pieces: [`read_head`] without the socket.
#[derive(Debug, Default)]
pub struct Arriving {
    bytes: Vec<u8>,
    lines: Lines,
}

impl Arriving {
    /// Whether nothing has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next piece; gives the head once its empty line is there, with what came behind it as its tail.
    ///
    /// # Errors
    /// The answer that the caller gets.
    pub fn take(&mut self, piece: &[u8]) -> Result<Option<Head>, HeadError> {
        self.bytes.extend_from_slice(piece);
        let end = self.lines.advance(&self.bytes)?;
        // The bound holds too when the head arrives whole.
        if end.unwrap_or(self.bytes.len()) > limits::MAX_HEAD_BYTES {
            let most = limits::MAX_HEAD_BYTES;
            return Err(refused(431, "too large", format!("a request's head is at most {most} bytes")));
        }
        let Some(end) = end else { return Ok(None) };
        let tail = self.bytes.split_off(end);
        parse(&self.bytes, tail).map(Some)
    }
}

/// Looks for the end of a head that arrives in pieces, and refuses early what can never become one.
#[derive(Debug, Default)]
struct Lines {
    /// Bytes looked at.
    seen: usize,
    /// Where the current line starts.
    start: usize,
    /// Whether the request line has been seen.
    begun: bool,
}

impl Lines {
    /// Where the head ends, once its empty line is there.
    fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        if bytes.first() == Some(&0x16) {
            return Err(bad_request("this port does not speak TLS: use http:// or ws://"));
        }
        while let Some(offset) = bytes[self.seen..].iter().position(|&byte| byte == b'\n') {
            let feed = self.seen + offset;
            let Some(line) = bytes[self.start..feed].strip_suffix(b"\r") else {
                return Err(bad_request("every line of the head must end with CR LF"));
            };
            if !line.is_empty() && !self.begun {
                check_request_line(line)?;
                self.begun = true;
            } else if line.is_empty() && self.start > 0 {
                return Ok(Some(feed + 1)); // an empty line before the request is skipped: RFC 9112, section 2.2
            }
            self.seen = feed + 1;
            self.start = feed + 1;
        }
        self.seen = bytes.len();
        Ok(None)
    }
}

/// Tells what is wrong with a first line that no request can start with.
fn check_request_line(line: &[u8]) -> Result<(), HeadError> {
    let parts: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    match parts[..] {
        [b"PRI", b"*", b"HTTP/2.0"] => {
            Err(bad_request("this looks like HTTP/2: this port speaks HTTP/1.1, with curl use --http1.1"))
        }
        [_, _, b"HTTP/1.1" | b"HTTP/1.0"] => Ok(()),
        [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(refused(505, "unsupported version", "this port speaks HTTP/1.1 and HTTP/1.0"))
        }
        [b"GET", target] if target.starts_with(b"/") => {
            Err(bad_request("this looks like HTTP/0.9: the request line must end with HTTP/1.1"))
        }
        _ => Err(bad_request("the first line must be <method> <path> HTTP/1.1")),
    }
}

/// Reads a head that is here whole.
fn parse(bytes: &[u8], tail: Vec<u8>) -> Result<Head, HeadError> {
    let mut slots = [httparse::EMPTY_HEADER; limits::MAX_HEADERS];
    let mut request = httparse::Request::new(&mut slots);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(bad_request("the request's head is malformed")),
        Err(error) => return Err(malformed(error)),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(bad_request("the request's head is malformed"));
    };
    let headers = request.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec()));
    let mut head = Head {
        method: method.to_owned(),
        target: origin_form(target)?,
        minor,
        headers: headers.collect(),
        content_length: None,
        tail,
    };
    check_headers(&head)?;
    head.content_length = content_length(&head)?;
    Ok(head)
}

fn malformed(error: httparse::Error) -> HeadError {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => {
            let most = limits::MAX_HEADERS;
            refused(431, "too large", format!("a request has at most {most} header lines"))
        }
        Error::HeaderName => bad_request(
            "a header line must start with a name, and a colon right behind it; no line is folded",
        ),
        Error::HeaderValue => bad_request("a header's value holds a control character"),
        Error::NewLine => bad_request("every line of the head must end with CR LF"),
        Error::Token | Error::Version | Error::Status => {
            bad_request("the first line must be <method> <path> HTTP/1.1, with one space between")
        }
    }
}

/// Path and query of the target; `http://host/path` is taken too, as RFC 9112, section 3.2.2 demands.
fn origin_form(target: &str) -> Result<String, HeadError> {
    if !target.is_ascii() {
        return Err(bad_request("the path must be ASCII: percent-encode everything else"));
    }
    let scheme = ["http://", "https://"]
        .iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    if let Some(scheme) = scheme {
        let rest = &target[scheme.len()..];
        return match rest.find(['/', '?']) {
            Some(at) if rest[at..].starts_with('/') => Ok(rest[at..].to_owned()),
            Some(at) => Ok(format!("/{}", &rest[at..])),
            None => Ok("/".to_owned()),
        };
    }
    if target.starts_with('/') || target == "*" {
        return Ok(target.to_owned());
    }
    Err(bad_request("the path must start with /: this is no proxy"))
}

fn check_headers(head: &Head) -> Result<(), HeadError> {
    if head.header("transfer-encoding").is_some() {
        let message = "send the body whole, with Content-Length and without Transfer-Encoding";
        return Err(refused(411, "length required", message));
    }
    for name in SINGLE {
        if head.values(name).count() > 1 {
            return Err(bad_request(format!("the header {name} must come once only")));
        }
    }
    if head.minor == 1 && head.header("host").is_none() {
        return Err(bad_request("HTTP/1.1 demands a Host header"));
    }
    Ok(())
}

/// What the request says about its body. Digits only: `+5`, `5, 5` and an empty value are all refused.
fn content_length(head: &Head) -> Result<Option<usize>, HeadError> {
    let Some(value) = head.header("content-length") else { return Ok(None) };
    let wanted = || bad_request("Content-Length must be one decimal number");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(wanted());
    }
    let length: u64 = str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(wanted)?;
    match usize::try_from(length) {
        Ok(length) if length <= limits::MAX_BODY_BYTES => Ok(Some(length)),
        Ok(_) | Err(_) => {
            let most = limits::MAX_BODY_BYTES;
            Err(refused(413, "too large", format!("a request's body is at most {most} bytes")))
        }
    }
}
