//! SIGTERM and SIGINT to an agent: nothing new, a while for what runs, a close, and nothing lost.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tungstenite::Message;

use crate::support::agent::Agent;
use crate::support::files::random_file;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;
use crate::support::v1_server::V1Server;

/// Far less than any wait that a stop could be caught in.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Signals it, and returns how long it took to end with `code`.
#[track_caller]
fn ends(agent: &mut Agent, signal: Signal, code: i32) -> Duration {
    let signalled_at = Instant::now();
    agent.program.signal(signal);
    assert_eq!(agent.program.wait_exit(), code, "{}", agent.program.output());
    signalled_at.elapsed()
}

#[test]
fn an_idle_agent_closes_its_line_and_ends_with_0() {
    let server = Server::start(&[]);
    for (signal, reconnect) in [(Signal::TERM, "true"), (Signal::INT, "true"), (Signal::TERM, "false")] {
        let mut agent = Agent::start(&server.url(), "shop-001", &[("RECONNECT", reconnect)]);
        server.lists_agent("shop-001");
        let took = ends(&mut agent, signal, 0);
        assert!(took < AT_ONCE, "{took:?}");
        assert!(agent.program.output().ends_with("stopped"), "{}", agent.program.output());
        server.lists_no_more("shop-001", AT_ONCE);
    }
    server.program.wait_nth_line("shop-001 is gone: closed by the peer (1001 the agent stops)", 3);
}

#[test]
fn a_running_pull_comes_to_its_end_and_none_begins() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 1, 1_000_000);
    let path = home.join("file");
    let mut agent = Agent::serving(&server, "shop-001", home, &[("MAX_RATE", "500k")]);
    let running = server.pull_id("shop-001");
    server.has_bytes(&running);

    agent.program.signal(Signal::TERM);
    agent.program.wait_line("stopping: 1 running transfers get 20 s");
    let late = server.pull_id("shop-001");
    agent.program.wait_line(&format!("transfer {late} is not begun"));
    let listing = server.get("/clients/shop-001/files");
    listing.expect_error(503, "not listed");

    assert_eq!(agent.program.wait_exit(), 0);
    let whole = server.assert_verified(&running, &content);
    assert_eq!(whole["attempts"], 1, "{whole}");
    let waiting = server.reaches(&late, "interrupted");
    assert_eq!(waiting["failure"]["code"], "client_disconnected", "{waiting}");
    let _again = Agent::start(&server.url(), "shop-001", &[("FILE_PATH", path.to_str().unwrap())]);
    server.assert_verified(&late, &content);
}

#[test]
fn a_pull_that_is_not_done_in_time_goes_on_when_the_agent_is_back() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 2, 400_000);
    let path = home.join("file");
    let mut agent = Agent::serving(&server, "shop-001", home, &[("STOP_SECONDS", "1")]);
    let id = id(&server.pull("shop-001", &json!({"maxRate": "100k"})));
    server.has_bytes(&id);

    let took = ends(&mut agent, Signal::TERM, 0);

    assert!((Duration::from_secs(1)..Duration::from_secs(1) + AT_ONCE).contains(&took), "{took:?}");
    assert!(agent.program.output().contains("1 transfers are not done"), "{}", agent.program.output());
    server.reaches(&id, "interrupted");
    server.assert_downloads(&[]);
    let _again = Agent::start(&server.url(), "shop-001", &[("FILE_PATH", path.to_str().unwrap())]);
    let transfer = server.assert_verified(&id, &content);
    assert_eq!(transfer["attempts"], 2, "{transfer}");
}

/// An agent that has an hour to stop, and that long a file to send; and the transfer.
fn stops_in_the_middle(server: &Server) -> (Agent, String) {
    let home = TempDir::new();
    random_file(&home.join("file"), 3, 3_000_000);
    let settings = [("STOP_SECONDS", "3600"), ("MAX_RATE", "100k")];
    let agent = Agent::serving(server, "shop-001", home, &settings);
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);
    agent.program.signal(Signal::TERM);
    agent.program.wait_line("stopping: ");
    (agent, id)
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let server = Server::start(&[]);
    let (mut agent, id) = stops_in_the_middle(&server);
    let took = ends(&mut agent, Signal::INT, 1);
    assert!(took < AT_ONCE, "{took:?}");
    server.reaches(&id, "interrupted");
}

#[test]
fn an_agent_without_a_line_ends_at_once() {
    // In the middle of a handshake that nobody answers.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let mut agent = Agent::start(&url, "shop-001", &[]);
    let _mute = listener.accept().unwrap();
    assert!(ends(&mut agent, Signal::TERM, 0) < AT_ONCE);
    // In a pause before it dials again.
    drop(listener);
    let mut agent = Agent::start(&url, "shop-001", &[]);
    agent.program.wait_nth_line("dialling again in", 2);
    assert!(ends(&mut agent, Signal::TERM, 0) < AT_ONCE);
}

#[test]
fn a_v1_server_is_told_and_one_that_does_not_answer_is_not_waited_for() {
    let server = V1Server::start();
    let mut agent = Agent::start(&server.url(), "shop-001", &[]);
    let mut line = server.accept();
    line.hear_text(); // its registration: the line is served
    let took = ends(&mut agent, Signal::TERM, 0);
    assert!(took < AT_ONCE, "{took:?}");
    match line.hear() {
        Message::Close(Some(frame)) => assert_eq!(u16::from(frame.code), 1001),
        other => panic!("a close expected, not {other:?}"),
    }
}

#[test]
fn a_server_that_goes_while_the_agent_stops_keeps_it_no_longer() {
    let server = Server::start(&[]);
    let (mut agent, _) = stops_in_the_middle(&server);
    server.kill();
    assert_eq!(agent.program.wait_exit(), 0);
}
