//! A server that asks for more than any agent can do, or talks without end: memory, threads and descriptors stay bounded.

use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::error::Error;

use crate::support::v1_client::packed;
use crate::support::v1_server::V1Line;
use crate::v2_server::{BLOCK, ID, SIZE, Scene, hashes, id};

/// Runs `flood` for some time against an agent whose answers nobody reads, and asserts that it grew by no more than `most`
/// kB, and serves the next line.
#[track_caller]
fn is_flooded(most: u64, flood: impl Fn(&mut V1Line, usize) -> Result<(), Error>) {
    let mut scene = Scene::set();
    let before = scene.agent.program.status("VmHWM");
    scene.line.socket.get_ref().set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    for number in 0..30_000 {
        if flood(&mut scene.line, number).is_err() {
            break; // the agent has closed it, or takes nothing more
        }
    }
    // Sixteen chunks as read and as frames, and what waits to be read.
    let grown = scene.agent.program.status("VmHWM") - before;
    assert!(grown < most, "{grown} kB more than before");
    let _ = scene.line.socket.get_ref().shutdown(std::net::Shutdown::Both);
    scene.serves_the_next();
}

fn request(id: &str, attempt: usize, have: u64) -> Message {
    let request = json!({
        "type": "download_request", "requestId": id, "fileKey": null, "chunkSize": 65536, "attempt": attempt,
        "have": have
    });
    Message::text(request.to_string())
}

#[test]
fn a_flood_of_requests_costs_sixteen_transfers() {
    is_flooded(8 << 10, |line, number| line.socket.send(request(&id(number), 1, u64::MAX)));
}

#[test]
fn a_flood_of_attempts_at_one_transfer_costs_sixteen() {
    is_flooded(8 << 10, |line, number| line.socket.send(request(ID, number + 1, u64::MAX)));
}

#[test]
fn a_flood_of_answers_is_not_kept() {
    // Before each round of answers, transfers that may be asking.
    is_flooded(8 << 10, |line, number| {
        if number < 16 {
            return line.socket.send(request(&id(number), 1, SIZE as u64));
        }
        let header = json!({"requestId": id(number % 16), "attempt": 2, "of": "blocks", "from": 0});
        line.socket.send(Message::binary(packed(header.to_string().as_bytes(), &[0; 80_000])))
    });
}

#[test]
fn many_transfers_at_once_are_compared_each_with_its_own_answers() {
    let mut scene = Scene::set();
    let payload = hashes(&scene.content, BLOCK);
    for number in 0..16 {
        scene.ask(&id(number), 1, Some(SIZE as u64));
    }
    let mut ended = 0;
    while ended < 16 {
        let Message::Text(text) = scene.line.hear() else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        let of = message["requestId"].as_str().unwrap().to_owned();
        match message["type"].as_str() {
            Some("ask_blocks") => scene.answer(&of, 1, "blocks", 0, &payload),
            Some("upload_end") => ended += 1,
            Some("upload_start" | "same") => {}
            _ => panic!("{message}"),
        }
    }
    scene.agent.program.holds_no_more_than(scene.rest);
    scene.serves();
}
