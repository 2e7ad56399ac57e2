//! Frames and messages that break RFC 6455 or the packed form.

use std::time::Duration;

use crate::support::healthy::Healthy;
use crate::support::raw_line::{
    BINARY, CLOSE, CONTINUATION, FIN, Masking, PING, RESERVED, RawLine, TEXT, frame_head,
};
use crate::support::server::Server;
use crate::support::v1_client::{V1Client, chunk, packed};

/// A server with an honest client and a hostile one, which does `misdeed`: its line is closed with one of these
/// codes, it is gone from the list, and the honest one is unharmed.
#[track_caller]
fn closes_the_line(codes: &[Option<u16>], misdeed: impl FnOnce(&mut RawLine)) {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let mut hostile = RawLine::connect(&server, "hostile");

    misdeed(&mut hostile);

    let code = hostile.closed_by_server();
    assert!(codes.contains(&code), "{code:?}");
    server.lists_no_more("hostile", Duration::from_secs(10));
    healthy.is_all_there_is(&server);
}

/// RFC 6455, section 7.4.1; our own protocol is a policy.
const OURS: &[Option<u16>] = &[Some(1008)];
const TOO_BIG: &[Option<u16>] = &[Some(1009), Some(1008)];
const WEBSOCKET: &[Option<u16>] = &[Some(1002)];
const NOT_UTF8: &[Option<u16>] = &[Some(1007)];

#[test]
fn text_that_is_no_json_closes_the_line() {
    for text in ["hello", "", "{", "[1,2]", "5", "null", "{\"type\":5}", "{}"] {
        closes_the_line(OURS, |line| line.send(FIN | TEXT, Masking::Masked, text.as_bytes()));
    }
}

#[test]
fn text_that_is_not_utf8_closes_the_line() {
    closes_the_line(NOT_UTF8, |line| line.send(FIN | TEXT, Masking::Masked, b"{\"type\":\"\xff\"}"));
}

#[test]
fn json_ten_thousand_deep_closes_the_line() {
    let deep = format!(
        "{{\"type\":\"register_meta\",\"meta\":{}1{}}}",
        "{\"a\":".repeat(10_000),
        "}".repeat(10_000)
    );
    closes_the_line(OURS, |line| line.send(FIN | TEXT, Masking::Masked, deep.as_bytes()));
}

#[test]
fn a_text_of_ten_megabytes_closes_the_line() {
    let long = format!("{{\"type\":\"register_meta\",\"meta\":{{\"a\":\"{}\"}}}}", "x".repeat(10_000_000));
    closes_the_line(TOO_BIG, |line| line.send(FIN | TEXT, Masking::Masked, long.as_bytes()));
}

#[test]
fn a_type_that_is_not_known_is_passed_over() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    client.say(&serde_json::json!({"type": "weather", "sunny": true}));
    client.say(&serde_json::json!({"type": "heartbeat", "ts": 1, "more": "fields"}));

    let id = server.pull_id("shop-001");

    let asked = client.asked();
    client.upload(&asked, b"x");
    server.assert_verified(&id, b"x");
}

#[test]
fn a_header_length_beyond_the_message_closes_the_line() {
    for message in [&b"\xff\xff\xff\xff{}"[..], b"\0\0\0\x7f{}", b"\0\0\0\x03{}", b"\0\0\0", b""] {
        closes_the_line(OURS, |line| line.send(FIN | BINARY, Masking::Masked, message));
    }
}

#[test]
fn a_header_that_is_no_json_closes_the_line() {
    for header in
        [&b"not json"[..], b"", b"[]", b"{\"seq\":1}", b"\xff\xfe", b"{\"requestId\":5,\"seq\":\"one\"}"]
    {
        closes_the_line(OURS, |line| line.send(FIN | BINARY, Masking::Masked, &packed(header, b"payload")));
    }
}

#[test]
fn a_header_of_a_megabyte_closes_the_line() {
    let header = format!("{{\"requestId\":\"{}\"}}", "x".repeat(900_000));
    closes_the_line(TOO_BIG, |line| {
        line.send(FIN | BINARY, Masking::Masked, &packed(header.as_bytes(), b"payload"))
    });
}

#[test]
fn a_message_of_64_mib_closes_the_line_without_being_held() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let mut hostile = RawLine::connect(&server, "hostile");
    let payload = vec![0; 64 << 20];

    hostile.send(FIN | BINARY, Masking::Masked, &payload);

    hostile.closed_by_server();
    healthy.is_all_there_is(&server);
    assert!(server.program.status("VmHWM") < 40_000, "{} kB", server.program.status("VmHWM"));
}

#[test]
fn a_frame_that_announces_an_absurd_length_closes_the_line() {
    for length in [1 << 32, i64::MAX as u64, u64::MAX] {
        closes_the_line(&[Some(1009), Some(1002)], |line| {
            line.wire.send(&frame_head(FIN | BINARY, Masking::Masked, length))
        });
    }
}

#[test]
fn fragments_without_end_close_the_line_without_being_held() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let mut hostile = RawLine::connect(&server, "hostile");
    let piece = vec![0; 64 << 10];
    hostile.send(BINARY, Masking::Masked, &piece);

    for _ in 0..1000 {
        hostile.send(CONTINUATION, Masking::Masked, &piece);
    }

    hostile.closed_by_server();
    healthy.is_all_there_is(&server);
    assert!(server.program.status("VmHWM") < 40_000, "{} kB", server.program.status("VmHWM"));
}

#[test]
fn empty_fragments_without_end_do_no_harm() {
    let server = Server::start(&[("HEARTBEAT_SECONDS", "1")]);
    let healthy = Healthy::connect(&server);
    let mut hostile = RawLine::connect(&server, "hostile");
    hostile.send(BINARY, Masking::Masked, b"");
    for _ in 0..20_000 {
        hostile.send(CONTINUATION, Masking::Masked, b"");
    }
    healthy.is_all_there_is(&server);
}

#[test]
fn an_unmasked_frame_closes_the_line() {
    closes_the_line(WEBSOCKET, |line| {
        line.send(FIN | TEXT, Masking::Bare, br#"{"type":"heartbeat","ts":1}"#)
    });
}

#[test]
fn frames_that_rfc_6455_forbids_close_the_line() {
    let heartbeat = br#"{"type":"heartbeat","ts":1}"#;
    closes_the_line(WEBSOCKET, |line| line.send(FIN | RESERVED | TEXT, Masking::Masked, heartbeat));
    closes_the_line(WEBSOCKET, |line| line.send(FIN | 0x3, Masking::Masked, b"reserved opcode"));
    closes_the_line(WEBSOCKET, |line| line.send(FIN | 0xb, Masking::Masked, b"reserved control opcode"));
    closes_the_line(WEBSOCKET, |line| line.send(FIN | CONTINUATION, Masking::Masked, b"continues nothing"));
    closes_the_line(WEBSOCKET, |line| line.send(PING, Masking::Masked, b"a ping in pieces"));
    closes_the_line(WEBSOCKET, |line| line.send(FIN | PING, Masking::Masked, &[0; 126]));
    closes_the_line(WEBSOCKET, |line| {
        line.send(TEXT, Masking::Masked, b"{\"type\":");
        line.send(FIN | TEXT, Masking::Masked, heartbeat);
    });
}

#[test]
fn a_close_is_answered_and_the_client_is_gone() {
    for payload in [&b""[..], &[0x03, 0xe8], b"\x03\xe8good bye"] {
        closes_the_line(&[Some(1000), Some(1005)], |line| line.send(FIN | CLOSE, Masking::Masked, payload));
    }
    for broken in [&b"\x03"[..], b"\x00\x01"] {
        closes_the_line(WEBSOCKET, |line| line.send(FIN | CLOSE, Masking::Masked, broken));
    }
    closes_the_line(NOT_UTF8, |line| line.send(FIN | CLOSE, Masking::Masked, b"\x03\xe8\xff\xfe"));
}

#[test]
fn a_peer_that_shuts_its_half_is_gone() {
    closes_the_line(&[None], |line| line.wire.finish());
}

#[test]
fn a_flood_of_pings_from_a_peer_that_reads_nothing_does_no_harm() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let mut hostile = RawLine::connect(&server, "hostile");
    hostile.wire.0.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let ping = [frame_head(FIN | PING, Masking::Masked, 125), vec![0; 125]].concat().repeat(500);
    // Until the server takes no more, or 20 MB: pongs pile up on its side.
    for _ in 0..300 {
        if std::io::Write::write_all(&mut hostile.wire.0, &ping).is_err() {
            break;
        }
    }
    healthy.is_all_there_is(&server);
    assert!(server.program.status("VmHWM") < 40_000, "{} kB", server.program.status("VmHWM"));
}

#[test]
fn text_where_a_chunk_is_due_closes_the_line_and_leaves_no_file() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let mut hostile = RawLine::connect(&server, "hostile");
    let id = server.pull_id("hostile");
    server.reaches(&id, "requested");
    let start = format!(r#"{{"type":"upload_start","requestId":"{id}","filename":"f","filesize":10}}"#);
    hostile.send(FIN | TEXT, Masking::Masked, start.as_bytes());
    hostile.send(FIN | TEXT, Masking::Masked, &chunk(&id, 1, b"0123456789"));

    assert_eq!(hostile.closed_by_server(), Some(1008));
    server.reaches(&id, "interrupted");
    healthy.is_all_there_is(&server);
}

#[test]
fn a_close_in_mid_chunk_leaves_no_file() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let mut hostile = RawLine::connect(&server, "hostile");
    let id = server.pull_id("hostile");
    server.reaches(&id, "requested");
    let start = format!(r#"{{"type":"upload_start","requestId":"{id}","filename":"f","filesize":100000}}"#);
    hostile.send(FIN | TEXT, Masking::Masked, start.as_bytes());
    hostile.send(FIN | BINARY, Masking::Masked, &chunk(&id, 1, &[1; 50_000]));
    server.has_bytes(&id);
    // The head of a frame and half of what it announces.
    let second = chunk(&id, 2, &[2; 50_000]);
    hostile.wire.send(&frame_head(FIN | BINARY, Masking::Masked, second.len() as u64));
    hostile.wire.send(&second[..25_000]);

    drop(hostile);

    let transfer = server.reaches(&id, "interrupted");
    assert_eq!(transfer["failure"]["code"], "client_disconnected", "{transfer}");
    healthy.is_all_there_is(&server);
}

#[test]
fn a_close_frame_between_fragments_of_a_chunk_leaves_no_file() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let mut hostile = RawLine::connect(&server, "hostile");
    let id = server.pull_id("hostile");
    server.reaches(&id, "requested");
    let start = format!(r#"{{"type":"upload_start","requestId":"{id}","filename":"f","filesize":1000}}"#);
    hostile.send(FIN | TEXT, Masking::Masked, start.as_bytes());
    hostile.send(BINARY, Masking::Masked, &chunk(&id, 1, &[1; 500]));

    hostile.send(FIN | CLOSE, Masking::Masked, &[0x03, 0xe8]);

    hostile.closed_by_server();
    server.reaches(&id, "interrupted");
    healthy.is_all_there_is(&server);
}
