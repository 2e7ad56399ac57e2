//! An append-only log of who asked for what, and what came of it: one JSON object a line, each with the hash of the one
//! before. The server has one in `UPLOAD_DIR/.towline`, an agent where its owner says.
//!
//! - A line is in the file when [`Log::note`] returns: whoever answers afterwards has it on record, whatever kills the
//!   process. On the disk it is a moment later: a thread syncs, at most once a second, and sleeps while nothing is new.
//! - A disk that takes no line is tried again once a second. Meanwhile the newest lines wait in memory, within a bound; a
//!   line says how many were lost.
//! - What anybody can cause has a budget (`budget.rs`), so that a flood fills no disk.
//!
//! The chain shows what was changed in the middle. Who can write the file can also write all of it anew, or cut its end off:
//! against that its head has to be kept elsewhere, so it is in the ordinary log at the start, at the end, and when a
//! file is full.

mod backlog;
mod broken;
mod budget;
mod chain;
mod event;
pub mod line;
mod place;
#[cfg(test)]
mod tests;
pub mod verify;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::clock;
use crate::limits;
use crate::lock::lock;
use backlog::Backlog;
pub use broken::{Broken, Fault};
use budget::Budgets;
use chain::Chain;
pub use event::{About, AgentEvent, Entry, Event, Who, clean_name, cut, operator_name};
pub use line::Link;
use place::Place;

/// The name of the server's log, in `UPLOAD_DIR/.towline`.
pub const SERVERS: &str = "audit.jsonl";

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It has its line.
    Written,
    /// It is counted.
    LeftOut,
}

/// A log that is written to.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    /// Wakes the thread that syncs; one call is as good as many.
    news: Sender<()>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    /// Lines wait for the disk; known without the mutex, which may be held as long as the disk takes.
    is_behind: AtomicBool,
    started: Instant,
}

#[derive(Debug)]
struct State {
    chain: Chain,
    budgets: Budgets,
    backlog: Backlog,
    /// When it was last complained of that a line is not taken, until one is.
    complained: Option<Instant>,
    /// When it was last complained of that a sync failed.
    complained_of_sync: Option<Instant>,
    /// Nothing follows any more.
    is_closed: bool,
}

impl Log {
    /// The log at `path`, which is opened by the first line, and begins a file when one has `rotate_bytes`.
    ///
    /// # Errors
    /// When the path names no file, or there is no thread to sync it.
    pub fn new(path: &Path, rotate_bytes: u64) -> io::Result<Log> {
        let place = Place::new(path)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a file"))?;
        let state = State {
            chain: Chain::new(place, rotate_bytes),
            budgets: Budgets::default(),
            backlog: Backlog::default(),
            complained: None,
            complained_of_sync: None,
            is_closed: false,
        };
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            state: Mutex::new(state),
            is_behind: AtomicBool::new(false),
            started: Instant::now(),
        });
        let (news, heard) = bounded(1);
        let syncing = shared.clone();
        thread::Builder::new()
            .name("audit".to_owned())
            .stack_size(limits::SMALL_STACK)
            .spawn(move || syncing.sync_when_told(&heard))?;
        Ok(Log { shared, news })
    }

    /// Writes a line, unless too many of its kind came lately.
    ///
    /// # Errors
    /// When the disk does not take it. It waits in memory then, and is tried again.
    pub fn note(&self, entry: &impl Entry) -> io::Result<Noted> {
        let mut state = self.shared.lock();
        if state.is_closed {
            return Ok(Noted::LeftOut);
        }
        let body = line::body(entry);
        let mono = self.shared.mono();
        if entry.kind().is_some_and(|kind| !state.budgets.allow(kind, body.len(), mono)) {
            drop(state);
            self.wake();
            return Ok(Noted::LeftOut);
        }
        state.backlog.push(clock::now_ms(), body);
        let written = self.shared.write(&mut state);
        drop(state);
        self.wake();
        written.map(|()| Noted::Written)
    }

    /// Whether all lines are in the file.
    pub fn is_written(&self) -> bool {
        !self.shared.is_behind.load(Relaxed)
    }

    /// Where the chain stands; nothing before the first line.
    pub fn head(&self) -> Option<Link> {
        self.shared.lock().chain.last()
    }

    /// Says the head in the ordinary log, so that it also stands elsewhere.
    pub fn log_head(&self) {
        if let Some(Link { seq, hash }) = self.head() {
            log::info!("audit head seq={seq} hash={hash}");
        }
    }

    /// Writes all that is left to say and `last`, of which this is the last, and waits until it is on the disk.
    pub fn close(&self, last: &impl Entry) {
        let mut state = self.shared.lock();
        self.shared.say_what_was_left_out(&mut state, u64::MAX);
        state.backlog.push(clock::now_ms(), line::body(last));
        let _complained = self.shared.write(&mut state);
        state.is_closed = true;
        drop(state);
        self.shared.sync_file();
        self.log_head();
    }

    fn wake(&self) {
        let _told_already = self.news.try_send(());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn mono(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Writes what waits, oldest first.
    fn write(&self, state: &mut State) -> io::Result<()> {
        while let Some((time, body)) = state.backlog.first() {
            if let Err(error) = state.chain.append(time, &body) {
                self.is_behind.store(true, Relaxed);
                let what = "takes no line, what happens waits in memory";
                self.complain(&mut state.complained, what, &error);
                return Err(error);
            }
            state.backlog.written();
            if state.backlog.is_empty() && state.complained.take().is_some() {
                log::info!("the audit log {} is written again", self.path.display());
            }
        }
        self.is_behind.store(false, Relaxed);
        Ok(())
    }

    fn say_what_was_left_out(&self, state: &mut State, now: u64) {
        for left_out in state.budgets.take_due(now) {
            state.backlog.push(clock::now_ms(), line::body(&left_out));
        }
    }

    /// Syncs once there is news, and does what is due; asleep otherwise. Ends with the log.
    fn sync_when_told(&self, news: &Receiver<()>) {
        loop {
            let heard = match self.next_due() {
                Some(time) => news.recv_timeout(time),
                None => news.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if heard == Err(RecvTimeoutError::Disconnected) {
                return;
            }
            let mut state = self.lock();
            self.say_what_was_left_out(&mut state, self.mono());
            let _complained = self.write(&mut state);
            drop(state);
            self.sync_file();
            thread::sleep(limits::AUDIT_SYNC_PAUSE); // what comes meanwhile is synced together
        }
    }

    fn next_due(&self) -> Option<Duration> {
        let state = self.lock();
        if !state.backlog.is_empty() {
            return Some(limits::AUDIT_SYNC_PAUSE);
        }
        let due = state.budgets.next_due()?;
        Some(Duration::from_millis(due.saturating_sub(self.mono())))
    }

    /// Without the mutex: a slow disk keeps nobody from writing the next line.
    fn sync_file(&self) {
        let unsynced = self.lock().chain.take_unsynced();
        if let Err(error) = unsynced.sync() {
            let last = &mut self.lock().complained_of_sync;
            self.complain(last, "may lose lines by a power cut", &error);
        }
    }

    /// Once in a while: each line, or each sync, may meet the same trouble.
    fn complain(&self, last: &mut Option<Instant>, what: &str, error: &io::Error) {
        if last.is_none_or(|last| last.elapsed() >= limits::AUDIT_COUNT_PAUSE) {
            *last = Some(Instant::now());
            log::error!("the audit log {} {what}: {error}", self.path.display());
        }
    }
}
