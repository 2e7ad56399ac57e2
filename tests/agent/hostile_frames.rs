//! A server that breaks the WebSocket protocol, or keeps to it and floods: the agent closes that line, says why, stays
//! small, comes back later each time, and serves whoever answers then.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::time::Duration;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::raw_line::{BINARY, CLOSE, CONTINUATION, FIN, Masking, PING, RESERVED, TEXT, frame_head};
use crate::support::wait::{Deadline, eventually};
use crate::v2_server::{ID, Scene, accept, id};

const PONG: u8 = 10;
/// Sixteen chunks as read and as frames, and what waits to be read.
const MOST_KB: u64 = 8 << 10;

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [frame_head(first, Masking::Bare, payload.len() as u64), payload.to_vec()].concat()
}

/// Sends `first`, and then `again` as often as the line takes it. The agent ends that line for the reason `why`, has grown
/// by no more than a few megabytes, and serves the next.
#[track_caller]
fn ends_the_line(first: &[u8], again: impl Fn(usize) -> Vec<u8>, why: &str) {
    let scene = Scene::set();
    let before = scene.agent.program.status("VmHWM");
    let mut socket = scene.line.socket.get_ref().try_clone().unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut reader = socket.try_clone().unwrap();
    std::thread::scope(|scope| {
        // Takes what the agent answers, so that it is what was sent that ends the line.
        scope.spawn(move || {
            let mut buffer = [0; 64 << 10];
            while reader.read(&mut buffer).is_ok_and(|read| read > 0) {}
        });
        let (mut sent, deadline) = (socket.write_all(first).is_ok(), Deadline::soon());
        for number in 0.. {
            let more = again(number);
            if !sent || more.is_empty() {
                break;
            }
            sent = socket.write_all(&more).is_ok();
            assert!(!deadline.passed(), "it takes all of it");
        }
        let line = scene.agent.program.wait_line("dialling again in");
        assert!(line.contains(why), "{why:?} in {line}");
        let _ = socket.shutdown(Shutdown::Both); // the agent may have done so
    });
    let grown = scene.agent.program.status("VmHWM") - before;
    assert!(grown < MOST_KB, "{grown} kB more than before");
    scene.serves_the_next();
}

fn nothing(_: usize) -> Vec<u8> {
    Vec::new()
}

#[test]
fn frames_that_are_none() {
    let masked = [frame_head(FIN | TEXT, Masking::Masked, 2), b"{}".to_vec()].concat();
    for (bytes, why) in [
        (masked, "masked"),
        (frame(FIN | RESERVED | TEXT, b"{}"), "eserved"),
        (frame(FIN | 3, b""), "pcode"),
        (frame(FIN | 15, b""), "pcode"),
        (frame(FIN | CONTINUATION, b""), "ontinu"),
        ([frame(TEXT, b"{"), frame(FIN | TEXT, b"}")].concat(), "ragment"),
        (frame(PING, b"in parts"), "ragmented control"),
        (frame(FIN | PING, &[0; 126]), "ontrol frame"),
        (frame(FIN | TEXT, b"\xc0\xae\xc0\xae/"), "UTF-8"),
        (frame(FIN | CLOSE, &[3]), "broke the rules"),
        (frame(FIN | CLOSE, &999_u16.to_be_bytes()), "lose"),
        (frame(FIN | TEXT, &[b' '; 300_000]), "300000 bytes or more; the bound is 262144"),
        (frame_head(FIN | TEXT, Masking::Bare, 1 << 62), "the bound is"),
        (frame_head(BINARY, Masking::Bare, u64::MAX), "the bound is"),
        (frame(FIN | TEXT, b""), "not a message"),
        (frame(FIN | BINARY, b""), "header"),
        (frame(FIN | TEXT, "[".repeat(100_000).as_bytes()), "not a message"),
    ] {
        ends_the_line(&bytes, nothing, why);
    }
}

#[test]
fn pings_without_end() {
    for first in [FIN | PING, FIN | PONG] {
        ends_the_line(&[], |_| frame(first, b"12345678").repeat(100), "too many pings");
    }
}

#[test]
fn fragments_without_end() {
    for payload in [&b""[..], b"x"] {
        let again = |_| frame(CONTINUATION, payload).repeat(1000);
        ends_the_line(&frame(TEXT, b"{"), again, "ragments without end");
    }
    ends_the_line(&frame(TEXT, b"{"), |_| frame(CONTINUATION, &[b' '; 50_000]), "the bound is 262144");
}

#[test]
fn more_messages_than_anything_needs() {
    let text = |message: serde_json::Value| frame(FIN | TEXT, message.to_string().as_bytes());
    let other = |_| text(json!({"type": "weather"})).repeat(100);
    ends_the_line(&[], other, "more than 5000 messages in a second");
    let cancel = |number| text(json!({"type": "cancel", "requestId": id(number)})).repeat(100);
    ends_the_line(&[], cancel, "more than 5000 messages in a second");
    let list = |number| text(json!({"type": "list", "requestId": id(number)})).repeat(100);
    ends_the_line(&[], list, "more than 5000 messages in a second");
    let hello = |_| text(json!({"type": "hello", "serverTime": "x", "protocol": 1})).repeat(100);
    ends_the_line(&[], hello, "more than 5000 messages in a second");
    let none = json!({"type": "download_request", "requestId": ID, "fileKey": "none/x", "attempt": 1});
    ends_the_line(&[], |_| text(none.clone()).repeat(100), "more than 5000 messages in a second");
    let header = json!({"requestId": ID, "attempt": 1, "of": "blocks", "from": 0}).to_string();
    let hashes = crate::support::v1_client::packed(header.as_bytes(), &[]);
    ends_the_line(&[], |_| frame(FIN | BINARY, &hashes).repeat(100), "more than 5000 messages in a second");
}

#[test]
fn what_a_server_makes_it_log_is_bounded() {
    let mut scene = Scene::set();
    let other = frame(FIN | TEXT, br#"{"type":"weather"}"#).repeat(1000);
    for _ in 0..4 {
        scene.line.socket.get_mut().write_all(&other).unwrap();
    }
    let cancel = json!({"type": "cancel", "requestId": ID});
    scene.say(&cancel);
    assert_eq!(scene.hear("error")["code"], "cancelled", "it has read all of it, and is on its line");
    let printed = scene.agent.program.output();
    let lines = printed.lines().filter(|line| line.contains("type that is unknown")).count();
    assert!((900..=1000).contains(&lines), "{lines} lines");
    scene.serves();
}

#[test]
fn a_server_that_takes_a_file_and_then_breaks_the_rules_is_left_alone_for_longer() {
    let breaks: [(&str, Vec<u8>); 3] = [
        ("too many pings", frame(FIN | PING, b"").repeat(2000)),
        ("UTF-8", frame(FIN | TEXT, b"\xff")),
        ("not a message", frame(FIN | TEXT, b"")),
    ];
    for (why, bytes) in breaks {
        let mut scene = Scene::with(1);
        let mut is_left_alone = false;
        for round in 1..12 {
            scene.ask(ID, 1, None);
            assert_eq!(scene.receive(ID).0, scene.content, "progress");
            let _ = scene.line.socket.get_mut().write_all(&bytes); // it may be closed before the end of them
            let line = scene.agent.program.wait_nth_line("dialling again in", round);
            assert!(line.contains(why), "{line}");
            let seconds: f64 = line.rsplit(' ').nth(1).and_then(|number| number.parse().ok()).unwrap();
            is_left_alone = seconds > 1.1; // the pauses of a line that has brought a file further are shorter
            if is_left_alone {
                break;
            }
            scene.line = accept(&scene.server);
        }
        assert!(is_left_alone, "{why}: it comes back within a second each time");
    }
}

#[test]
fn a_server_cannot_send_it_away_for_good() {
    let mut scene = Scene::set();
    scene.say(&json!({"type": "closing", "comeBackAfterMs": u64::MAX}));
    let _ = scene.line.socket.close(None);
    let _ = scene.line.socket.flush();
    let line = scene.agent.program.wait_line("dialling again in");
    let seconds: f64 = line.rsplit(' ').nth(1).and_then(|number| number.parse().ok()).unwrap();
    assert!((600.0..=900.0).contains(&seconds), "{line}");
}

#[test]
fn a_handshake_without_end_is_given_up() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let agent = Agent::start(&url, "shop-001", &[]);
    let mut socket = eventually("an agent dials", || listener.accept().ok()).0;
    socket.set_nonblocking(false).unwrap();
    socket.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let before = agent.program.status("VmHWM");
    socket.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").unwrap();
    let mut sent = 0_u64;
    while socket.write_all(&b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n".repeat(100)).is_ok() {
        sent += 5000;
        assert!(sent < 256 << 20, "it takes all of it");
    }
    agent.program.wait_line("dialling again in");
    let grown = agent.program.status("VmHWM") - before;
    assert!(grown < MOST_KB, "{grown} kB more than before");
}
