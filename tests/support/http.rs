//! HTTP down to the byte: what is sent is what the test wrote, and what comes back is read to the end.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::wait::{Deadline, SOON};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} more than once in {self:?}");
        value
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err} in {} {text:?}", self.status))
    }

    /// Asserts the status, and returns the JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self.json()
    }

    /// Asserts an error of the API: this status, this word, and a message for a person.
    #[track_caller]
    pub fn expect_error(&self, status: u16, word: &str) {
        let body = self.expect(status);
        assert_eq!(body["error"], word, "{body}");
        assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "no message in {body}");
    }
}

/// What a connection brought.
pub enum Came {
    Bytes(Vec<u8>),
    /// The peer has closed it.
    End,
    /// Nothing until the deadline.
    Nothing,
}

/// What TLS makes of a socket.
pub trait Secured: Read + Write + Send {}
impl<T: Read + Write + Send> Secured for T {}

/// One connection: its socket, and the TLS over it where there is some.
pub struct Wire(pub TcpStream, pub Option<Box<dyn Secured>>);

impl Wire {
    pub fn connect(port: u16) -> Wire {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
        stream.set_nodelay(true).expect("a socket takes options");
        stream.set_write_timeout(Some(SOON)).expect("a socket takes options");
        Wire(stream, None)
    }

    fn reader(&mut self) -> &mut dyn Read {
        match &mut self.1 {
            Some(tls) => tls,
            None => &mut self.0,
        }
    }

    /// Sends all of it. A peer that has answered and gone already is no failure: its answer tells.
    pub fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.1 {
            Some(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
            None => self.0.write_all(bytes),
        };
        if let Err(err) = sent {
            let gone = matches!(err.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
            assert!(gone, "send: {err}");
        }
    }

    /// Reads exactly `len` bytes.
    #[track_caller]
    pub fn read_exact(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.set_read_timeout(Some(SOON)).expect("a socket takes options");
        self.reader().read_exact(&mut bytes).expect("the peer sends this much");
        bytes
    }

    /// Reads what comes next, at most until `deadline`.
    pub fn read_some(&mut self, deadline: Deadline) -> Came {
        let mut buffer = vec![0; 64 << 10];
        self.0.set_read_timeout(Some(deadline.left())).expect("a socket takes options");
        // A process that is stopped and goes on meets this on a socket with a time limit (signal(7)).
        let mut read = self.reader().read(&mut buffer);
        while matches!(&read, Err(err) if err.kind() == ErrorKind::Interrupted) {
            read = self.reader().read(&mut buffer);
        }
        match read {
            Ok(0) => Came::End,
            Ok(read) => {
                buffer.truncate(read);
                Came::Bytes(buffer)
            }
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Came::Nothing,
            Err(err) if err.kind() == ErrorKind::ConnectionReset => Came::End,
            Err(err) => panic!("read: {err}"),
        }
    }

    /// Reads until the peer closes, at most `time`; whether it did, and what came until then.
    pub fn read_to_end(&mut self, time: Duration) -> (bool, Vec<u8>) {
        let deadline = Deadline::after(time);
        let mut bytes = Vec::new();
        while !deadline.passed() {
            match self.read_some(deadline) {
                Came::Bytes(more) => bytes.extend(more),
                Came::End => return (true, bytes),
                Came::Nothing => {}
            }
        }
        (false, bytes)
    }

    /// Reads one answer, and that the peer closes after it.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.answer_within(SOON)
    }

    #[track_caller]
    pub fn answer_within(&mut self, time: Duration) -> Answer {
        let (closed, bytes) = self.read_to_end(time);
        let text = String::from_utf8_lossy(&bytes);
        assert!(closed, "the connection was left open after {text:?}");
        parse(&bytes).unwrap_or_else(|| panic!("no HTTP answer: {text:?}"))
    }

    /// Says that nothing more will come from here.
    pub fn finish(&self) {
        // The peer may have closed it already.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

/// Sends `bytes` on a connection of their own, and reads the answer.
#[track_caller]
pub fn exchange(port: u16, bytes: &[u8]) -> Answer {
    let mut wire = Wire::connect(port);
    wire.send(bytes);
    wire.answer()
}

/// The one answer that `bytes` are: nothing may follow it.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
    let status =
        first.strip_prefix("HTTP/1.1 ").or(first.strip_prefix("HTTP/1.0 "))?.get(..3)?.parse().ok()?;
    let headers = rest.lines().map(|line| line.split_once(':').map(|(k, v)| (k.into(), v.trim().into())));
    let mut answer = Answer { status, headers: headers.collect::<Option<_>>()?, body: Vec::new() };
    let rest = &bytes[end + 4..];
    let chunked = answer.header("transfer-encoding").is_some_and(|te| te.eq_ignore_ascii_case("chunked"));
    answer.body = match answer.header("content-length") {
        Some(length) => {
            let length: usize = length.parse().ok()?;
            assert!(rest.is_empty() || rest.len() == length, "{} bytes of a body of {length}", rest.len());
            rest.to_vec()
        }
        None if chunked => unchunk(rest)?,
        None => rest.to_vec(),
    };
    Some(answer)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while !rest.is_empty() {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
    (body.is_empty()).then_some(body) // the answer to a HEAD
}
