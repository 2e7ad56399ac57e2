//! What an attempt begins with: the part of an earlier one, an older download, or nothing.

use super::*;

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
    assert!(hub.publish(id(number), attempt, now).is_some());
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
    hub.lists.remove(&entry.transfer, entry.seq);
    held
}

fn some(bytes: u64, older: Option<&str>) -> Held {
    Held::Some { bytes, older: older.map(str::to_owned) }
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
        let record = hub.record(id(number)).unwrap();
        restarted.restore(record, 0, failure(FailureCode::ServerRestarted), at(3));
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
