//! Whatever a peer writes, the log has only lines that the server began, and nothing in them but what can be read.

use serde_json::json;

use crate::support::beside::{Beside, MEMORY};
use crate::support::files::sha256;
use crate::support::http::exchange;
use crate::support::raw_line::{CLOSE, FIN, Masking, RawLine, TEXT, ask_upgrade};
use crate::support::server::{SECRET, Server};
use crate::support::v1_client::{V1Client, packed};
use tungstenite::Message;

/// A line of its own, colours, a bell, a way back to the line's beginning, C1 controls, letters that turn the line around.
const EVIL: &str =
    "x\r\n2025-10-31T15:30:00.000Z [INFO] forged\u{1b}[31m\u{7}\u{8}\u{85}\u{9b}31m\u{202e}\u{2028}\u{0}y";

/// The same where a URL takes it.
fn coded() -> String {
    EVIL.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn operators_write_it(server: &Server) {
    let evil = coded();
    for path in [
        format!("/clients/{evil}"),
        format!("/clients/{}/files?path={evil}", Beside::ID),
        format!("/transfers?clientId={evil}"),
        format!("/transfers?{evil}={evil}"),
        format!("/transfers/{evil}"),
        format!("/{evil}"),
    ] {
        server.get(&path);
    }
    let key = EVIL.replace('\0', "");
    server.post(&format!("/download/{}", Beside::ID), &json!({"fileKey": key}));
    server.post(&format!("/download/{}", Beside::ID), &json!({EVIL: EVIL}));
    server.post("/downloads", &json!({"clients": [EVIL, Beside::ID], "fileKey": key, "meta": {EVIL: EVIL}}));
    server.delete(&format!("/transfers/{evil}"));
    let printable: String = EVIL.chars().filter(|c| !c.is_control()).collect();
    server.request(
        "GET",
        "/clients",
        &[("Idempotency-Key", &printable), ("X-Forwarded-For", &printable)],
        None,
    );
    // As it is, in every place of a request.
    for request in [
        format!("GET /{EVIL} HTTP/1.1\r\nHost: h\r\n\r\n"),
        format!("{EVIL} / HTTP/1.1\r\nHost: h\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {EVIL}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: h\r\n{EVIL}: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: h\r\nx-api-key: {EVIL}\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: h\r\nX-\u{fc}: \u{9b}31m\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: h\r\nX-A: \u{9b}31m\r\n\r\n".to_owned(),
    ] {
        exchange(server.port, request.as_bytes());
    }
}

fn agents_write_it(server: &Server) {
    let evil = coded();
    for target in [
        format!("/ws?clientId={evil}&token={SECRET}"),
        format!("/ws?clientId=shop-001&token={evil}"),
        format!("/ws?{evil}={evil}&clientId=shop-001&token={SECRET}x"),
        format!("/ws?clientId=shop-001&token={SECRET}x&%zz{evil}"),
    ] {
        ask_upgrade(server.port, target.as_bytes(), "").answer();
    }
    // In every field of every message; after some of them the line is closed.
    let id = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
    for (n, message) in [
        json!({"type": EVIL}),
        json!({"type": "register_meta", "meta": {EVIL: EVIL}, "protocol": 2, "agentVersion": EVIL, "shares": [EVIL]}),
        json!({"type": "register_meta", "meta": EVIL}),
        json!({"type": "register_meta", "meta": {"a": EVIL.repeat(100)}}),
        json!({"type": "heartbeat", "ts": EVIL}),
        json!({"type": "error", "message": EVIL}),
        json!({"type": "error", "requestId": id, "code": EVIL, "message": EVIL}),
        json!({"type": "error", "requestId": EVIL, "message": EVIL}),
        json!({"type": "listing", "requestId": id, "entries": [{"name": EVIL, "kind": EVIL}], "truncated": false}),
        json!({"type": "upload_start", "requestId": EVIL, "filename": EVIL, "filesize": 1}),
        json!({"type": "upload_end", "requestId": id, "checksum": EVIL, "filesize": 1}),
        json!(EVIL),
    ]
    .into_iter()
    .enumerate()
    {
        let mut line = RawLine::connect(server, &format!("hostile-{n}"));
        line.send(FIN | TEXT, Masking::Masked, message.to_string().as_bytes());
        line.send(FIN | CLOSE, Masking::Masked, &[&[3, 232][..], &EVIL.as_bytes()[..60]].concat());
        line.closed_by_server();
    }
    for (n, header) in [EVIL.to_owned(), json!({"requestId": EVIL}).to_string(), json!({EVIL: 1}).to_string()]
        .into_iter()
        .enumerate()
    {
        let mut line = V1Client::connect(server, &format!("chunks-{n}"));
        let _ = line.socket.send(Message::binary(packed(header.as_bytes(), EVIL.as_bytes()))); // may be closed by now
        line.closed_by_server();
    }
}

fn transfers_carry_it(server: &Server) {
    let mut client = V1Client::connect(server, "shop-001");
    let completed = server.pull_id("shop-001");
    let asked = client.asked();
    client.begin(&asked.id, EVIL, 1);
    client.chunk(&asked.id, 1, b"x");
    client.end(&asked.id, &sha256(b"x"), 1);
    server.assert_verified(&completed, b"x");
    for (code, message) in [(None, EVIL), (Some(EVIL), EVIL), (Some("read_failed"), EVIL)] {
        let failed = server.pull_id("shop-001");
        let asked = client.asked();
        let mut error = json!({"type": "error", "requestId": asked.id, "message": message});
        if let Some(code) = code {
            error["code"] = json!(code);
        }
        client.say(&error);
        server.ended(&failed);
    }
    let wrong = server.pull_id("shop-001");
    let asked = client.asked();
    client.begin(&asked.id, EVIL, 1);
    client.chunk(&asked.id, 9, b"x");
    server.assert_failed(&wrong, "protocol_violation");
}

#[test]
fn the_log_has_only_lines_that_the_server_began() {
    let beside = Beside::begin(&[("LOG_LEVEL", "debug")]);
    let server = &beside.server;
    operators_write_it(server);
    agents_write_it(server);
    transfers_carry_it(server);

    let raw = server.program.raw_output();
    let text = String::from_utf8(raw).expect("the log is UTF-8");
    assert!(text.contains("forged"), "something of it is logged, or this tests nothing");
    for line in text.split_terminator('\n') {
        let is_told =
            ["Server running on port ", "WebSocket path: "].iter().any(|start| line.starts_with(start));
        assert!(is_told || is_of_the_log(line), "{line:?}");
        let bad = line.chars().find(|c| {
            c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        });
        assert_eq!(bad, None, "{line:?}");
        assert!(line.len() < 2000, "{} bytes in a line", line.len());
    }
    assert!(!text.contains(SECRET));
    beside.ends_well(MEMORY);
}

/// `2025-10-31T15:30:00.000Z [INFO] …`, and the forged one is never at the beginning.
fn is_of_the_log(line: &str) -> bool {
    let (time, rest) = line.split_at_checked(24).unwrap_or_default();
    let digits = time.bytes().filter(u8::is_ascii_digit).count();
    let level = rest.get(1..).is_some_and(|rest| {
        ["[ERROR] ", "[WARN] ", "[INFO] ", "[DEBUG] "].iter().any(|level| rest.starts_with(level))
    });
    digits == 17 && time.ends_with('Z') && level && !rest[1..].starts_with("[INFO] forged")
}
