//! Rates: what is asked for is kept, smoothly, and a slow pull delays nothing else.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::files::random_file;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;
use crate::support::wait::{eventually, pause};

/// Bytes a second over five seconds, from the first bytes on.
#[track_caller]
fn measured(server: &Server, ids: &[&str]) -> f64 {
    for id in ids {
        server.has_bytes(id);
    }
    let sample = || {
        let asked_at = Instant::now();
        let bytes: u64 = ids.iter().map(|id| server.transfer(id)["bytes"].as_u64().expect("a number")).sum();
        // The numbers are from some moment between asking and hearing.
        (asked_at + asked_at.elapsed() / 2, bytes)
    };
    let (from, before) = sample();
    pause(Duration::from_secs(5));
    let (to, after) = sample();
    (after - before) as f64 / (to - from).as_secs_f64()
}

#[track_caller]
fn assert_within_three_percent(rate: f64, asked: f64) {
    assert!((rate / asked - 1.0).abs() < 0.03, "{rate:.0} bytes a second instead of {asked:.0}");
}

#[test]
fn max_rate_of_the_agent_holds_for_all_its_pulls_together() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    random_file(&home.join("file"), 1, 100_000_000);
    let _agent = Agent::serving(&server, "shop-001", home, &[("MAX_RATE", "10M")]);
    let (one, two) = (server.pull_id("shop-001"), server.pull_id("shop-001"));

    assert_within_three_percent(measured(&server, &[&one, &two]), 10e6);

    let (one, two) = (&server.transfer(&one)["bytes"], &server.transfer(&two)["bytes"]);
    let share = one.as_f64().unwrap() / two.as_f64().unwrap();
    assert!((0.5..2.0).contains(&share), "both get on: {one} and {two}");
}

#[test]
fn max_rate_of_one_request_holds_for_it_alone() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 2, 60_000_000);
    let _agent = Agent::serving(&server, "shop-001", home, &[]);
    let slow = id(&server.pull("shop-001", &json!({"maxRate": "5M"})));
    server.has_bytes(&slow);

    // Beside it, a pull without a rate runs at full speed.
    let asked_at = Instant::now();
    server.assert_verified(&server.pull_id("shop-001"), &content);
    assert!(asked_at.elapsed() < Duration::from_secs(8), "{:?}", asked_at.elapsed());

    assert_within_three_percent(measured(&server, &[&slow]), 5e6);
}

#[test]
fn a_slow_pull_delays_no_cancel() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    random_file(&home.join("file"), 3, 10_000_000);
    let _agent = Agent::serving(&server, "shop-001", home, &[("MAX_RATE", "20k")]);
    let cancelled = server.pull_id("shop-001");
    server.has_bytes(&cancelled);

    let asked_at = Instant::now();
    server.delete(&format!("/transfers/{cancelled}")).expect(200);

    assert!(asked_at.elapsed() < Duration::from_secs(2), "{:?}", asked_at.elapsed());
    assert_eq!(server.transfer(&cancelled)["status"], "cancelled");
    server.assert_downloads(&[]);
    // The agent has stopped too: its rate is free for the next.
    let next = server.pull_id("shop-001");
    server.has_bytes(&next);
}

#[test]
fn a_pull_comes_smoothly_and_not_in_bursts_of_seconds() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    random_file(&home.join("file"), 4, 10_000_000);
    let _agent = Agent::serving(&server, "shop-001", home, &[("MAX_RATE", "500k")]);
    let id = server.pull_id("shop-001");
    let mut last = server.has_bytes(&id)["bytes"].as_u64().unwrap();
    // A chunk of 256 KiB at this rate would come twice a second; none may take longer than a second.
    for _ in 0..4 {
        let seen_at = Instant::now();
        last = eventually("more bytes", || {
            let bytes = server.transfer(&id)["bytes"].as_u64().unwrap();
            (bytes > last).then_some(bytes)
        });
        assert!(seen_at.elapsed() < Duration::from_millis(1500), "{:?}", seen_at.elapsed());
    }
}

#[test]
fn a_pull_begins_at_once_and_not_at_a_polling_interval() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 5, 1000);
    let _agent = Agent::serving(&server, "shop-001", home, &[]);
    server.assert_verified(&server.pull_id("shop-001"), &content);
    let mut times: Vec<_> = (0..20)
        .map(|_| {
            let asked_at = Instant::now();
            server.post("/download/shop-001?wait=30", &json!({})).expect(200);
            asked_at.elapsed()
        })
        .collect();
    times.sort();
    assert!(times[10] < Duration::from_millis(250), "half of all pulls take longer: {times:?}");
}
