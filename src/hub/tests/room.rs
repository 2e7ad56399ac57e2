//! The room that parts take while they wait, and that arriving files have yet to take.

use super::*;

const DAY: u64 = 24 * 3600;

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
        let record = before.record(id(number)).unwrap();
        let actions = hub.restore(record, part, failure(FailureCode::ServerRestarted), at(2));
        given_up.extend(discarded(&actions));
        hub.check();
    }
    assert_eq!((given_up, hub.waiting_bytes), (vec![id(1)], 500));
    for (name, number, have) in [("a", 1, 0), ("b", 2, 0), ("c", 3, 500)] {
        assert_eq!(offered(&hub.join(name, Dialect::V2, at(3)).1, number), Some(have), "{name}");
        hub.check();
    }
}

/// The attempt that was asked for last begins, with `size` bytes, and claims what it has still to bring.
fn begins(hub: &mut Hub, number: u64, size: u64, free: u64) -> Result<(), u64> {
    let attempt = hub.transfer(id(number)).unwrap().attempts;
    assert_eq!(hub.begin(id(number), attempt, String::new(), size), Begun::Wanted);
    hub.claim_room(id(number), free)
}

#[test]
fn what_is_outstanding_is_what_the_disk_has_yet_to_take() {
    let mut hub = Hub::new(config());
    interrupted_at(&mut hub, 1, "a", Dialect::V2, 300);
    hub.join("a", Dialect::V2, at(2));
    assert_eq!(hub.outstanding(), 0, "what waits takes nothing more, nor what has not said how much it is");
    assert_eq!(begins(&mut hub, 1, 1000, 700), Ok(()), "300 are here");
    assert_eq!(hub.outstanding(), 700);
    hub.covered(id(1), 2, 200, 0);
    assert_eq!(hub.outstanding(), 700, "written over in place");
    hub.covered(id(1), 2, 200, 200);
    assert_eq!(hub.outstanding(), 600);
    // Another one, with nothing here.
    hub.join("b", Dialect::V2, at(2));
    hub.order(2, "b", at(2));
    assert_eq!(begins(&mut hub, 2, 50, 650), Ok(()));
    assert_eq!(hub.outstanding(), 650);
    hub.covered(id(1), 2, 600, 600);
    hub.verify(id(1), 2, HASH);
    assert_eq!(hub.outstanding(), 50);
}

#[test]
fn what_does_not_fit_takes_no_room_from_others() {
    let mut hub = Hub::new(config());
    for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
        hub.join(name, Dialect::V2, at(0));
        hub.order(number, name, at(0));
    }
    assert_eq!(begins(&mut hub, 1, 60, 100), Ok(()));
    // Both have begun before either is told that there is no room.
    assert_eq!(
        begins(&mut hub, 2, u64::MAX, 100),
        Err(u64::MAX),
        "sizes at the end of numbers are not little"
    );
    assert_eq!(begins(&mut hub, 3, 41, 100), Err(101));
    assert_eq!(hub.claim_room(id(3), 101), Ok(()));
    hub.attempt_failed(id(2), 1, failure(FailureCode::DiskFull), at(1));
    assert_eq!((hub.status(2), hub.outstanding()), (Status::Failed, 101));
    assert_eq!(hub.claim_room(id(7), 0), Ok(()), "what was forgotten takes none");
    hub.check();
}
