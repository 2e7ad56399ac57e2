//! `MAX_PULLS_PER_HOUR` and `MAX_BYTES_PER_DAY`: what the shop's owner allows, whatever the server asks.

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::files::{random_file, sha256};
use crate::support::proxy::Proxy;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;
use crate::support::v1_server::V1Server;
use crate::v2_server::accept;

/// Two files of 2 MB, `s/a` and `s/b`; `s/a` is the `FILE_PATH` too.
fn shop(url: &str, settings: &[(&str, &str)]) -> (Agent, [Vec<u8>; 2]) {
    let home = TempDir::new();
    let contents = [(1, "a"), (2, "b")].map(|(seed, name)| random_file(&home.join(name), seed, 2_000_000));
    let (folder, file) = (format!("s={}", home.display()), home.join("a"));
    let settings = [settings, &[("SHARES", &*folder), ("FILE_PATH", file.to_str().unwrap())]].concat();
    (Agent::start_in(home, url, "shop-001", &settings), contents)
}

fn pull(server: &Server, key: &str) -> String {
    id(&server.pull("shop-001", &json!({"fileKey": key})))
}

/// It has failed at the limit, at its first attempt, and says until when.
#[track_caller]
fn is_over(server: &Server, id: &str, limit: &str) -> Value {
    let transfer = server.assert_failed(id, "limit_reached");
    let message = transfer["failure"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with(&format!("this client gives at most {limit}")), "{message}");
    assert_eq!(transfer["attempts"], 1, "it is not tried again: {transfer}");
    transfer
}

#[test]
fn no_more_pulls_than_the_owner_allows_in_an_hour() {
    let server = Server::start(&[]);
    let (agent, [a, b]) = shop(&server.url(), &[("MAX_PULLS_PER_HOUR", "2")]);
    server.lists_agent("shop-001");
    server.assert_verified(&pull(&server, "s/a"), &a);
    server.assert_failed(&pull(&server, "s/none"), "file_not_found"); // is no pull
    server.assert_verified(&pull(&server, "s/b"), &b);
    for key in ["s/a", "s/b"] {
        let transfer = is_over(&server, &pull(&server, key), "2 pulls an hour: ask again after 20");
        assert_eq!(transfer["bytesOnWire"], 0, "{transfer}");
    }
    agent.program.wait_nth_line("limit_reached: this client gives at most 2 pulls an hour", 2);
    // It is what the README says: counted in memory.
    let home = agent.kill();
    let path = home.join("b");
    let settings = [("MAX_PULLS_PER_HOUR", "2"), ("FILE_PATH", path.to_str().unwrap())];
    let _agent = Agent::start(&server.url(), "shop-001", &settings);
    server.assert_verified(&id(&server.pull("shop-001", &json!({"queueFor": "1m"}))), &b);
}

#[test]
fn a_pull_that_goes_on_after_a_drop_counts_once() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.port);
    let (_agent, [a, _]) = shop(&proxy.url(), &[("MAX_PULLS_PER_HOUR", "1"), ("MAX_RATE", "2M")]);
    server.lists_agent("shop-001");
    let id = pull(&server, "s/a");
    server.has_bytes(&id);
    proxy.cut();
    let transfer = server.assert_verified(&id, &a);
    assert_eq!(transfer["attempts"], 2, "{transfer}");
    is_over(&server, &pull(&server, "s/a"), "1 pulls an hour");
}

#[test]
fn a_file_that_does_not_fit_into_the_day_is_refused_before_a_byte_leaves() {
    let server = Server::start(&[]);
    let (_agent, [a, b]) = shop(&server.url(), &[("MAX_BYTES_PER_DAY", "3M")]);
    server.lists_agent("shop-001");
    server.assert_verified(&pull(&server, "s/a"), &a);
    let refused = is_over(&server, &pull(&server, "s/b"), "3000000 bytes a day: ask again after 20");
    assert_eq!(refused["bytesOnWire"], 0, "{refused}");
    // What the server has already does not leave again.
    let again = server.assert_verified(&pull(&server, "s/a"), &a);
    assert!(again["bytesOnWire"].as_u64() < Some(100_000), "{again}");
    assert_ne!(a, b);

    let server = Server::start(&[]);
    let (_agent, _) = shop(&server.url(), &[("MAX_BYTES_PER_DAY", "1M")]);
    server.lists_agent("shop-001");
    is_over(&server, &pull(&server, "s/a"), "1000000 bytes a day, and this file alone has more");
}

#[test]
fn pulls_at_once_end_where_the_day_does() {
    let server = Server::start(&[]);
    let (_agent, _) = shop(&server.url(), &[("MAX_BYTES_PER_DAY", "3M"), ("MAX_RATE", "4M")]);
    server.lists_agent("shop-001");
    // Each fits when it begins.
    let ids = ["s/a", "s/b"].map(|key| pull(&server, key));
    let mut left = 0;
    let mut over = 0;
    for id in &ids {
        let transfer = server.ended(id);
        left += transfer["bytesOnWire"].as_u64().unwrap();
        if transfer["status"] == "failed" {
            is_over(&server, id, "3000000 bytes a day: ask again after");
            over += 1;
        }
    }
    assert!(over >= 1 && left <= 3_000_000 && left > 2_900_000, "{over} over, {left} bytes left");
}

#[test]
fn one_id_for_many_files_is_many_pulls() {
    let server = V1Server::start();
    let (_agent, [a, _]) = shop(&server.url(), &[("MAX_PULLS_PER_HOUR", "1")]);
    let mut line = accept(&server);
    let id = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
    let mut ask = |attempt: u32, key: &str, then: &str| {
        line.say(&json!({"type": "download_request", "requestId": id, "fileKey": key, "chunkSize": 65536, "attempt": attempt}));
        let mut bytes = 0;
        loop {
            match line.hear() {
                tungstenite::Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] == "upload_start" {
                        continue;
                    }
                    assert_eq!(message["type"], then, "{message}");
                    return (message, bytes);
                }
                other => bytes += other.len(),
            }
        }
    };
    let (end, _) = ask(1, "s/a", "upload_end");
    assert_eq!(end["checksum"], sha256(&a));
    for (attempt, key) in [(2, "s/b"), (3, "s/a"), (1, "s/a")] {
        let (refused, bytes) = ask(attempt, key, "error");
        assert_eq!((&refused["code"], bytes), (&json!("limit_reached"), 0), "{refused}");
    }
}

#[test]
fn a_v1_server_hears_the_word() {
    let server = V1Server::start();
    let (agent, [a, _]) = shop(&server.url(), &[("MAX_PULLS_PER_HOUR", "1"), ("TOKEN_IN_URL", "true")]);
    let mut line = server.accept();
    assert_eq!(line.hear_text()["type"], "register_meta");
    let id = |number: u8| format!("1b4e28ba-2fa1-41d2-883f-0016d3cca4{number:02x}");
    line.ask(&id(1), &json!(null), 65536);
    assert_eq!(sha256(&line.receive(&id(1)).bytes), sha256(&a));
    line.ask(&id(2), &json!(null), 65536);
    let refused = line.hear_text();
    assert_eq!(
        (&refused["type"], &refused["message"]),
        (&json!("error"), &json!("limit_reached")),
        "{refused}"
    );
    agent.program.wait_line("at most 1 pulls an hour: ask again after");
}
