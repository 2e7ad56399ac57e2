//! Requests that two readers could read in two ways, that are none, or far too long.

use crate::support::beside::{Beside, MEMORY};
use crate::support::http::exchange;
use crate::support::server::SECRET;

/// A TLS 1.2 record with the beginning of a ClientHello, as OpenSSL sends it.
const CLIENT_HELLO: &[u8] =
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xd0\x1c\x8b\x5f\x6e\x0f\x01\x02\x03";

#[test]
fn what_could_be_smuggled_is_refused_and_nothing_of_it_is_run() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let transfers = server.get("/transfers").expect(200);
    let hidden = format!("POST /download/{} HTTP/1.1\r\nHost: h\r\nx-api-key: {SECRET}\r\n\r\n", Beside::ID);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for (lines, status, words) in [
        ("Content-Length: 2\r\nContent-Length: 2", 400, "once"),
        ("Content-Length: 2\r\nContent-Length: 200", 400, "once"),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", 411, "Content-Length"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2", 411, "Content-Length"),
        ("Transfer-Encoding: xchunked", 411, "Content-Length"),
        ("Transfer-Encoding:\r\n chunked", 400, "folded"),
        ("X-A: b\r\n\tContent-Length: 2", 400, "folded"),
        ("X-A: b\nContent-Length: 2", 400, "CR LF"),
        ("X-A: b\rContent-Length: 2", 400, ""),
        ("Transfer-Encoding : chunked", 400, "colon"),
        ("Content-Length : 2", 400, "colon"),
        (" Content-Length: 2", 400, "folded"),
        ("Content-Length: +2", 400, "decimal"),
        ("Content-Length: -2", 400, "decimal"),
        ("Content-Length: 2,2", 400, "decimal"),
        ("Content-Length: 0x2", 400, "decimal"),
        ("Content-Length: 2 2", 400, "decimal"),
        ("Content-Length:", 400, "decimal"),
        ("Host: other", 400, "host"),
    ] {
        let rest_target = "/download/nobody".to_owned();
        let ws_target = format!("/ws?clientId=smuggler&token={SECRET}");
        for (method, target, more) in [("POST", &rest_target, "X-B: c"), ("GET", &ws_target, upgrade)] {
            let head =
                format!("{method} {target} HTTP/1.1\r\nHost: h\r\nx-api-key: {SECRET}\r\n{lines}\r\n{more}");
            // `exchange` asserts that one answer comes, nothing behind it, and then the end.
            let answer = exchange(server.port, format!("{head}\r\n\r\n{{}}{hidden}").as_bytes());
            assert_eq!(answer.status, status, "{method} {lines:?}");
            let body = answer.json();
            assert!(body["message"].as_str().unwrap().contains(words), "{lines:?}: {body}");
        }
    }
    // A handshake with a body: are its bytes frames, or not?
    let frame = "\u{1}\u{0}";
    let head = format!(
        "GET /ws?clientId=smuggler&token={SECRET} HTTP/1.1\r\nHost: h\r\n{upgrade}\r\nContent-Length: 2\r\n\r\n{frame}"
    );
    exchange(server.port, head.as_bytes()).expect_error(400, "bad request");

    assert_eq!(server.clients(), [Beside::ID]);
    let now = server.get("/transfers").expect(200);
    assert_eq!(now.as_array().map(Vec::len), transfers.as_array().map(Vec::len), "{now}");
    beside.ends_well(MEMORY);
}

#[test]
fn what_is_no_request_is_told_so_in_words() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let megabyte = format!("GET / HTTP/1.1\r\nHost: h\r\n{}", "X-A: bcdefghi\r\n".repeat((1 << 20) / 15));
    let one_line = format!("GET / HTTP/1.1\r\nHost: h\r\nX-A: {}", "b".repeat(1 << 20));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(1 << 20));
    for (bytes, status, words) in [
        (&b"GET /clients HTTP/1.1\r\nx-api-key: k\r\n\r\n"[..], 400, "Host"),
        (megabyte.as_bytes(), 431, "16384"),
        (one_line.as_bytes(), 431, "16384"),
        (long_target.as_bytes(), 431, "16384"),
        (b"GET /clients\r\n", 400, "HTTP/0.9"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0", 400, "HTTP/2"),
        (CLIENT_HELLO, 400, "this port does not speak TLS: use http:// or ws://"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", 400, "first line"),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 400, "proxy"),
        (b"\x05\x01\x00\r\n", 400, "first line"),
    ] {
        let answer = exchange(server.port, bytes);
        let message = answer.expect(status)["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{message}");
    }
    server.program.wait_line("refused: 400: this port does not speak TLS");
    // Again and again: told each time, logged now and then.
    for _ in 0..500 {
        assert_eq!(exchange(server.port, CLIENT_HELLO).status, 400);
    }
    let told = server.program.output().matches("does not speak TLS").count();
    assert!(told <= 30, "{told} lines");
    beside.ends_well(MEMORY);
}

#[test]
fn json_a_thousand_deep_is_refused() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{{\"fileKey\":{}1{}}}", open.repeat(5000), close.repeat(5000));
        let answer = server.request("POST", &format!("/download/{}", Beside::ID), &[], Some(deep.as_bytes()));
        answer.expect_error(400, "bad request");
        let answer = server.request("POST", "/downloads", &[], Some(deep.as_bytes()));
        answer.expect_error(400, "bad request");
    }
    beside.ends_well(MEMORY);
}
