//! Two machines with one client id.

use super::*;
use crate::limits;

const FIRST: &str = "10.0.0.1:5000";
const SECOND: &str = "10.0.0.2:6000";

/// A hub with `shop` connected from here.
fn hub(address: &str) -> (Hub, u64) {
    let mut hub = Hub::new(config());
    let generation = hub.connect(&client("shop"), address.into(), at(0)).unwrap();
    (hub, generation)
}

/// Its line ends, and one from `address` follows: whether two machines are noticed in that.
fn follows(hub: &mut Hub, generation: &mut u64, address: &str, seconds: u64) -> bool {
    let before = hub.contested(&client("shop"), at(seconds)).map_or(0, |contested| contested.times);
    hub.disconnect(&client("shop"), *generation, at(seconds).wall, at(seconds));
    *generation = hub.connect(&client("shop"), address.into(), at(seconds)).unwrap();
    hub.contested(&client("shop"), at(seconds)).map_or(0, |contested| contested.times) > before
}

fn shown(hub: &Hub, seconds: u64) -> Option<Contested> {
    hub.client(&client("shop"), at(seconds), |_| None).unwrap().contested
}

const KEPT: u64 = limits::CONTESTED_TIME.as_secs();

#[test]
fn who_is_refused_is_shown_for_a_while_and_told_to_stay_away_for_longer_and_longer() {
    let (mut hub, generation) = hub(FIRST);
    assert_eq!(shown(&hub, 1), None);
    let mut told = Vec::new();
    for (times, seconds) in (1..=6).zip((10..).step_by(10)) {
        let contested = hub.contest(&client("shop"), SECOND, at(seconds)).unwrap();
        assert_eq!(shown(&hub, seconds), Some(contested.clone()));
        let (since, last) = (at(10).wall, at(seconds).wall);
        assert_eq!(contested, Contested { address: SECOND.into(), since, last, times });
        told.push((contested.retry_after(), contested.is_news()));
    }
    assert_eq!(told, [(10, true), (20, true), (40, false), (60, true), (60, false), (60, false)]);
    assert!(hub.clients(at(61), |_| None)[0].contested.is_some());
    // Also while it is away.
    hub.disconnect(&client("shop"), generation, 0, at(70));
    assert_eq!(shown(&hub, 60 + KEPT - 1).unwrap().times, 6);
    assert_eq!(shown(&hub, 60 + KEPT), None);
    // And then it begins anew.
    hub.connect(&client("shop"), FIRST.into(), at(2 * KEPT)).unwrap();
    assert_eq!(hub.contest(&client("shop"), SECOND, at(2 * KEPT)).unwrap().times, 1);
    assert_eq!(hub.contest(&client("nobody"), SECOND, at(0)), None);
}

#[test]
fn lines_from_two_hosts_in_turn_are_noticed() {
    let (mut hub, mut generation) = hub(FIRST);
    assert!(!follows(&mut hub, &mut generation, SECOND, 10), "a machine may move");
    assert!(follows(&mut hub, &mut generation, FIRST, 20), "and is it back?");
    assert_eq!(shown(&hub, 20).unwrap().address, SECOND);
    assert!(follows(&mut hub, &mut generation, SECOND, 30));
    assert_eq!(shown(&hub, 30).unwrap().address, FIRST, "always the one that is not in");
    assert_eq!(shown(&hub, 30).unwrap().times, 2);
}

#[test]
fn one_that_was_refused_and_is_in_now_leaves_the_other_contesting() {
    let (mut hub, mut generation) = hub(FIRST);
    hub.contest(&client("shop"), SECOND, at(5));
    assert!(follows(&mut hub, &mut generation, "10.0.0.2:7000", 10), "from another port");
    assert_eq!(shown(&hub, 10).unwrap().address, FIRST);
}

#[test]
fn a_machine_that_dials_again_or_moves_now_and_then_is_one() {
    let (mut hub, mut generation) = hub(FIRST);
    for (seconds, address) in [
        (10, "10.0.0.1:5001"),
        (20, "10.0.0.1:5002"),
        (30, "[2001:db8::1]:5002"),
        (40, "[2001:db8::1]:5003"),
        (30 + KEPT, FIRST),
        (30 + 3 * KEPT, "[2001:db8::1]:5002"),
    ] {
        assert!(!follows(&mut hub, &mut generation, address, seconds), "{address}");
    }
}
