//! Lines that are slow, end, or fall silent.

use std::time::Duration;

use serde_json::json;

use crate::pair::{MIB, Pair, assert_completed};
use crate::support::fault_proxy::Fault::{self, Cut, Delay, DieAfter, Reset, Silence, Throttle};
use crate::support::fault_proxy::Toward::{Agent, Server};
use crate::support::server::id;

const SIZE: usize = 3 * MIB;

/// These faults on the first connection, and none on those after it.
fn first(faults: impl IntoIterator<Item = Fault>) -> impl Fn(usize) -> Vec<Fault> + Send + Sync + 'static {
    let faults: Vec<_> = faults.into_iter().collect();
    move |number| if number == 0 { faults.clone() } else { Vec::new() }
}

#[test]
fn a_long_way_only_takes_longer() {
    let pair = Pair::start(SIZE, |_| vec![Delay(Duration::from_millis(150))]);
    assert_completed(&pair.pull(), 1);
    assert_eq!(pair.proxy.connected(), 1);
}

#[test]
fn a_narrow_way_only_takes_longer() {
    let pair = Pair::start(SIZE, |_| vec![Throttle(Server, 2_000_000), Throttle(Agent, 2_000)]);
    assert_completed(&pair.pull(), 1);
    assert_eq!(pair.proxy.connected(), 1);
}

#[test]
fn a_long_and_narrow_way_carries_both_pulls_of_a_client() {
    let pair = Pair::start(SIZE, |_| vec![Delay(Duration::from_millis(100)), Throttle(Server, 4_000_000)]);
    let two = [pair.server.pull("shop-001", &json!({})), pair.server.pull("shop-001", &json!({}))];
    for transfer in &two {
        assert_completed(&pair.server.assert_verified(&id(transfer), &pair.content), 1);
    }
    pair.assert_sound(&[&two[0], &two[1]]);
}

#[test]
fn a_line_that_is_cut_in_mid_file_is_made_anew() {
    for at in [MIB, SIZE - 1000] {
        let pair = Pair::start(SIZE, first([Cut(Server, at as u64)]));
        assert_completed(&pair.pull(), 2);
    }
}

#[test]
fn a_line_that_is_reset_in_mid_file_is_made_anew() {
    for at in [MIB, SIZE - 1000] {
        let pair = Pair::start(SIZE, first([Reset(Server, at as u64)]));
        assert_completed(&pair.pull(), 2);
    }
}

#[test]
fn a_line_that_falls_silent_in_mid_file_is_given_up_and_made_anew() {
    let pair = Pair::start(SIZE, first([Silence(Server, MIB as u64)]));
    assert_completed(&pair.pull(), 2);
}

/// One small pull for each place; the line that it is asked for on ends there. The first brings the file, the others find it
/// unchanged.
#[track_caller]
fn ends_anywhere(places: &[u64], end: fn(u64) -> Fault) {
    let (pair, next) = Pair::start_armed(1000);
    let transfers: Vec<_> = places
        .iter()
        .enumerate()
        .map(|(before, at)| {
            next.arm(end(*at));
            pair.proxy.cut();
            let transfer = pair.pull_waiting();
            pair.proxy.wait_struck(before + 1);
            pair.server.assert_verified(&id(&transfer), &pair.content)
        })
        .collect();
    pair.assert_sound(&transfers.iter().collect::<Vec<_>>());
}

#[test]
fn a_line_may_be_cut_anywhere_in_what_the_agent_says() {
    ends_anywhere(&[1600, 1, 200, 300, 420, 700, 1000], |at| Cut(Server, at));
}

#[test]
fn a_line_may_be_reset_anywhere_in_what_the_agent_says() {
    ends_anywhere(&[1600, 1, 200, 300, 420, 700, 1000], |at| Reset(Server, at));
}

#[test]
fn a_line_may_be_cut_anywhere_in_what_the_server_says() {
    ends_anywhere(&[1, 100, 150, 250, 350, 500], |at| Cut(Agent, at));
}

#[test]
fn a_line_may_be_reset_anywhere_in_what_the_server_says() {
    ends_anywhere(&[1, 100, 150, 250, 350, 500], |at| Reset(Agent, at));
}

#[test]
fn a_line_that_dies_again_and_again_ends_in_a_file_or_a_reason() {
    let pair = Pair::start_with(2 * MIB, &[("MAX_RATE", "3M")], |number| {
        if number < 8 { vec![DieAfter(Duration::from_millis(400))] } else { Vec::new() }
    });
    let transfer = pair.pull();
    assert!(transfer["attempts"].as_u64() > Some(1), "{transfer}");
}
