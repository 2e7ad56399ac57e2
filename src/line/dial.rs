//! The agent's way out: resolve, connect, a proxy where there is one, shake hands, all under one deadline.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::http::HeaderValue;
use tungstenite::http::header::{AUTHORIZATION, RETRY_AFTER};
use tungstenite::{Error, client::client_with_config};

use super::proxy::{ProxyAddress, ProxyFault, authority, tunnel};
use super::{Keeping, Line, Side};
use crate::limits;
use crate::names::printable;
use crate::stream::Stream;
use crate::stream::tls::Connector;

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path, and what the query holds already.
    pub path_and_query: String,
    /// The proxy on the way to it.
    pub proxy: Option<ProxyAddress>,
}

/// Why there is no line.
#[derive(Debug)]
pub enum DialError {
    /// The server can't be reached.
    Unreachable(io::Error),
    /// The proxy is no way to it.
    Proxy {
        /// Which one.
        proxy: ProxyAddress,
        /// Why not.
        fault: ProxyFault,
    },
    /// The server said no, by HTTP status.
    Refused {
        /// The status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
        /// Its words.
        message: String,
    },
    /// There is no trust: the server, or this side, has not proven who it is.
    Insecure(io::Error),
    /// What answered is no WebSocket server.
    NotAServer(String),
}

impl fmt::Display for DialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DialError::Unreachable(error) => write!(f, "can't reach the server: {error}"),
            DialError::Insecure(error) => write!(f, "no secure line to the server: {error}"),
            DialError::Proxy { proxy, fault } => {
                write!(f, "can't reach the server through the proxy {proxy}: {fault}")
            }
            DialError::Refused { status, message, .. } => {
                write!(f, "the server refused with {status}: {}", printable(message))
            }
            DialError::NotAServer(what) => write!(f, "that is no Towline server: {}", printable(what)),
        }
    }
}

/// Opens a line, with TLS when there is a connector for it. `query` is added to the path; `bearer` goes into the
/// `Authorization` header.
///
/// # Errors
/// Says what went wrong, within [`limits::DIAL_TIME`] (and what the system's resolver takes).
pub fn dial(
    server: &ServerAddress,
    tls: Option<&Connector>,
    query: &str,
    bearer: &str,
    keeping: Keeping,
) -> Result<Line, DialError> {
    let deadline = Instant::now() + limits::DIAL_TIME;
    let socket = connect(server, deadline)?;
    let stream = match tls {
        None => Stream::plain(socket),
        Some(tls) => tls.connect(socket, &server.host, deadline).map_err(DialError::Insecure)?,
    };
    let authority = authority(&server.host, server.port);
    let joint = if server.path_and_query.contains('?') { '&' } else { '?' };
    let url = format!("ws://{authority}{}{joint}{query}", server.path_and_query);
    let mut request = url.into_client_request().map_err(|error| DialError::NotAServer(error.to_string()))?;
    let mut authorization = HeaderValue::from_bytes(format!("Bearer {bearer}").as_bytes())
        .map_err(|_| DialError::NotAServer("AUTH_SECRET holds a control character".to_owned()))?;
    authorization.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, authorization);

    let stream = Arc::new(stream);
    let mut tail = Vec::new();
    let shaking = Shaking { stream: &stream, deadline, came: &mut tail };
    match client_with_config(request, shaking, None).map(drop) {
        Ok(()) => Ok(Line::new(stream, Side::Agent, tail, keeping)),
        Err(HandshakeError::Interrupted(_)) => {
            Err(DialError::Unreachable(io::Error::new(io::ErrorKind::TimedOut, "no answer to the handshake")))
        }
        Err(HandshakeError::Failure(Error::Http(response))) => {
            let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = header.and_then(|text| text.parse().ok()).map(Duration::from_secs);
            let body = String::from_utf8_lossy(&tail).into_owned();
            let words = serde_json::from_str::<serde_json::Value>(&body).ok();
            let message =
                words.and_then(|words| Some(words.get("message")?.as_str()?.to_owned())).unwrap_or(body);
            Err(DialError::Refused { status: response.status().as_u16(), retry_after, message })
        }
        Err(HandshakeError::Failure(Error::Io(error))) => Err(DialError::Unreachable(error)),
        Err(HandshakeError::Failure(error)) => Err(DialError::NotAServer(error.to_string())),
    }
}

/// A connection during the WebSocket handshake, all of it before `deadline`. It is read line by line: what comes behind the
/// head of the server's answer stays here.
struct Shaking<'s> {
    stream: &'s Stream,
    deadline: Instant,
    /// What came and was not given out yet.
    came: &'s mut Vec<u8>,
}

impl Read for Shaking<'_> {
    /// # Errors
    /// `WouldBlock` at the deadline, which ends the handshake; those of the connection.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.came.reserve_exact(limits::READ_BUFFER_BYTES);
        while self.came.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read_into(self.came) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Ok(0) => return Ok(0),
                received => drop(received?),
            }
        }
        // All of the head when it is here: tungstenite takes many short reads for an attack.
        let head = self.came.windows(4).position(|bytes| bytes == b"\r\n\r\n").map(|at| at + 4);
        let line = self.came.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let count = head.or(line).unwrap_or(self.came.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.came[..count]);
        self.came.drain(..count);
        Ok(count)
    }
}

impl Write for Shaking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self.stream;
        stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Connects to the server; where a proxy is on the way, through it.
fn connect(server: &ServerAddress, deadline: Instant) -> Result<TcpStream, DialError> {
    let Some(proxy) = &server.proxy else {
        return connect_to(&server.host, server.port, deadline).map_err(DialError::Unreachable);
    };
    let connected = connect_to(&proxy.host, proxy.port, deadline).map_err(ProxyFault::Broken);
    let tunnelled = connected.and_then(|socket| {
        tunnel(&socket, proxy, &server.host, server.port, deadline)?;
        Ok(socket)
    });
    tunnelled.map_err(|fault| DialError::Proxy { proxy: proxy.clone(), fault })
}

fn connect_to(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    for (tried, address) in addresses.iter().enumerate() {
        // A dead address must leave time for the others, and for the handshake.
        let share = (addresses.len() - tried + 1) as u32;
        let left = (deadline.saturating_duration_since(Instant::now()) / share).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(address, left) {
            Ok(socket) => {
                socket.set_nodelay(true)?;
                socket.set_write_timeout(None)?;
                // A kernel that does not know it holds more back, and that is all.
                let _older = SockRef::from(&socket).set_tcp_notsent_lowat(limits::MAX_UNSENT_BYTES);
                return Ok(socket);
            }
            Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
        }
    }
    Err(last)
}
