//! Compressed only where both sides agree; everybody else notices nothing of it.

use std::fs;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::files::log_lines;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;
use crate::support::v1_client::V1Client;
use crate::support::v1_server::V1Server;

const SIZE: usize = 1 << 20;

/// What a pull of a log costs on the line between a server and an agent with these settings.
#[track_caller]
fn cost(server: &[(&str, &str)], agent: &[(&str, &str)]) -> u64 {
    let server = Server::start(server);
    let home = TempDir::new();
    let content = log_lines(1, SIZE);
    fs::write(home.join("file"), &content).unwrap();
    let _agent = Agent::serving(&server, "shop-001", home, agent);
    let transfer = server.assert_verified(&server.pull_id("shop-001"), &content);
    transfer["bytesOnWire"].as_u64().unwrap()
}

#[test]
fn either_side_may_turn_it_off() {
    assert!(cost(&[], &[("COMPRESS", "always")]) < SIZE as u64 / 2);
    assert_eq!(cost(&[("COMPRESS", "off")], &[("COMPRESS", "always")]), SIZE as u64);
    assert_eq!(cost(&[], &[("COMPRESS", "off")]), SIZE as u64);
}

#[test]
fn a_v1_client_is_asked_as_ever() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let asked_for = id(&server.pull("shop-001", &json!({})));
    let request = client.hear();
    let expected =
        json!({"type": "download_request", "requestId": asked_for, "fileKey": null, "chunkSize": 65536});
    assert_eq!(request, expected);
}

#[test]
fn a_v1_server_hears_nothing_of_it() {
    let server = V1Server::start();
    let home = TempDir::new();
    fs::write(home.join("file"), log_lines(1, SIZE)).unwrap();
    let path = home.join("file");
    let settings = [("FILE_PATH", path.to_str().unwrap()), ("TOKEN_IN_URL", "true"), ("COMPRESS", "always")];
    let _agent = Agent::start_in(home, &server.url(), "shop-001", &settings);
    let mut line = server.accept_in_silence();
    line.say(&json!({"type": "hello", "serverTime": "2025-10-31T15:30:00.123Z"}));
    assert_eq!(line.hear_text(), json!({"type": "register_meta", "meta": {}}));
}
