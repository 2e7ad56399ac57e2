//! What the tests of the hub share: its settings, transfers by number, and the invariants. The scenarios stand beside it by
//! theme, and [`walk`] takes every move at random.

mod attempts;
mod contested;
mod held;
mod kept;
mod pulls;
mod queue;
mod room;
mod walk;

use super::*;
use crate::names::Sha256Hash;
use crate::transfer::{Failure, FailureCode};

const HASH: Sha256Hash = Sha256Hash([3; 32]);

pub(in crate::hub) fn config() -> Config {
    Config {
        max_concurrent: 3,
        max_per_client: 2,
        max_queued: 10,
        max_clients: 50,
        stall_ms: 60_000,
        max_spool_bytes: 1000,
        keep_transfers: 100,
        keep_ms: None,
    }
}

pub(in crate::hub) fn at(seconds: u64) -> Now {
    Now { wall: 1_700_000_000_000 + seconds * 1000, mono: seconds * 1000 }
}

pub(in crate::hub) fn client(name: &str) -> ClientId {
    name.parse().unwrap()
}

pub(in crate::hub) fn id(number: u64) -> RequestId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    RequestId::from_random(bytes)
}

pub(in crate::hub) fn order(number: u64, name: &str) -> Order {
    Order {
        request_id: id(number),
        client_id: client(name),
        file_key: None,
        batch_id: None,
        filename: format!("{name}-{number}"),
        out_path: String::new(),
        requested_by: String::new(),
        max_rate: None,
        queue_for_ms: None,
        idempotency: None,
    }
}

pub(in crate::hub) fn failure(code: FailureCode) -> Failure {
    Failure::new(code, "x")
}

impl Hub {
    pub(in crate::hub) fn check(&self) {
        let running = |entry: &&Entry| {
            matches!(entry.transfer.status, Status::Requested | Status::Receiving | Status::Verifying)
        };
        assert_eq!(self.slots, self.transfers.values().filter(running).count());
        assert!(self.slots <= self.config.max_concurrent);
        assert_eq!(self.unsaved, self.transfers.values().filter(|entry| entry.unsaved).count());
        assert_eq!(
            self.connected,
            self.clients.values().filter(|client| client.connection.is_some()).count()
        );
        for (name, client) in &self.clients {
            let of = |entry: &&Entry| entry.transfer.client_id == *name;
            assert_eq!(client.slots, self.transfers.values().filter(running).filter(of).count());
            assert!(client.slots <= self.config.max_per_client);
        }
        for (id, entry) in &self.transfers {
            let client = &self.clients[&entry.transfer.client_id];
            let queued = client.queue.iter().filter(|queued| *queued == id).count();
            let waiting = client.waiting.iter().filter(|waiting| *waiting == id).count();
            let expected = match entry.transfer.status {
                _ if entry.unsaved => (0, 0),
                Status::Queued => (1, 0),
                Status::Interrupted => (0, 1),
                _ => (0, 0),
            };
            assert_eq!((queued, waiting), expected, "{:?}", entry.transfer);
            assert_eq!(self.live.contains_key(&entry.seq), !entry.transfer.status.is_final());
            assert_eq!(self.reserved.contains(&entry.transfer.filename), !entry.transfer.status.is_final());
            match entry.transfer.status {
                Status::Requested | Status::Interrupted => {
                    assert!(entry.due.is_some(), "none stays without an end")
                }
                Status::Queued => {
                    let is_held_back = entry.unsaved || client.connection.is_some();
                    assert!(is_held_back || entry.due.is_some(), "none stays without an end");
                }
                Status::Receiving | Status::Verifying => {}
                _ => assert!(entry.due.is_none() && entry.transfer.finished_at.is_some()),
            }
        }
        self.check_parts();
        self.check_repeats();
        self.check_lists();
        self.check_work();
        for (_, due) in &self.due {
            if let Due::Transfer(id) = due {
                assert!(self.transfers[id].due.is_some());
            }
        }
    }

    /// What is looked at instead of all transfers is right.
    fn check_work(&self) {
        for (name, client) in &self.clients {
            assert_eq!(client.running.len(), client.slots);
            assert!(client.running.iter().all(|id| self.transfers[id].transfer.client_id == *name));
        }
        let claimed = |entry: &&Entry| entry.has_room && entry.transfer.status == Status::Receiving;
        let all = self.transfers.values().filter(claimed).map(missing).fold(0, u64::saturating_add);
        assert_eq!(self.outstanding(), all);
    }

    /// The parts that wait are those of transfers that do, and what the next pull begins with is a download.
    fn check_parts(&self) {
        let waits = |entry: &Entry| matches!(entry.transfer.status, Status::Queued | Status::Interrupted);
        let parts = self.transfers.values().filter(|entry| waits(entry) && entry.part > 0);
        let parts: BTreeMap<u64, u64> = parts.map(|entry| (entry.seq, entry.part)).collect();
        assert_eq!(self.waiting_parts, parts);
        assert_eq!(self.waiting_bytes, parts.values().sum::<u64>());
        assert!(self.waiting_bytes <= self.config.max_spool_bytes);
        for (source, id) in &self.latest {
            let latest = &self.transfers[id].transfer;
            assert_eq!(*source, (latest.client_id.clone(), latest.file_key.clone()));
            assert_eq!(latest.status, Status::Completed);
        }
        for entry in self.transfers.values().filter(|entry| entry.transfer.status == Status::Completed) {
            let source = (entry.transfer.client_id.clone(), entry.transfer.file_key.clone());
            if let Some(latest) = self.latest.get(&source) {
                assert!(self.transfers[latest].transfer.finished_at >= entry.transfer.finished_at);
            }
        }
    }

    pub(in crate::hub) fn join(&mut self, name: &str, dialect: Dialect, now: Now) -> (u64, Vec<Action>) {
        let generation = self.connect(&client(name), "10.0.0.1:5".into(), now).expect("room");
        (generation, self.register(&client(name), generation, Registration::of(dialect), now))
    }

    pub(in crate::hub) fn order(&mut self, number: u64, name: &str, now: Now) -> Vec<Action> {
        self.admit(order(number, name), now).expect("admitted");
        self.release(id(number), now)
    }

    fn status(&self, number: u64) -> Status {
        self.transfer(id(number)).expect("known").status
    }
}

fn requested(actions: &[Action]) -> Vec<RequestId> {
    let ids = actions.iter().filter_map(|action| match action {
        Action::Request { id, .. } => Some(*id),
        _ => None,
    });
    ids.collect()
}

/// How many bytes the agent is told that the server has, when it is asked for this transfer.
fn offered(actions: &[Action], number: u64) -> Option<u64> {
    actions.iter().find_map(|action| match action {
        Action::Request { id: asked, have, .. } if *asked == id(number) => Some(*have),
        _ => None,
    })
}

/// The transfers whose parts are given up.
fn discarded(actions: &[Action]) -> Vec<RequestId> {
    let ids = actions.iter().filter_map(|action| match action {
        Action::Discard(id) => Some(*id),
        _ => None,
    });
    ids.collect()
}

/// Asks for a file as client `name`, with `bytes` of it here when the line goes down; the client is back then.
fn interrupted_at(hub: &mut Hub, number: u64, name: &str, dialect: Dialect, bytes: u64) -> Vec<Action> {
    let (generation, _) = hub.join(name, dialect, at(0));
    hub.order(number, name, at(0));
    hub.begin(id(number), 1, String::new(), 1000);
    hub.covered(id(number), 1, bytes, bytes);
    hub.disconnect(&client(name), generation, 0, at(1));
    let actions = hub.attempt_failed(id(number), 1, failure(FailureCode::ClientDisconnected), at(1));
    hub.check();
    actions
}
