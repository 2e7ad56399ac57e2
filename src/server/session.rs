//! A session: one thread that reads one client's line until it ends. It keeps little while it waits, for there may be ten
//! thousand: what goes deep is done elsewhere.
//!
//! It parses, and hands what belongs to a transfer on to it: `receiving.rs`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::thread::{self, Scope};
use std::time::Duration;

use super::gate::LineKey;
use super::receiving::Running;
use super::{Link, Server};
use crate::audit;
use crate::hub::Registration;
use crate::inbound::Event;
use crate::limits;
use crate::line::{Bytes, Incoming, Line, LineEnd, Rate, close};
use crate::names::{ClientId, RequestId, printable};
use crate::protocol::{ChunkHeader, Dialect, ToServer, Violation, ZSTD, parse_text, unpack};

/// One client's session.
pub(super) struct Session<'s> {
    pub(super) server: &'s Server,
    pub(super) client: ClientId,
    peer: SocketAddr,
    pub(super) generation: u64,
    pub(super) line: Line,
    pub(super) key: LineKey,
    pub(super) running: HashMap<RequestId, Running>,
    /// Text messages.
    texts: Rate,
}

/// Why a session ends.
enum SessionEnd {
    Line(LineEnd),
    Violation(Violation),
}

impl<'s> Session<'s> {
    pub(super) fn new(
        server: &'s Server,
        client: ClientId,
        peer: SocketAddr,
        generation: u64,
        line: Line,
        key: LineKey,
    ) -> Session<'s> {
        Session { server, client, peer, generation, line, key, running: HashMap::new(), texts: Rate::new() }
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
            let (client_id, address) = (&client, &*self.peer.to_string());
            self.server.audit(&audit::Event::AgentDisconnected { client_id, address });
            // Gone at once, not when its writers have ended; without their channels they do, and the scope can.
            let running = std::mem::take(&mut self.running);
            let (outbox, pulse) = (self.line.outbox().clone(), self.line.pulse().clone());
            let link = Link { generation: self.generation, outbox, pulse, key: self.key.clone() };
            self.server.leave(&self.client, &link, || drop(running));
            match end {
                SessionEnd::Line(end) => {
                    log::info!("{client} is gone: {end}");
                    match end {
                        LineEnd::Broken(_) => self.line.drain(),
                        LineEnd::Closed { .. } | LineEnd::Silent | LineEnd::Dropped(_) => {
                            self.line.outbox().shut();
                        }
                    }
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
        let covers_bytes = matches!(message, ToServer::Same { .. });
        if !covers_bytes && self.texts.exceeds(limits::MAX_TEXTS_A_SECOND, Duration::from_secs(1)) {
            return Err(Violation::TooManyMessages { most: limits::MAX_TEXTS_A_SECOND });
        }
        match message {
            ToServer::RegisterMeta {
                meta,
                protocol,
                agent_version,
                shares,
                congestion_control,
                compress,
            } => {
                let said = Registration {
                    dialect: Dialect::from_number(protocol),
                    meta,
                    agent_version,
                    shares: shares.unwrap_or_default(),
                    // Shown and no more: what is no such name is left out.
                    congestion_control: congestion_control.and_then(|name| name.parse().ok()),
                    compresses: compress.is_some_and(|words| words.iter().any(|word| word == ZSTD)),
                };
                self.register(said);
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
            ToServer::AskBlocks { request_id, attempt, from, count } => {
                self.step(request_id, Event::AskBlocks { attempt, from, count }, Bytes::new(), scope)
            }
            ToServer::AskPages { request_id, attempt, blocks } => {
                let event = Event::AskPages { attempt, blocks: &blocks };
                self.step(request_id, event, Bytes::new(), scope)
            }
            ToServer::Same { request_id, attempt, offset, length } => {
                self.step(request_id, Event::Same { attempt, offset, length }, Bytes::new(), scope)
            }
            ToServer::Progress { request_id, attempt } => {
                self.step(request_id, Event::Progress { attempt }, Bytes::new(), scope)
            }
            ToServer::Error { request_id: Some(id), code, message, attempt } => {
                let waiting = self.server.lock().parked.take_listing(id, &self.client);
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
                let (client, message) = (&self.client, printable(&message));
                let what = format_args!("{client} reports an error of no transfer: {message}");
                self.server.refused.messages.about(what);
                Ok(())
            }
            ToServer::Listing { request_id, entries, truncated } => {
                let waiting = self.server.lock().parked.take_listing(request_id, &self.client);
                if let Some(waiting) = waiting {
                    waiting.listed(entries, truncated).send(self.server);
                }
                Ok(())
            }
            ToServer::Unknown => {
                log::debug!("{} sent a message of a type that this version does not know", self.client);
                Ok(())
            }
        }
    }

    fn register(&mut self, mut said: Registration) {
        let length = serde_json::to_string(&said.meta).map_or(usize::MAX, |text| text.len());
        if length > limits::MAX_META_BYTES {
            let what = format_args!("{} sent labels of {length} bytes; they are left out", self.client);
            self.server.refused.messages.about(what);
            said.meta.clear();
        }
        said.shares.truncate(limits::MAX_SHARES);
        said.shares.retain(|share| share.len() <= limits::MAX_LABEL_BYTES);
        said.agent_version = said.agent_version.map(|version| printable(&version).to_string());
        let (client, generation) = (self.client.clone(), self.generation);
        self.server.act(|hub, now| hub.register(&client, generation, said, now));
    }

    fn chunk<'scope>(&mut self, message: Bytes, scope: &'scope Scope<'scope, '_>) -> Result<(), Violation>
    where
        's: 'scope,
    {
        let (header, start) = unpack::<ChunkHeader>(&message)?;
        let payload = message.slice(start..);
        let event = Event::Chunk { header: &header, length: payload.len() as u64 };
        self.step(header.request_id, event, payload, scope)
    }
}
