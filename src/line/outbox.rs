//! The writing end of a line, shared by all threads.
//!
//! Two ways in. [`Outbox::post`] never blocks: it is for short frames, by anybody. [`Outbox::send`] blocks until the
//! frame has been written: it is for chunks, and is where a full line slows its sender down. One thread at a time
//! writes; it takes the posted frames of the others along, before and after its own.
//!
//! When a posted frame does not fit into the socket at once (the peer does not read, or the line is thin), a thread
//! of its own writes what waits and ends; more than [`limits::MAX_OUTBOX_BYTES`] waiting shuts the line.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::frame::{self, Side};
use crate::limits;
use crate::lock::lock;
use crate::stream::Stream;
use crate::threads;

/// The line is shut; nothing can be sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// The writing end; see the module.
#[derive(Debug)]
pub struct Outbox {
    socket: Arc<Stream>,
    side: Side,
    state: Mutex<State>,
    /// Signalled when the writer has finished, and when the line closes or is shut.
    turn: Condvar,
    /// It is shut because too much waited. Beside the mutex: whoever reads looks at it each time.
    overfull: AtomicBool,
}

#[derive(Debug)]
struct State {
    posted: VecDeque<Vec<u8>>,
    posted_bytes: usize,
    /// Somebody writes, and will take what is posted along.
    writing: bool,
    /// Senders are served in the order in which they came.
    next_ticket: u64,
    serving: u64,
    last_sent: Instant,
    /// When a blocking write last took bytes.
    last_progress: Instant,
    /// A close has been posted: nothing follows it.
    closing: bool,
    shut: bool,
}

impl Outbox {
    pub(super) fn new(socket: Arc<Stream>, side: Side) -> Outbox {
        let state = State {
            posted: VecDeque::new(),
            posted_bytes: 0,
            writing: false,
            next_ticket: 0,
            serving: 0,
            last_sent: Instant::now(),
            last_progress: Instant::now(),
            closing: false,
            shut: false,
        };
        Outbox {
            socket,
            side,
            state: Mutex::new(state),
            turn: Condvar::new(),
            overfull: AtomicBool::new(false),
        }
    }

    /// Which end of the line this is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Posts a text message, without blocking.
    ///
    /// # Errors
    /// When the line is shut, or is shut by this because too much waits.
    pub fn text(self: &Arc<Self>, text: &str) -> Result<(), Gone> {
        self.post(frame::text_frame(self.side, text))
    }

    /// Posts a binary message of `head` and `payload`, without blocking.
    ///
    /// # Errors
    /// As [`Outbox::text`].
    pub fn binary(self: &Arc<Self>, head: &[u8], payload: &[u8]) -> Result<(), Gone> {
        let mut message = Vec::new();
        frame::binary_frame(self.side, head, payload, &mut message);
        self.post(message)
    }

    /// Puts a text message in its place behind what is posted, without any I/O; [`Outbox::flush`] sends it.
    ///
    /// # Errors
    /// As [`Outbox::text`].
    pub fn enqueue_text(&self, text: &str) -> Result<(), Gone> {
        self.enqueue(frame::text_frame(self.side, text))
    }

    /// Posts a ping, without blocking.
    pub(super) fn ping(self: &Arc<Self>, payload: &[u8]) -> Result<(), Gone> {
        self.post(frame::ping_frame(self.side, payload))
    }

    /// Answers a ping, without blocking.
    pub(super) fn pong(self: &Arc<Self>, payload: &[u8]) -> Result<(), Gone> {
        self.post(frame::pong_frame(self.side, payload))
    }

    /// Posts a close, without blocking; what is posted later is refused.
    pub fn close(self: &Arc<Self>, code: u16, reason: &str) {
        {
            let mut state = self.lock();
            // Gone already is as good as closed.
            let _gone = self.enqueue_locked(&mut state, frame::close_frame(self.side, code, reason));
            state.closing = true;
            self.turn.notify_all();
        }
        self.flush();
    }

    /// Posts whole frames, without blocking.
    ///
    /// # Errors
    /// When the line is shut, or is shut by this because too much waits.
    pub(super) fn post(self: &Arc<Self>, frame: Vec<u8>) -> Result<(), Gone> {
        self.enqueue(frame)?;
        self.flush();
        Ok(())
    }

    /// Sends what is posted as far as the socket takes it, without blocking, unless somebody is at it already.
    pub fn flush(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.posted.is_empty() || std::mem::replace(&mut state.writing, true) {
            return;
        }
        drop(state);
        self.write_what_fits();
    }

    fn enqueue(&self, frame: Vec<u8>) -> Result<(), Gone> {
        self.enqueue_locked(&mut self.lock(), frame)
    }

    fn enqueue_locked(&self, state: &mut State, frame: Vec<u8>) -> Result<(), Gone> {
        if state.shut || state.closing {
            return Err(Gone);
        }
        state.posted_bytes += frame.len();
        state.posted.push_back(frame);
        if state.posted_bytes > limits::MAX_OUTBOX_BYTES {
            self.overfull.store(true, Relaxed);
            self.shut_locked(state);
            return Err(Gone);
        }
        Ok(())
    }

    /// Writes a text message that may be long, and returns when it has been written.
    ///
    /// # Errors
    /// When the line is shut.
    pub fn send_text(&self, text: &str) -> Result<(), Gone> {
        self.send(&frame::text_frame(self.side, text))
    }

    /// Writes one frame, and returns when it has been written.
    ///
    /// # Errors
    /// When the line is shut.
    pub fn send(&self, frame: &[u8]) -> Result<(), Gone> {
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        while !state.shut && !state.closing && (state.writing || state.serving != ticket) {
            state = self.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.shut || state.closing {
            return Err(Gone);
        }
        state.writing = true;
        state.serving += 1;
        drop(state);
        self.write_posted();
        if self.write(frame).is_err() {
            self.shut();
        }
        self.finish();
        if self.is_shut() { Err(Gone) } else { Ok(()) }
    }

    /// Ends the line in both directions; whoever reads or writes it wakes up.
    pub fn shut(&self) {
        self.shut_locked(&mut self.lock());
    }

    /// Says that nothing more will come, once what is posted has been written; not later than `deadline`.
    pub(super) fn finish_by(&self, deadline: Instant) {
        let mut state = self.lock();
        while state.writing && !state.shut {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.turn.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        // An error means that the peer has gone first.
        let _gone = self.socket.finish();
    }

    /// Whether the line is shut.
    pub fn is_shut(&self) -> bool {
        self.lock().shut
    }

    /// Whether the line is shut because the peer let too much pile up. What it still sends is more of the same.
    pub(super) fn is_overfull(&self) -> bool {
        self.overfull.load(Relaxed)
    }

    /// How long ago something was written.
    pub(super) fn quiet_for(&self) -> Duration {
        self.lock().last_sent.elapsed()
    }

    /// How long ago the peer last made room for a chunk.
    pub(super) fn no_progress_for(&self) -> Duration {
        self.lock().last_progress.elapsed()
    }

    fn shut_locked(&self, state: &mut State) {
        state.shut = true;
        state.posted.clear();
        // An error means that the peer has gone first.
        let _gone = self.socket.shut();
        self.turn.notify_all();
    }

    /// Writes posted frames as long as the socket takes them; leaves the rest to a thread. The caller is the writer.
    fn write_what_fits(self: &Arc<Self>) {
        while let Some(frame) = self.next_posted() {
            let Ok(sealed) = self.socket.seal(&frame) else {
                self.shut();
                continue;
            };
            let mut rest = &sealed[..];
            while !rest.is_empty() {
                match self.socket.send_now(rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let rest = rest.to_vec();
                        return self.write_in_the_background(rest);
                    }
                    Err(_) => {
                        self.shut();
                        rest = &[];
                    }
                }
            }
        }
    }

    /// Writes sealed bytes in a thread of its own, and what is posted meanwhile.
    fn write_in_the_background(self: &Arc<Self>, rest: Vec<u8>) {
        let outbox = self.clone();
        let write = move || {
            if outbox.write_sealed(&rest).is_err() {
                outbox.shut();
            }
            outbox.finish();
        };
        if let Err(error) = threads::spawn("outbox", limits::SMALL_STACK, write) {
            log::warn!("a line is shut: no thread to write to it: {error}");
            self.shut();
            self.finish();
        }
    }

    /// Writes whole frames, blocking.
    fn write(&self, frames: &[u8]) -> io::Result<()> {
        self.write_sealed(&self.socket.seal(frames)?)
    }

    /// Writes all of `bytes`, which are sealed, blocking. Each time the peer makes room counts as progress.
    fn write_sealed(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket.send(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.lock().last_progress = Instant::now();
        }
        Ok(())
    }

    /// Writes what is posted, blocking. The caller is the writer, and stays it.
    fn write_posted(&self) {
        loop {
            let Some(frame) = self.lock().take_posted() else { return };
            if self.write(&frame).is_err() {
                self.shut();
            }
        }
    }

    /// Writes what is posted, blocking, and lets the next writer in.
    fn finish(&self) {
        while let Some(frame) = self.next_posted() {
            if self.write(&frame).is_err() {
                self.shut();
            }
        }
    }

    /// The next posted frame; when there is none, the caller is the writer no more.
    fn next_posted(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        let frame = state.take_posted();
        if frame.is_none() {
            state.writing = false;
            state.last_sent = Instant::now();
            self.turn.notify_all();
        }
        frame
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn take_posted(&mut self) -> Option<Vec<u8>> {
        let frame = self.posted.pop_front()?;
        self.posted_bytes -= frame.len();
        Some(frame)
    }
}

/// Reads errors of a shut line as what they are.
impl From<Gone> for io::Error {
    fn from(Gone: Gone) -> io::Error {
        io::ErrorKind::BrokenPipe.into()
    }
}
