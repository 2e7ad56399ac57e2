//! Who is connected, which transfer is where, whose turn it is: every legal move, and no other. Pure.
//!
//! An event is a method; it returns what the shell must do, as [`Action`]s in the order in which to do it. No socket,
//! file, thread or clock is touched here; [`Now`] and ids come in as arguments. The shell keeps the hub behind the
//! one mutex of the server, and never does an action while it holds it.
//!
//! Invariants, asserted by the tests after every step:
//! - a transfer holds a slot from `requested` to the end of `verifying`, and at no other time;
//! - at most `max_concurrent` slots are held, at most `max_per_client` of one client;
//! - a transfer that has not ended is in its client's queue, or holds a slot, or waits for its client, or is held
//!   back until its record is saved;
//! - a transfer that has ended never changes again;
//! - a request with an Idempotency-Key has at most one transfer for each client.
//!
//! Not here: how long a running transfer may be silent. Its writer is the only one that knows whether it waits for
//! the client or for its own disk, so it does the counting.

mod attempts;
mod clients;
mod contested;
mod held;
mod lists;
mod moves;
mod orders;
mod repeats;
mod retention;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use crate::names::{ClientId, FileKey, RequestId};
use crate::protocol::Dialect;
use crate::record::{Idempotency, Record};
use crate::transfer::{Status, Transfer};

pub use clients::{ClientView, Registration};
pub use contested::Contested;
pub use held::Held;
use lists::Lists;
pub use moves::{Begun, Expected};
pub use orders::{Admitted, Cursor, Denied, Filter, Order, Uncancellable};
use repeats::Repeats;
use turns::Turns;

/// The time, told by the shell: milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since the epoch; for what is shown and kept.
    pub wall: u64,
    /// Since any fixed moment, never backwards; for what is due.
    pub mono: u64,
}

/// The bounds that the operator sets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Slots in all.
    pub max_concurrent: usize,
    /// Slots of one client.
    pub max_per_client: usize,
    /// Transfers that wait for a slot.
    pub max_queued: usize,
    /// Connected clients.
    pub max_clients: usize,
    /// How long an agent may leave a request without an answer, in milliseconds.
    pub stall_ms: u64,
    /// Bytes in the parts of transfers that wait for another attempt.
    pub max_spool_bytes: u64,
    /// Ended transfers that are remembered.
    pub keep_transfers: usize,
    /// How long they are, in milliseconds.
    pub keep_ms: Option<u64>,
}

/// What the shell does now.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Send `download_request` on this line.
    Request {
        /// Whose line.
        client: ClientId,
        /// Which of its lines.
        generation: u64,
        /// What it speaks.
        dialect: Dialect,
        /// The transfer.
        id: RequestId,
        /// Which file.
        file_key: Option<FileKey>,
        /// Counts from 1.
        attempt: u32,
        /// Bytes a second.
        max_rate: Option<u64>,
        /// Bytes that the server has of an earlier state of the file.
        have: u64,
    },
    /// Send `cancel` on this line.
    Withdraw {
        /// Whose line.
        client: ClientId,
        /// Which of its lines.
        generation: u64,
        /// The transfer.
        id: RequestId,
        /// The attempt.
        attempt: u32,
    },
    /// End its writer, if one runs.
    Stop(RequestId),
    /// Remove its part, unless an attempt has begun again meanwhile.
    Discard(RequestId),
    /// Write its record to disk.
    Save(RequestId),
    /// Tell whoever waits for its end.
    Tell(RequestId),
    /// Remove its record from disk.
    Forget(RequestId),
}

/// What a timer belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The client has had its time to register.
    Client(ClientId),
    /// The transfer has had its time to be answered, or to find its client.
    Transfer(RequestId),
    /// The transfer that ended first has been remembered for long enough.
    Retention,
}

/// A transfer and what only the hub needs to know of it.
#[derive(Debug, Clone)]
struct Entry {
    transfer: Transfer,
    /// The request that it answers, when that can be repeated.
    idempotency: Option<Idempotency>,
    /// Order of arrival.
    seq: u64,
    /// The line that it was last asked for on.
    generation: Option<u64>,
    /// When it is due, by the monotonic clock.
    due: Option<u64>,
    /// The most bytes that any attempt brought.
    most_bytes: u64,
    /// Attempts in a row that brought no more than that.
    idle_attempts: u32,
    /// Attempts that found the file changing.
    changed_attempts: u32,
    /// Attempts that ended with the wrong hash.
    mismatched_attempts: u32,
    /// What the client spoke when it was last asked.
    dialect: Option<Dialect>,
    /// Bytes in its part, of whatever attempt.
    part: u64,
    /// What the attempt that was asked for last began with.
    held: Held,
    /// What it has still to bring is counted in.
    has_room: bool,
    /// Its record is not saved yet.
    unsaved: bool,
    /// It is being published, since then by the wall clock: too late to cancel.
    publishing: Option<u64>,
}

/// The hub; see the module.
#[derive(Debug)]
pub struct Hub {
    config: Config,
    clients: BTreeMap<ClientId, clients::Client>,
    connected: usize,
    generations: u64,
    transfers: HashMap<RequestId, Entry>,
    lists: Lists,
    /// Those that have ended, in the order in which they did.
    ended: VecDeque<RequestId>,
    /// Those that have not, by order of arrival.
    live: BTreeMap<u64, RequestId>,
    next_seq: u64,
    /// Names of downloads that transfers which have not ended will use.
    reserved: HashSet<String>,
    repeats: Repeats,
    turns: Turns,
    /// The transfer that last brought each file; as long as it is remembered.
    latest: HashMap<held::Source, RequestId>,
    /// The parts of transfers that wait for another attempt, by order of arrival, and their bytes.
    waiting_parts: BTreeMap<u64, u64>,
    waiting_bytes: u64,
    /// Transfers that have a slot and have claimed room.
    claims: HashSet<RequestId>,
    slots: usize,
    /// Transfers whose record is not saved yet.
    unsaved: usize,
    due: BTreeSet<(u64, Due)>,
    retention_due: Option<u64>,
    stopping: bool,
}

impl Hub {
    /// A hub without clients and transfers.
    pub fn new(config: Config) -> Hub {
        Hub {
            config,
            clients: BTreeMap::new(),
            connected: 0,
            generations: 0,
            transfers: HashMap::new(),
            lists: Lists::default(),
            ended: VecDeque::new(),
            live: BTreeMap::new(),
            next_seq: 0,
            reserved: HashSet::new(),
            repeats: Repeats::default(),
            turns: Turns::default(),
            latest: HashMap::new(),
            waiting_parts: BTreeMap::new(),
            waiting_bytes: 0,
            claims: HashSet::new(),
            slots: 0,
            unsaved: 0,
            due: BTreeSet::new(),
            retention_due: None,
            stopping: false,
        }
    }

    /// The transfer as it stands.
    pub fn transfer(&self, id: RequestId) -> Option<&Transfer> {
        self.transfers.get(&id).map(|entry| &entry.transfer)
    }

    /// What is to be on disk of it.
    pub fn record(&self, id: RequestId) -> Option<Record> {
        let Entry { transfer, idempotency, .. } = self.transfers.get(&id)?;
        Some(Record { transfer: transfer.clone(), idempotency: idempotency.clone() })
    }

    /// Those that have been accepted and have not ended: whose records must be on disk.
    pub fn accepted(&self) -> impl Iterator<Item = RequestId> {
        self.live.values().copied().filter(|id| !self.transfers[id].unsaved)
    }

    /// Counts in what a transfer that has begun has still to bring, when that fits into `free` bytes together with what
    /// others have. One that did not fit takes no room from them, nor do two that meet here drive each other out.
    ///
    /// # Errors
    /// How many bytes it would be in all; nothing has changed then.
    pub fn claim_room(&mut self, id: RequestId, free: u64) -> Result<(), u64> {
        let Some(entry) = self.transfers.get(&id) else { return Ok(()) }; // it has ended, and its attempt will
        let all = self.outstanding().saturating_add(missing(entry));
        if all > free {
            return Err(all);
        }
        let entry = self.entry(id);
        entry.has_room = true;
        if entry.transfer.status == Status::Receiving {
            self.claims.insert(id);
        }
        Ok(())
    }

    /// Bytes of disk that are still to be taken, by all transfers that are arriving and have claimed them.
    fn outstanding(&self) -> u64 {
        let arriving = self.claims.iter().map(|id| &self.transfers[id]).filter(|entry| entry.has_room);
        let arriving = arriving.filter(|entry| entry.transfer.status == Status::Receiving);
        arriving.map(missing).fold(0, u64::saturating_add)
    }

    /// When [`Hub::tick`] is next due, by the monotonic clock.
    pub fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Does what is due by now.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some((at, _)) = self.due.first() {
            if *at > now.mono {
                break;
            }
            match self.due.pop_first() {
                Some((_, Due::Client(client))) => self.registration_is_over(&client),
                Some((_, Due::Transfer(id))) => self.transfer_is_due(id, now, &mut actions),
                Some((_, Due::Retention)) => self.forget_old_transfers(now, &mut actions),
                None => break,
            }
        }
        self.dispatch(now, &mut actions);
        actions
    }

    /// Takes no new client and no new transfer, and gives out no more slots.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether it stops, and nothing runs any more.
    pub fn is_stopped(&self) -> bool {
        self.stopping && self.slots == 0
    }

    /// Sets or clears when a transfer is due.
    fn set_due(&mut self, id: RequestId, at: Option<u64>) {
        let entry = self.transfers.get_mut(&id).expect("only known transfers get a time");
        if let Some(old) = std::mem::replace(&mut entry.due, at) {
            self.due.remove(&(old, Due::Transfer(id)));
        }
        if let Some(at) = at {
            self.due.insert((at, Due::Transfer(id)));
        }
    }

    fn entry(&mut self, id: RequestId) -> &mut Entry {
        self.transfers.get_mut(&id).expect("ids in queues and lists are those of known transfers")
    }
}

/// Bytes of disk that a transfer has still to take.
fn missing(entry: &Entry) -> u64 {
    entry.transfer.size.unwrap_or(0).saturating_sub(entry.transfer.bytes.max(entry.part))
}
