//! One world: a server, its disk, its clients, and the schedule that lets one of them after the other do one thing.

mod checks;
mod time;

use towline::protocol::ToAgent;

use crate::agent::Client;
use crate::coverage::{Coverage, Seen};
use crate::dice::Dice;
use crate::disk::{Crash, Disk};
use crate::files::Shelf;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::scene::{EPOCH_MS, Scene, trace};
use crate::server::{Server, Stopping};
use crate::session::Session;
use crate::wire::Line;

/// Who may do something now.
#[derive(Debug, Clone, Copy)]
enum Actor {
    Starter,
    Dialler(usize),
    Reader(usize),
    Sender(usize, usize),
    Session(usize),
    Writer(usize),
    Operation(usize),
    Timekeeper,
    Stopper,
}

pub struct World {
    pub scene: Scene,
    pub server: Option<Server>,
    pub clients: Vec<Client>,
    /// When the server starts again.
    pub starts_at: u64,
    actors: Vec<Actor>,
}

/// Steps in which a world without faults must have come to rest.
const MOST_STEPS: u64 = 200_000;

impl World {
    pub fn new(seed: u64, is_traced: bool) -> World {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(seed, &mut dice);
        let clients = plan.clients.iter().enumerate().map(|(number, kind)| {
            let shelf = Shelf::new(*kind, &plan, &mut dice);
            Client::new(number, *kind, shelf)
        });
        let clients = clients.collect();
        let ledger = Ledger { rates: plan.rates.clone(), ..Ledger::default() };
        let scene = Scene {
            plan,
            dice,
            time: 0,
            clock: EPOCH_MS,
            step: 0,
            disk: Disk::new(),
            lines: Vec::new(),
            ledger,
            coverage: Coverage::new(),
            is_traced,
            is_calm: false,
            serial: 0,
        };
        World { scene, server: None, clients, starts_at: 0, actors: Vec::new() }
    }

    /// From beginning to end.
    pub fn run(mut self) -> Coverage {
        trace!(self.scene, "{:#?}", self.scene.plan);
        while self.scene.step < self.scene.plan.steps {
            self.disturb();
            if !self.act() {
                self.idle();
            }
        }
        self.calm_down();
        let last = self.scene.step + MOST_STEPS;
        loop {
            if !self.act() && !self.let_time_pass() {
                break;
            }
            assert!(self.scene.step < last, "this world does not come to rest");
        }
        self.check_rest();
        self.scene.coverage
    }

    /// Lets somebody do something; false when nobody can.
    fn act(&mut self) -> bool {
        self.scene.step += 1;
        self.scene.time += self.scene.dice.below(self.scene.plan.step_ms + 1);
        self.find_actors();
        if self.actors.is_empty() {
            return false;
        }
        let actor = self.scene.dice.pick(&self.actors);
        let turns = self.scene.dice.pick(&[1, 1, 2, 6]);
        self.take_turns(actor, turns);
        true
    }

    fn find_actors(&mut self) {
        let (scene, actors) = (&self.scene, &mut self.actors);
        actors.clear();
        for (number, client) in self.clients.iter().enumerate() {
            if client.line.is_none() && client.dials_at <= scene.time {
                actors.push(Actor::Dialler(number));
            }
            if client.can_read(scene) {
                actors.push(Actor::Reader(number));
            }
            if client.stalls_until <= scene.time {
                let senders = client.senders.iter().enumerate().filter(|(_, sender)| sender.can_step(scene));
                actors.extend(senders.map(|(which, _)| Actor::Sender(number, which)));
            }
        }
        let Some(server) = &self.server else {
            if self.starts_at <= scene.time {
                actors.push(Actor::Starter);
            }
            return;
        };
        let sessions = server.sessions.iter().enumerate().filter(|(_, session)| session.can_step(scene));
        actors.extend(sessions.map(|(which, _)| Actor::Session(which)));
        let writers = server.writers.iter().enumerate().filter(|(_, writer)| writer.can_step(scene));
        actors.extend(writers.map(|(which, _)| Actor::Writer(which)));
        actors.extend((0..server.operations.len()).map(Actor::Operation));
        if server.keeps_time(scene) {
            actors.push(Actor::Timekeeper);
        }
        let is_time_to_go = match server.stopping {
            None => false,
            Some(Stopping::Until(at)) => at <= scene.time || server.hub.is_stopped(),
            Some(Stopping::Closing(at)) => at <= scene.time || server.is_idle(),
        };
        if is_time_to_go {
            actors.push(Actor::Stopper);
        }
    }

    /// One actor does up to so many things, one after the other.
    fn take_turns(&mut self, actor: Actor, turns: usize) {
        match actor {
            Actor::Starter => self.server = Server::start(&mut self.scene),
            Actor::Dialler(number) => self.dial(number),
            Actor::Reader(number) => {
                for _ in 0..turns {
                    if self.clients[number].can_read(&self.scene) {
                        self.clients[number].read(&mut self.scene);
                    }
                }
            }
            Actor::Sender(number, which) => {
                let client = &mut self.clients[number];
                let mut sender = client.senders.swap_remove(which);
                let mut is_over = false;
                for _ in 0..turns {
                    if !is_over && sender.can_step(&self.scene) {
                        is_over = !sender.step(&client.shelf, &mut self.scene);
                    }
                }
                match is_over {
                    true => client.over(sender.job.id, sender.serial),
                    false => client.senders.push(sender),
                }
            }
            Actor::Session(_)
            | Actor::Writer(_)
            | Actor::Operation(_)
            | Actor::Timekeeper
            | Actor::Stopper => {
                for _ in 0..turns {
                    if !self.serve(actor) {
                        break;
                    }
                }
            }
        }
        self.look_at_the_server();
    }

    /// A thread of the server does one thing; false when it has to wait, or is no more.
    fn serve(&mut self, actor: Actor) -> bool {
        let (Some(server), scene) = (&mut self.server, &mut self.scene) else { return false };
        match actor {
            Actor::Session(which) => {
                let mut session = server.sessions.remove(which);
                let goes_on = session.step(server, scene);
                if goes_on {
                    server.sessions.insert(which, session);
                }
                goes_on && self.look_at_the_server() && self.can_go_on(actor)
            }
            Actor::Writer(which) => {
                let mut writer = server.writers.remove(which);
                let goes_on = writer.step(server, scene);
                if goes_on {
                    server.writers.insert(which, writer);
                }
                goes_on && self.look_at_the_server() && self.can_go_on(actor)
            }
            Actor::Operation(which) => {
                let mut operation = server.operations.remove(which);
                let goes_on = operation.step(server, scene);
                if goes_on {
                    server.operations.insert(which, operation);
                }
                goes_on && self.look_at_the_server()
            }
            Actor::Timekeeper => {
                server.keep_time(scene);
                self.look_at_the_server() && self.can_go_on(actor)
            }
            Actor::Stopper => {
                self.stop_on();
                false
            }
            Actor::Starter | Actor::Dialler(_) | Actor::Reader(_) | Actor::Sender(..) => false,
        }
    }

    fn can_go_on(&self, actor: Actor) -> bool {
        let Some(server) = &self.server else { return false };
        match actor {
            Actor::Session(which) => server.sessions[which].can_step(&self.scene),
            Actor::Writer(which) => server.writers[which].can_step(&self.scene),
            Actor::Timekeeper => server.keeps_time(&self.scene),
            Actor::Operation(_)
            | Actor::Stopper
            | Actor::Starter
            | Actor::Dialler(_)
            | Actor::Reader(_)
            | Actor::Sender(..) => true,
        }
    }

    fn dial(&mut self, number: usize) {
        let (scene, client) = (&mut self.scene, &mut self.clients[number]);
        let Some(server) = &mut self.server else { return client.not_connected(scene) };
        let line = scene.lines.len();
        scene.lines.push(Line::new(scene.plan.line_room, scene.plan.as_text));
        client.opened(line, scene);
        server.sessions.push(Session::new(line, client.id.clone()));
    }

    /// Checks the server after each of its steps, and buries it when it crashed in the middle of one; false then.
    fn look_at_the_server(&mut self) -> bool {
        let Some(server) = &self.server else {
            if self.scene.disk.has_crashed {
                self.crash_in_disk_work(); // while it started
            }
            return false;
        };
        let scene = &mut self.scene;
        scene.ledger.look(&server.hub, &scene.disk, &mut scene.coverage);
        if scene.disk.has_crashed {
            self.crash_in_disk_work();
            return false;
        }
        self.check_turns();
        true
    }

    fn crash_in_disk_work(&mut self) {
        self.scene.note(Seen::CrashedInDiskWork);
        let crash = self.scene.dice.pick(&[Crash::Kill, Crash::PowerCut]);
        self.crash(crash);
    }

    pub fn crash(&mut self, crash: Crash) {
        match self.server.take() {
            Some(server) => server.crash(&mut self.scene, crash),
            None => self.scene.disk.crash(crash, &mut self.scene.dice), // while it started
        }
        self.starts_at = self.scene.time + self.scene.dice.between(0, 5000);
    }

    /// The next step of a server that was asked to stop.
    fn stop_on(&mut self) {
        let Some(server) = &mut self.server else { return };
        let scene = &mut self.scene;
        match server.stopping {
            None => {}
            Some(Stopping::Until(_)) => {
                for link in server.links.values() {
                    scene.lines[link.line].tell(ToAgent::Closing { come_back_after_ms: 2000 });
                    scene.lines[link.line].close(scene.time);
                }
                server.stopping = Some(Stopping::Closing(scene.time + 4000));
            }
            Some(Stopping::Closing(_)) => {
                scene.note(Seen::Stopped);
                self.crash(Crash::Kill);
            }
        }
    }

    /// Everything is well from here on.
    fn calm_down(&mut self) {
        let scene = &mut self.scene;
        trace!(scene, "no more faults");
        scene.is_calm = true;
        (scene.disk.trouble_in, scene.disk.crash_after, scene.disk.room) = (0, None, u64::MAX);
        for client in &mut self.clients {
            let goes_for_good = client.line.is_none() && scene.dice.one_in(4);
            client.dials_at = if goes_for_good { u64::MAX } else { client.dials_at.min(scene.time) };
            (client.stalls_until, client.deaf_until) = (0, 0);
        }
    }
}
