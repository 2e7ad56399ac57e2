//! The server: the hub behind the one mutex, and the threads that feed it.
//!
//! `ARCHITECTURE.md` has the table of threads. The mutex guards `State` and is never held across a read, a write
//! or a wait; what an event demands is collected under it and done after it.

mod audit;
mod begin;
mod callers;
mod control;
mod disk;
pub mod file;
mod gate;
mod orders;
mod parked;
mod receiving;
mod recovery;
mod replies;
mod retention;
mod room;
mod run;
mod session;
mod stop;
mod upgrade;
mod wish;
mod writer;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use tiny_http::Request;

use crate::audit::{Event, Log, operator_name};
use crate::clock;
use crate::complaints::Complaints;
use crate::compression;
use crate::door::listener::Admission;
use crate::hub::{Action, Hub, Now};
use crate::limits;
use crate::line::{Chunks, Outbox, Pulse};
use crate::lock::lock;
use crate::names::{ClientId, RequestId};
use crate::protocol::{Dialect, ToAgent, ZSTD, to_text};
use crate::settings::ServerSettings;
use crate::spool::Spool;
use crate::stream::tls::Acceptor;
use crate::transfer::Transfer;
use disk::{Saving, Unsaved};
use gate::{Gate, LineKey};
use orders::Wish;
use parked::{Parked, Reply};

pub use run::run;

/// What all threads of the server share.
struct Server {
    settings: ServerSettings,
    gate: Gate,
    spool: Spool,
    audit: Log,
    /// Takes TLS connections, if this server does.
    tls: Option<Acceptor>,
    state: Mutex<State>,
    /// Wakes the timekeeper when something is due earlier than it thinks.
    earlier: Condvar,
    /// Told of every event once the server stops.
    event: Condvar,
    /// Makes the saves of one transfer follow each other.
    saving: Saving,
    /// Transfers that are asked for, one by one.
    orders: Sender<(Wish, Request)>,
    /// Memory of chunks that come.
    chunks: Arc<Chunks>,
    /// What was refused.
    refused: Refused,
    /// Requests with a key that are with the control plane.
    relays: Admission,
    /// The same of callers without a key.
    probes: Admission,
    /// Threads that answer a caller.
    threads: Arc<AtomicUsize>,
    started: Instant,
}

/// What the mutex guards.
struct State {
    hub: Hub,
    /// The lines of connected clients.
    links: HashMap<ClientId, Link>,
    /// How many are on their way in as this client.
    entering: HashMap<ClientId, usize>,
    /// Dropped to end a writer.
    stops: HashMap<RequestId, Sender<Infallible>>,
    /// Callers that wait.
    parked: Parked,
    /// Records that the disk has not taken.
    unsaved: Unsaved,
    /// Events whose effects are not done yet.
    acting: usize,
    /// When the timekeeper wakes up by itself.
    next_look: Option<u64>,
}

/// What strangers and clients were refused, by kind: counted, and logged at a bounded rate. What the door itself turned away is counted
/// there.
#[derive(Default)]
struct Refused {
    /// Connections that brought no request, or none that is taken.
    requests: Complaints,
    /// Agents.
    agents: Complaints,
    /// Callers with a wrong key, or with one in the URL.
    callers: Complaints,
    /// Messages of agents that are of no use.
    messages: Complaints,
}

/// A connected client's line, as others than its session see it.
#[derive(Clone)]
struct Link {
    generation: u64,
    outbox: Arc<Outbox>,
    pulse: Arc<Pulse>,
    /// What it came in with.
    key: LineKey,
}

/// An action, with what it takes to do it without the mutex.
enum Effect {
    Flush(Arc<Outbox>),
    Discard(RequestId),
    Save(RequestId),
    Reply(Vec<Reply>),
    Forget(RequestId),
}

impl Server {
    fn now(&self) -> Now {
        Now { wall: clock::now_ms(), mono: self.started.elapsed().as_millis() as u64 }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Asks the hub something that needs no action.
    fn ask<T>(&self, question: impl FnOnce(&mut Hub) -> T) -> T {
        question(&mut self.lock().hub)
    }

    /// Tells the hub of an event and does what it demands.
    fn act(&self, event: impl FnOnce(&mut Hub, Now) -> Vec<Action>) {
        self.act_around(event, || (), || ());
    }

    /// The same, with something that must follow the event and must not wait for its effects, and something that must follow
    /// these: a server that stops waits for both.
    fn act_around(
        &self,
        event: impl FnOnce(&mut Hub, Now) -> Vec<Action>,
        at_once: impl FnOnce(),
        at_last: impl FnOnce(),
    ) {
        let now = self.now();
        let (effects, ended): (Vec<Effect>, Vec<Transfer>) = {
            let mut state = self.lock();
            state.acting += 1;
            let actions = event(&mut state.hub, now);
            self.wake_timekeeper(&state);
            let ended = actions.iter().filter_map(|action| state.ended_by(action)).collect();
            (actions.into_iter().filter_map(|action| self.prepare(&mut state, action)).collect(), ended)
        };
        at_once();
        // Before its record is saved and anybody is told: twice after a kill, rather than never.
        ended.iter().for_each(|transfer| self.audit(&Event::ended(transfer)));
        effects.into_iter().for_each(|effect| self.perform(effect));
        at_last();
        let mut state = self.lock();
        state.acting -= 1;
        if state.hub.is_stopping() {
            self.event.notify_all();
        }
    }

    fn prepare(&self, state: &mut State, action: Action) -> Option<Effect> {
        match action {
            Action::Request { client, generation, dialect, id, file_key, attempt, max_rate, have } => {
                let v2 = dialect == Dialect::V2;
                let requested_by =
                    state.hub.transfer(id).map(|transfer| operator_name(&transfer.requested_by));
                let message = ToAgent::DownloadRequest {
                    request_id: id,
                    file_key,
                    chunk_size: Some(self.chunk_size() as u64),
                    attempt: v2.then_some(attempt),
                    max_rate: max_rate.filter(|_| v2),
                    have: Some(have).filter(|have| v2 && *have > 0),
                    requested_by: requested_by.filter(|_| v2),
                    compress: self.most_compressed(&state.hub, &client).map(|_| ZSTD.to_owned()),
                };
                state.post(&client, generation, &message)
            }
            Action::Withdraw { client, generation, id, attempt } => {
                let cancel = ToAgent::Cancel { request_id: id, attempt: Some(attempt) };
                state.post(&client, generation, &cancel)
            }
            Action::Stop(id) => {
                state.stops.remove(&id);
                None
            }
            Action::Discard(id) => Some(Effect::Discard(id)),
            Action::Save(id) => Some(Effect::Save(id)),
            Action::Tell(id) => {
                let transfer = state.hub.transfer(id)?.clone();
                Some(Effect::Reply(state.parked.take_ended(&transfer)))
            }
            Action::Forget(id) => Some(Effect::Forget(id)),
        }
    }

    fn perform(&self, effect: Effect) {
        match effect {
            Effect::Flush(outbox) => outbox.flush(),
            Effect::Discard(id) => self.discard(id),
            Effect::Save(id) => self.keep_saved(id),
            Effect::Reply(replies) => replies.into_iter().for_each(|reply| reply.send(self)),
            Effect::Forget(id) => self.forget(id),
        }
    }

    /// A client's line is gone, or given up; `at_once` ends what still works for it. Does nothing to a line that it has
    /// by now instead.
    fn leave(&self, client: &ClientId, link: &Link, at_once: impl FnOnce()) {
        {
            let mut state = self.lock();
            if state.links.get(client).is_some_and(|now| now.generation == link.generation) {
                state.links.remove(client);
            }
        }
        let unheard = link.pulse.unheard_for().as_millis() as u64;
        let event = |hub: &mut Hub, now: Now| {
            hub.disconnect(client, link.generation, now.wall.saturating_sub(unheard), now)
        };
        let end = || {
            link.pulse.end();
            at_once();
        };
        self.act_around(event, end, || ());
    }

    /// Payload of a chunk that a client is asked for, in bytes.
    fn chunk_size(&self) -> usize {
        self.settings.chunk_size.unwrap_or(limits::CHUNK_BYTES)
    }

    /// What a compressed chunk of this client may hold, in bytes; nothing where it is not asked for any.
    fn most_compressed(&self, hub: &Hub, client: &ClientId) -> Option<u64> {
        let agreed = self.settings.compress && compression::IS_BUILT_IN && hub.compresses(client);
        agreed.then_some(self.chunk_size() as u64)
    }

    /// When a client was last heard, since the epoch, and its round trip.
    fn seen(links: &HashMap<ClientId, Link>, now: Now, client: &ClientId) -> Option<(u64, Option<u64>)> {
        let pulse = &links.get(client)?.pulse;
        Some((now.wall.saturating_sub(pulse.unheard_for().as_millis() as u64), pulse.round_trip_ms()))
    }

    fn wake_timekeeper(&self, state: &State) {
        let due = state.next_due();
        if due.is_some_and(|due| state.next_look.is_none_or(|look| due < look)) {
            self.earlier.notify_one();
        }
    }

    /// Does what is due, and sleeps until the next thing is.
    fn keep_time(&self) -> ! {
        loop {
            self.act(Hub::tick);
            self.save_again();
            let late = self.lock().parked.take_due(self.now().mono);
            for waiting in late {
                waiting.late(self).send(self);
            }
            let mut state = self.lock();
            let now = self.now().mono;
            let due = state.next_due();
            state.next_look = due;
            let state = match due.map(|due| Duration::from_millis(due.saturating_sub(now))) {
                Some(Duration::ZERO) => continue,
                Some(time) => {
                    self.earlier.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.earlier.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            drop(state);
        }
    }
}

impl State {
    fn post(&self, client: &ClientId, generation: u64, message: &ToAgent) -> Option<Effect> {
        let link = self.links.get(client).filter(|link| link.generation == generation)?;
        // In its place on the wire now, under the mutex: a cancel must never overtake its request. A line that is gone
        // ends its session, which reports it.
        let _gone = link.outbox.enqueue_text(&to_text(message));
        Some(Effect::Flush(link.outbox.clone()))
    }

    /// The transfer that this action says has ended.
    fn ended_by(&self, action: &Action) -> Option<Transfer> {
        match action {
            Action::Tell(id) => self.hub.transfer(*id).cloned(),
            _ => None,
        }
    }

    fn next_due(&self) -> Option<u64> {
        [self.hub.next_due(), self.parked.next_due(), self.unsaved.next_due()].into_iter().flatten().min()
    }
}
