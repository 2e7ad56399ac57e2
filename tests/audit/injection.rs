//! Whatever a peer or a caller puts into whatever field it controls: an event is one line, which is JSON, and shows nothing
//! on a terminal but itself.

use std::fs;

use serde_json::json;

use crate::log::{events, good, lines, log_of};
use crate::support::http::{Wire, exchange};
use crate::support::raw_line::{ask_upgrade, refused};
use crate::support::server::{SECRET, Server, id};
use crate::support::v1_client::V1Client;

/// Ends of lines of all kinds, a forged line, escape sequences, quotes, a change of direction.
const HOSTILE: &str = "a\n{\"seq\":1,\"event\":\"x\"}\r\u{2028}\u{85}\u{1b}[31m\u{9b}31m\u{7}\"\\\u{202e}\u{7f}\u{feff}\u{200b}é";

/// Asserts that nothing but line feeds at the ends of lines is other than plain text, and that the chain holds.
#[track_caller]
fn is_plain(server: &Server) {
    let log = log_of(&server.uploads);
    let text = fs::read_to_string(&log).unwrap();
    let disguises = |c: &char| {
        (c.is_control() && *c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(disguises), None);
    for (line, number) in lines(&log).iter().zip(1..) {
        assert_eq!(line["seq"], number);
        assert_ne!(line["event"], "x", "a forged line");
    }
    good(&log);
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn what_callers_say() {
    let server = Server::start(&[]);
    let log = log_of(&server.uploads);
    let _client = V1Client::connect(&server, "till-7");
    server.post("/download/till-7", &json!({ "fileKey": HOSTILE })).expect(202);
    assert_eq!(events(&log, "pull_asked")[0]["fileKey"], HOSTILE, "it can be read back as it was");
    server.post("/download/till-8", &json!({ "fileKey": HOSTILE })).expect(404);
    assert_eq!(events(&log, "refused")[0]["fileKey"], HOSTILE);
    let mut ugly =
        vec![json!({ "clients": [HOSTILE] }), json!({ "clients": ["till-7"], "meta": { HOSTILE: HOSTILE } })];
    ugly.push(json!({ HOSTILE: 1 }));
    for body in ugly {
        server.post("/downloads", &body);
    }
    let key = [("Idempotency-Key", "\"\\{}\\n%0a\u{20}x")];
    server.request("POST", "/download/till-7", &key, Some(b"{}")).expect(202);
    let ugly = encoded(HOSTILE);
    for path in [
        format!("/download/{ugly}"),
        format!("/clients/{ugly}"),
        format!("/{ugly}?x={ugly}"),
        format!("/clients/till-7/files?path={ugly}"),
        "/\"\\{}<>|^`".to_owned(),
        format!("/{}", "%0A".repeat(4000)),
    ] {
        server.get(&path);
        server.request("POST", &path, &[("User-Agent", "\"\\{}")], Some(b"{}"));
    }
    // Beyond what a request may be.
    for method in ["GET\u{1b}[31m", "G\"ET", "BREW", &"X".repeat(300)] {
        let head = format!("{method} /clients HTTP/1.1\r\nHost: x\r\nx-api-key: {SECRET}\r\n\r\n");
        exchange(server.port, head.as_bytes());
    }
    let head = b"GET /\xc2\x85\xe2\x80\xa8\x1b HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut wire = Wire::connect(server.port);
    wire.send(head);
    wire.answer();
    let count = events(&log, "refused").len();
    assert!(count >= 10, "{count}");
    is_plain(&server);
}

#[test]
fn what_clients_say() {
    let server = Server::start(&[]);
    let log = log_of(&server.uploads);
    for target in [
        format!("/ws?clientId={}&token={SECRET}", encoded(HOSTILE)),
        format!("/ws?clientId=till-7&token={}", encoded(HOSTILE)),
        format!("/ws?{0}={0}", encoded(HOSTILE)),
    ] {
        assert!(refused(server.port, target.as_bytes(), "").status >= 400);
    }
    ask_upgrade(server.port, b"/ws?clientId=a&clientId=%zz", "Origin: \"\\\r\n").answer();
    let no = events(&log, "agent_refused");
    assert_eq!(no.len(), 4);
    assert!(no[0]["message"].as_str().unwrap().contains("a\\n{"), "as the log shows it: {}", no[0]);

    let mut client = V1Client::connect(&server, "till-7");
    client.say(&json!({ "type": "register_meta", "meta": { HOSTILE: HOSTILE }, "agentVersion": HOSTILE }));
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(id(&server.pull("till-7", &json!({}))));
        client.asked();
    }
    client.begin(&ids[0], HOSTILE, 3);
    client.say(&json!({ "type": "error", "requestId": ids[0], "message": HOSTILE, "code": HOSTILE }));
    client.say(&json!({ "type": "error", "requestId": ids[1], "message": HOSTILE.repeat(1000) }));
    for id in &ids {
        server.assert_failed(id, "agent_error");
    }
    let ended = events(&log, "transfer_ended");
    assert_eq!(ended.len(), 2);
    assert!(ended.iter().all(|line| line["code"] == "agent_error" && line["status"] == "failed"));
    is_plain(&server);
}
