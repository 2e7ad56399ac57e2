//! The transfers that a session is receiving.
//!
//! What comes for one is checked by its [`Inbound`] machine and handed to its writer through a bounded channel. A full
//! channel stops the session's reading, and TCP stops the agent; while it waits so, the client counts as alive.

use std::cell::Cell;
use std::convert::Infallible;
use std::thread::Scope;
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender, TrySendError, bounded};

use super::Server;
use super::session::Session;
use super::writer::{Piece, Writer};
use crate::hub::{Begun, Expected};
use crate::inbound::{Action, Event, Inbound};
use crate::limits;
use crate::line::Bytes;
use crate::names::{RequestId, printable};
use crate::protocol::{Dialect, Ends, Violation};
use crate::spool::Part;
use crate::threads;
use crate::transfer::{Failure, FailureCode};

/// A transfer that this session is receiving, or has just asked for.
pub(super) struct Running {
    inbound: Inbound,
    attempt: u32,
    writer: Option<Sender<Piece>>,
}

impl<'s> Session<'s> {
    /// Hands what came to its transfer's machine and does what that says.
    pub(super) fn step<'scope>(
        &mut self,
        id: RequestId,
        event: Event<'_>,
        payload: Bytes,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<(), Violation>
    where
        's: 'scope,
    {
        // An attempt that nobody answered is here until the next one is.
        let is_running = self.running.get(&id).is_some_and(|running| !running.inbound.is_before(&event));
        if !is_running && !self.expect(id)? {
            return Ok(()); // late, of a transfer that is over
        }
        let running = self.running.get_mut(&id).expect("just looked at");
        match running.inbound.step(event) {
            Ok(Action::Begin { source_name, size }) => self.begin(id, source_name, size, scope),
            Ok(Action::Store) => self.hand_over(id, Piece::Payload(payload)),
            Ok(Action::Decompress { length }) => self.hand_over(id, Piece::Compressed { payload, length }),
            Ok(Action::Keep { length }) => self.hand_over(id, Piece::Keep { length }),
            Ok(Action::TellBlocks { from, count }) => self.hand_over(id, Piece::AskBlocks { from, count }),
            Ok(Action::TellPages { blocks }) => self.hand_over(id, Piece::AskPages { blocks }),
            Ok(Action::KeepWaiting) => self.hand_over(id, Piece::KeepWaiting),
            Ok(Action::Finish { checksum }) => {
                self.hand_over(id, Piece::End(checksum));
                self.running.remove(&id);
            }
            Ok(Action::Fail(failure)) => self.fail(id, failure),
            Ok(Action::Ignore) => {}
            Err(violation) if violation.ends() == Ends::Line => return Err(violation),
            Err(violation) => {
                self.fail(id, Failure::new(FailureCode::ProtocolViolation, violation.to_string()))
            }
        }
        Ok(())
    }

    /// Whether something may come for `id`; the transfer is running from now on.
    fn expect(&mut self, id: RequestId) -> Result<bool, Violation> {
        let (client, generation) = (&self.client, self.generation);
        let asked = self.server.ask(|hub| {
            let dialect = hub.line_of(client).and_then(|(_, dialect)| dialect);
            let compressed = self.server.most_compressed(hub, client);
            (hub.expected(client, generation, id), dialect, hub.held(id).bytes(), compressed)
        });
        match asked {
            (Expected::Attempt(attempt), dialect, have, compressed) => {
                self.sweep();
                let max_size = self.server.settings.max_file_size.unwrap_or(u64::MAX);
                let inbound =
                    Inbound::new(attempt, dialect.unwrap_or(Dialect::V1), max_size, have, compressed);
                self.running.insert(id, Running { inbound, attempt, writer: None });
                Ok(true)
            }
            (Expected::Late, ..) => Ok(false),
            (Expected::Never, ..) => Err(Violation::UnknownRequest { id }),
        }
    }

    /// Sweeps out what others have ended while the client was silent.
    fn sweep(&mut self) {
        if self.running.len() >= limits::MAX_ENDED_IDS {
            self.server.ask(|hub| {
                self.running
                    .retain(|id, _| hub.transfer(*id).is_some_and(|transfer| !transfer.status.is_final()));
            });
        }
    }

    /// The agent has the file open: make room, and start a writer.
    fn begin<'scope>(
        &mut self,
        id: RequestId,
        source_name: String,
        size: u64,
        scope: &'scope Scope<'scope, '_>,
    ) where
        's: 'scope,
    {
        let (server, attempt) = (self.server, self.running[&id].attempt);
        log::info!(
            "upload_start for {id} filename={} size={size} clientId={} attempt={attempt}",
            printable(&source_name),
            self.client
        );
        let (stop_in, stop) = bounded::<Infallible>(0);
        let begun = {
            // Together, so that nobody can end the transfer without ending its writer.
            let mut state = server.lock();
            let begun = state.hub.begin(id, attempt, source_name, size);
            if begun == Begun::Wanted {
                state.stops.insert(id, stop_in);
            }
            begun
        };
        if begun == Begun::Unwanted {
            self.running.remove(&id);
            return;
        }
        let part = server.room_for(id, size).and_then(|()| server.part(id));
        let part = match part {
            Ok(part) => part,
            Err(failure) => return self.fail(id, failure),
        };
        let (pieces_in, pieces) = bounded(limits::WRITER_QUEUE_CHUNKS);
        let (client, outbox, pulse) =
            (self.client.clone(), self.line.outbox().clone(), self.line.pulse().clone());
        let untold = Cell::default();
        let _chunks = server.chunks.in_use();
        let writer =
            Writer { server, client, id, attempt, size, pieces, stop, outbox, pulse, untold, _chunks };
        let name = format!("write {}", self.client);
        match threads::spawn_scoped(scope, name, limits::SMALL_STACK, move || writer.run(part)) {
            Ok(_joined_by_the_scope) => {
                self.running.get_mut(&id).expect("it is running").writer = Some(pieces_in);
            }
            Err(error) => {
                let message = format!("the server has no thread for it: {error}");
                self.fail(id, Failure::new(FailureCode::WriteFailed, message));
            }
        }
    }

    /// Gives a piece to the writer, however long that takes; the client is not read meanwhile.
    fn hand_over(&mut self, id: RequestId, mut piece: Piece) {
        let running = self.running.get(&id).and_then(|running| running.writer.as_ref());
        let (Some(writer), line) = (running, &mut self.line) else { return };
        let beat: Duration = line.beat();
        loop {
            match writer.try_send(piece) {
                Ok(()) => return,
                Err(TrySendError::Disconnected(_)) => break,
                Err(TrySendError::Full(back)) => piece = back,
            }
            line.pulse().set_waiting(true);
            let sent = writer.send_timeout(piece, beat);
            line.pulse().set_waiting(false);
            match sent {
                Ok(()) => return,
                Err(SendTimeoutError::Disconnected(_)) => break,
                Err(SendTimeoutError::Timeout(back)) => {
                    line.keep_alive();
                    piece = back;
                }
            }
        }
        // The writer has ended, and has said why. What still comes is late.
        self.running.remove(&id);
    }

    /// The attempt came to nothing: through its writer, when there is one.
    fn fail(&mut self, id: RequestId, failure: Failure) {
        let Some(running) = self.running.get(&id) else { return };
        let attempt = running.attempt;
        if running.writer.is_some() {
            self.hand_over(id, Piece::Fail(failure));
        } else {
            log::warn!("transfer {id} of {} attempt={attempt} ended: {failure}", self.client);
            self.server.act(|hub, now| hub.attempt_failed(id, attempt, failure, now));
        }
        self.running.remove(&id);
    }
}

impl Server {
    /// The part of an attempt that has just begun.
    fn part(&self, id: RequestId) -> Result<Part, Failure> {
        let held = self.ask(|hub| hub.held(id));
        let ids = [id];
        let _turn = self.saving.turn(&ids); // whoever gives up parts looks whether this one is in use
        self.spool.part(id, &held).map_err(|error| {
            log::error!("transfer {id}: {error}");
            error.failure()
        })
    }

    /// Whether all that is still to come fits on the disk, this file of `size` bytes included.
    fn room_for(&self, id: RequestId, size: u64) -> Result<(), Failure> {
        let room = self.spool.room().map_err(|error| error.failure())?;
        let keep = self.settings.min_free_bytes;
        self.ask(|hub| hub.claim_room(id, room.saturating_sub(keep))).map_err(|all| {
            let message = format!(
                "the file has {size} bytes; the server's disk has {room} free, keeps {keep}, and {all} are to come in all"
            );
            Failure::new(FailureCode::DiskFull, message)
        })
    }
}
