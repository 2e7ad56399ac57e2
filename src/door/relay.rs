//! Hands one request on to the control plane, rebuilt, and its answer back.
//!
//! tiny_http is given `Connection: close`: it is done with the connection's thread once it has read the request, and
//! closes after the answer, which is how we know the answer's end.
//!
//! A caller that hangs up while its request is parked is noticed when the answer comes: a caller may
//! shut its sending side and still wait, so its end of file says nothing. That costs a thread for the longest wait,
//! and [`limits::MAX_PARKED`] bounds how many. One that stops reading in mid-answer ends after
//! [`limits::ANSWER_TIME`]; then the control plane's writer meets a closed socket. So nothing waits for ever.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::control_socket::ControlSocket;
use super::head::{Head, HeadError, bad_request, refused};
use super::{read_before, reply};
use crate::limits;
use crate::names::printable;
use crate::stream::Stream;

/// Where the control plane finds the caller's address, as `ip:port`. A caller's own header of this name is dropped.
pub const PEER_HEADER: &str = "x-towline-peer";

/// Where the control plane finds what stands for the caller's key. A caller's own header of this name is dropped.
pub const KEY_HEADER: &str = "x-towline-key";

/// Headers that end here: those about the caller's connection (RFC 9110, section 7.6.1), those that we have
/// answered ourselves, keys, which have been looked at by now, and what a caller says about its address.
const NOT_RELAYED: [&str; 18] = [
    "x-api-key",
    "authorization",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "expect",
    "content-length",
    "transfer-encoding",
    "forwarded",
    "x-forwarded-for",
    "x-real-ip",
    PEER_HEADER,
    KEY_HEADER,
];

/// What the control plane is told of the caller.
#[derive(Debug, Clone)]
pub struct Relayed {
    /// Its address.
    pub peer: SocketAddr,
    /// What stands for its key; nothing when it has shown none.
    pub key: Option<String>,
}

/// Reads the body that `head` states, all of it before `deadline`. What comes beyond it is not looked at.
///
/// # Errors
/// The answer that the caller gets; [`HeadError::Quiet`] when it is gone.
pub fn read_body(mut socket: &Stream, head: &Head, deadline: Instant) -> Result<Vec<u8>, HeadError> {
    let length = head.content_length.unwrap_or(0);
    let mut body = head.tail[..head.tail.len().min(length)].to_vec();
    if let Some(expectation) = head.header("expect") {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            let message = "the only expectation that is met here is 100-continue";
            return Err(refused(417, "expectation failed", message));
        }
        // Not to HTTP/1.0, and not when the body is coming already: RFC 9110, section 10.1.1.
        if head.minor == 1 && body.is_empty() && length > 0 {
            let go = b"HTTP/1.1 100 Continue\r\n\r\n";
            let sent = socket.set_write_timeout(Some(limits::HEAD_TIME)).and_then(|()| socket.write_all(go));
            sent.map_err(|_| HeadError::Quiet)?;
        }
    }
    body.reserve_exact(length - body.len());
    while body.len() < length {
        match read_before(socket, &mut body, deadline) {
            Ok(0) => {
                let filled = body.len();
                let message = format!("the body ended after {filled} bytes, Content-Length says {length}");
                return Err(bad_request(message));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                let message = format!("of {length} bytes of body only {} came in time", body.len());
                return Err(refused(408, "timeout", message));
            }
            Err(_) => return Err(HeadError::Quiet),
        }
    }
    body.truncate(length);
    Ok(body)
}

/// Has the control plane answer the request of this caller, and closes. Its `place` is given back as soon as it is answered:
/// one that does not hang up keeps nobody from the control plane.
///
/// # Errors
/// When the caller is gone or does not read, or the control plane fails it in mid-answer. Nobody is left to be told.
pub fn relay(
    socket: &Stream,
    head: &Head,
    body: &[u8],
    control: &ControlSocket,
    caller: &Relayed,
    place: impl Sized,
) -> io::Result<()> {
    let request = match rebuild(head, body, caller) {
        Ok(request) => request,
        Err(error) => {
            drop(place);
            error.refuse(socket);
            return Ok(());
        }
    };
    let answer = match ask(control, &request) {
        Ok(answer) => answer,
        Err(error) => {
            drop(place);
            log::error!("the control plane does not answer: {error}");
            reply::refuse(socket, 503, "unavailable", "the server cannot answer now, try again", &[]);
            return Ok(());
        }
    };
    copy(answer, socket, limits::ANSWER_TIME)?;
    drop(place);
    reply::drain_and_close(socket);
    Ok(())
}

/// The request as the control plane gets it: nothing in it is the caller's that could be read in two ways.
///
/// # Errors
/// The answer that the caller gets when a header can't be relayed.
pub fn rebuild(head: &Head, body: &[u8], caller: &Relayed) -> Result<Vec<u8>, HeadError> {
    let Head { method, target, minor, .. } = head;
    // The caller's own version: HTTP/1.0 must not be answered in chunks.
    let mut request = format!("{method} {target} HTTP/1.{minor}\r\n").into_bytes();
    let named_by_connection = |name: &str| {
        let mut options = head.values("connection").flat_map(|value| value.split(|&byte| byte == b','));
        options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    };
    for (name, value) in &head.headers {
        let dropped = NOT_RELAYED.iter().any(|other| other.eq_ignore_ascii_case(name));
        if dropped || named_by_connection(name) {
            continue;
        }
        if !value.is_ascii() {
            return Err(bad_request(format!("the value of the header {} must be ASCII", printable(name))));
        }
        request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    let length = body.len();
    let Relayed { peer, key } = caller;
    request.extend(format!("{PEER_HEADER}: {peer}\r\n").bytes());
    if let Some(key) = key {
        assert!(key.bytes().all(|byte| byte.is_ascii_alphanumeric()), "what stands for a key is a word");
        request.extend(format!("{KEY_HEADER}: {key}\r\n").bytes());
    }
    request.extend(format!("Connection: close\r\nContent-Length: {length}\r\n\r\n").bytes());
    request.extend(body);
    Ok(request)
}

/// The control plane's answer, read up to and beyond its status line.
struct Answer {
    from: UnixStream,
    /// What has been read: the status line with its line end, and whatever came with it.
    start: Vec<u8>,
    /// Where the status line ends.
    status_end: usize,
}

/// Sends `request` and waits for the first line of the answer.
fn ask(control: &ControlSocket, request: &[u8]) -> io::Result<Answer> {
    let mut from = control.connect()?;
    from.set_write_timeout(Some(limits::ANSWER_TIME))?;
    from.set_read_timeout(Some(limits::RELAY_TIME))?;
    let sent = from.write_all(request);
    let mut start = Vec::new();
    let mut chunk = vec![0; 4096];
    while start.len() < limits::MAX_HEAD_BYTES {
        match read(&mut from, &mut chunk)? {
            0 => {
                sent?; // when it did not take the request, that is the reason
                return Err(ErrorKind::UnexpectedEof.into());
            }
            count => start.extend_from_slice(&chunk[..count]),
        }
        if let Some(at) = start.windows(2).position(|pair| pair == b"\r\n") {
            return Ok(Answer { from, start, status_end: at + 2 });
        }
    }
    Err(io::Error::new(ErrorKind::InvalidData, "an answer without a status line"))
}

/// Copies the answer to the caller, with the `Connection: close` that tiny_http does not send.
fn copy(answer: Answer, mut socket: &Stream, answer_time: Duration) -> io::Result<()> {
    let Answer { mut from, start, status_end } = answer;
    // A timeout for each write: it ends a caller that takes nothing, not one that is slow.
    socket.set_write_timeout(Some(answer_time))?;
    let (status, rest) = start.split_at(status_end);
    socket.write_all(&[status, b"Connection: close\r\n", rest].concat())?;
    let mut buffer = vec![0; 32 << 10];
    loop {
        match read(&mut from, &mut buffer)? {
            0 => return Ok(()),
            count => socket.write_all(&buffer[..count])?,
        }
    }
}

fn read(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::tests::pair;
    use super::*;

    #[test]
    fn a_caller_that_takes_nothing_is_given_up_and_the_writer_with_it() {
        let (_caller, socket, _) = pair();
        let (mut control, from) = UnixStream::pair().unwrap();
        let writer = thread::spawn(move || {
            loop {
                if let Err(error) = control.write_all(&[0; 64 << 10]) {
                    return error.kind();
                }
            }
        });
        let answer = Answer { from, start: b"HTTP/1.1 200 OK\r\n".to_vec(), status_end: 17 };
        let ended = copy(answer, &socket, Duration::from_millis(200)).unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::WouldBlock);
        assert!(matches!(writer.join().unwrap(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
    }
}
