//! Attempts that come to nothing, and what follows them.

use super::*;

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
fn an_attempt_that_ends_after_its_client_went_waits_for_it_whatever_the_reason() {
    for code in [FailureCode::ChecksumMismatch, FailureCode::FileChanged, FailureCode::Stalled] {
        let mut hub = Hub::new(config());
        let (generation, _) = hub.join("a", Dialect::V2, at(0));
        hub.order(1, "a", at(0));
        hub.begin(id(1), 1, String::new(), 9);
        hub.covered(id(1), 1, 9, 9);
        hub.disconnect(&client("a"), generation, 0, at(1));
        let actions = hub.attempt_failed(id(1), 1, failure(code), at(2));
        hub.check();
        let transfer = hub.transfer(id(1)).unwrap();
        assert_eq!(transfer.failure.as_ref().unwrap().code, code);
        assert_eq!((transfer.status, transfer.expires_at.is_some()), (Status::Interrupted, true), "{code:?}");
        assert!(actions.contains(&Action::Save(id(1))));
        let mut back = hub;
        back.tick(at(24 * 3600));
        assert_eq!(requested(&back.join("a", Dialect::V2, at(24 * 3600)).1), [id(1)]);
        back.check();
    }
}
