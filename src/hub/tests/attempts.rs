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
    // First come, first served, whoever was noticed first to be interrupted.
    assert_eq!([1, 2, 3, 4].map(|n| hub.transfer(id(n)).unwrap().attempts), [2, 2, 0, 0]);
    hub.disconnect(&client("a"), next, 0, at(10));
    let day = 24 * 3600;
    let actions = hub.tick(at(10 + day));
    assert_eq!(actions.iter().filter(|action| matches!(action, Action::Tell(_))).count(), 4);
    assert_eq!(hub.status(4), Status::Expired);
    hub.check();
}

#[test]
fn what_is_queued_at_a_stop_stays_queued() {
    let mut hub = Hub::new(config());
    let (generation, _) = hub.join("a", Dialect::V2, at(0));
    for number in 1..=3 {
        hub.order(number, "a", at(0));
    }
    hub.stop();
    hub.disconnect(&client("a"), generation, 0, at(1));
    assert_eq!([1, 2, 3].map(|n| hub.status(n)), [Status::Interrupted, Status::Interrupted, Status::Queued]);
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

/// Asks again and again, with `bytes` in each attempt, and lets the writer say `stalled`; how many attempts there were.
fn stalls(hub: &mut Hub, number: u64, bytes: impl Fn(u32) -> u64) -> u32 {
    for attempt in 1.. {
        assert_eq!(hub.transfer(id(number)).unwrap().attempts, attempt);
        hub.begin(id(number), attempt, String::new(), 1000);
        hub.covered(id(number), attempt, bytes(attempt), bytes(attempt));
        let actions =
            hub.attempt_failed(id(number), attempt, failure(FailureCode::Stalled), at(attempt.into()));
        assert!(matches!(actions[0], Action::Withdraw { attempt: withdrawn, .. } if withdrawn == attempt));
        hub.check();
        if hub.status(number) != Status::Requested {
            return attempt;
        }
    }
    unreachable!("it ends")
}

#[test]
fn a_stalled_attempt_is_tried_again_until_five_in_a_row_bring_nothing() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    assert_eq!(stalls(&mut hub, 1, |_| 0), 5);
    let ended = hub.transfer(id(1)).unwrap();
    let code = ended.failure.as_ref().map(|failure| failure.code);
    assert_eq!((ended.status, code), (Status::Failed, Some(FailureCode::Stalled)));
    // Whoever gets further each time is not given up; covering what was here already is not getting further.
    hub.order(2, "a", at(10));
    assert_eq!(stalls(&mut hub, 2, |attempt| u64::from(attempt.min(7) * 10)), 7 + 5);
    // An attempt that nobody answers counts as one that brought nothing.
    hub.order(3, "a", at(100));
    for attempt in 1..=5 {
        assert_eq!((hub.status(3), hub.transfer(id(3)).unwrap().attempts), (Status::Requested, attempt));
        hub.tick(at(100 + 60 * u64::from(attempt)));
        hub.check();
    }
    assert_eq!(hub.status(3), Status::Failed);
}

#[test]
fn an_attempt_that_stalls_goes_behind_what_others_wait_for() {
    let mut hub = Hub::new(Config { max_concurrent: 1, ..config() });
    hub.join("a", Dialect::V2, at(0));
    hub.join("b", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    hub.order(2, "b", at(0));
    hub.begin(id(1), 1, String::new(), 1000);
    let actions = hub.attempt_failed(id(1), 1, failure(FailureCode::Stalled), at(1));
    assert_eq!(requested(&actions), [id(2)]);
    assert_eq!(hub.status(1), Status::Queued);
    hub.check();
}

#[test]
fn a_stalled_v1_client_has_failed() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V1, at(0));
    hub.order(1, "a", at(0));
    hub.begin(id(1), 1, String::new(), 9);
    hub.covered(id(1), 1, 5, 5);
    let actions = hub.attempt_failed(id(1), 1, failure(FailureCode::Stalled), at(1));
    assert_eq!((hub.status(1), hub.transfer(id(1)).unwrap().attempts), (Status::Failed, 1));
    assert!(
        !actions.iter().any(|action| matches!(action, Action::Withdraw { .. })),
        "it would not understand"
    );
    hub.check();
}

#[test]
fn a_late_word_of_an_earlier_attempt_changes_nothing() {
    let mut hub = Hub::new(config());
    hub.join("a", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    hub.begin(id(1), 1, String::new(), 9);
    hub.attempt_failed(id(1), 1, failure(FailureCode::Stalled), at(1));
    assert_eq!(hub.begin(id(1), 1, String::new(), 9), Begun::Unwanted);
    hub.covered(id(1), 1, 5, 5);
    assert_eq!(hub.verify(id(1), 1, HASH), Begun::Unwanted);
    assert_eq!(hub.publish(id(1), 1, at(2)), None);
    assert_eq!(hub.attempt_failed(id(1), 1, failure(FailureCode::DiskFull), at(2)), []);
    let transfer = hub.transfer(id(1)).unwrap();
    assert_eq!((transfer.status, transfer.attempts, transfer.bytes), (Status::Requested, 2, 0));
    hub.check();
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

#[test]
fn a_smaller_file_that_takes_its_place_gets_further_too() {
    let mut hub = Hub::new(config());
    let (mut generation, _) = hub.join("a", Dialect::V2, at(0));
    hub.order(1, "a", at(0));
    // The log of before is 900 bytes further than the new one will ever be.
    for (attempt, (size, bytes)) in
        (1..).zip([(1000, 900), (100, 10), (100, 30), (100, 50), (100, 70), (100, 90)])
    {
        assert_eq!(hub.status(1), Status::Requested, "attempt {attempt}");
        hub.begin(id(1), attempt, String::new(), size);
        hub.covered(id(1), attempt, bytes, bytes);
        hub.disconnect(&client("a"), generation, 0, at(1));
        hub.attempt_failed(id(1), attempt, failure(FailureCode::ClientDisconnected), at(1));
        (generation, _) = hub.join("a", Dialect::V2, at(2));
    }
    assert_eq!(hub.status(1), Status::Requested);
}
