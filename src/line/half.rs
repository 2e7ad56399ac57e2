//! The socket as a line reads it: with its deadlines and signs of life.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Keeping, Outbox, Pulse, Side};
use crate::limits;
use crate::stream::{Room, Stream};

/// The reading half of a line.
pub(super) struct ReadHalf {
    socket: Arc<Stream>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) keeping: Keeping,
    /// A read that is not to wait longer.
    pub(super) deadline: Option<Instant>,
    /// The socket's read timeout as it is set.
    timeout: Duration,
    last_ping: Instant,
    /// Bytes read since the last message.
    pub(super) since_message: usize,
    /// When the first of them came, or [`limits::MIN_PROGRESS_BYTES`] more.
    headway: Instant,
    /// Bytes of the socket that were counted as signs of life.
    counted_raw: u64,
    /// What is written counts as a sign of life: the peer never pings by itself, and our pings wait behind chunks.
    pub(super) writes_count: bool,
}

impl ReadHalf {
    pub(super) fn new(socket: Arc<Stream>, side: Side, keeping: Keeping) -> ReadHalf {
        let outbox = Arc::new(Outbox::new(socket.clone(), side));
        let pulse = Arc::new(Pulse::new());
        let (timeout, last_ping) = (Duration::ZERO, Instant::now());
        ReadHalf {
            socket,
            outbox,
            pulse,
            keeping,
            deadline: None,
            timeout,
            last_ping,
            since_message: 0,
            headway: Instant::now(),
            counted_raw: 0,
            writes_count: false,
        }
    }

    /// The TCP socket, for its options.
    pub(super) fn tcp(&self) -> &TcpStream {
        self.socket.socket()
    }

    /// Pings when a beat has gone without a frame of ours, or without one of the peer's, and says when to look again.
    pub(super) fn ping_if_due(&mut self) -> Duration {
        let beat = self.keeping.beat;
        let silence = self.outbox.quiet_for().max(self.pulse.unheard_for());
        let longest = silence.min(self.last_ping.elapsed());
        if longest < beat {
            return beat - longest;
        }
        // A failure shuts the line; the read that follows sees it.
        let _gone = self.outbox.ping(&self.pulse.ping());
        self.last_ping = Instant::now();
        beat
    }

    /// Sets the socket's read timeout, when the one that is set is longer by more than a trifle, or much shorter: while chunks come, what is
    /// left of a beat shrinks with each, and would take a system call each.
    fn wait_at_most(&mut self, time: Duration) -> io::Result<()> {
        let time = time.max(Duration::from_millis(1));
        if self.timeout > time + time / 32 || self.timeout < time - time / 8 {
            self.socket.set_read_timeout(Some(time))?;
            self.timeout = time;
        }
        Ok(())
    }

    /// Whether a message has been arriving for so long, and so slowly, that it never will: a frame whose length was damaged
    /// swallows all that follows, signs of life too.
    fn is_wedged(&self) -> bool {
        self.since_message > 0 && self.headway.elapsed() > self.keeping.beat * limits::SILENT_BEATS
    }

    fn count(&mut self, length: usize) {
        self.pulse.received(length);
        let steps = |bytes: usize| bytes / limits::MIN_PROGRESS_BYTES;
        if self.since_message == 0 || steps(self.since_message + length) > steps(self.since_message) {
            self.headway = Instant::now();
        }
        self.since_message += length;
    }

    /// Under TLS nothing is read before a record of up to 16 KiB is whole: on a thin line its parts are signs of life.
    fn count_raw(&mut self) {
        let arrived = self.socket.arrived();
        if arrived - self.counted_raw >= limits::MIN_PROGRESS_BYTES as u64 {
            self.counted_raw = arrived;
            self.pulse.heard();
        }
    }

    /// Reads and drops what still comes, until the peer has closed, or `deadline`.
    pub(super) fn drop_rest(&mut self, deadline: Instant) {
        let (mut dropped, mut buffer) = (0, Vec::with_capacity(4 << 10));
        while dropped < limits::MAX_DRAINED_BYTES {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.wait_at_most(left).is_err() {
                return;
            }
            buffer.clear();
            match self.socket.read_into(&mut buffer) {
                Ok(0) => return,
                Ok(count) => dropped += count,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(_) => return, // the peer has gone
            }
        }
    }

    /// How long the peer may still be silent.
    fn patience(&self) -> Duration {
        let mut silence = self.pulse.unheard_for();
        if self.writes_count {
            silence = silence.min(self.outbox.no_progress_for());
        }
        (self.keeping.beat * limits::SILENT_BEATS).saturating_sub(silence)
    }

    /// Appends what is there to `buffer`, as far as that has room; waits for it. 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` at the deadline; `TimedOut` for a silent peer, or a message that makes no headway; `InvalidData` for endless fragments; `BrokenPipe`
    /// for a peer that does not read.
    pub(super) fn read_into(&mut self, buffer: &mut dyn Room) -> io::Result<usize> {
        if self.since_message > 2 * self.keeping.max_message + 4 * limits::READ_BUFFER_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "fragments without end"));
        }
        if self.is_wedged() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.outbox.is_overfull() {
            // What has come already is not taken any more: thousands of questions may be in the socket.
            let words = "too much of what it was sent waits, it does not read";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, words));
        }
        // Whoever was busy elsewhere has not been listening: the peer gets a beat at least.
        let mut patience = self.patience().max(self.keeping.beat);
        loop {
            let mut wait = self.ping_if_due().min(patience);
            if let Some(deadline) = self.deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                wait = wait.min(left);
            }
            self.wait_at_most(wait)?;
            match self.socket.read_into(buffer) {
                Ok(length) => {
                    self.counted_raw = self.socket.arrived();
                    self.count(length);
                    return Ok(length);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    self.count_raw();
                    patience = self.patience();
                    if patience.is_zero() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
