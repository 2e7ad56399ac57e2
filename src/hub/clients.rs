//! Clients: connected, registered, gone.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::contested::{Contested, Rivalry};
use super::{Action, Due, Hub, Now};
use crate::limits;
use crate::names::{ClientId, CongestionControl, RequestId};
use crate::protocol::Dialect;
use crate::transfer::{Failure, FailureCode, Status};

/// A client that is connected, or was.
#[derive(Debug, Clone, Default)]
pub(super) struct Client {
    pub(super) connection: Option<Connection>,
    last: Option<ClientView>,
    /// Transfers that wait for a slot, first come first served.
    pub(super) queue: VecDeque<RequestId>,
    /// Interrupted transfers, which go on when it is there again.
    pub(super) waiting: Vec<RequestId>,
    /// Slots that its transfers hold.
    pub(super) slots: usize,
    /// Those transfers.
    pub(super) running: Vec<RequestId>,
    /// Other machines with its id.
    pub(super) rivalry: Rivalry,
}

#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) generation: u64,
    pub(super) registered: Option<Registration>,
    address: String,
    connected_at: u64,
    /// When it has had its time to register, by the monotonic clock.
    register_by: u64,
    /// What it was asked for, the last [`limits::MAX_ENDED_IDS`] of it.
    asked: VecDeque<RequestId>,
}

impl Connection {
    /// Notes that it is asked for a transfer: messages about it may come for a while, whatever becomes of it.
    pub(super) fn note_asked(&mut self, id: RequestId) {
        if self.asked.len() == limits::MAX_ENDED_IDS {
            self.asked.pop_front();
        }
        self.asked.push_back(id);
    }
}

/// What a client says of itself when it registers.
#[derive(Debug, Clone)]
pub struct Registration {
    /// What it speaks.
    pub dialect: Dialect,
    /// Its labels.
    pub meta: Map<String, Value>,
    /// Its version (v2).
    pub agent_version: Option<String>,
    /// What it offers (v2).
    pub shares: Vec<String>,
    /// The congestion control of its socket (v2).
    pub congestion_control: Option<CongestionControl>,
    /// Whether it can compress chunks as we can decompress them (v2).
    pub compresses: bool,
}

impl Registration {
    /// Of one that says no more than what it speaks.
    pub fn of(dialect: Dialect) -> Registration {
        let (meta, shares) = (Map::new(), Vec::new());
        Registration {
            dialect,
            meta,
            agent_version: None,
            shares,
            congestion_control: None,
            compresses: false,
        }
    }
}

/// A client, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientView {
    /// Its id.
    pub client_id: ClientId,
    /// Whether it is connected now.
    pub connected: bool,
    /// When something was last heard of it.
    pub last_seen: u64,
    /// When its line was opened.
    pub connected_at: u64,
    /// Where it came from.
    pub address: String,
    /// 1 or 2.
    pub protocol: u32,
    /// Its version (v2).
    pub agent_version: Option<String>,
    /// Its labels.
    pub meta: Map<String, Value>,
    /// What it offers (v2).
    pub shares: Vec<String>,
    /// The congestion control of its socket (v2).
    pub congestion_control: Option<CongestionControl>,
    /// Transfers that hold a slot.
    pub active_transfers: usize,
    /// The last ping's round trip.
    pub rtt_ms: Option<u64>,
    /// Another machine that came with the same id a while ago.
    pub contested: Option<Contested>,
}

impl Client {
    /// What it speaks, once it has registered on the line that it has now.
    pub(super) fn ready(&self) -> Option<(u64, Dialect)> {
        let connection = self.connection.as_ref()?;
        Some((connection.generation, connection.registered.as_ref()?.dialect))
    }

    fn view(&self, client: &ClientId, last_seen: u64) -> Option<ClientView> {
        let connection = self.connection.as_ref()?;
        let registered = connection.registered.as_ref();
        Some(ClientView {
            client_id: client.clone(),
            connected: true,
            last_seen,
            connected_at: connection.connected_at,
            address: connection.address.clone(),
            protocol: registered.map_or(1, |registered| registered.dialect.number()),
            agent_version: registered.and_then(|registered| registered.agent_version.clone()),
            meta: registered.map(|registered| registered.meta.clone()).unwrap_or_default(),
            shares: registered.map(|registered| registered.shares.clone()).unwrap_or_default(),
            congestion_control: registered.and_then(|registered| registered.congestion_control.clone()),
            active_transfers: self.slots,
            rtt_ms: None,
            contested: None,
        })
    }
}

impl Hub {
    /// Whether one more client may connect.
    pub fn has_room(&self) -> bool {
        !self.stopping && self.connected < self.config.max_clients
    }

    /// A client's line is open. Returns the generation that names this line from now on, or `None` when there is
    /// no room, or the client's last line has not been given up yet.
    ///
    /// Nothing is asked of it until it has registered, or had the time to.
    pub fn connect(&mut self, client: &ClientId, address: String, now: Now) -> Option<u64> {
        let taken = self.clients.get(client).is_some_and(|known| known.connection.is_some());
        if taken || !self.has_room() {
            return None;
        }
        self.forget_old_clients();
        self.generations += 1;
        self.connected += 1;
        let generation = self.generations;
        let known = self.clients.entry(client.clone()).or_default();
        if let Some(last) = &known.last {
            known.rivalry.line_follows(&last.address, &address, now);
        }
        let register_by = now.mono + limits::HELLO_TIME.as_millis() as u64;
        known.connection = Some(Connection {
            generation,
            registered: None,
            address,
            connected_at: now.wall,
            register_by,
            asked: VecDeque::new(),
        });
        self.due.insert((register_by, Due::Client(client.clone())));
        Some(generation)
    }

    /// A client registered. Labels may change later; what it speaks may not.
    pub fn register(
        &mut self,
        client: &ClientId,
        generation: u64,
        said: Registration,
        now: Now,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(connection) = self.connection(client, generation) else { return actions };
        let before = connection.registered.as_ref();
        let (dialect, compresses) =
            before.map_or((said.dialect, said.compresses), |before| (before.dialect, before.compresses));
        connection.registered = Some(Registration { dialect, compresses, ..said });
        let register_by = connection.register_by;
        self.due.remove(&(register_by, Due::Client(client.clone())));
        self.wake(client);
        self.dispatch(now, &mut actions);
        actions
    }

    /// A client's line is gone. What was asked for on it is interrupted; what already arrives is left to its writer,
    /// which reports when it has stopped.
    pub fn disconnect(
        &mut self,
        client: &ClientId,
        generation: u64,
        last_seen: u64,
        now: Now,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(known) = self.clients.get_mut(client) else { return actions };
        if known.connection.as_ref().is_none_or(|connection| connection.generation != generation) {
            return actions; // an old session must not undo its successor
        }
        known.last = known.view(client, last_seen).map(|view| ClientView {
            connected: false,
            active_transfers: 0,
            ..view
        });
        if let Some(connection) = known.connection.take() {
            // Its successor gets a time of its own.
            self.due.remove(&(connection.register_by, Due::Client(client.clone())));
        }
        let mut affected: Vec<RequestId> = known.running.iter().chain(&known.queue).copied().collect();
        self.connected -= 1;
        self.turns.leave(client);
        affected.sort_by_key(|id| self.transfers[id].seq);
        for id in affected {
            let entry = &self.transfers[&id];
            match entry.transfer.status {
                Status::Requested => self.interrupt(id, client_is_gone(), now, &mut actions),
                // One that has a time to expire already waits for its client; after a stop it is queued again.
                Status::Queued if entry.transfer.expires_at.is_none() && !entry.unsaved && !self.stopping => {
                    self.interrupt(id, client_is_gone(), now, &mut actions);
                }
                _ => {}
            }
        }
        self.dispatch(now, &mut actions);
        actions
    }

    /// The clients that are connected, by id. `seen` tells when a line was last heard, and its round trip.
    pub fn clients(
        &self,
        now: Now,
        seen: impl Fn(&ClientId) -> Option<(u64, Option<u64>)>,
    ) -> Vec<ClientView> {
        self.clients.iter().filter_map(|(id, client)| connected_view(id, client, now, &seen)).collect()
    }

    /// One client: as it is, or as it was last known.
    pub fn client(
        &self,
        client: &ClientId,
        now: Now,
        seen: impl Fn(&ClientId) -> Option<(u64, Option<u64>)>,
    ) -> Option<ClientView> {
        let known = self.clients.get(client)?;
        let contested = known.rivalry.now(now).cloned();
        let last = || known.last.clone().map(|last| ClientView { contested, ..last });
        connected_view(client, known, now, &seen).or_else(last)
    }

    /// The connected line of a client, and what it speaks once it has registered.
    pub fn line_of(&self, client: &ClientId) -> Option<(u64, Option<Dialect>)> {
        let connection = self.clients.get(client)?.connection.as_ref()?;
        Some((connection.generation, connection.registered.as_ref().map(|registered| registered.dialect)))
    }

    /// Whether the client, on the line that it has now, may be asked for compressed chunks.
    pub fn compresses(&self, client: &ClientId) -> bool {
        let connection = self.clients.get(client).and_then(|known| known.connection.as_ref());
        let registered = connection.and_then(|connection| connection.registered.as_ref());
        registered.is_some_and(|said| said.dialect == Dialect::V2 && said.compresses)
    }

    /// The client had its time to register and did not: it is taken for v1.
    pub(super) fn registration_is_over(&mut self, client: &ClientId) {
        let Some(known) = self.clients.get_mut(client) else { return };
        let Some(connection) = known.connection.as_mut() else { return };
        if connection.registered.is_none() {
            connection.registered = Some(Registration::of(Dialect::V1));
            self.wake(client);
        }
    }

    /// Puts what waited for this client back in its queue.
    fn wake(&mut self, client: &ClientId) {
        let known = self.clients.get_mut(client).expect("a client that registers is known");
        let waiting = std::mem::take(&mut known.waiting);
        waiting.into_iter().for_each(|id| self.requeue(id));
        if !self.clients[client].queue.is_empty() {
            self.turns.join(client);
        }
    }

    /// Whether a transfer was asked for on this line, though it may be forgotten by now.
    pub(super) fn was_asked(&self, client: &ClientId, generation: u64, id: RequestId) -> bool {
        let connection = self.clients.get(client).and_then(|known| known.connection.as_ref());
        connection.is_some_and(|line| line.generation == generation && line.asked.contains(&id))
    }

    fn connection(&mut self, client: &ClientId, generation: u64) -> Option<&mut Connection> {
        let connection = self.clients.get_mut(client)?.connection.as_mut()?;
        (connection.generation == generation).then_some(connection)
    }

    /// Keeps the number of clients that are only remembered within its bound: the longest unseen go.
    fn forget_old_clients(&mut self) {
        if self.clients.len() < limits::MAX_KNOWN_CLIENTS + self.connected {
            return;
        }
        let idle = |client: &Client| {
            client.connection.is_none()
                && client.waiting.is_empty()
                && client.queue.is_empty()
                && client.slots == 0
        };
        let seen = |client: &Client| client.last.as_ref().map_or(0, |last| last.last_seen);
        let oldest =
            self.clients.iter().filter(|(_, client)| idle(client)).min_by_key(|(_, client)| seen(client));
        if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
            self.clients.remove(&oldest);
        }
    }
}

/// Why a transfer waits for its client.
pub(super) fn client_is_gone() -> Failure {
    Failure::new(FailureCode::ClientDisconnected, "the client's line went down")
}

fn connected_view(
    id: &ClientId,
    client: &Client,
    now: Now,
    seen: &impl Fn(&ClientId) -> Option<(u64, Option<u64>)>,
) -> Option<ClientView> {
    let connected_at = client.connection.as_ref()?.connected_at;
    let (last_seen, rtt_ms) = seen(id).unwrap_or((connected_at, None));
    let contested = client.rivalry.now(now).cloned();
    client.view(id, last_seen).map(|view| ClientView { rtt_ms, contested, ..view })
}
