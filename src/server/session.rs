//! A session: one thread that reads one client's line until it ends.
//!
//! It parses, checks the order with the [`Inbound`] machine of each running transfer, and hands payload to that
//! transfer's writer through a bounded channel. A full channel stops its reading, and TCP stops the agent; while it
//! waits so, the client counts as alive.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::thread::{self, Scope};
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender, bounded};

use super::writer::{Piece, Writer};
use super::{Link, Server};
use crate::hub::{Begun, Expected, Registration};
use crate::inbound::{Action, Event, Inbound};
use crate::limits;
use crate::line::{Bytes, Incoming, Line, LineEnd, close};
use crate::names::{ClientId, RequestId, printable};
use crate::protocol::{Dialect, Ends, ToServer, Violation, parse_text, unpack};
use crate::transfer::{Failure, FailureCode};

/// One client's session.
pub(super) struct Session<'s> {
    server: &'s Server,
    client: ClientId,
    generation: u64,
    line: Line,
    running: HashMap<RequestId, Running>,
    /// What has run on this line, the last [`limits::MAX_ENDED_IDS`] of it.
    lately: VecDeque<RequestId>,
}

/// A transfer that this session is receiving, or has just asked for.
struct Running {
    inbound: Inbound,
    attempt: u32,
    writer: Option<Sender<Piece>>,
}

/// Why a session ends.
enum SessionEnd {
    Line(LineEnd),
    Violation(Violation),
}

impl<'s> Session<'s> {
    pub(super) fn new(server: &'s Server, client: ClientId, generation: u64, line: Line) -> Session<'s> {
        Session { server, client, generation, line, running: HashMap::new(), lately: VecDeque::new() }
    }

    /// Runs until the line ends. When this returns the client is gone from the hub and all writers have ended.
    pub(super) fn run(mut self) {
        let client = self.client.clone();
        thread::scope(move |scope| {
            let end = loop {
                if let Err(end) = self.read_one(scope) {
                    break end;
                }
            };
            // Gone at once, not when its writers have ended; without their channels they do, and the scope can.
            let running = std::mem::take(&mut self.running);
            let (outbox, pulse) = (self.line.outbox().clone(), self.line.pulse().clone());
            let link = Link { generation: self.generation, outbox, pulse };
            self.server.leave(&self.client, &link, || drop(running));
            match end {
                SessionEnd::Line(end) => {
                    log::info!("{client} is gone: {end}");
                    self.line.outbox().shut();
                }
                SessionEnd::Violation(violation) => {
                    log::warn!("{client} broke the protocol, its line is closed: {violation}");
                    self.line.close(close::POLICY, &violation.to_string());
                }
            }
        });
    }

    fn read_one<'scope>(&mut self, scope: &'scope Scope<'scope, '_>) -> Result<(), SessionEnd>
    where
        's: 'scope,
    {
        let taken = match self.line.read().map_err(SessionEnd::Line)? {
            Incoming::Text(text) => parse_text(&text).and_then(|message| self.text(message, scope)),
            Incoming::Binary(message) => self.chunk(message, scope),
        };
        taken.map_err(SessionEnd::Violation)
    }

    fn text<'scope>(&mut self, message: ToServer, scope: &'scope Scope<'scope, '_>) -> Result<(), Violation>
    where
        's: 'scope,
    {
        match message {
            ToServer::RegisterMeta { meta, protocol, agent_version, shares } => {
                self.register(meta, protocol, agent_version, shares.unwrap_or_default());
                Ok(())
            }
            ToServer::Heartbeat { .. } => Ok(()), // being heard is all that it is for
            ToServer::UploadStart { request_id, filename, filesize, attempt } => {
                let event = Event::Start { attempt, filename: &filename, size: filesize };
                self.step(request_id, event, Bytes::new(), scope)
            }
            ToServer::UploadEnd { request_id, checksum, filesize, attempt } => {
                let event = Event::End { attempt, checksum, size: filesize };
                self.step(request_id, event, Bytes::new(), scope)
            }
            ToServer::Progress { request_id, attempt } => {
                self.step(request_id, Event::Progress { attempt }, Bytes::new(), scope)
            }
            ToServer::Error { request_id: Some(id), code, message, attempt } => {
                let waiting = self.server.lock().parked.take_listing(id);
                if let Some(waiting) = waiting {
                    waiting.not_listed(code.as_deref().unwrap_or_default(), &message).send(self.server);
                    return Ok(());
                }
                let event = Event::Error { attempt, code: code.as_deref(), message: &message };
                match self.step(id, event, Bytes::new(), scope) {
                    // The answer to a listing that nobody waits for any more is harmless; another client's transfer is not.
                    Err(Violation::UnknownRequest { .. })
                        if self.server.ask(|hub| hub.transfer(id).is_none()) =>
                    {
                        Ok(())
                    }
                    taken => taken,
                }
            }
            ToServer::Error { request_id: None, message, .. } => {
                log::warn!("{} reports an error of no transfer: {}", self.client, printable(&message));
                Ok(())
            }
            ToServer::Listing { request_id, entries, truncated } => {
                let waiting = self.server.lock().parked.take_listing(request_id);
                if let Some(waiting) = waiting {
                    waiting.listed(&entries, truncated).send(self.server);
                }
                Ok(())
            }
            ToServer::Unknown => {
                log::debug!("{} sent a message of a type that this version does not know", self.client);
                Ok(())
            }
        }
    }

    fn register(
        &mut self,
        meta: serde_json::Map<String, serde_json::Value>,
        protocol: Option<u32>,
        agent_version: Option<String>,
        mut shares: Vec<String>,
    ) {
        let length = serde_json::to_string(&meta).map_or(usize::MAX, |text| text.len());
        let meta = if length > limits::MAX_META_BYTES {
            log::warn!("{} sent labels of {length} bytes; they are left out", self.client);
            serde_json::Map::new()
        } else {
            meta
        };
        shares.truncate(limits::MAX_SHARES);
        shares.retain(|share| share.len() <= limits::MAX_LABEL_BYTES);
        let agent_version = agent_version.map(|version| printable(&version).to_string());
        let said = Registration { dialect: Dialect::from_number(protocol), meta, agent_version, shares };
        let (client, generation) = (self.client.clone(), self.generation);
        self.server.act(|hub, now| hub.register(&client, generation, said, now));
    }

    fn chunk<'scope>(&mut self, message: Bytes, scope: &'scope Scope<'scope, '_>) -> Result<(), Violation>
    where
        's: 'scope,
    {
        let (header, start) = unpack(&message)?;
        let payload = message.slice(start..);
        let event = Event::Chunk { header: &header, length: payload.len() as u64 };
        self.step(header.request_id, event, payload, scope)
    }

    /// Hands what came to its transfer's machine and does what that says.
    fn step<'scope>(
        &mut self,
        id: RequestId,
        event: Event<'_>,
        payload: Bytes,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<(), Violation>
    where
        's: 'scope,
    {
        if !self.running.contains_key(&id) && !self.expect(id)? {
            return Ok(()); // late, of a transfer that is over
        }
        let running = self.running.get_mut(&id).expect("just looked at");
        match running.inbound.step(event) {
            Ok(Action::Begin { source_name, size }) => self.begin(id, source_name, size, scope),
            Ok(Action::Store) => self.hand_over(id, Piece::Payload(payload)),
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
            (hub.expected(client, generation, id), dialect)
        });
        match asked {
            (Expected::Attempt(attempt), dialect) => {
                self.remember(id);
                let max_size = self.server.settings.max_file_size.unwrap_or(u64::MAX);
                let inbound = Inbound::new(attempt, dialect.unwrap_or(Dialect::V1), max_size);
                self.running.insert(id, Running { inbound, attempt, writer: None });
                Ok(true)
            }
            (Expected::Late, _) => Ok(false),
            // The hub may have forgotten a transfer whose chunks are still in flight.
            (Expected::Never, _) if self.lately.contains(&id) => Ok(false),
            (Expected::Never, _) => Err(Violation::UnknownRequest { id }),
        }
    }

    /// Notes what runs on this line, and sweeps out what others have ended while the client was silent.
    fn remember(&mut self, id: RequestId) {
        if self.lately.len() == limits::MAX_ENDED_IDS {
            self.lately.pop_front();
        }
        self.lately.push_back(id);
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
        let part =
            server.room_for(size).and_then(|()| server.spool.part(id).map_err(|error| error.failure()));
        let part = match part {
            Ok(part) => part,
            Err(failure) => return self.fail(id, failure),
        };
        let (pieces_in, pieces) = bounded(limits::WRITER_QUEUE_CHUNKS);
        let (client, outbox, pulse) =
            (self.client.clone(), self.line.outbox().clone(), self.line.pulse().clone());
        let writer = Writer { server, client, id, attempt, pieces, stop, outbox, pulse };
        let name = format!("write {}", self.client);
        let builder = thread::Builder::new().name(name).stack_size(limits::SMALL_STACK);
        match builder.spawn_scoped(scope, move || writer.run(part)) {
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
        let Some(writer) = self.running.get(&id).and_then(|running| running.writer.clone()) else { return };
        let beat: Duration = self.line.beat();
        loop {
            match writer.try_send(piece) {
                Ok(()) => return,
                Err(crossbeam_channel::TrySendError::Disconnected(_)) => break,
                Err(crossbeam_channel::TrySendError::Full(back)) => piece = back,
            }
            self.line.pulse().set_waiting(true);
            let sent = writer.send_timeout(piece, beat);
            self.line.pulse().set_waiting(false);
            match sent {
                Ok(()) => return,
                Err(SendTimeoutError::Disconnected(_)) => break,
                Err(SendTimeoutError::Timeout(back)) => {
                    self.line.keep_alive();
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
            log::warn!("transfer {id} of {} attempt={attempt} failed: {failure}", self.client);
            self.server.act(|hub, now| hub.attempt_failed(id, attempt, failure, now));
        }
        self.running.remove(&id);
    }
}

impl Server {
    /// Whether all that is still to come fits on the disk, this file of `size` bytes included.
    fn room_for(&self, size: u64) -> Result<(), Failure> {
        let room = self.spool.room().map_err(|error| error.failure())?;
        let keep = self.settings.min_free_bytes;
        let outstanding = self.ask(|hub| hub.outstanding());
        if room.saturating_sub(keep) >= outstanding {
            return Ok(());
        }
        let message = format!(
            "the file has {size} bytes; the server's disk has {room} free, keeps {keep}, and {outstanding} are to come in all"
        );
        Err(Failure::new(FailureCode::DiskFull, message))
    }
}
