//! The line: one WebSocket, read by one thread, written by any. The only module that names `tungstenite`.
//!
//! - The thread that owns a [`Line`] reads, and never blocks on a write: tungstenite's own pongs and closes, and
//!   whatever the reader answers, go through the [`Outbox`] without blocking.
//! - Signs of life are kept while reading: a ping after a beat in which nothing was sent, or nothing heard; three
//!   silent beats end the line with [`LineEnd::Silent`]. Nothing wakes up in between.
//! - What is read has bounds: message size, bytes without a message (endless fragments), pings a beat.

mod dial;
mod frame;
mod half;
mod outbox;
mod proxy;
mod pulse;
mod rate;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::limits;
use crate::names::{CongestionControl, printable};
use crate::stream::Stream;
use half::ReadHalf;

pub use dial::{DialError, ServerAddress, dial, form_encode};
pub use frame::{Side, binary_frame};
pub use outbox::{Gone, Outbox};
pub use proxy::{ProxyAddress, ProxyFault};
pub use pulse::{Probe, Pulse};
pub use rate::Rate;
/// The payload of a binary message: a slice of the read buffer, shared, not copied.
pub use tungstenite::Bytes;
/// A text message.
pub use tungstenite::Utf8Bytes;
/// What a server needs to answer a WebSocket handshake, re-exported for the door.
pub use tungstenite::{handshake::server as handshake, http};

/// Close codes that we send (RFC 6455, section 7.4.1).
pub mod close {
    /// Done.
    pub const NORMAL: u16 = 1000;
    /// The server stops.
    pub const GOING_AWAY: u16 = 1001;
    /// The WebSocket protocol was broken.
    pub const PROTOCOL: u16 = 1002;
    /// Text is not UTF-8.
    pub const NOT_UTF8: u16 = 1007;
    /// Our protocol was broken.
    pub const POLICY: u16 = 1008;
    /// A message over the bound.
    pub const TOO_BIG: u16 = 1009;
    /// What a v1 server closes with when the token is wrong.
    pub const V1_UNAUTHORIZED: u16 = 4001;
}

/// A message from the peer.
#[derive(Debug)]
pub enum Incoming {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
}

/// Why a line ended.
#[derive(Debug)]
pub enum LineEnd {
    /// The peer closed it.
    Closed {
        /// Its code; 1005 when it gave none.
        code: u16,
        /// Its words.
        reason: String,
    },
    /// Nothing was heard for three beats.
    Silent,
    /// The connection broke, or this side shut it.
    Dropped(io::Error),
    /// The peer broke the WebSocket protocol or a bound; it has been told.
    Broken(String),
}

impl fmt::Display for LineEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineEnd::Closed { code, reason } if reason.is_empty() => write!(f, "closed by the peer ({code})"),
            LineEnd::Closed { code, reason } => {
                write!(f, "closed by the peer ({code} {})", printable(reason))
            }
            LineEnd::Silent => {
                write!(f, "nothing heard, or nothing whole, for {} heartbeats", limits::SILENT_BEATS)
            }
            LineEnd::Dropped(error) => write!(f, "connection lost: {error}"),
            LineEnd::Broken(why) => write!(f, "closed, the peer broke the rules: {}", printable(why)),
        }
    }
}

/// How a line is kept.
#[derive(Debug, Clone, Copy)]
pub struct Keeping {
    /// One heartbeat.
    pub beat: Duration,
    /// The largest message that is taken, in bytes.
    pub max_message: usize,
}

/// The reading end of a line; see the module.
pub struct Line {
    socket: WebSocket<ReadHalf>,
    outbox: Arc<Outbox>,
    pulse: Arc<Pulse>,
    control_frames: Rate,
}

impl Line {
    /// A line whose handshake this server has answered. `tail` are the bytes that were read behind the request.
    ///
    /// # Errors
    /// When the socket is gone already.
    pub fn accepted(socket: Arc<Stream>, tail: Vec<u8>, keeping: Keeping) -> io::Result<Line> {
        socket.socket().set_nodelay(true)?;
        socket.set_write_timeout(None)?;
        let half = ReadHalf::new(socket, Side::Server, keeping);
        let (outbox, pulse) = (half.outbox.clone(), half.pulse.clone());
        let socket = WebSocket::from_partially_read(half, tail, Role::Server, Some(config(keeping)));
        Ok(Line { socket, outbox, pulse, control_frames: Rate::new() })
    }

    /// Where to write.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// When the peer was last heard.
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// One heartbeat of this line.
    pub fn beat(&self) -> Duration {
        self.socket.get_ref().keeping.beat
    }

    /// Who finds out how fast this side's socket may send; `None` where the kernel does not tell.
    pub fn congestion_control(&self) -> Option<CongestionControl> {
        let name = rustix::net::sockopt::tcp_congestion(self.socket.get_ref().tcp()).ok()?;
        name.trim_end_matches('\0').parse().ok()
    }

    /// Asks the kernel for another one.
    ///
    /// # Errors
    /// When it has no such one, or does not let this user have it; the one before stays.
    pub fn set_congestion_control(&self, name: &CongestionControl) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_tcp_congestion(self.socket.get_ref().tcp(), name.as_str())?)
    }

    /// Beats at another rate from now on.
    pub fn set_beat(&mut self, beat: Duration) {
        self.socket.get_mut().keeping.beat = beat;
    }

    /// Takes the progress of what is written for a sign of life too: for a peer that never pings by itself, and whose
    /// answers to our pings wait for megabytes of chunks to get through.
    pub fn count_writes(&mut self) {
        self.socket.get_mut().writes_count = true;
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// The line is over then.
    pub fn read(&mut self) -> Result<Incoming, LineEnd> {
        loop {
            if let Some(message) = self.read_once()? {
                return Ok(message);
            }
        }
    }

    /// Waits for the next message until `deadline`; `None` when it has passed.
    ///
    /// # Errors
    /// The line is over then.
    pub fn read_until(&mut self, deadline: Instant) -> Result<Option<Incoming>, LineEnd> {
        self.socket.get_mut().deadline = Some(deadline);
        let read = loop {
            match self.read_once() {
                Ok(None) if Instant::now() >= deadline => break Ok(None),
                Ok(None) => {}
                other => break other,
            }
        };
        self.socket.get_mut().deadline = None;
        read
    }

    /// Marks the peer as alive while this side does not read, and pings when that is due. To be called once a beat.
    pub fn keep_alive(&mut self) {
        self.pulse.heard();
        self.socket.get_mut().ping_if_due();
    }

    /// Says why, waits a moment for the peer's answer, and ends.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.outbox.close(code, reason);
        let deadline = Instant::now() + limits::CLOSE_TIME;
        // What still comes is of no interest; the read ends with the peer's close, an error or the deadline.
        let end = loop {
            match self.read_until(deadline) {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(end) => break Some(end),
            }
        };
        match end {
            Some(LineEnd::Broken(_)) => self.drain(),
            _ => self.outbox.shut(),
        }
    }

    /// Ends a line that the peer broke, after our Close: what it still sends is read and dropped for a moment. A socket
    /// that is closed over unread bytes is reset, and the reset may overtake the Close.
    pub fn drain(&mut self) {
        let deadline = Instant::now() + limits::CLOSE_TIME;
        self.outbox.finish_by(deadline);
        self.socket.get_mut().drop_rest(deadline);
        self.outbox.shut();
    }

    /// One message, or `None` after a control frame or a read that ran into the deadline.
    fn read_once(&mut self) -> Result<Option<Incoming>, LineEnd> {
        let read = self.socket.read();
        self.socket.get_mut().since_message = 0;
        if let Ok(message @ (Message::Text(_) | Message::Ping(_) | Message::Pong(_))) = &read {
            self.pulse.message_is_whole(message.len());
        }
        match read {
            Ok(Message::Text(text)) => Ok(Some(Incoming::Text(text))),
            Ok(Message::Binary(payload)) => Ok(Some(Incoming::Binary(payload))),
            Ok(Message::Pong(sent)) => {
                self.pulse.answered(&sent);
                self.count_control_frame()
            }
            Ok(Message::Ping(_)) => self.count_control_frame(),
            Ok(Message::Close(frame)) => {
                // Sends the answer; for a server this ends in an error, because there is nothing more to do.
                let _ended = self.socket.flush();
                let (code, reason) = frame
                    .map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                Err(LineEnd::Closed { code, reason })
            }
            Ok(Message::Frame(_)) => Ok(None), // never given out by `read`
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(self.end(error)),
        }
    }

    fn count_control_frame(&mut self) -> Result<Option<Incoming>, LineEnd> {
        let beat = self.socket.get_ref().keeping.beat;
        if self.control_frames.exceeds(limits::MAX_CONTROL_FRAMES_A_BEAT, beat) {
            self.outbox.close(close::POLICY, "too many pings");
            return Err(LineEnd::Broken("too many pings".to_owned()));
        }
        Ok(None)
    }

    fn end(&mut self, error: Error) -> LineEnd {
        let (code, why) = match error {
            Error::ConnectionClosed | Error::AlreadyClosed => {
                return LineEnd::Closed { code: close::NORMAL, reason: String::new() };
            }
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                return LineEnd::Dropped(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "closed without a word",
                ));
            }
            Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => return LineEnd::Silent,
            Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                (close::POLICY, error.to_string())
            }
            Error::Io(error) => return LineEnd::Dropped(error),
            Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
                (close::TOO_BIG, format!("a message of {size} bytes or more; the bound is {max_size}"))
            }
            Error::Utf8(_) => (close::NOT_UTF8, "text that is not UTF-8".to_owned()),
            other => (close::PROTOCOL, other.to_string()),
        };
        self.outbox.close(code, &why);
        LineEnd::Broken(why)
    }
}

fn config(keeping: Keeping) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(limits::READ_BUFFER_BYTES)
        .write_buffer_size(0) // whole frames, at once
        .max_write_buffer_size(limits::MAX_OUTBOX_BYTES)
        .max_message_size(Some(keeping.max_message))
        .max_frame_size(Some(keeping.max_message))
}
