//! Answers that the door gives itself: errors as the API words them, and a way to close that lets the caller read them.

use std::io::{self, Write as _};
use std::time::Instant;

use serde_json::json;

use super::read_before;
use crate::limits;
use crate::stream::Stream;

/// Answers with `{"error","message"}`, and closes once the caller has had time to read it.
///
/// 429 and 503 carry `Retry-After`, the door's own unless `extra_headers` has one. Gives up in silence on a caller
/// that does not take the answer: it was refused, one way or the other.
pub fn refuse(socket: &Stream, status: u16, error: &str, message: &str, extra_headers: &[(&str, &str)]) {
    refuse_request(socket, "GET", status, error, message, extra_headers);
}

/// The same to a request of this method: to HEAD goes no body (RFC 9110, section 9.3.2).
pub fn refuse_request(
    socket: &Stream,
    method: &str,
    status: u16,
    error: &str,
    message: &str,
    extra_headers: &[(&str, &str)],
) {
    let mut answer = answer(status, error, message, extra_headers);
    if method == "HEAD"
        && let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n")
    {
        answer.truncate(end + 4);
    }
    let mut writer = socket;
    let sent = socket.set_write_timeout(Some(limits::DRAIN_TIME)).and_then(|()| writer.write_all(&answer));
    if sent.is_ok() {
        drain_and_close(socket);
    }
}

/// A whole answer, head and body.
pub(super) fn answer(status: u16, error: &str, message: &str, extra_headers: &[(&str, &str)]) -> Vec<u8> {
    let body = json!({ "error": error, "message": message }).to_string();
    let mut head = format!(
        "HTTP/1.1 {status} {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        reason(status),
        body.len()
    );
    let retry = ("Retry-After", &*limits::RETRY_AFTER_SECONDS.to_string());
    let has_retry = extra_headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(retry.0));
    let retry = (matches!(status, 429 | 503) && !has_retry).then_some(&retry);
    for (name, value) in extra_headers.iter().chain(retry) {
        assert!(!value.contains(['\r', '\n']), "the values of our own headers have one line");
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    (head + "\r\n" + &body).into_bytes()
}

/// Says that nothing more will come, and reads and drops what the caller still sends, for a while.
///
/// A socket that is closed with unread bytes is reset, and the reset may overtake the answer: RFC 9112, section 9.6.
pub fn drain_and_close(socket: &Stream) {
    let deadline = Instant::now() + limits::DRAIN_TIME;
    let drained = socket.finish().and_then(|()| drain(socket, deadline));
    if let Err(error) = drained {
        log::trace!("closing a connection: {error}"); // its caller is gone, or did not hang up in time
    }
}

fn drain(socket: &Stream, deadline: Instant) -> io::Result<()> {
    let mut dropped = 0;
    let mut buffer = Vec::with_capacity(16 << 10);
    while dropped < limits::MAX_DRAINED_BYTES {
        buffer.clear();
        match read_before(socket, &mut buffer, deadline)? {
            0 => break,
            count => dropped += count,
        }
    }
    Ok(())
}

/// The words beside the number: RFC 9110, section 15.
fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{pair, rest};
    use super::*;

    #[test]
    fn a_refused_caller_that_never_hangs_up_is_left() {
        let (caller, socket, _) = pair();
        let begun = Instant::now();
        refuse(&socket, 401, "unauthorized", "send a key", &[("WWW-Authenticate", "Bearer")]);
        assert!(
            (limits::DRAIN_TIME..limits::DRAIN_TIME * 3).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
        drop(socket);
        assert!(String::from_utf8(rest(caller)).unwrap().contains("\r\nWWW-Authenticate: Bearer\r\n"));
    }
}
