//! When the peer was last heard, for its own session and for others who ask.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Outbox;
use crate::limits;
use crate::lock::lock;

const NO_ROUND_TRIP: u64 = u64::MAX;

/// Signs of life of one line.
#[derive(Debug)]
pub struct Pulse {
    started: Instant,
    /// Milliseconds since `started`.
    heard_at: AtomicU64,
    round_trip_ms: AtomicU64,
    /// Bytes that came, of messages and of parts of one; those of short messages are taken off again.
    received: AtomicI64,
    /// The session waits for its own disk, and so does not read.
    waiting: AtomicBool,
    /// How many are waiting in [`Pulse::probe`]; nobody is woken otherwise.
    probing: AtomicUsize,
    signs: Mutex<Signs>,
    sign: Condvar,
}

#[derive(Debug, Default)]
struct Signs {
    heard: u64,
    /// When the ping was sent whose pong came last, in milliseconds since `started`.
    answered: Option<u64>,
    /// The session has left.
    over: bool,
}

/// What a probe of a line found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The peer answered, or is being heard.
    Alive,
    /// Nothing was heard.
    Silent,
    /// The line has ended meanwhile.
    Over,
}

impl Pulse {
    pub(super) fn new() -> Pulse {
        Pulse {
            started: Instant::now(),
            heard_at: AtomicU64::new(0),
            round_trip_ms: AtomicU64::new(NO_ROUND_TRIP),
            received: AtomicI64::new(0),
            waiting: AtomicBool::new(false),
            probing: AtomicUsize::new(0),
            signs: Mutex::default(),
            sign: Condvar::new(),
        }
    }

    /// How long ago something was heard.
    pub fn unheard_for(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.heard_at.load(Relaxed)))
    }

    /// The last ping's round trip, in milliseconds.
    pub fn round_trip_ms(&self) -> Option<u64> {
        Some(self.round_trip_ms.load(Relaxed)).filter(|time| *time != NO_ROUND_TRIP)
    }

    /// Bytes that have come over the line, without pings, heartbeats and the like: what differs between two looks is
    /// more of a file, or of something else that is long.
    pub fn bytes(&self) -> i64 {
        self.received.load(Relaxed)
    }

    /// Whether the session waits for its own disk.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Relaxed)
    }

    /// Whether the session waits for its own disk; its peer counts as alive meanwhile.
    pub fn set_waiting(&self, waiting: bool) {
        self.waiting.store(waiting, Relaxed);
    }

    /// Pings, and waits for the pong, or the end of the line. Other signs of life count only when `time` has passed: they
    /// may be what a peer that is gone had sent before.
    pub fn probe(&self, outbox: &std::sync::Arc<Outbox>, time: Duration) -> Probe {
        let deadline = Instant::now() + time;
        self.probing.fetch_add(1, Relaxed);
        let mut signs = lock(&self.signs);
        let (before, asked) = (signs.heard, self.started.elapsed().as_millis() as u64);
        let posted = outbox.ping(&asked.to_be_bytes());
        let found = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if signs.over {
                break Probe::Over;
            }
            if signs.answered >= Some(asked) {
                break Probe::Alive;
            }
            if left.is_zero() || posted.is_err() {
                let is_alive = signs.heard != before || self.is_waiting();
                break if is_alive && posted.is_ok() { Probe::Alive } else { Probe::Silent };
            }
            signs = self.sign.wait_timeout(signs, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        self.probing.fetch_sub(1, Relaxed);
        found
    }

    /// Bytes came.
    pub(super) fn received(&self, length: usize) {
        self.received.fetch_add(length as i64, Relaxed);
        self.heard();
    }

    /// A message with a payload of `length` bytes has come whole. A short one is a sign of life and no more.
    pub(super) fn message_is_whole(&self, length: usize) {
        if length < limits::MIN_PROGRESS_BYTES {
            let head = if length < 126 { 6 } else { 8 }; // masked (RFC 6455, section 5.2)
            self.received.fetch_sub((head + length) as i64, Relaxed);
        }
    }

    /// Something was heard.
    pub(super) fn heard(&self) {
        self.heard_at.store(self.started.elapsed().as_millis() as u64, Relaxed);
        if self.probing.load(Relaxed) > 0 {
            self.wake(|signs| signs.heard += 1);
        }
    }

    /// The session has left: nobody needs to wait for an answer any more.
    pub fn end(&self) {
        self.wake(|signs| signs.over = true);
    }

    fn wake(&self, note: impl FnOnce(&mut Signs)) {
        note(&mut lock(&self.signs));
        self.sign.notify_all();
    }

    /// The payload of a ping: the time, so that its pong tells the round trip.
    pub(super) fn ping(&self) -> [u8; 8] {
        (self.started.elapsed().as_millis() as u64).to_be_bytes()
    }

    /// A pong came with this payload.
    pub(super) fn answered(&self, payload: &[u8]) {
        let now = self.started.elapsed().as_millis() as u64;
        if let Ok(sent) = payload.try_into().map(u64::from_be_bytes)
            && sent <= now
        {
            self.round_trip_ms.store(now - sent, Relaxed);
            self.wake(|signs| signs.answered = Some(sent));
        }
    }
}
