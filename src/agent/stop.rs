//! Stopping in order: nothing new, a while for what is being sent, a close, and out.
//!
//! The thread that dials and reads can't be woken, and need not be. Without a line there is nothing to put in order, so
//! the process ends where it stands. With one, the close is posted; the server's answer to it, or the end of the line,
//! ends the reading, and [`super::run`] with it. A server that does not answer is not waited for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::exit::Exit;
use crate::limits;
use crate::line::{Outbox, close};
use crate::lock::lock;

/// Whether an agent is to end, and what has to come to its end before.
#[derive(Default)]
pub(super) struct Stopping {
    state: Mutex<State>,
    /// Told when a transfer has ended, or the line.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_told: bool,
    /// The line, while there is one.
    line: Option<Arc<Outbox>>,
    /// Transfers that run.
    running: usize,
}

/// A transfer that may run; it has ended when this is dropped.
pub(super) struct Turn<'s>(&'s Stopping);

impl Stopping {
    /// There is a line from now on.
    pub(super) fn holds(&self, line: &Arc<Outbox>) {
        self.lock().line = Some(line.clone());
    }

    /// There is none any more. When it was told to stop before, this is the end; afterwards it ends the process itself.
    pub(super) fn lost(&self) {
        self.lock().line = None;
        self.changed.notify_all();
    }

    /// Whether it was told to stop.
    pub(super) fn is_told(&self) -> bool {
        self.lock().is_told
    }

    /// Leave to begin a transfer, unless it was told to stop.
    pub(super) fn begin(&self) -> Option<Turn<'_>> {
        let mut state = self.lock();
        if state.is_told {
            return None;
        }
        state.running += 1;
        Some(Turn(self))
    }

    /// Closes the line when running transfers have had their `time`. What is not done by then the server interrupts, and
    /// takes up when this agent is back. Returns when the line has ended; without one, ends the process.
    pub(super) fn stop(&self, time: Duration) {
        let mut state = self.lock();
        state.is_told = true;
        if let Some(line) = state.line.clone() {
            log::info!("stopping: {} running transfers get {} s", state.running, time.as_secs());
            state = self.wait_until(state, time, |state| state.running == 0 || state.line.is_none());
            if state.running > 0 {
                log::warn!("stopping: {} transfers are not done", state.running);
            }
            drop(state);
            line.close(close::GOING_AWAY, "the agent stops");
            state = self.wait_until(self.lock(), limits::CLOSE_TIME, |state| state.line.is_none());
            if state.line.is_none() {
                return;
            }
        }
        drop(state);
        log::info!("stopped");
        std::process::exit(Exit::Done.code().into())
    }

    /// Waits until `done`, at most for `time`.
    fn wait_until<'s>(
        &self,
        state: MutexGuard<'s, State>,
        time: Duration,
        done: impl Fn(&State) -> bool,
    ) -> MutexGuard<'s, State> {
        let waited = self.changed.wait_timeout_while(state, time, |state| !done(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.changed.notify_all();
    }
}
