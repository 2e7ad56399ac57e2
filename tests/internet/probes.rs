//! Callers that need no key, or have one and use it too often: they get few places, and keep nobody else out.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::support::addresses::connect_from;
use crate::support::http::{Came, Wire};
use crate::support::raw_line::ask_upgrade;
use crate::support::server::{SECRET, Server};
use crate::support::v1_client::V1Client;
use crate::support::wait::Deadline;

const PROMPT: Duration = Duration::from_secs(1);

/// A server that has room for 400 at its door, and for 100 callers.
fn small() -> Server {
    Server::start_limited("ulimit -n 1600")
}

/// An operator is answered and a shop is let in, at once.
#[track_caller]
fn is_open(server: &Server) {
    let asked_at = Instant::now();
    server.get("/clients").expect(200);
    drop(V1Client::connect(server, "shop-009"));
    assert!(asked_at.elapsed() < PROMPT, "{:?}", asked_at.elapsed());
}

#[test]
fn probes_that_never_hang_up_keep_nobody_out() {
    let server = small();
    let probe = |n: usize| {
        let mut wire = connect_from(Ipv4Addr::new(127, 3, (n % 20) as u8, 1), server.port);
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
        wire
    };
    let mut probes: Vec<Wire> = Vec::new();
    for round in 0..10 {
        probes.extend((0..34).map(|n| probe(34 * round + n)));
        is_open(&server);
    }
    let is_answered = |wire: &mut Wire| matches!(wire.read_some(Deadline::soon()), Came::Bytes(_));
    let answered = probes.iter_mut().map(is_answered).filter(|is_answered| *is_answered).count();
    assert!(answered >= 300, "{answered} of 340 are answered");
    is_open(&server);
    probe(0).answer().expect(200);
}

#[test]
fn a_stolen_key_does_not_fill_the_door_with_calls_for_the_line_that_is_there() {
    let server = small();
    let target = format!("/ws?clientId=shop-001&token={SECRET}");
    // It answers no ping, so each call for it waits.
    let mut silent = ask_upgrade(server.port, target.as_bytes(), "");
    assert_eq!(silent.read_exact(13), b"HTTP/1.1 101 ");
    server.lists("shop-001");
    let mut calls: Vec<Wire> = Vec::new();
    for _ in 0..10 {
        calls.extend((0..45).map(|_| ask_upgrade(server.port, target.as_bytes(), "")));
        is_open(&server);
    }
    server.program.wait_line("409 already connected: others come in as shop-001 this moment");
    drop(calls);
}
