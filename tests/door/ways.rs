//! The ways of HTTP/1.1 that callers use: 100-continue, HEAD, keep-alive, pipelining, proxies' headers.

use serde_json::json;

use crate::support::http::{Wire, exchange};
use crate::support::server::{SECRET, Server, id};
use crate::support::v1_client::V1Client;

#[test]
fn expect_100_continue_is_answered_before_the_body() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let mut wire = Wire::connect(server.port);
    wire.send(
        format!(
            "POST /download/shop-001 HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\n\
             Content-Length: 17\r\nExpect: 100-continue\r\n\r\n"
        )
        .as_bytes(),
    );
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";

    assert_eq!(String::from_utf8_lossy(&wire.read_exact(go_on.len())), String::from_utf8_lossy(go_on));

    wire.send(br#"{"fileKey": null}"#);
    server.assert_verified(&id(&wire.answer().expect(202)), b"x");
}

#[test]
fn expect_100_continue_with_a_body_that_is_too_large_is_413_at_once() {
    let server = Server::start(&[]);
    let request = format!(
        "POST /download/shop-001 HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\n\
         Content-Length: 10000000\r\nExpect: 100-continue\r\n\r\n"
    );
    assert_eq!(exchange(server.port, request.as_bytes()).status, 413);
}

#[test]
fn head_has_the_length_and_no_body() {
    let server = Server::start(&[]);
    let full = server.get("/clients");

    let head = server.request("HEAD", "/clients", &[], None);

    assert_eq!((head.status, head.body.len()), (200, 0));
    if let Some(length) = head.header("content-length") {
        assert_eq!(length, full.body.len().to_string());
    }
}

#[test]
fn keep_alive_is_declined_in_the_answer() {
    let server = Server::start(&[]);
    let request = format!(
        "GET /clients HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nx-api-key: {SECRET}\r\n\r\n"
    );

    let answer = exchange(server.port, request.as_bytes()); // which also asserts that the server closes

    answer.expect(200);
    assert_eq!(answer.header("connection").map(str::to_lowercase).as_deref(), Some("close"));
}

#[test]
fn an_http_1_0_caller_is_answered() {
    let server = Server::start(&[]);
    let request = format!("GET /clients HTTP/1.0\r\nx-api-key: {SECRET}\r\n\r\n");
    let answer = exchange(server.port, request.as_bytes());
    assert!([200, 400, 505].contains(&answer.status), "{}", answer.status);
}

#[test]
fn what_is_pipelined_behind_a_request_is_never_run() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let get = format!("GET /clients HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\n\r\n");
    let post = format!("POST /download/shop-001 HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\n\r\n");

    // `exchange` asserts that one answer comes and nothing behind it.
    exchange(server.port, (get.clone() + &post).as_bytes()).expect(200);
    exchange(server.port, (get.clone() + "\0\x16garbage\r\n\r\n").as_bytes()).expect(200);
    let smuggled = format!(
        "POST /download/nobody HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\nContent-Length: 2\r\n\r\n{{}}{post}"
    );
    exchange(server.port, smuggled.as_bytes()).expect_error(404, "not connected");

    assert_eq!(server.get("/transfers").expect(200), json!([]));
    let id = server.pull_id("shop-001");
    assert_eq!(client.asked().id, id, "the first that the client hears of");
}

#[test]
fn the_callers_own_address_is_logged_and_not_the_one_that_it_claims() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let claimed = "203.0.113.77";
    let headers = [("X-Forwarded-For", claimed), ("Forwarded", "for=203.0.113.77"), ("X-Real-IP", claimed)];

    let answer = server.request("POST", "/download/shop-001", &headers, None).expect(202);

    let transfer = server.assert_verified(&id(&answer), b"x");
    let asked_by = transfer["requestedBy"].as_str().unwrap();
    assert!(asked_by.contains("127.0.0.1"), "{transfer}");
    assert!(!asked_by.contains(claimed), "{transfer}");
    assert!(!server.program.output().contains(claimed), "nor in the log");
}
