//! Peers that are slow or silent: each is closed at its deadline, and meanwhile nobody waits for it.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::healthy::Healthy;
use crate::support::http::{Came, Wire};
use crate::support::raw_line::RawLine;
use crate::support::server::{SECRET, Server};
use crate::support::v1_client::V1Client;
use crate::support::wait::SOON;

/// The bound for a head and a body is 10 s; a machine under load may take a little longer to notice.
const CLOSED_BY: Duration = Duration::from_secs(16);
/// Connections that are not known to be a client's (`limits::MAX_DOOR_CONNECTIONS`).
const MAX_DOOR_CONNECTIONS: u64 = 4096;
const PROMPT: Duration = Duration::from_secs(5);

#[test]
fn slow_and_silent_peers_are_closed_at_the_deadline_while_others_are_served() {
    let server = Server::start(&[]);
    server.get("/clients").expect(200);
    let threads = server.program.status("Threads");
    let post = format!("POST /download/shop-001 HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\n");
    let begun = [
        ("nothing sent", String::new()),
        ("half a request line", "GET /cli".to_owned()),
        ("half a head", post.clone()),
        ("half a body", format!("{post}Content-Length: 100\r\n\r\n{{\"file")),
        ("a body not begun", format!("{post}Content-Length: 100\r\n\r\n")),
        ("half an upgrade", format!("GET /ws?clientId=x&token={SECRET} HTTP/1.1\r\nUpgrade: websocket\r\n")),
    ];
    let connected_at = Instant::now();
    let mut silent: Vec<_> = begun
        .map(|(name, bytes)| {
            let mut wire = Wire::connect(server.port);
            wire.send(bytes.as_bytes());
            (name, wire)
        })
        .into();

    let mut dripping = Wire::connect(server.port);
    let slow_head = drip(&mut dripping, &post, || {
        let asked_at = Instant::now();
        server.get("/clients").expect(200);
        assert!(asked_at.elapsed() < PROMPT, "{:?}", asked_at.elapsed());
    });
    assert!((Duration::from_secs(8)..CLOSED_BY).contains(&slow_head), "a byte now and then: {slow_head:?}");
    for (name, wire) in &mut silent {
        let (closed, bytes) = wire.read_to_end(CLOSED_BY.saturating_sub(connected_at.elapsed()));
        assert!(closed, "{name}: left open");
        let answer = String::from_utf8_lossy(&bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{name}: {answer}");
    }
    server.has_threads_again(threads);
}

/// Sends a byte of `head` again and again, a few a second, until the peer closes: how long it took.
fn drip(wire: &mut Wire, head: &str, mut meanwhile: impl FnMut()) -> Duration {
    let begun_at = Instant::now();
    wire.0.set_read_timeout(Some(Duration::from_millis(250))).expect("a socket takes options");
    for byte in head.bytes().cycle() {
        if wire.0.write_all(&[byte]).is_err() {
            break;
        }
        match wire.0.read(&mut [0; 1024]) {
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Ok(_) | Err(_) => break, // an answer, an end, a reset
        }
        assert!(begun_at.elapsed() < CLOSED_BY, "left open");
        meanwhile();
    }
    begun_at.elapsed()
}

/// As many descriptors as this process may have.
fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, most).expect("up to the maximum");
    limit.maximum.unwrap_or(u64::MAX)
}

#[test]
fn strangers_at_the_agents_door_are_bounded_too() {
    if raise_descriptor_limit() < 8000 {
        return; // this machine does not let a test be so many
    }
    let server = Server::start(&[("LOG_LEVEL", "error")]);
    let healthy = Healthy::connect(&server);
    let request = b"GET /ws?clientId=stranger&token=wrong HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut strangers = Vec::new();
    for _ in 0..14 {
        let mut troop: Vec<_> = (0..500).map(|_| Wire::connect(server.port)).collect();
        troop.iter_mut().for_each(|stranger| stranger.send(request));
        for stranger in &mut troop {
            // Refused, or turned away, or dropped; never left waiting.
            let came = stranger.read_some(crate::support::wait::Deadline::soon());
            assert!(!matches!(came, Came::Nothing), "no answer");
        }
        strangers.extend(troop); // and none closes
        let threads = server.program.status("Threads");
        assert!(threads <= MAX_DOOR_CONNECTIONS + 50, "{threads} threads for {} strangers", strangers.len());
    }
    drop(strangers);
    crate::support::wait::eventually("the honest client is served", || {
        let answer = server.post(&format!("/download/{}", Healthy::ID), &serde_json::json!({}));
        (answer.status == 202).then_some(())
    });
    healthy.is_pulled_from(&server);
}

#[test]
fn a_thousand_idle_connections_keep_nobody_out_and_leave_no_thread() {
    raise_descriptor_limit();
    let server = Server::start(&[]);
    server.get("/clients").expect(200);
    let threads = server.program.status("Threads");
    let descriptors = server.program.descriptors();
    let idle: Vec<_> = (0..1000).map(|_| Wire::connect(server.port)).collect();

    for _ in 0..10 {
        let asked_at = Instant::now();
        server.get("/clients").expect(200);
        assert!(asked_at.elapsed() < PROMPT, "{:?}", asked_at.elapsed());
    }
    let client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    server.assert_verified(&server.pull_id("shop-001"), b"x");

    drop(idle);
    drop(client);
    server.has_threads_again(threads);
    crate::support::wait::eventually("its descriptors are closed", || {
        (server.program.descriptors() <= descriptors).then_some(())
    });
}

#[test]
fn callers_that_go_before_their_answer_leave_no_thread() {
    let server = Server::start(&[]);
    server.get("/clients").expect(200);
    let threads = server.program.status("Threads");
    for _ in 0..100 {
        drop(server.send("GET", "/clients", &[], None));
        let mut half = Wire::connect(server.port);
        half.send(b"GET /clients HTTP/1.1\r\nHo");
        drop(half);
    }
    for _ in 0..100 {
        // A caller that shuts its sending side and still reads, as `nc -N` does, gets its answer.
        let mut wire = server.send("GET", "/clients", &[], None);
        wire.finish();
        let (closed, bytes) = wire.read_to_end(SOON);
        assert!(closed && bytes.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&bytes));
    }
    server.has_threads_again(threads);
}

#[test]
fn agents_that_come_and_go_leave_no_thread_and_no_descriptor() {
    let server = Server::start(&[]);
    server.get("/clients").expect(200);
    let (threads, descriptors) = (server.program.status("Threads"), server.program.descriptors());
    for n in 0..30 {
        let line = RawLine::connect(&server, &format!("shop-{n}"));
        drop(line);
        V1Client::connect(&server, &format!("pos-{n}")).cut();
    }
    server.has_threads_again(threads);
    crate::support::wait::eventually("its descriptors are closed", || {
        (server.program.descriptors() <= descriptors).then_some(())
    });
    crate::support::wait::eventually("none is listed", || server.clients().is_empty().then_some(()));
}
