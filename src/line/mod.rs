//! The line: one WebSocket, read by one thread, written by any. The only module that names `tungstenite`.
//!
//! - The thread that owns a [`Line`] reads, and never blocks on a write: pongs, closes and whatever else it answers
//!   go through the [`Outbox`] without blocking.
//! - Signs of life are kept while reading: a ping after a beat in which nothing was sent, or nothing heard; three
//!   silent beats end the line with [`LineEnd::Silent`]. Nothing wakes up in between.
//! - What is read has bounds: message size, bytes without a message (endless fragments), pings a beat.

mod chunks;
mod dial;
mod frame;
mod half;
mod outbox;
mod proxy;
mod pulse;
mod rate;
pub mod reader;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tungstenite::Error;
use tungstenite::error::CapacityError;

use crate::limits;
use crate::names::{CongestionControl, printable};
use crate::stream::Stream;
use half::ReadHalf;
use reader::{Reader, Whole};

pub use chunks::{Chunks, InUse};
pub use dial::{DialError, ServerAddress, dial};
pub use frame::{Payload, Side, binary_frame};
pub use outbox::{Gone, Outbox};
pub use proxy::{ProxyAddress, ProxyFault};
pub use pulse::{Probe, Pulse};
pub use rate::Rate;
/// The payload of a binary message: shared, not copied.
pub use tungstenite::Bytes;
/// A text message.
pub use tungstenite::Utf8Bytes;
/// What a server needs to answer a WebSocket handshake, re-exported for the door.
pub use tungstenite::{handshake::server as handshake, http};

/// Close codes that we send (RFC 6455, section 7.4.1).
pub mod close {
    /// The server stops.
    pub const GOING_AWAY: u16 = 1001;
    /// The WebSocket protocol was broken.
    pub const PROTOCOL: u16 = 1002;
    /// Text is not UTF-8.
    pub const NOT_UTF8: u16 = 1007;
    /// A close without a code: it never goes over a line.
    pub const NONE: u16 = 1005;
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
    half: ReadHalf,
    reader: Reader,
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
        Ok(Line::new(socket, Side::Server, tail, keeping))
    }

    /// A line after its handshake; `tail` are the bytes that were read behind that.
    fn new(socket: Arc<Stream>, side: Side, tail: Vec<u8>, keeping: Keeping) -> Line {
        let half = ReadHalf::new(socket, side, keeping);
        let (outbox, pulse) = (half.outbox.clone(), half.pulse.clone());
        let reader = Reader::new(side, keeping.max_message, tail);
        Line { half, reader, outbox, pulse, control_frames: Rate::new() }
    }

    /// Has the memory of chunks from there from now on.
    pub fn use_chunks(&mut self, chunks: Arc<Chunks>) {
        self.reader.use_chunks(chunks);
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
        self.half.keeping.beat
    }

    /// Who finds out how fast this side's socket may send; `None` where the kernel does not tell.
    pub fn congestion_control(&self) -> Option<CongestionControl> {
        let name = rustix::net::sockopt::tcp_congestion(self.half.tcp()).ok()?;
        name.trim_end_matches('\0').parse().ok()
    }

    /// Asks the kernel for another one.
    ///
    /// # Errors
    /// When it has no such one, or does not let this user have it; the one before stays.
    pub fn set_congestion_control(&self, name: &CongestionControl) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_tcp_congestion(self.half.tcp(), name.as_str())?)
    }

    /// Beats at another rate from now on.
    pub fn set_beat(&mut self, beat: Duration) {
        self.half.keeping.beat = beat;
    }

    /// Takes the progress of what is written for a sign of life too: for a peer that never pings by itself, and whose
    /// answers to our pings wait for megabytes of chunks to get through.
    pub fn count_writes(&mut self) {
        self.half.writes_count = true;
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
        self.half.deadline = Some(deadline);
        let read = loop {
            match self.read_once() {
                Ok(None) if Instant::now() >= deadline => break Ok(None),
                Ok(None) => {}
                other => break other,
            }
        };
        self.half.deadline = None;
        read
    }

    /// Marks the peer as alive while this side does not read, and pings when that is due. To be called once a beat.
    pub fn keep_alive(&mut self) {
        self.pulse.heard();
        self.half.ping_if_due();
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
        self.half.drop_rest(deadline);
        self.outbox.shut();
    }

    /// One message, or `None` after a control frame or a read that ran into the deadline.
    fn read_once(&mut self) -> Result<Option<Incoming>, LineEnd> {
        let whole = loop {
            match self.reader.next_whole() {
                Ok(Some(whole)) => break whole,
                Ok(None) => {}
                Err(error) => return Err(self.broken(&error)),
            }
            match self.half.read_into(self.reader.room()) {
                Ok(0) => {
                    let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a word");
                    return Err(LineEnd::Dropped(cut));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(self.lost(error)),
            }
        };
        self.half.since_message = 0;
        match whole {
            Whole::Text(text) => {
                self.pulse.message_is_whole(text.len());
                Ok(Some(Incoming::Text(text)))
            }
            Whole::Binary(payload) => Ok(Some(Incoming::Binary(payload))),
            Whole::Pong(sent) => {
                self.pulse.message_is_whole(sent.len());
                self.pulse.answered(&sent);
                self.count_control_frame()
            }
            Whole::Ping(payload) => {
                self.pulse.message_is_whole(payload.len());
                // A line that is shut or closing answers no more; the read that follows sees its end.
                let _gone = self.outbox.pong(&payload);
                self.count_control_frame()
            }
            Whole::Close(frame) => {
                let (code, words) = frame.as_ref().map_or((close::NONE, ""), |(code, words)| (*code, words));
                self.outbox.close(code, words); // section 5.5.1: answered, unless we were first
                Err(LineEnd::Closed { code, reason: words.to_owned() })
            }
        }
    }

    fn count_control_frame(&mut self) -> Result<Option<Incoming>, LineEnd> {
        let beat = self.half.keeping.beat;
        if self.control_frames.exceeds(limits::MAX_CONTROL_FRAMES_A_BEAT, beat) {
            self.outbox.close(close::POLICY, "too many pings");
            return Err(LineEnd::Broken("too many pings".to_owned()));
        }
        Ok(None)
    }

    /// The socket has no more to give.
    fn lost(&mut self, error: io::Error) -> LineEnd {
        match error.kind() {
            io::ErrorKind::TimedOut => LineEnd::Silent,
            io::ErrorKind::InvalidData => {
                let why = error.to_string();
                self.outbox.close(close::POLICY, &why);
                LineEnd::Broken(why)
            }
            _ => LineEnd::Dropped(error),
        }
    }

    /// The peer broke a rule of RFC 6455, or a bound. It is told.
    fn broken(&mut self, error: &Error) -> LineEnd {
        let (code, why) = match error {
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
