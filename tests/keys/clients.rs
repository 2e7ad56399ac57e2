//! A client needs a key of its own, and nothing else opens the agents' door.

use serde_json::json;

use crate::scene::{Keys, call, dial, shop};
use crate::support::http::exchange;
use crate::support::server::{SECRET, Server, id};
use crate::support::v1_client::V1Client;

#[test]
fn a_client_comes_in_with_its_own_key_and_with_no_other() {
    let keys = Keys::new();
    let (one, two) = (keys.client("shop-001"), keys.client("shop-002"));
    let server = keys.server(&[]);
    let root = server.key.clone();

    assert_eq!(dial(&server, "shop-001", &one), 101);
    for (client, key) in [
        ("shop-001", &two[..]),
        ("shop-002", &one),
        ("shop-003", &one),
        ("shop-001", &root),
        ("root", &root),
        ("shop-001", SECRET),
        ("shop-001", ""),
        ("shop-001", &one[..one.len() - 1]),
        ("SHOP-001", &one),
    ] {
        assert_eq!(dial(&server, client, key), 401, "{client}");
    }
    // And a client's key opens nothing of the API.
    call(&server, &one, "GET", "/clients", None).expect_error(401, "unauthorized");
    assert_eq!(dial(&server, "shop-002", &two), 101);
}

#[test]
fn both_kinds_of_client_pull_as_before() {
    let keys = Keys::new();
    let (agent, v1) = (keys.client("shop-001"), keys.client("till-1"));
    let server = keys.server(&[]);
    let _agent = shop(&server, "shop-001", &agent);
    server.assert_verified(
        &id(&server.pull("shop-001", &json!({"fileKey": "logs/today.log"}))),
        b"logs/today.log",
    );
    let client = V1Client::dial(server.port, "till-1", &v1).unwrap();
    server.lists("till-1");
    let _serving = client.serve(b"of v1".to_vec());
    server.assert_verified(&server.pull_id("till-1"), b"of v1");

    // A v1 client has its key in the URL, which is told of once, and without the key.
    server.program.wait_line("till-1 sends its secret in the URL");
    for _ in 0..2 {
        assert_eq!(V1Client::dial(server.port, "till-1", "wrong").err(), Some(401));
    }
    let told = server.program.output();
    assert_eq!(told.matches("sends its secret in the URL").count(), 1, "{told}");
    assert!(!told.contains("shop-001 sends"), "an agent sends it in a header: {told}");
}

#[test]
fn with_keys_the_secret_is_off() {
    let keys = Keys::new();
    let one = keys.client("shop-001");
    let server = keys.server(&[("AUTH_SECRET", SECRET)]);
    assert_eq!(server.program.output().matches("so AUTH_SECRET is off").count(), 1);
    call(&server, SECRET, "GET", "/clients", None).expect_error(401, "unauthorized");
    assert_eq!(dial(&server, "shop-001", SECRET), 401);
    assert_eq!(dial(&server, "shop-001", &one), 101);
    server.get("/clients").expect(200);
}

#[test]
fn without_keys_the_secret_is_for_both() {
    let server = Server::start(&[]);
    assert_eq!(dial(&server, "shop-001", SECRET), 101);
    let answer = server.get("/transfers").expect(200);
    assert_eq!(answer, json!([]));
}

#[test]
fn what_a_caller_says_about_its_key_does_not_pass() {
    let keys = Keys::new();
    let server = keys.server(&[]);
    let root_id = crate::scene::id_of(&server.key).to_owned();
    for name in ["x-towline-key", "X-Towline-Key"] {
        let get = format!("GET /clients HTTP/1.1\r\nHost: h\r\n{name}: {root_id}\r\n");
        exchange(server.port, format!("{get}\r\n").as_bytes()).expect_error(401, "unauthorized");
        let reader = keys.operator(
            &format!("reader{}", name.len() + usize::from(name.starts_with('X'))),
            "read",
            "none",
            "none",
        );
        let answer = exchange(server.port, format!("{get}x-api-key: {reader}\r\n\r\n").as_bytes());
        assert_eq!(answer.status, 200);
        let post = get.replace("GET /clients", "POST /download/shop-001");
        let answer = exchange(server.port, format!("{post}x-api-key: {reader}\r\n\r\n").as_bytes());
        answer.expect_error(403, "forbidden");
    }
}
