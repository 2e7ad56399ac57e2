//! The server's shell: the hub, and the threads that do what it says. As `server/mod.rs`, with each effect a step.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use towline::hub::{Action, Hub, Now};
use towline::names::{ClientId, RequestId};
use towline::protocol::{Dialect, ToAgent, ZSTD};
use towline::record::Record;
use towline::transfer::{Failure, FailureCode, Status, Transfer};

use crate::coverage::Seen;
use crate::disk::{Crash, Trouble};
use crate::operator::Operation;
use crate::scene::{EPOCH_MS, Scene, trace};
use crate::session::Session;
use crate::writer::Writer;

/// What is done after an event, outside the mutex.
pub enum Effect {
    Discard(RequestId),
    Save(RequestId),
    Reply(RequestId, Status),
    Forget(RequestId),
}

pub type Effects = VecDeque<Effect>;

/// A connected client's line.
#[derive(Clone, Copy)]
pub struct Link {
    pub generation: u64,
    pub line: usize,
}

/// The way of a server that was asked to stop.
#[derive(Clone, Copy)]
pub enum Stopping {
    /// What runs has until then.
    Until(u64),
    /// Clients are told; it ends then, or when all have gone.
    Closing(u64),
}

pub struct Server {
    pub hub: Hub,
    started: u64,
    pub links: BTreeMap<ClientId, Link>,
    /// Raised to end a writer.
    pub stops: BTreeMap<RequestId, Rc<Cell<bool>>>,
    pub sessions: Vec<Session>,
    pub writers: Vec<Writer>,
    pub operations: Vec<Operation>,
    /// What the timekeeper has still to do.
    pub keeper: Effects,
    pub stopping: Option<Stopping>,
}

impl Server {
    /// Starts with what the disk has; `None` when it crashes again at once.
    pub fn start(scene: &mut Scene) -> Option<Server> {
        let mut server = Server {
            hub: Hub::new(scene.plan.config.clone()),
            started: scene.time,
            links: BTreeMap::new(),
            stops: BTreeMap::new(),
            sessions: Vec::new(),
            writers: Vec::new(),
            operations: Vec::new(),
            keeper: Effects::new(),
            stopping: None,
        };
        if scene.plan.clock_jumps > 0 {
            scene.clock = EPOCH_MS - scene.plan.clock_jumps / 2 + scene.dice.below(scene.plan.clock_jumps);
        }
        let (found, aside) = scene.disk.recover(scene.clock + scene.time, &mut scene.dice);
        if scene.disk.has_crashed {
            return None;
        }
        for id in aside {
            trace!(scene, "server: {id} is set aside");
            let known = scene.ledger.of(id);
            assert!(
                known.is_record_damaged || !known.is_accepted || known.is_forgotten,
                "{id} is set aside though nobody damaged it"
            );
            scene.note(Seen::RecordSetAside);
        }
        for (transfer, part) in found {
            server.restore(transfer, part, scene);
            if scene.disk.has_crashed {
                return None;
            }
        }
        scene.ledger.restarted(&server.hub, &scene.disk);
        trace!(scene, "server: started");
        Some(server)
    }

    fn restore(&mut self, transfer: Transfer, part: u64, scene: &mut Scene) {
        let (id, status) = (transfer.request_id, transfer.status);
        trace!(scene, "server: finds {id} {status} part={part}");
        let known = scene.ledger.of(id);
        (known.is_released, known.restored_part) = (true, part);
        let was_completed = known.end.is_some_and(|(end, _)| end == Status::Completed);
        let was_seen = known.told == Some(Status::Completed);
        if status == Status::Completed && !was_completed && !was_seen {
            scene.note(Seen::RecoveredAsCompleted);
        }
        if status == Status::Verifying {
            scene.note(Seen::RestartedWhileVerifying);
        }
        if part > 0 {
            scene.note(Seen::PartRestored);
        }
        let why = Failure::new(FailureCode::ServerRestarted, "the server was restarted");
        let record = Record { transfer, idempotency: None };
        let effects = self.act(scene, |hub, now| hub.restore(record, part, why, now));
        effects.into_iter().for_each(|effect| self.perform(scene, effect));
    }

    pub fn now(&self, scene: &Scene) -> Now {
        Now { wall: scene.clock + scene.time, mono: scene.time - self.started }
    }

    /// When the hub is due, in the world's time.
    pub fn next_due(&self) -> Option<u64> {
        self.hub.next_due().map(|at| at + self.started)
    }

    /// Tells the hub of an event; what is to be done under the mutex is done, the rest comes back.
    pub fn act(&mut self, scene: &mut Scene, event: impl FnOnce(&mut Hub, Now) -> Vec<Action>) -> Effects {
        let now = self.now(scene);
        let actions = event(&mut self.hub, now);
        actions.into_iter().filter_map(|action| self.prepare(scene, action)).collect()
    }

    fn prepare(&mut self, scene: &mut Scene, action: Action) -> Option<Effect> {
        match action {
            Action::Request { client, generation, dialect, id, file_key, attempt, max_rate, have } => {
                let v2 = dialect == Dialect::V2;
                let known = scene.ledger.of(id);
                known.was_asked_in_v1 |= !v2;
                let part = std::mem::take(&mut known.restored_part);
                assert!(!v2 || have >= part, "{id} has a part of {part} bytes, {have} of them are offered");
                known.is_disturbed |= !v2; // it will begin from nothing
                trace!(scene, "hub: asks {client} for {id} attempt={attempt} have={have} {dialect:?}");
                let message = ToAgent::DownloadRequest {
                    request_id: id,
                    file_key,
                    chunk_size: Some(scene.plan.chunk),
                    attempt: v2.then_some(attempt),
                    max_rate: max_rate.filter(|_| v2),
                    have: Some(have).filter(|have| v2 && *have > 0),
                    requested_by: None,
                    compress: self.hub.compresses(&client).then(|| ZSTD.to_owned()),
                };
                self.post(scene, &client, generation, message);
                None
            }
            Action::Withdraw { client, generation, id, attempt } => {
                trace!(scene, "hub: withdraws {id} attempt={attempt} from {client}");
                let cancel = ToAgent::Cancel { request_id: id, attempt: Some(attempt) };
                self.post(scene, &client, generation, cancel);
                None
            }
            Action::Stop(id) => {
                self.stop_writer(id);
                None
            }
            Action::Discard(id) => {
                let known = scene.ledger.of(id);
                (known.is_disturbed, known.restored_part) = (true, 0);
                Some(Effect::Discard(id))
            }
            Action::Save(id) => Some(Effect::Save(id)),
            Action::Tell(id) => Some(Effect::Reply(id, self.hub.transfer(id)?.status)),
            Action::Forget(id) => Some(Effect::Forget(id)),
        }
    }

    /// Dropping a stop ends its writer.
    pub fn stop_writer(&mut self, id: RequestId) {
        if let Some(stop) = self.stops.remove(&id) {
            stop.set(true);
        }
    }

    fn post(&self, scene: &mut Scene, client: &ClientId, generation: u64, message: ToAgent) {
        if let Some(link) = self.links.get(client).filter(|link| link.generation == generation) {
            scene.lines[link.line].tell(message);
        }
    }

    pub fn perform(&mut self, scene: &mut Scene, effect: Effect) {
        match effect {
            Effect::Discard(id) => {
                if self.hub.is_part_given_up(id) {
                    trace!(scene, "server: gives up the part of {id}");
                    if scene.disk.remove_part(id) {
                        scene.note(Seen::PartGivenUp);
                    }
                }
            }
            Effect::Save(id) => {
                if let Err(trouble) = self.save(scene, id) {
                    trace!(scene, "server: {id} is not saved: {trouble:?}");
                    scene.note(Seen::SaveFailed);
                }
            }
            Effect::Reply(id, status) => self.reply(scene, id, status),
            Effect::Forget(id) => {
                trace!(scene, "server: forgets {id}");
                assert!(self.hub.transfer(id).is_none(), "{id} is forgotten on disk alone");
                scene.ledger.of(id).is_forgotten = true;
                scene.note(Seen::Forgotten);
                scene.disk.forget(id);
            }
        }
    }

    /// Saved before told.
    fn reply(&self, scene: &mut Scene, id: RequestId, status: Status) {
        trace!(scene, "server: tells that {id} is {status}");
        let saved = scene.disk.saved(id).map(|transfer| transfer.status);
        let is_gone = self.hub.transfer(id).is_none();
        let known = scene.ledger.of(id);
        assert!(known.told.is_none() || known.is_record_stale || known.is_record_damaged, "{id} ended twice");
        assert!(
            saved == Some(status) || known.is_record_stale || is_gone,
            "{id} was told to be {status}, its record says {saved:?}"
        );
        known.told = Some(status);
    }

    /// Writes a record as it stands now.
    pub fn save(&self, scene: &mut Scene, id: RequestId) -> Result<(), Trouble> {
        let Some(transfer) = self.hub.transfer(id) else {
            scene.ledger.of(id).is_record_stale = true; // it was forgotten in between: nothing says how it ended
            return Ok(());
        };
        let saved = scene.disk.save(transfer, &mut scene.dice);
        let known = scene.ledger.of(id);
        match saved {
            Ok(()) => known.is_record_stale = false,
            Err(Trouble::Crashed) => {}
            Err(Trouble::Full | Trouble::Broken) => {
                (known.is_record_stale, known.is_disturbed) = (true, true);
            }
        }
        saved
    }

    /// A client's line is gone, or given up.
    pub fn leave(&mut self, scene: &mut Scene, client: &ClientId, generation: u64) -> Effects {
        if self.links.get(client).is_some_and(|link| link.generation == generation) {
            self.links.remove(client);
        }
        self.act(scene, |hub, now| hub.disconnect(client, generation, now.wall, now))
    }

    /// Does one thing of what the timekeeper has to do.
    pub fn keep_time(&mut self, scene: &mut Scene) {
        match self.keeper.pop_front() {
            Some(effect) => self.perform(scene, effect),
            None => {
                let before = self.asked(scene);
                self.keeper = self.act(scene, Hub::tick);
                let after = self.asked(scene);
                if before.iter().any(|asked| !after.contains(asked)) {
                    scene.note(Seen::StalledUnanswered);
                }
            }
        }
    }

    /// The attempts that have not been answered yet.
    fn asked(&self, scene: &Scene) -> Vec<(RequestId, u32)> {
        let transfers = scene.ledger.known.keys().filter_map(|id| self.hub.transfer(*id));
        let asked = transfers.filter(|transfer| transfer.status == Status::Requested);
        asked.map(|transfer| (transfer.request_id, transfer.attempts)).collect()
    }

    pub fn keeps_time(&self, scene: &Scene) -> bool {
        !self.keeper.is_empty() || self.next_due().is_some_and(|due| due <= scene.time)
    }

    /// Whether all clients and threads have gone.
    pub fn is_idle(&self) -> bool {
        self.sessions.is_empty()
            && self.writers.is_empty()
            && self.operations.is_empty()
            && self.keeper.is_empty()
    }

    /// Ends without a word.
    pub fn crash(self, scene: &mut Scene, crash: Crash) {
        trace!(scene, "server: {crash:?}");
        let undone = (scene.disk.renames_undone, scene.disk.ghosts_back);
        scene.disk.crash(crash, &mut scene.dice);
        for (before, now, what) in [
            (undone.0, scene.disk.renames_undone, Seen::PublishUndoneByPowerCut),
            (undone.1, scene.disk.ghosts_back, Seen::ForgottenCameBack),
        ] {
            if now > before {
                scene.note(what);
            }
        }
        scene.note(if crash == Crash::Kill { Seen::Killed } else { Seen::PowerCut });
        for known in scene.ledger.known.values_mut() {
            // The part is gone already of what had ended, and the end may not be on disk.
            let had_ended = known.end.is_some_and(|(end, _)| end != Status::Completed);
            known.is_disturbed |= crash == Crash::PowerCut || had_ended;
            known.was_record_stale = known.is_record_stale;
        }
        for session in &self.sessions {
            let how = scene.dice.pick(&[crate::wire::Cut::Both, crate::wire::Cut::ServerOnly]);
            scene.lines[session.line].cut(&mut scene.dice, scene.time, how);
        }
    }
}
