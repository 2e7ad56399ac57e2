//! SIGTERM and SIGINT: no new work, a while for what runs, a word to the clients, nothing lost.

mod support;

use rustix::process::Signal;
use serde_json::json;
use support::agent::Agent;
use support::files::{random_bytes, random_file};
use support::healthy::Healthy;
use support::server::Server;
use support::temp::TempDir;
use support::v1_client::V1Client;

#[test]
fn an_idle_server_ends_at_once_and_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::start(&[]);
        let client = V1Client::connect(&server, "shop-001");
        server.program.signal(signal);
        assert_eq!(server.program.wait_exit(), 0);
        client.closed_by_server();
    }
}

#[test]
fn a_running_transfer_may_end_but_no_new_one_begins() {
    let mut server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let content = random_bytes(1, 200_000);
    let id = server.pull_id("shop-001");
    let asked = client.asked();
    client.begin(&id, "pos.db", content.len());
    client.chunk(&id, 1, &content[..65536]);
    server.has_bytes(&id);

    server.program.signal(Signal::TERM);
    server.program.wait_line("stopping");
    let answer = server.post("/download/shop-001", &json!({}));
    assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some("stopping")));
    assert!(answer.header("retry-after").is_some());
    for (payload, seq) in content[65536..].chunks(asked.chunk_size).zip(2..) {
        client.chunk(&id, seq, payload);
    }
    client.end(&id, &support::files::sha256(&content), content.len());

    assert_eq!(client.receipt(&id)["ok"], true);
    assert_eq!(server.program.wait_exit(), 0);
}

#[test]
fn what_is_not_done_in_time_is_taken_up_by_the_next_run() {
    let mut server = Server::start(&[("STOP_SECONDS", "0")]);
    let home = TempDir::new();
    let path = home.join("file");
    let content = random_file(&path, 2, 1_000_000);
    let settings = [("FILE_PATH", path.to_str().unwrap())];
    let agent = Agent::serving(&server, "shop-001", home, &settings);
    let answer = server.post("/download/shop-001", &json!({"maxRate": "200k"}));
    let id = answer.json()["requestId"].as_str().unwrap().to_owned();
    server.has_bytes(&id);

    server.program.signal(Signal::TERM);

    assert_eq!(server.program.wait_exit(), 0);
    let told = agent.program.wait_line("the server stops");
    assert!(told.contains("dialling again in"), "{told}");
    let port = server.port.to_string();
    let server = Server::start_in(server.kill(), &[("PORT", &port)]);
    let found = server.transfer(&id);
    assert_eq!((&found["status"], &found["attempts"]), (&json!("interrupted"), &json!(1)), "{found}");
    server.assert_verified(&id, &content);
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut server = Server::start(&[("STOP_SECONDS", "3600")]);
    let mut client = V1Client::connect(&server, "shop-001");
    server.pull_id("shop-001");
    client.asked();
    server.program.signal(Signal::TERM);
    server.program.wait_line("stopping");
    server.program.signal(Signal::TERM);
    assert_eq!(server.program.wait_exit(), 1);
}

#[test]
fn a_stopped_server_starts_again_on_the_same_folder() {
    let mut server = Server::start(&[]);
    server.program.signal(Signal::TERM);
    assert_eq!(server.program.wait_exit(), 0);
    let server = Server::start_in(server.kill(), &[]);
    let healthy = Healthy::connect(&server);
    healthy.is_pulled_from(&server);
}
