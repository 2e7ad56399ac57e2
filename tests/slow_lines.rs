//! A line that is slow, but moves, is neither dead nor stalled; one that lives and brings nothing is.

mod support;

use std::time::Duration;

use support::files::{random_bytes, sha256};
use support::raw_line::{BINARY, FIN, Masking, PING, RawLine, TEXT, frame_head};
use support::server::Server;
use support::v1_client;
use support::wait::pause;

#[test]
fn a_chunk_that_takes_longer_than_the_stall_bound_is_not_a_stall() {
    let server = Server::start(&[("STALL_SECONDS", "1"), ("HEARTBEAT_SECONDS", "1")]);
    let mut line = RawLine::connect(&server, "shop-001");
    let content = random_bytes(1, 60_000);
    let id = server.pull_id("shop-001");
    server.reaches(&id, "requested");
    let start = format!(
        r#"{{"type":"upload_start","requestId":"{id}","filename":"f","filesize":{}}}"#,
        content.len()
    );
    line.send(FIN | TEXT, Masking::Masked, start.as_bytes());

    // One frame, in pieces, over more than three bounds and three heartbeats.
    let chunk = v1_client::chunk(&id, 1, &content);
    let frame = [frame_head(FIN | BINARY, Masking::Masked, chunk.len() as u64), chunk].concat();
    for piece in frame.chunks(frame.len() / 16 + 1) {
        line.wire.send(piece);
        pause(Duration::from_millis(250));
    }
    let end = format!(
        r#"{{"type":"upload_end","requestId":"{id}","checksum":"{}","filesize":{}}}"#,
        sha256(&content),
        content.len()
    );
    line.send(FIN | TEXT, Masking::Masked, end.as_bytes());

    server.assert_verified(&id, &content);
}

#[test]
fn signs_of_life_are_no_bytes_of_a_file() {
    let server = Server::start(&[("STALL_SECONDS", "1")]);
    let mut line = RawLine::connect(&server, "shop-001");
    let id = server.pull_id("shop-001");
    server.reaches(&id, "requested");
    let start = format!(r#"{{"type":"upload_start","requestId":"{id}","filename":"f","filesize":9}}"#);
    line.send(FIN | TEXT, Masking::Masked, start.as_bytes());

    // Five bounds, in each of which they come to more than a file must bring.
    for _ in 0..20 {
        for _ in 0..4 {
            line.send(FIN | PING, Masking::Masked, &[7; 100]);
            line.send(FIN | TEXT, Masking::Masked, br#"{"type":"heartbeat","ts":1761924600123}"#);
        }
        pause(Duration::from_millis(250));
    }

    assert_eq!(server.transfer(&id)["status"], "failed");
    server.assert_failed(&id, "stalled");
}
