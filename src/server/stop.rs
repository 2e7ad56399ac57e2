//! Stopping in order: no new work, a while for what runs, a word to every client, and out.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Refused, Server, State};
use crate::audit::Event;
use crate::limits;
use crate::line::close;
use crate::protocol::{ToAgent, to_text};
use crate::random;

impl Server {
    /// Ends the process with exit code 0. Running transfers get `STOP_SECONDS`; what is not done by then is taken up
    /// when the server starts again.
    pub(super) fn stop(&self) -> ! {
        let running = self.settings.stop;
        self.act(|hub, _| {
            hub.stop();
            Vec::new()
        });
        log::info!("stopping: running transfers get {} s", running.as_secs());
        // Also until those whose transfers have just ended are told so.
        self.wait_until(running, |state| state.hub.is_stopped() && state.acting == 0);
        let waiting = self.lock().parked.take_due(u64::MAX);
        for caller in waiting {
            caller.late(self).send(self);
        }
        let links: Vec<_> = self.lock().links.values().cloned().collect();
        log::info!("stopping: {} clients are told to come back", links.len());
        for link in &links {
            // Spread over a while, so that a fleet does not come back as one. A line that is gone needs no word.
            let after =
                limits::COME_BACK_MS + u64::from(u16::from_ne_bytes(random::bytes())) % limits::COME_BACK_MS;
            let _gone = link.outbox.text(&to_text(&ToAgent::Closing { come_back_after_ms: after }));
            link.outbox.close(close::GOING_AWAY, "the server stops");
        }
        self.wait_until(limits::CLOSE_TIME, |state| state.links.is_empty());
        links.iter().for_each(|link| link.outbox.shut());
        // What was interrupted is on disk as such before the end.
        let is_quiet = |state: &State| state.links.is_empty() && state.hub.is_stopped() && state.acting == 0;
        self.wait_until(limits::CLOSE_TIME, is_quiet);
        self.audit.close(&Event::ServerStopped);
        let Refused { requests, agents, callers, messages } = &self.refused;
        log::info!(
            "stopped; refused: requests={} agents={} callers={} messages={}",
            requests.total(),
            agents.total(),
            callers.total(),
            messages.total()
        );
        std::process::exit(0)
    }

    /// Waits until `done`, at most for `time`. Every event is a reason to look.
    fn wait_until(&self, time: Duration, done: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + time;
        let mut state = self.lock();
        while !done(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.event.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
