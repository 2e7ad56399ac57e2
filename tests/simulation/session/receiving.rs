//! The transfers that a session is receiving, as `server/receiving.rs` does it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use towline::hub::{Begun, Expected, Held};
use towline::inbound::{Action, Event, Inbound};
use towline::limits;
use towline::names::RequestId;
use towline::protocol::{Dialect, Ends, Violation};
use towline::transfer::{Failure, FailureCode};

use super::{Blocked, Opening, Running, Session};
use crate::coverage::Seen;
use crate::disk::Trouble;
use crate::part::Part;
use crate::scene::{Scene, trace};
use crate::server::Server;
use crate::writer::{Channel, Piece, Writer};

impl Session {
    /// Hands what came to its transfer's machine and does what that says.
    pub(super) fn take(
        &mut self,
        id: RequestId,
        event: Event<'_>,
        payload: &[u8],
        server: &mut Server,
        scene: &mut Scene,
    ) -> Result<(), Violation> {
        self.make_way_for_newer(id, &event, server);
        if !self.running.contains_key(&id) && !self.expect(id, server)? {
            return Ok(());
        }
        let running = self.running.get_mut(&id).expect("just looked at");
        let piece = match running.inbound.step(event) {
            Ok(Action::Begin { source_name, size }) => {
                self.begin(id, source_name, size, server, scene);
                return Ok(());
            }
            Ok(Action::Fail(failure)) => {
                self.fail(id, failure, server, scene);
                return Ok(());
            }
            Ok(Action::Ignore) => return Ok(()),
            Ok(Action::Store) => Piece::Payload(payload.to_vec()),
            Ok(Action::Decompress { length }) => Piece::Compressed { payload: payload.to_vec(), length },
            Ok(Action::Keep { length }) => Piece::Keep { length },
            Ok(Action::TellBlocks { from, count }) => Piece::AskBlocks { from, count },
            Ok(Action::TellPages { blocks }) => Piece::AskPages { blocks },
            Ok(Action::KeepWaiting) => Piece::KeepWaiting,
            Ok(Action::Finish { checksum }) => Piece::End(checksum),
            Err(violation) if violation.ends() == Ends::Line => return Err(violation),
            Err(violation) => panic!("an honest {} broke the protocol with {id}: {violation}", self.client),
        };
        let is_last = matches!(piece, Piece::End(_));
        self.hand_over(id, piece, is_last, scene);
        Ok(())
    }

    /// What is left of an attempt that came to nothing makes way for the one that was asked for since.
    fn make_way_for_newer(&mut self, id: RequestId, event: &Event<'_>, server: &Server) {
        let Some(before) = self.running.get(&id).map(|running| running.attempt) else { return };
        if event.attempt().is_some_and(|named| named > before)
            && let Expected::Attempt(now) = server.hub.expected(&self.client, self.generation, id)
            && now > before
        {
            self.running.remove(&id);
        }
    }

    fn expect(&mut self, id: RequestId, server: &Server) -> Result<bool, Violation> {
        match server.hub.expected(&self.client, self.generation, id) {
            Expected::Attempt(attempt) => {
                self.sweep(server);
                let dialect = server.hub.line_of(&self.client).and_then(|(_, dialect)| dialect);
                let have = server.hub.held(id).bytes();
                let compressed = server.hub.compresses(&self.client).then_some(limits::CHUNK_BYTES as u64);
                let inbound =
                    Inbound::new(attempt, dialect.unwrap_or(Dialect::V1), u64::MAX, have, compressed);
                self.running.insert(id, Running { inbound, attempt, writer: None });
                Ok(true)
            }
            Expected::Late => Ok(false),
            Expected::Never => Err(Violation::UnknownRequest { id }),
        }
    }

    fn sweep(&mut self, server: &Server) {
        if self.running.len() >= limits::MAX_ENDED_IDS {
            let is_live = |id| server.hub.transfer(id).is_some_and(|transfer| !transfer.status.is_final());
            self.running.retain(|id, _| is_live(*id));
        }
    }

    /// The agent has the file open.
    fn begin(
        &mut self,
        id: RequestId,
        source_name: String,
        size: u64,
        server: &mut Server,
        scene: &mut Scene,
    ) {
        let attempt = self.running[&id].attempt;
        if server.hub.begin(id, attempt, source_name, size) == Begun::Unwanted {
            self.running.remove(&id);
            return;
        }
        trace!(scene, "{}: begins {id} attempt={attempt} size={size}", self.client);
        let stop = Rc::new(Cell::new(false));
        server.stop_writer(id);
        server.stops.insert(id, stop.clone());
        self.opening = Some(Opening { id, attempt, stop });
    }

    /// Makes room, and starts a writer.
    pub(super) fn open(&mut self, opening: Opening, server: &mut Server, scene: &mut Scene) {
        let Opening { id, attempt, stop } = opening;
        let size = server.hub.transfer(id).and_then(|transfer| transfer.size).unwrap_or(0);
        let part = match open_part(id, server, scene) {
            Ok(part) => part,
            Err(failure) => return self.fail(id, failure, server, scene),
        };
        for other in &server.writers {
            assert!(!other.may_report(id), "{id} has a second writer");
        }
        let channel = Rc::new(RefCell::new(Channel::default()));
        let writer = Writer::new(self.line, id, attempt, channel.clone(), stop, part, scene);
        server.writers.push(writer.of_size(size, scene));
        self.running.get_mut(&id).expect("it is running").writer = Some(channel);
    }

    pub(super) fn hand_over(&mut self, id: RequestId, piece: Piece, is_last: bool, scene: &mut Scene) {
        let Some(channel) = self.running.get(&id).and_then(|running| running.writer.clone()) else { return };
        let mut channel = channel.borrow_mut();
        if channel.is_deserted {
            self.running.remove(&id); // the writer has ended, and has said why
        } else if channel.is_full() {
            scene.note(Seen::WriterWasFull);
            scene.lines[self.line].is_waiting = true;
            self.blocked = Some(Blocked { id, piece, is_last });
        } else {
            channel.pieces.push_back(piece);
            if is_last {
                channel.close();
                self.running.remove(&id);
            }
        }
    }

    /// The attempt came to nothing: through its writer, when there is one.
    fn fail(&mut self, id: RequestId, failure: Failure, server: &mut Server, scene: &mut Scene) {
        trace!(scene, "{}: {id} comes to nothing: {failure}", self.client);
        let Some(running) = self.running.get(&id) else { return };
        if running.writer.is_some() {
            return self.hand_over(id, Piece::Fail(failure), true, scene);
        }
        let attempt = running.attempt;
        self.running.remove(&id);
        self.effects = server.act(scene, |hub, now| hub.attempt_failed(id, attempt, failure, now));
    }
}

/// The part of an attempt that has just begun, if there is room for it.
fn open_part(id: RequestId, server: &mut Server, scene: &mut Scene) -> Result<Part, Failure> {
    if server.hub.claim_room(id, scene.disk.room).is_err() {
        scene.note(Seen::NoRoom);
        return Err(Failure::new(FailureCode::DiskFull, "no room"));
    }
    let held = server.hub.held(id);
    let (from_nothing, older) = match &held {
        Held::Nothing => (true, None),
        Held::Some { older, .. } => (false, older.as_deref()),
    };
    let mismatches = scene.ledger.of(id).mismatches;
    assert!(mismatches < 1 || older.is_none(), "{id} had a wrong hash, and an older download is believed");
    if mismatches > 1 {
        assert!(from_nothing, "{id} had two wrong hashes, and its part is believed");
        scene.note(Seen::MismatchBegunAnew);
    }
    scene.disk.part(id, from_nothing, older, &mut scene.dice).map_err(Trouble::failure)
}
