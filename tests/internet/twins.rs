//! Two machines with one client id, as after a disk was cloned.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::support::addresses::connect_from;
use crate::support::agent::Agent;
use crate::support::beside::{Beside, MEMORY};
use crate::support::files::random_bytes;
use crate::support::http::{Answer, Wire};
use crate::support::server::{SECRET, Server, id};
use crate::support::temp::TempDir;
use crate::support::wait::{eventually, within};

const ID: &str = "shop-001";

/// Dials as the client from an address of its own.
fn dial(server: &Server, from: Ipv4Addr) -> Wire {
    let mut wire = connect_from(from, server.port);
    wire.send(
        format!(
            "GET /ws?clientId={ID}&token={SECRET} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        .as_bytes(),
    );
    wire
}

/// The same, and it is let in.
fn gets_in(server: &Server, from: Ipv4Addr) -> Wire {
    let mut wire = dial(server, from);
    assert_eq!(wire.read_exact(13), b"HTTP/1.1 101 ");
    eventually("it is in", || {
        shown(server)["address"].as_str()?.starts_with(&from.to_string()).then_some(())
    });
    wire
}

fn shown(server: &Server) -> Value {
    let answer = server.get(&format!("/clients/{ID}"));
    if answer.status == 404 { Value::Null } else { answer.expect(200) }
}

fn agent(url: &str, content: &[u8]) -> Agent {
    let home = TempDir::new();
    std::fs::write(home.join("file"), content).expect("the test's folder takes a file");
    let path = home.join("file").to_str().expect("a plain name").to_owned();
    Agent::start_in(home, url, ID, &[("FILE_PATH", &path)])
}

#[test]
fn the_one_that_is_in_stays_and_the_other_backs_off_and_takes_over_when_it_may() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let (ours, theirs) = (random_bytes(1, 100_000), random_bytes(2, 100_000));
    let first = agent(&server.url(), &ours);
    server.lists_agent(ID);
    assert_eq!(shown(server)["contested"], Value::Null);
    let line = server.line_of(ID);

    let second = agent(&server.url(), &theirs);
    second.program.wait_line("409");
    let pause = second.program.wait_line("dialling again in");
    let seconds: f64 = pause.rsplit(' ').nth(1).and_then(|text| text.parse().ok()).expect("seconds");
    assert!(seconds >= 10.0, "{pause}");

    let client = shown(server);
    let contested = &client["contested"];
    assert_eq!(contested["times"], 1, "{client}");
    assert!(contested["since"].is_u64() && contested["last"].is_u64(), "{client}");
    let told = server.program.wait_line("two machines call themselves shop-001");
    for address in [&client["address"], &contested["address"]] {
        let address = address.as_str().expect("an address");
        assert!(told.contains(address), "{address} in {told}");
    }
    assert!(server.get("/clients").expect(200).to_string().contains("contested\":{"));
    // The first is not disturbed.
    assert_eq!(server.line_of(ID), line);
    server.assert_verified(&server.pull_id(ID), &ours);

    drop(first);
    within(std::time::Duration::from_secs(60), "the other is in", || {
        (server.line_of(ID) != line && server.line_of(ID)[0] == true).then_some(())
    });
    server.lists_agent(ID);
    server.assert_verified(&id(&server.pull(ID, &serde_json::json!({}))), &theirs);
    assert!(shown(server)["contested"].is_object(), "for a while yet");
    beside.ends_well(MEMORY);
}

#[test]
fn machines_that_take_turns_are_noticed_and_logged_now_and_then() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let (here, there) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    for turn in 0..10 {
        let line = gets_in(server, if turn % 2 == 0 { here } else { there });
        let client = shown(server);
        let other = client["contested"]["address"].as_str().unwrap_or_default().to_owned();
        let expected =
            [(turn >= 2 && turn % 2 == 0, "127.0.0.3:"), (turn >= 2 && turn % 2 == 1, "127.0.0.2:")];
        for (is_expected, host) in expected {
            assert!(!is_expected || other.starts_with(host), "turn {turn}: {client}");
        }
        drop(line);
        eventually("it is gone", || (shown(server)["connected"] == false).then_some(()));
    }
    let told = server.program.wait_line("in turn");
    assert!(told.contains("127.0.0.2:") && told.contains("127.0.0.3:"), "{told}");
    let lines = server.program.output().matches(" in turn").count();
    assert!((1..=4).contains(&lines), "{lines} lines for 8 turns");
    beside.ends_well(MEMORY);
}

#[test]
fn a_hammering_twin_is_told_to_wait_longer_each_time_and_fills_no_log() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let content = random_bytes(1, 100_000);
    let _first = agent(&server.url(), &content);
    server.lists_agent(ID);
    let twin = Ipv4Addr::new(127, 0, 0, 2);
    let retry =
        |answer: Answer| answer.header("retry-after").expect("it is told").parse::<u64>().expect("seconds");
    let told: Vec<u64> = (0..100).map(|_| retry(dial(server, twin).answer())).collect();
    assert_eq!(told[..5], [10, 20, 40, 60, 60]);
    let lines = server.program.output().matches("two machines").count();
    assert_eq!(lines, 7, "at 1, 2, 4 … 64");
    assert!(server.program.output().matches("409").count() <= 40);
    assert_eq!(shown(server)["contested"]["times"], 100);
    server.assert_verified(&server.pull_id(ID), &content);
    beside.ends_well(MEMORY);
}
