//! Half-open lines: a network that carries nothing more and closes nothing is noticed within three beats on either side.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::agent::Agent;
use crate::support::files::random_file;
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::temp::TempDir;
use crate::support::wait::eventually;

/// Three beats of a second, and what a machine under load may take on top.
const NOTICED: Duration = Duration::from_secs(6);
/// The same, and the agent's first pause before it dials again.
const DIALLED_AGAIN: Duration = Duration::from_secs(8);
const BEAT: (&str, &str) = ("HEARTBEAT_SECONDS", "1");

/// A server and an agent with a file of `size`, and the proxy between them.
fn connected(size: usize, agent_settings: &[(&str, &str)]) -> (Server, Proxy, Agent, Vec<u8>) {
    let server = Server::start(&[BEAT]);
    let proxy = Proxy::start(server.port);
    let home = TempDir::new();
    let path = home.join("file");
    let content = random_file(&path, 1, size);
    let mut settings = vec![("FILE_PATH", path.to_str().unwrap())];
    settings.extend_from_slice(agent_settings);
    let agent = Agent::start_in(home, &proxy.url(), "shop-001", &settings);
    server.lists_agent("shop-001");
    (server, proxy, agent, content)
}

/// After this point `server` and agent hear nothing more of each other: each notices in time.
#[track_caller]
fn both_notice(server: &Server, proxy: &Proxy) {
    let line = server.line_of("shop-001");
    let dialled = proxy.accepted();
    let frozen_at = Instant::now();
    proxy.freeze();

    let (mut gone, mut again) = (None, None);
    eventually("both sides notice", || {
        if server.line_of("shop-001") != line {
            gone.get_or_insert(frozen_at.elapsed());
        }
        if proxy.accepted() > dialled {
            again.get_or_insert(frozen_at.elapsed());
        }
        gone.and(again)
    });
    let (gone, again) = (gone.expect("seen"), again.expect("seen"));
    assert!((Duration::from_millis(1500)..NOTICED).contains(&gone), "the server after {gone:?}");
    assert!((Duration::from_millis(1500)..DIALLED_AGAIN).contains(&again), "the agent after {again:?}");
}

#[test]
fn a_half_open_line_is_noticed_by_both_and_made_anew() {
    let (server, proxy, _agent, content) = connected(1000, &[]);
    both_notice(&server, &proxy);
    server.lists_agent("shop-001");
    server.assert_verified(&server.pull_id("shop-001"), &content);
}

#[test]
fn a_half_open_line_in_mid_transfer_is_noticed_and_the_transfer_goes_on_over_the_next() {
    let (server, proxy, _agent, content) = connected(3_000_000, &[("MAX_RATE", "2M")]);
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);
    both_notice(&server, &proxy);
    let transfer = server.assert_verified(&id, &content);
    assert_eq!(transfer["attempts"], 2, "{transfer}");
}

#[test]
fn an_idle_line_outlives_many_beats() {
    let (server, proxy, _agent, content) = connected(1000, &[]);
    let line = server.line_of("shop-001");

    // Five beats: more than the three after which a silent line ends.
    crate::support::wait::pause(Duration::from_secs(5));

    assert_eq!(server.line_of("shop-001"), line);
    assert_eq!(proxy.accepted(), 1);
    server.assert_verified(&server.pull_id("shop-001"), &content);
}

#[test]
fn a_slow_transfer_never_looks_like_death() {
    let (server, proxy, _agent, content) = connected(250_000, &[("MAX_RATE", "50k")]);
    let id = server.pull_id("shop-001");
    let transfer = server.assert_verified(&id, &content);
    assert_eq!(
        (&transfer["attempts"], proxy.accepted()),
        (&json!(1), 1),
        "one line, one attempt: {transfer}"
    );
}

#[test]
fn an_agent_that_freezes_in_mid_transfer_is_stalled_and_what_it_still_sends_is_dropped() {
    let server = Server::start(&[("STALL_SECONDS", "2")]);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 2, 3_000_000);
    let agent = Agent::serving(&server, "shop-001", home, &[("MAX_RATE", "2M")]);
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);

    agent.program.signal(Signal::STOP);

    server.assert_failed(&id, "stalled");
    server.assert_downloads(&[]);
    agent.program.signal(Signal::CONT);
    server.lists_agent("shop-001");
    let transfer = server.assert_verified(&server.pull_id("shop-001"), &content);
    assert_eq!(transfer["attempts"], 1, "{transfer}");
}

#[test]
fn an_agent_whose_network_is_cut_in_mid_transfer_comes_back_and_finishes() {
    let (server, proxy, _agent, content) = connected(3_000_000, &[("MAX_RATE", "3M")]);
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);

    let line = server.line_of("shop-001");
    proxy.cut();

    server.lists_another_line("shop-001", &line);
    let transfer = server.assert_verified(&id, &content);
    assert_eq!(transfer["attempts"], 2, "{transfer}");
}

#[test]
fn an_idle_server_and_an_idle_agent_sleep_between_heartbeats() {
    let server = Server::start(&[("HEARTBEAT_SECONDS", "3600")]);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 3, 1000);
    let agent = Agent::serving(&server, "shop-001", home, &[]);
    server.assert_verified(&server.pull_id("shop-001"), &content);

    // What the pull set going comes to rest; then nobody wakes up to look whether there is something to do.
    eventually("three seconds without a single wake-up", || {
        let count = || (server.program.wake_ups(), agent.program.wake_ups());
        let before = count();
        crate::support::wait::pause(Duration::from_secs(3));
        (count() == before).then_some(())
    });
}
