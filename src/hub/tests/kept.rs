//! What is remembered: over a restart, and of transfers that have ended.

use super::*;

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
        hub.restore(before.record(id(number)).unwrap(), 0, failure(FailureCode::ServerRestarted), at(2));
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
fn counts_in_a_damaged_record_that_leave_no_room() {
    let mut before = Hub::new(config());
    before.join("a", Dialect::V2, at(0));
    before.order(1, "a", at(0));
    let mut record = before.record(id(1)).unwrap();
    (record.transfer.attempts, record.transfer.bytes_on_wire) = (u32::MAX, u64::MAX);
    let mut hub = Hub::new(config());
    hub.restore(record, 0, failure(FailureCode::ServerRestarted), at(2));
    let (generation, actions) = hub.join("a", Dialect::V2, at(3));
    assert_eq!(requested(&actions), [id(1)]);
    hub.begin(id(1), u32::MAX, String::new(), 400);
    hub.covered(id(1), u32::MAX, 100, 100);
    hub.disconnect(&client("a"), generation, 0, at(4));
    hub.attempt_failed(id(1), u32::MAX, failure(FailureCode::ClientDisconnected), at(4));
    hub.check();
    assert_eq!(hub.status(1), Status::Failed, "it has had all its attempts");
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
