//! A session: one client's line, from its arrival to its end, as `server/session.rs` does it.

mod receiving;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use towline::hub::Registration;
use towline::inbound::{Event, Inbound};
use towline::names::{ClientId, RequestId};
use towline::protocol::{Dialect, ToAgent, ToServer, Violation};

use crate::coverage::Seen;
use crate::scene::{Scene, trace};
use crate::server::{Effects, Link, Server};
use crate::wire::Up;
use crate::writer::{Channel, Piece};

/// A transfer that this session is receiving, or has just asked for.
struct Running {
    inbound: Inbound,
    attempt: u32,
    writer: Option<Rc<RefCell<Channel>>>,
}

enum Stage {
    /// A line of before may have to make way.
    Arriving,
    Entering,
    Connected,
    Over,
}

/// A piece that waits for a writer's channel.
struct Blocked {
    id: RequestId,
    piece: Piece,
    /// It is the last one that this session hands over.
    is_last: bool,
}

pub struct Session {
    pub line: usize,
    client: ClientId,
    generation: u64,
    stage: Stage,
    running: BTreeMap<RequestId, Running>,
    effects: Effects,
    blocked: Option<Blocked>,
    /// What has begun and has no part yet.
    opening: Option<Opening>,
}

/// An attempt that has begun, and whose stop is with the server already.
struct Opening {
    id: RequestId,
    attempt: u32,
    stop: Rc<Cell<bool>>,
}

impl Session {
    pub fn new(line: usize, client: ClientId) -> Session {
        Session {
            line,
            client,
            generation: 0,
            stage: Stage::Arriving,
            running: BTreeMap::new(),
            effects: Effects::new(),
            blocked: None,
            opening: None,
        }
    }

    pub fn can_step(&self, scene: &Scene) -> bool {
        if !self.effects.is_empty() || self.opening.is_some() {
            return true;
        }
        if let Some(blocked) = &self.blocked {
            let channel = self.running.get(&blocked.id).and_then(|running| running.writer.as_ref());
            return channel.is_none_or(|channel| channel.borrow().takes());
        }
        match self.stage {
            Stage::Arriving | Stage::Entering | Stage::Over => true,
            Stage::Connected => scene.lines[self.line].server_reads(scene.time),
        }
    }

    /// Does one thing; false when it has ended.
    pub fn step(&mut self, server: &mut Server, scene: &mut Scene) -> bool {
        if let Some(effect) = self.effects.pop_front() {
            server.perform(scene, effect);
            return true;
        }
        if let Some(opening) = self.opening.take() {
            self.open(opening, server, scene);
            return true;
        }
        if let Some(Blocked { id, piece, is_last }) = self.blocked.take() {
            scene.lines[self.line].is_waiting = false;
            self.hand_over(id, piece, is_last, scene);
            return true;
        }
        match self.stage {
            Stage::Arriving => self.make_way(server, scene),
            Stage::Entering => self.enter(server, scene),
            Stage::Connected => self.read(server, scene),
            Stage::Over => {
                scene.lines[self.line].close(scene.time);
                return false;
            }
        }
        true
    }

    fn make_way(&mut self, server: &mut Server, scene: &mut Scene) {
        self.stage = Stage::Entering;
        if !server.hub.has_room() {
            return self.refused(scene);
        }
        let Some(link) = server.links.get(&self.client).copied() else { return };
        if !scene.lines[link.line].is_cut() {
            return self.refused(scene);
        }
        trace!(scene, "{}: its line of before is given up", self.client);
        scene.note(Seen::HalfOpenLineReplaced);
        scene.lines[link.line].give_up(scene.time);
        self.effects = server.leave(scene, &self.client, link.generation);
    }

    fn refused(&mut self, scene: &mut Scene) {
        trace!(scene, "{}: refused", self.client);
        scene.note(Seen::ConnectionRefused);
        self.stage = Stage::Over;
    }

    fn enter(&mut self, server: &mut Server, scene: &mut Scene) {
        let now = server.now(scene);
        let Some(generation) = server.hub.connect(&self.client, String::new(), now) else {
            return self.refused(scene);
        };
        self.generation = generation;
        self.stage = Stage::Connected;
        trace!(scene, "{}: connected generation={generation}", self.client);
        let hello =
            ToAgent::Hello { server_time: String::new(), protocol: Some(2), heartbeat_seconds: Some(15) };
        scene.lines[self.line].tell(hello);
        server.links.insert(self.client.clone(), Link { generation, line: self.line });
    }

    fn read(&mut self, server: &mut Server, scene: &mut Scene) {
        let taken = match scene.lines[self.line].to_server.pop_front() {
            None => return self.gone(server, scene),
            Some(Up::Chunk(header, payload)) => {
                scene.lines[self.line].bytes_read += 200 + payload.len() as u64;
                let event = Event::Chunk { header: &header, length: payload.len() as u64 };
                self.take(header.request_id, event, &payload, server, scene)
            }
            Some(Up::Text(message)) => {
                scene.lines[self.line].bytes_read += 200;
                self.text(message, server, scene)
            }
        };
        if let Err(violation) = taken {
            panic!("an honest {} broke the protocol: {violation}", self.client);
        }
    }

    /// The line is gone: first from the hub, then the writers' channels close.
    fn gone(&mut self, server: &mut Server, scene: &mut Scene) {
        trace!(scene, "{}: is gone, generation={}", self.client, self.generation);
        self.effects = server.leave(scene, &self.client, self.generation);
        for running in std::mem::take(&mut self.running).into_values() {
            if let Some(channel) = running.writer {
                channel.borrow_mut().close();
            }
        }
        self.stage = Stage::Over;
    }

    fn text(&mut self, message: ToServer, server: &mut Server, scene: &mut Scene) -> Result<(), Violation> {
        let (id, event) = match &message {
            ToServer::RegisterMeta { meta, protocol, compress, .. } => {
                let said = Registration {
                    meta: meta.clone(),
                    compresses: compress.is_some(),
                    ..Registration::of(Dialect::from_number(*protocol))
                };
                let (client, generation) = (self.client.clone(), self.generation);
                if server.hub.line_of(&client).is_some_and(|(_, dialect)| dialect == Some(Dialect::V1)) {
                    scene.note(Seen::TakenForV1);
                }
                self.effects = server.act(scene, |hub, now| hub.register(&client, generation, said, now));
                return Ok(());
            }
            ToServer::UploadStart { request_id, filename, filesize, attempt } => {
                (*request_id, Event::Start { attempt: *attempt, filename, size: *filesize })
            }
            ToServer::UploadEnd { request_id, checksum, filesize, attempt } => {
                (*request_id, Event::End { attempt: *attempt, checksum: *checksum, size: *filesize })
            }
            ToServer::AskBlocks { request_id, attempt, from, count } => {
                (*request_id, Event::AskBlocks { attempt: *attempt, from: *from, count: *count })
            }
            ToServer::AskPages { request_id, attempt, blocks } => {
                (*request_id, Event::AskPages { attempt: *attempt, blocks })
            }
            ToServer::Same { request_id, attempt, offset, length } => {
                (*request_id, Event::Same { attempt: *attempt, offset: *offset, length: *length })
            }
            ToServer::Progress { request_id, attempt } => {
                scene.note(Seen::Progress);
                (*request_id, Event::Progress { attempt: *attempt })
            }
            ToServer::Error { request_id: Some(id), code, message, attempt } => {
                (*id, Event::Error { attempt: *attempt, code: code.as_deref(), message })
            }
            ToServer::Error { request_id: None, .. }
            | ToServer::Heartbeat { .. }
            | ToServer::Listing { .. }
            | ToServer::Unknown => return Ok(()),
        };
        let is_error = matches!(event, Event::Error { .. });
        match self.take(id, event, &[], server, scene) {
            Err(Violation::UnknownRequest { .. }) if is_error && server.hub.transfer(id).is_none() => Ok(()),
            taken => taken,
        }
    }
}
