//! Heads that break a rule or a bound: one clear answer each.

use crate::support::http::exchange;
use crate::support::server::{SECRET, Server};

fn head(lines: &str) -> String {
    format!("POST /download/shop-001 HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\n{lines}\r\n")
}

#[test]
fn a_transfer_encoding_is_411() {
    let server = Server::start(&[]);
    for lines in [
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\nContent-Length: 2\r\n",
    ] {
        let answer = exchange(server.port, (head(lines) + "2\r\n{}\r\n0\r\n\r\n").as_bytes());
        assert_eq!(answer.status, 411, "{lines}");
    }
    server.get("/clients").expect(200);
}

#[test]
fn a_content_length_that_is_not_one_number_is_400() {
    let server = Server::start(&[]);
    for lines in [
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: -2\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length: two\r\n",
        "Content-Length:\r\n",
    ] {
        let answer = exchange(server.port, (head(lines) + "{}").as_bytes());
        assert_eq!(answer.status, 400, "{lines}");
    }
    server.get("/clients").expect(200);
}

#[test]
fn a_huge_content_length_is_refused_before_its_body() {
    let server = Server::start(&[]);
    for length in [
        "65537",
        "100000000000000",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        let answer = exchange(server.port, head(&format!("Content-Length: {length}\r\n")).as_bytes());
        assert!(
            answer.status == 413 || answer.status == 400 && length.len() >= 20,
            "{length}: {}",
            answer.status
        );
    }
    server.get("/clients").expect(200);
}

#[test]
fn a_head_over_sixteen_kib_is_431_however_it_arrives() {
    let server = Server::start(&[]);
    let whole = head(&format!("X-Long: {}\r\n", "a".repeat(17 << 10)));
    assert_eq!(exchange(server.port, whole.as_bytes()).status, 431);
    let endless = format!("GET /clients HTTP/1.1\r\nX-Long: {}", "a".repeat(100 << 10));
    assert_eq!(exchange(server.port, endless.as_bytes()).status, 431);
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(17 << 10));
    let status = exchange(server.port, target.as_bytes()).status;
    assert!(status == 431 || status == 414, "{status}");
    // Just below the bound is fine.
    let most = head(&format!("X-Long: {}\r\n", "a".repeat(15 << 10)));
    exchange(server.port, most.as_bytes()).expect_error(404, "not connected");
}

#[test]
fn more_than_sixty_four_header_lines_are_431() {
    let server = Server::start(&[]);
    let lines: String = (0..65).map(|n| format!("X-{n}: {n}\r\n")).collect();
    assert_eq!(exchange(server.port, head(&lines).as_bytes()).status, 431);
    let lines: String = (0..40).map(|n| format!("X-{n}: {n}\r\n")).collect();
    exchange(server.port, head(&lines).as_bytes()).expect_error(404, "not connected");
}

#[test]
fn bare_garbage_is_400() {
    let server = Server::start(&[]);
    let garbage: &[&[u8]] = &[
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /clients HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /clients HTTP/1.1\r\nspace before : colon\r\n\r\n",
        b"GET /cli ents HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /clients HTTP/1.1\r\nName: a\0b\r\n\r\n",
    ];
    for bytes in garbage {
        let status = exchange(server.port, bytes).status;
        assert!(status == 400 || status == 505, "{}: {status}", String::from_utf8_lossy(bytes));
    }
    server.get("/clients").expect(200);
}

#[test]
fn a_target_with_hostile_bytes_does_no_harm() {
    let server = Server::start(&[]);
    let key = format!("Host: localhost\r\nx-api-key: {SECRET}\r\n\r\n");
    for target in [
        &b"/clients/\xff\xfe"[..],
        b"/clients/%",
        b"/clients/%zz",
        b"/clients/%0d%0aX-Evil:%201",
        b"*",
        b"/\x7f",
        b"http://localhost/clients",
    ] {
        let request = [b"GET ", target, b" HTTP/1.1\r\n", key.as_bytes()].concat();
        let answer = exchange(server.port, &request);
        let name = String::from_utf8_lossy(target);
        assert!((200..500).contains(&answer.status), "{name}: {}", answer.status);
        assert!(answer.header("x-evil").is_none(), "{name}");
    }
    server.get("/clients").expect(200);
}

#[test]
fn an_error_of_the_door_is_json_too() {
    let server = Server::start(&[]);
    for request in [
        "hello\r\n\r\n".to_owned(),
        head("Transfer-Encoding: chunked\r\n"),
        head("Content-Length: 999999\r\n"),
    ] {
        let answer = exchange(server.port, request.as_bytes());
        let body = answer.json();
        assert!(body["error"].is_string() && body["message"].is_string(), "{}: {body}", answer.status);
        assert_eq!(answer.header("connection").map(str::to_lowercase).as_deref(), Some("close"));
    }
}
