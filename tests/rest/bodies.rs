//! Bodies of a POST, honest and otherwise: a clear error each, and nothing is started.

use serde_json::json;

use crate::support::server::{SECRET, Server};
use crate::support::v1_client::V1Client;

#[track_caller]
fn post(server: &Server, body: &[u8]) -> crate::support::http::Answer {
    server.request("POST", "/download/shop-001", &[("Content-Type", "application/json")], Some(body))
}

#[test]
fn a_bad_body_is_400_and_starts_nothing() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let long_key = json!({"fileKey": "k".repeat(10 << 10)}).to_string();
    let bodies: Vec<&[u8]> = vec![
        br#"{"fileKey": 5}"#,
        br#"{"fileKey": ["a"]}"#,
        br#"{"fileKey": {"a": 1}}"#,
        br#"{"fileKey": true}"#,
        br#"{"fileKey": null, "colour": "red"}"#,
        br#"{"filekey": null}"#,
        br#"{"fileKey": null"#,
        br#"{"fileKey": "unended"#,
        br#"{"fileKey": null} trailing"#,
        br#"{"fileKey": "a", "fileKey": "b"}"#,
        b"{",
        b"[]",
        b"null",
        b"5",
        b"\"text\"",
        b"fileKey=x",
        b"\xff\xfe",
        br#"{"fileKey": "nul\u0000inside"}"#,
        long_key.as_bytes(),
        br#"{"maxRate": "fast"}"#,
        br#"{"maxRate": -1}"#,
        br#"{"queueFor": 5}"#,
        br#"{"queueFor": "long"}"#,
    ];
    for body in bodies {
        let answer = post(&server, body);
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(body));
        answer.expect_error(400, "bad request");
    }
    assert_eq!(server.get("/transfers").expect(200), json!([]), "nothing was started");
    let id = server.pull_id("shop-001");
    assert_eq!(client.asked().id, id, "the first that the client hears of");
}

#[test]
fn a_body_of_white_space_or_an_empty_object_is_no_error() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    for body in ["{}", " {} \r\n", r#"{"fileKey":null}"#] {
        let id = crate::support::server::id(&post(&server, body.as_bytes()).expect(202));
        server.assert_verified(&id, b"x");
    }
}

#[test]
fn json_ten_thousand_deep_is_400() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let lists = format!("{{\"fileKey\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    for body in [lists, objects, "[".repeat(60_000)] {
        post(&server, body.as_bytes()).expect_error(400, "bad request");
    }
    server.assert_verified(&server.pull_id("shop-001"), b"x");
}

#[test]
fn a_body_of_ten_megabytes_is_413() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let body = format!("{{\"fileKey\":\"{}\"}}", "k".repeat(10_000_000));

    let answer = post(&server, body.as_bytes());

    assert_eq!(answer.status, 413);
    assert!(answer.json()["error"].is_string());
    server.assert_verified(&server.pull_id("shop-001"), b"x");
}

#[test]
fn client_ids_in_a_path_are_checked() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let long = "x".repeat(65);
    for id in [
        "",
        "..%2Fx",
        "%2e%2e",
        ".hidden",
        "-x",
        "a%2Fb",
        "a%0Ab",
        "%ff",
        "%00",
        "a%20b",
        "sch%C3%B6n",
        &long,
    ] {
        for method in ["GET", "POST"] {
            let path = if method == "GET" { format!("/clients/{id}") } else { format!("/download/{id}") };
            let answer = server.request(method, &path, &[], None);
            assert!([400, 404].contains(&answer.status), "{method} {path}: {}", answer.status);
            assert_ne!(answer.json()["error"], "not connected", "{path} can never be connected");
        }
    }
    // A plain id may be percent-encoded.
    let path = "/download/%73hop-001";
    let answer = server.request("POST", path, &[], None);
    server.assert_verified(&crate::support::server::id(&answer.expect(202)), b"x");
}

#[test]
fn a_key_in_the_url_is_no_key() {
    let server = Server::start(&[]);
    let request =
        format!("GET /clients?token={SECRET}&x-api-key={SECRET} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    crate::support::http::exchange(server.port, request.as_bytes()).expect_error(401, "unauthorized");
}
