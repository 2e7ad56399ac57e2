//! What an attempt begins with, which parts wait for one, and which of them go when they take too much room.

use super::*;

const DAY: u64 = 24 * 3600;

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

/// Asks for `key` of client `name`, who is connected, and completes it with `bytes`.
fn complete(hub: &mut Hub, number: u64, name: &str, key: Option<&str>, bytes: u64, now: Now) {
    let file_key = key.map(|key| key.parse().unwrap());
    hub.admit(Order { file_key, ..order(number, name) }, now).unwrap();
    hub.release(id(number), now);
    finish(hub, number, bytes, now);
}

/// Completes what has been asked for.
fn finish(hub: &mut Hub, number: u64, bytes: u64, now: Now) {
    let attempt = hub.transfer(id(number)).unwrap().attempts;
    assert_eq!(hub.begin(id(number), attempt, String::new(), bytes), Begun::Wanted);
    hub.covered(id(number), attempt, bytes, bytes);
    assert_eq!(hub.verify(id(number), attempt, HASH), Begun::Wanted);
    assert_eq!(hub.publish(id(number), attempt), Begun::Wanted);
    hub.complete(id(number), now);
    hub.check();
}

/// What an attempt at `key` of client `name`, who is connected, begins with now. The question leaves nothing behind.
fn held_for(hub: &mut Hub, name: &str, key: Option<&str>) -> Held {
    let (number, now) = (999_999, at(3));
    let file_key = key.map(|key| key.parse().unwrap());
    hub.admit(Order { file_key, ..order(number, name) }, now).unwrap();
    let offered = offered(&hub.release(id(number), now), number);
    let held = hub.held(id(number));
    assert_eq!(offered, Some(held.bytes()), "what the agent is told");
    hub.cancel(id(number), now).unwrap();
    hub.ended.retain(|ended| *ended != id(number));
    let entry = hub.transfers.remove(&id(number)).unwrap();
    hub.order.remove(&entry.seq);
    held
}

fn some(bytes: u64, older: Option<&str>) -> Held {
    Held::Some { bytes, older: older.map(str::to_owned) }
}

fn discarded(actions: &[Action]) -> Vec<RequestId> {
    let ids = actions.iter().filter_map(|action| match action {
        Action::Discard(id) => Some(*id),
        _ => None,
    });
    ids.collect()
}

#[test]
fn an_interrupted_attempt_leaves_its_part_to_the_next() {
    let mut hub = Hub::new(config());
    assert_eq!(discarded(&interrupted_at(&mut hub, 1, "a", Dialect::V2, 300)), []);
    assert!(!hub.is_part_given_up(id(1)));
    let (generation, actions) = hub.join("a", Dialect::V2, at(2));
    assert_eq!((offered(&actions, 1), hub.held(id(1))), (Some(300), some(300, None)));
    hub.check();
    // The second gets less far than the first: its bytes are still here.
    hub.begin(id(1), 2, String::new(), 1000);
    hub.covered(id(1), 2, 100, 0);
    hub.disconnect(&client("a"), generation, 0, at(3));
    hub.attempt_failed(id(1), 2, failure(FailureCode::ClientDisconnected), at(3));
    hub.check();
    let (_, actions) = hub.join("a", Dialect::V2, at(4));
    assert_eq!(offered(&actions, 1), Some(300));
}

#[test]
fn a_part_of_a_v1_client_is_given_up() {
    let mut hub = Hub::new(config());
    assert_eq!(discarded(&interrupted_at(&mut hub, 1, "a", Dialect::V1, 300)), [id(1)]);
    assert!(hub.is_part_given_up(id(1)));
    let (_, actions) = hub.join("a", Dialect::V2, at(2));
    assert_eq!(offered(&actions, 1), Some(0), "even when it speaks v2 by now");
    assert!(!hub.is_part_given_up(id(1)), "it is in use again");
    hub.check();
}

#[test]
fn a_client_that_comes_back_as_v1_begins_with_nothing() {
    let mut hub = Hub::new(config());
    interrupted_at(&mut hub, 1, "a", Dialect::V2, 300);
    let (generation, actions) = hub.join("a", Dialect::V1, at(2));
    assert_eq!((offered(&actions, 1), hub.held(id(1))), (Some(0), Held::Nothing));
    hub.check();
    let actions = hub.disconnect(&client("a"), generation, 0, at(3));
    assert_eq!(discarded(&actions), [id(1)]);
    hub.check();
}

#[test]
fn a_completed_download_is_what_the_next_pull_begins_with() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    hub.join("b", Dialect::V2, at(0));
    assert_eq!(held_for(&mut hub, "a", None), Held::Nothing);
    complete(&mut hub, 1, "a", None, 10, at(1));
    complete(&mut hub, 2, "a", Some("logs/x"), 20, at(1));
    complete(&mut hub, 3, "b", None, 30, at(1));
    assert_eq!(held_for(&mut hub, "a", None), some(10, Some("a-1")));
    assert_eq!(held_for(&mut hub, "a", Some("logs/x")), some(20, Some("a-2")));
    assert_eq!(held_for(&mut hub, "a", Some("logs/y")), Held::Nothing);
    assert_eq!(held_for(&mut hub, "b", None), some(30, Some("b-3")));
    assert_eq!(held_for(&mut hub, "b", Some("logs/x")), Held::Nothing);
    complete(&mut hub, 4, "a", None, 5, at(2));
    assert_eq!(held_for(&mut hub, "a", None), some(5, Some("a-4")), "the last one, though it is shorter");
}

#[test]
fn what_did_not_complete_is_no_older_download() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    complete(&mut hub, 1, "a", None, 10, at(1));
    hub.order(2, "a", at(2));
    hub.begin(id(2), 1, String::new(), 500);
    hub.covered(id(2), 1, 400, 400);
    hub.cancel(id(2), at(2)).unwrap();
    hub.order(3, "a", at(2));
    hub.begin(id(3), 1, String::new(), 500);
    hub.attempt_failed(id(3), 1, failure(FailureCode::DiskFull), at(2));
    assert_eq!(held_for(&mut hub, "a", None), some(10, Some("a-1")));
    hub.check();
}

#[test]
fn the_download_that_ended_last_counts_not_the_one_that_was_asked_for_last() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    hub.order(2, "a", at(0));
    finish(&mut hub, 2, 20, at(1));
    finish(&mut hub, 1, 10, at(2));
    assert_eq!(held_for(&mut hub, "a", None), some(10, Some("a-1")));
    let mut restarted = Hub::new(config());
    for number in [1, 2] {
        let transfer = hub.transfer(id(number)).unwrap().clone();
        restarted.restore(transfer, 0, failure(FailureCode::ServerRestarted), at(3));
    }
    restarted.join("a", Dialect::V2, at(3));
    assert_eq!(held_for(&mut restarted, "a", None), some(10, Some("a-1")), "and after a restart");
}

#[test]
fn a_part_and_an_older_download_are_held_together() {
    let mut hub = Hub::new(config());
    let (generation, _) = hub.join("a", Dialect::V2, at(0));
    complete(&mut hub, 1, "a", None, 500, at(0));
    hub.disconnect(&client("a"), generation, 0, at(0));
    interrupted_at(&mut hub, 2, "a", Dialect::V2, 300);
    let (generation, actions) = hub.join("a", Dialect::V2, at(2));
    assert_eq!((offered(&actions, 2), hub.held(id(2))), (Some(500), some(500, Some("a-1"))));
    // The part grows beyond the download.
    hub.begin(id(2), 2, String::new(), 900);
    hub.covered(id(2), 2, 700, 200);
    hub.disconnect(&client("a"), generation, 0, at(3));
    hub.attempt_failed(id(2), 2, failure(FailureCode::ClientDisconnected), at(3));
    let (_, actions) = hub.join("a", Dialect::V2, at(4));
    assert_eq!((offered(&actions, 2), hub.held(id(2))), (Some(700), some(700, Some("a-1"))));
    hub.check();
}

#[test]
fn a_download_whose_record_was_forgotten_is_not_held() {
    let mut hub = Hub::new(Config { keep_transfers: 1, ..config() });
    hub.join("a", Dialect::V2, at(0));
    complete(&mut hub, 1, "a", Some("x"), 10, at(1));
    complete(&mut hub, 2, "a", Some("y"), 20, at(2)); // with this the first is forgotten
    assert!(hub.transfer(id(1)).is_none());
    assert_eq!(hub.latest.len(), 1);
    hub.check();
    hub.admit(Order { file_key: Some("x".parse().unwrap()), ..order(3, "a") }, at(3)).unwrap();
    assert_eq!(offered(&hub.release(id(3), at(3)), 3), Some(0));
    // A later download of the same file stays when the record of an earlier one goes.
    finish(&mut hub, 3, 30, at(3));
    complete(&mut hub, 4, "a", Some("x"), 40, at(4));
    assert!(hub.transfer(id(3)).is_none());
    hub.admit(Order { file_key: Some("x".parse().unwrap()), ..order(5, "a") }, at(5)).unwrap();
    hub.release(id(5), at(5));
    assert_eq!(hub.held(id(5)), some(40, Some("a-4")));
    hub.check();
}

#[test]
fn after_a_wrong_hash_the_part_is_mended_alone_and_after_another_nothing_is_believed() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    complete(&mut hub, 1, "a", None, 500, at(0));
    let actions = hub.order(2, "a", at(1));
    assert_eq!((offered(&actions, 2), hub.held(id(2))), (Some(500), some(500, Some("a-1"))));
    for (attempt, held) in [(2, some(600, None)), (3, Held::Nothing)] {
        hub.begin(id(2), attempt - 1, String::new(), 600);
        hub.covered(id(2), attempt - 1, 600, 100);
        let failure = failure(FailureCode::ChecksumMismatch);
        let actions = hub.attempt_failed(id(2), attempt - 1, failure, at(2));
        assert!(matches!(actions[0], Action::Withdraw { .. }), "{actions:?}");
        assert_eq!(hub.transfer(id(2)).unwrap().attempts, attempt);
        assert_eq!((offered(&actions, 2), hub.held(id(2))), (Some(held.bytes()), held));
        hub.check();
    }
    hub.begin(id(2), 3, String::new(), 600);
    hub.attempt_failed(id(2), 3, failure(FailureCode::ChecksumMismatch), at(3));
    let ended = hub.transfer(id(2)).unwrap();
    assert_eq!(
        (ended.status, ended.failure.as_ref().unwrap().code),
        (Status::Failed, FailureCode::ChecksumMismatch)
    );
    assert_eq!(held_for(&mut hub, "a", None), some(500, Some("a-1")), "the next pull begins as this one did");
    hub.check();
}

#[test]
fn a_wrong_hash_of_a_v1_client_is_the_end() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V1, at(0));
    hub.order(1, "a", at(0));
    hub.begin(id(1), 1, String::new(), 600);
    hub.attempt_failed(id(1), 1, failure(FailureCode::ChecksumMismatch), at(1));
    assert_eq!(hub.status(1), Status::Failed);
    hub.check();
}

#[test]
fn when_parts_take_too_much_room_those_asked_for_first_begin_again_and_only_those() {
    let mut hub = Hub::new(Config { max_spool_bytes: 1000, ..config() });
    for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
        assert_eq!(discarded(&interrupted_at(&mut hub, number, name, Dialect::V2, 300)), []);
    }
    assert_eq!(hub.waiting_bytes, 900);
    // Exactly full is not too much.
    assert_eq!(discarded(&interrupted_at(&mut hub, 4, "d", Dialect::V2, 100)), []);
    assert_eq!(discarded(&interrupted_at(&mut hub, 5, "e", Dialect::V2, 301)), [id(1), id(2)]);
    assert_eq!(hub.waiting_bytes, 300 + 100 + 301);
    assert_eq!([1, 2, 3, 4, 5].map(|n| hub.is_part_given_up(id(n))), [true, true, false, false, false]);
    for (name, number, have) in [("a", 1, 0), ("b", 2, 0), ("c", 3, 300)] {
        assert_eq!(offered(&hub.join(name, Dialect::V2, at(2)).1, number), Some(have));
        hub.check();
    }
    // What runs takes no part in this: c's is in use.
    assert_eq!(hub.waiting_bytes, 100 + 301);
    hub.tick(at(2 * DAY));
    assert_eq!((hub.status(4), hub.waiting_bytes), (Status::Expired, 0));
    hub.check();
}

#[test]
fn a_part_that_alone_is_too_much_is_given_up_itself() {
    let mut hub = Hub::new(Config { max_spool_bytes: 1000, ..config() });
    assert_eq!(discarded(&interrupted_at(&mut hub, 1, "a", Dialect::V2, 1001)), [id(1)]);
    assert_eq!((hub.waiting_bytes, hub.waiting_parts.len()), (0, 0));
}

#[test]
fn a_part_that_was_given_up_does_not_count_again() {
    let mut hub = Hub::new(Config { max_spool_bytes: 1000, max_concurrent: 1, ..config() });
    hub.join("other", Dialect::V2, at(0));
    interrupted_at(&mut hub, 1, "a", Dialect::V2, 600);
    assert_eq!(discarded(&interrupted_at(&mut hub, 2, "b", Dialect::V2, 600)), [id(1)]);
    // It queues behind another transfer when its client goes again.
    hub.order(3, "other", at(1));
    let (generation, _) = hub.join("a", Dialect::V2, at(2));
    assert_eq!(hub.status(1), Status::Queued);
    assert_eq!(discarded(&hub.disconnect(&client("a"), generation, 0, at(3))), []);
    hub.check();
    assert_eq!(hub.waiting_bytes, 600);
    assert!(
        hub.is_part_given_up(id(1)) && !hub.is_part_given_up(id(2)),
        "the other's part is not driven out"
    );
}

#[test]
fn after_a_restart_parts_wait_within_the_same_bound() {
    let mut before = Hub::new(config());
    for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
        interrupted_at(&mut before, number, name, Dialect::V2, 300);
    }
    let mut hub = Hub::new(Config { max_spool_bytes: 700, ..config() });
    let mut given_up = Vec::new();
    for (number, part) in [(1, 300), (2, 0), (3, 500)] {
        let transfer = before.transfer(id(number)).unwrap().clone();
        let actions = hub.restore(transfer, part, failure(FailureCode::ServerRestarted), at(2));
        given_up.extend(discarded(&actions));
        hub.check();
    }
    assert_eq!((given_up, hub.waiting_bytes), (vec![id(1)], 500));
    for (name, number, have) in [("a", 1, 0), ("b", 2, 0), ("c", 3, 500)] {
        assert_eq!(offered(&hub.join(name, Dialect::V2, at(3)).1, number), Some(have), "{name}");
        hub.check();
    }
}

#[test]
fn what_is_outstanding_is_what_the_disk_has_yet_to_take() {
    let mut hub = Hub::new(config());
    assert_eq!(hub.outstanding(), 0);
    interrupted_at(&mut hub, 1, "a", Dialect::V2, 300);
    assert_eq!(hub.outstanding(), 0, "what waits takes nothing more");
    hub.join("a", Dialect::V2, at(2));
    assert_eq!(hub.outstanding(), 0, "nor what has not said how much it is");
    hub.begin(id(1), 2, String::new(), 1000);
    assert_eq!(hub.outstanding(), 700, "300 are here");
    hub.covered(id(1), 2, 200, 0);
    assert_eq!(hub.outstanding(), 700, "written over in place");
    hub.covered(id(1), 2, 200, 200);
    assert_eq!(hub.outstanding(), 600);
    // Another one, with nothing here.
    hub.join("b", Dialect::V2, at(2));
    hub.order(2, "b", at(2));
    hub.begin(id(2), 1, String::new(), 50);
    assert_eq!(hub.outstanding(), 650);
    hub.covered(id(1), 2, 600, 600);
    hub.verify(id(1), 2, HASH);
    assert_eq!(hub.outstanding(), 50);
}

#[test]
fn sizes_at_the_end_of_numbers_are_too_much_and_not_little() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    for number in [1, 2] {
        hub.order(number, "a", at(0));
        hub.begin(id(number), 1, String::new(), u64::MAX);
    }
    assert_eq!(hub.outstanding(), u64::MAX);
}
