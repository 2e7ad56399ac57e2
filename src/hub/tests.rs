//! Scenarios, and a long random walk that checks the invariants after every step.

use super::*;
use crate::names::Sha256Hash;
use crate::transfer::{Failure, FailureCode};

const HASH: Sha256Hash = Sha256Hash([3; 32]);

pub(super) fn config() -> Config {
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

pub(super) fn at(seconds: u64) -> Now {
    Now { wall: 1_700_000_000_000 + seconds * 1000, mono: seconds * 1000 }
}

pub(super) fn client(name: &str) -> ClientId {
    name.parse().unwrap()
}

pub(super) fn id(number: u64) -> RequestId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    RequestId::from_random(bytes)
}

pub(super) fn order(number: u64, name: &str) -> Order {
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

pub(super) fn failure(code: FailureCode) -> Failure {
    Failure::new(code, "x")
}

impl Hub {
    pub(super) fn check(&self) {
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
                Status::Receiving | Status::Verifying | Status::Queued => {}
                _ => assert!(entry.due.is_none() && entry.transfer.finished_at.is_some()),
            }
        }
        self.check_repeats();
        for (_, due) in &self.due {
            if let Due::Transfer(id) = due {
                assert!(self.transfers[id].due.is_some());
            }
        }
    }

    pub(super) fn join(&mut self, name: &str, dialect: Dialect, now: Now) -> (u64, Vec<Action>) {
        let generation = self.connect(&client(name), "10.0.0.1:5".into(), now).expect("room");
        let said = Registration { dialect, meta: Default::default(), agent_version: None, shares: vec![] };
        (generation, self.register(&client(name), generation, said, now))
    }

    fn order(&mut self, number: u64, name: &str, now: Now) -> Vec<Action> {
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

#[test]
fn one_pull() {
    let mut hub = Hub::new(config());
    assert_eq!(hub.admit(order(1, "a"), at(0)).unwrap_err(), Denied::NotConnected);
    let (generation, _) = hub.join("a", Dialect::V2, at(0));
    assert_eq!(requested(&hub.order(1, "a", at(1))), [id(1)]);
    assert_eq!(hub.expected(&client("a"), generation, id(1)), Expected::Attempt(1));
    assert_eq!(hub.expected(&client("a"), generation, id(2)), Expected::Never);
    assert_eq!(hub.expected(&client("b"), generation, id(1)), Expected::Never, "another client's");
    assert_eq!(hub.begin(id(1), 1, "pos.db".into(), 7), Begun::Wanted);
    hub.covered(id(1), 1, 7, 7);
    assert_eq!(hub.verify(id(1), 1, HASH), Begun::Wanted);
    assert_eq!(hub.publish(id(1), 1), Begun::Wanted);
    assert!(matches!(hub.cancel(id(1), at(2)), Err(Uncancellable::TooLate(_))));
    assert_eq!(hub.complete(id(1), at(2)), [Action::Save(id(1)), Action::Tell(id(1))]);
    let done = hub.transfer(id(1)).unwrap();
    assert_eq!((done.status, done.bytes, done.sha256), (Status::Completed, 7, Some(HASH)));
    assert_eq!(hub.expected(&client("a"), generation, id(1)), Expected::Late);
    hub.check();
}

#[test]
fn nothing_is_asked_before_the_client_has_registered_or_had_the_time_to() {
    let mut hub = Hub::new(config());
    hub.connect(&client("a"), String::new(), at(0)).unwrap();
    assert_eq!(requested(&hub.order(1, "a", at(0))), []);
    assert_eq!(hub.next_due(), Some(2000));
    assert_eq!(requested(&hub.tick(at(2))), [id(1)]);
}

#[test]
fn each_line_has_its_own_time_to_register() {
    let mut hub = Hub::new(config());
    let first = hub.connect(&client("a"), String::new(), at(0)).unwrap();
    hub.disconnect(&client("a"), first, 0, at(1));
    hub.connect(&client("a"), String::new(), at(1)).unwrap();
    hub.tick(at(2));
    assert_eq!(hub.line_of(&client("a")).unwrap().1, None, "not taken for v1 yet");
    assert_eq!(hub.next_due(), Some(3000));
}

#[test]
fn clients_take_turns_and_within_one_first_come_first_served() {
    let mut hub = Hub::new(Config { max_concurrent: 1, ..config() });
    hub.join("a", Dialect::V2, at(0));
    hub.join("b", Dialect::V2, at(0));
    for (number, name) in [(1, "a"), (2, "a"), (3, "a"), (4, "b"), (5, "b")] {
        hub.order(number, name, at(0));
    }
    let mut served = vec![1];
    while let Some(last) = served.last().copied() {
        hub.begin(id(last), 1, String::new(), 0);
        hub.verify(id(last), 1, HASH);
        match requested(&hub.complete(id(last), at(1))).first() {
            Some(next) => served.push((1..=5).find(|number| id(*number) == *next).unwrap()),
            None => break,
        }
        hub.check();
    }
    assert_eq!(served, [1, 4, 2, 5, 3]);
}

#[test]
fn the_queue_has_a_bound() {
    let mut hub = Hub::new(Config { max_concurrent: 1, max_queued: 1, ..config() });
    hub.join("a", Dialect::V1, at(0));
    hub.order(1, "a", at(0));
    hub.order(2, "a", at(0));
    assert_eq!(hub.admit(order(3, "a"), at(0)).unwrap_err(), Denied::TooMany);
    let mut hub = Hub::new(Config { max_concurrent: 1, max_queued: 0, ..config() });
    hub.join("a", Dialect::V1, at(0));
    assert_eq!(requested(&hub.order(1, "a", at(0))), [id(1)], "it need not wait");
    assert_eq!(hub.admit(order(2, "a"), at(0)).unwrap_err(), Denied::TooMany);
    hub.retract(id(1));
}

#[test]
fn a_name_is_given_once() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    let again = Order { request_id: id(2), ..order(1, "a") };
    assert_eq!(hub.admit(again.clone(), at(0)).unwrap_err(), Denied::NameTaken);
    hub.cancel(id(1), at(1)).unwrap();
    assert!(hub.admit(again, at(1)).is_ok());
}

#[test]
fn an_answer_that_does_not_come() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    assert_eq!(hub.tick(at(59)), []);
    let actions = hub.tick(at(60));
    assert!(matches!(actions[0], Action::Withdraw { .. }));
    assert_eq!(hub.transfer(id(1)).unwrap().failure.as_ref().unwrap().code, FailureCode::Stalled);
    assert_eq!(hub.begin(id(1), 1, String::new(), 0), Begun::Unwanted, "too late");
    hub.check();
}

#[test]
fn interrupted_and_back() {
    let mut hub = Hub::new(config());
    let (generation, _) = hub.join("a", Dialect::V2, at(0));
    for number in 1..=4 {
        hub.order(number, "a", at(0));
    }
    hub.begin(id(2), 1, String::new(), 9);
    hub.disconnect(&client("a"), generation, 0, at(5));
    assert_eq!(
        [1, 2, 3, 4].map(|n| hub.status(n)),
        [Status::Interrupted, Status::Receiving, Status::Interrupted, Status::Interrupted]
    );
    hub.check();
    hub.attempt_failed(id(2), 1, failure(FailureCode::ClientDisconnected), at(5));
    assert!(hub.transfer(id(2)).unwrap().expires_at.is_some());
    let (next, actions) = hub.join("a", Dialect::V2, at(9));
    assert_eq!(requested(&actions).len(), 2);
    assert_eq!(
        hub.disconnect(&client("a"), generation, 0, at(9)),
        [],
        "the old session can't undo its successor"
    );
    assert_eq!(hub.transfer(id(1)).unwrap().attempts, 2);
    hub.disconnect(&client("a"), next, 0, at(10));
    let day = 24 * 3600;
    let actions = hub.tick(at(10 + day));
    assert_eq!(actions.iter().filter(|action| matches!(action, Action::Tell(_))).count(), 4);
    assert_eq!(hub.status(4), Status::Expired);
    hub.check();
}

#[test]
fn attempts_without_progress_come_to_an_end() {
    let mut hub = Hub::new(config());
    let (mut generation, _) = hub.join("a", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    for attempt in 1..=5 {
        assert_eq!(hub.status(1), Status::Requested);
        hub.begin(id(1), attempt, String::new(), 9);
        hub.disconnect(&client("a"), generation, 0, at(1));
        hub.attempt_failed(id(1), attempt, failure(FailureCode::ClientDisconnected), at(1));
        (generation, _) = hub.join("a", Dialect::V2, at(2));
    }
    assert_eq!(hub.status(1), Status::Failed);
}

#[test]
fn a_file_that_changes_is_tried_three_times() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    for attempt in 1..=3 {
        assert_eq!((hub.status(1), hub.transfer(id(1)).unwrap().attempts), (Status::Requested, attempt));
        hub.attempt_failed(id(1), attempt, failure(FailureCode::FileChanged), at(1));
        hub.check();
    }
    assert_eq!(hub.status(1), Status::Failed);
}

#[test]
fn what_a_client_can_not_do() {
    let mut hub = Hub::new(config());
    hub.join("old", Dialect::V1, at(0));
    hub.join("new", Dialect::V2, at(0));
    let paced = Order { max_rate: Some(5), ..order(1, "old") };
    assert!(matches!(hub.admit(paced, at(0)), Err(Denied::Impossible(_))));
    let path = Some("/etc/passwd".parse().unwrap());
    assert!(matches!(
        hub.admit(Order { file_key: path.clone(), ..order(1, "new") }, at(0)),
        Err(Denied::Impossible(_))
    ));
    assert!(hub.admit(Order { file_key: path, ..order(1, "old") }, at(0)).is_ok(), "v1 takes it for a path");
}

#[test]
fn waiting_for_an_offline_client() {
    let mut hub = Hub::new(config());
    let (generation, _) = hub.join("a", Dialect::V2, at(0));
    hub.disconnect(&client("a"), generation, 0, at(0));
    let patient = |number| Order { queue_for_ms: Some(5000), ..order(number, "a") };
    hub.admit(patient(1), at(0)).unwrap();
    assert_eq!(hub.release(id(1), at(0)), []);
    hub.admit(patient(2), at(3)).unwrap();
    hub.release(id(2), at(3));
    hub.tick(at(5));
    assert_eq!((hub.status(1), hub.status(2)), (Status::Expired, Status::Queued));
    let (_, actions) = hub.join("a", Dialect::V2, at(6));
    assert_eq!(requested(&actions), [id(2)]);
    hub.check();
}

#[test]
fn after_a_restart() {
    let mut before = Hub::new(config());
    before.join("a", Dialect::V2, at(0));
    for number in 1..=3 {
        before.order(number, "a", at(0));
    }
    before.begin(id(1), 1, String::new(), 0);
    before.verify(id(1), 1, HASH);
    before.complete(id(1), at(1));
    let mut hub = Hub::new(config());
    for number in 1..=3 {
        hub.restore(
            before.transfer(id(number)).unwrap().clone(),
            0,
            failure(FailureCode::ServerRestarted),
            at(2),
        );
    }
    hub.check();
    assert_eq!(
        [1, 2, 3].map(|n| hub.status(n)),
        [Status::Completed, Status::Interrupted, Status::Interrupted]
    );
    let (_, actions) = hub.join("a", Dialect::V2, at(3));
    assert_eq!(requested(&actions), [id(2), id(3)]);
}

#[test]
fn old_transfers_are_forgotten_in_the_order_in_which_they_ended() {
    let mut hub = Hub::new(Config { keep_transfers: 1, ..config() });
    hub.join("a", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    hub.order(2, "a", at(0));
    hub.cancel(id(2), at(1)).unwrap();
    let actions = hub.cancel(id(1), at(2)).unwrap();
    assert_eq!(actions.last(), Some(&Action::Forget(id(2))));
    assert_eq!(hub.status(1), Status::Cancelled);
}

#[test]
fn old_transfers_are_forgotten_after_their_time() {
    let mut hub = Hub::new(Config { keep_ms: Some(10_000), ..config() });
    hub.join("a", Dialect::V2, at(0));
    for number in 1..=2 {
        hub.order(number, "a", at(0));
        hub.cancel(id(number), at(4 * number)).unwrap();
    }
    assert_eq!(hub.next_due(), Some(14_000));
    assert_eq!(hub.tick(at(14)), [Action::Forget(id(1))]);
    assert_eq!(hub.next_due(), Some(18_000));
    assert_eq!(hub.tick(at(18)), [Action::Forget(id(2))]);
    assert_eq!(hub.next_due(), None);
    hub.check();
}

#[test]
fn lists() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    hub.join("b", Dialect::V2, at(0));
    for (number, name) in [(1, "a"), (2, "b"), (3, "a")] {
        hub.order(number, name, at(number));
    }
    let ids =
        |filter: Filter| -> Vec<RequestId> { hub.list(&filter, 2).iter().map(|t| t.request_id).collect() };
    assert_eq!(ids(Filter::default()), [id(3), id(2)]);
    assert_eq!(ids(Filter { client_id: Some(client("a")), ..Filter::default() }), [id(3), id(1)]);
    assert_eq!(ids(Filter { before: Some(Cursor::Transfer(id(2))), ..Filter::default() }), [id(1)]);
    assert_eq!(ids(Filter { before: Some(Cursor::Time(at(3).wall)), ..Filter::default() }), [id(2), id(1)]);
    assert_eq!(ids(Filter { status: Some(Status::Failed), ..Filter::default() }), []);
}

/// A small generator (xorshift64*, Vigna 2016), so that a failing seed can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// One random event.
fn disturb(hub: &mut Hub, dice: &mut Dice, step: u64, lines: &mut [Option<u64>; 4]) {
    let names = ["a", "b", "c", "d"];
    let which = dice.roll(4) as usize;
    let (name, now) = (names[which], at(step));
    let number = 1 + dice.roll(step.min(1000) + 1);
    let attempt = hub.transfer(id(number)).map_or(1, |transfer| transfer.attempts);
    match dice.roll(12) {
        0 | 1 if lines[which].is_none() => {
            let dialect = if dice.roll(2) == 0 { Dialect::V1 } else { Dialect::V2 };
            lines[which] = Some(hub.join(name, dialect, now).0);
        }
        2 if dice.roll(4) == 0 => {
            if let Some(generation) = lines[which].take() {
                hub.disconnect(&client(name), generation, 0, now);
            }
        }
        3..=5 => {
            let queue_for_ms = (dice.roll(2) == 0).then_some(20_000);
            let idempotency = (dice.roll(2) == 0).then(|| repeats::tests::made(dice.roll(3), dice.roll(2)));
            let order = Order { queue_for_ms, idempotency, ..order(step + 2, name) };
            if let Ok(Admitted::New(_)) = hub.admit(order, now) {
                hub.check();
                if dice.roll(20) == 0 {
                    assert!(hub.retract(id(step + 2)));
                } else {
                    hub.release(id(step + 2), now);
                }
            }
        }
        6 => drop(hub.cancel(id(number), now)),
        7 | 8 => drop(hub.begin(id(number), attempt, String::new(), 5)),
        9 => {
            let bytes = dice.roll(3);
            hub.covered(id(number), attempt, bytes, bytes);
            if hub.verify(id(number), attempt, HASH) == Begun::Wanted
                && hub.publish(id(number), attempt) == Begun::Wanted
            {
                hub.complete(id(number), now);
            }
        }
        10 => {
            let codes = [FailureCode::ClientDisconnected, FailureCode::FileChanged, FailureCode::DiskFull];
            hub.attempt_failed(id(number), attempt, failure(codes[dice.roll(3) as usize]), now);
        }
        _ => drop(hub.tick(now)),
    }
}

#[test]
fn a_random_walk_keeps_the_invariants() {
    for seed in 1..=300 {
        let (mut hub, mut dice, mut lines) = (Hub::new(config()), Dice(seed), [None; 4]);
        for step in 0..400 {
            disturb(&mut hub, &mut dice, step, &mut lines);
            hub.check();
        }
        // Everybody goes for good: every transfer comes to an end.
        for (which, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            if let Some(generation) = lines[which] {
                hub.disconnect(&client(name), generation, 0, at(500));
            }
        }
        let receiving: Vec<(RequestId, u32)> =
            hub.live.values().map(|id| (*id, hub.transfers[id].transfer.attempts)).collect();
        for (id, attempt) in receiving {
            hub.attempt_failed(id, attempt, failure(FailureCode::ClientDisconnected), at(500));
        }
        hub.tick(at(500 + 25 * 3600));
        hub.check();
        assert!(hub.live.is_empty(), "seed {seed}: {:?}", hub.live);
    }
}
