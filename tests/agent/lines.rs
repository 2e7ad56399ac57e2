//! How an agent holds its line: refusals, exit codes, coming back.

use std::time::Duration;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::files::{random_file, sha256};
use crate::support::proxy::Proxy;
use crate::support::server::{SECRET, Server};
use crate::support::temp::TempDir;

const ONCE: (&str, &str) = ("RECONNECT", "false");

#[test]
fn with_reconnect_off_a_wrong_secret_ends_it_with_3() {
    let server = Server::start(&[]);
    let mut agent =
        Agent::start(&server.url(), "shop-001", &[ONCE, ("AUTH_SECRET", "a-wrong-secret-of-length")]);
    assert_eq!(agent.program.wait_exit(), 3);
    assert!(agent.program.output().contains("401"), "it says why");
    assert!(!agent.program.output().contains("a-wrong-secret-of-length"), "and not with what");
}

#[test]
fn with_reconnect_off_a_server_that_is_not_there_ends_it_with_1() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener); // nobody listens there now
    let mut agent = Agent::start(&format!("ws://127.0.0.1:{port}/ws"), "shop-001", &[ONCE]);
    assert_eq!(agent.program.wait_exit(), 1);
    assert!(agent.program.output().contains(&port.to_string()), "it says where: {}", agent.program.output());
}

#[test]
fn with_reconnect_off_a_host_that_does_not_exist_ends_it_with_1() {
    let mut agent = Agent::start("ws://no-such-host.invalid:8080/ws", "shop-001", &[ONCE]);
    assert_eq!(agent.program.wait_exit(), 1);
    assert!(agent.program.output().contains("no-such-host.invalid"), "it says where");
}

#[test]
fn a_server_url_without_a_scheme_ends_it_with_2() {
    for url in ["localhost:8080/ws", "ftp://localhost/ws", "nonsense", "ws://"] {
        let mut agent = Agent::start(url, "shop-001", &[]);
        assert_eq!(agent.program.wait_exit(), 2, "{url}");
        assert!(agent.program.output().contains("SERVER_URL"), "{}", agent.program.output());
    }
}

#[test]
fn with_reconnect_off_a_line_that_ends_ends_it_with_1() {
    let server = Server::start(&[]);
    let mut agent = Agent::start(&server.url(), "shop-001", &[ONCE]);
    server.lists_agent("shop-001");
    server.kill();
    assert_eq!(agent.program.wait_exit(), 1);
}

#[test]
fn an_agent_that_is_refused_keeps_trying_and_says_why() {
    let server = Server::start(&[]);
    let agent = Agent::start(&server.url(), "shop-001", &[("AUTH_SECRET", "a-wrong-secret-of-length")]);
    agent.program.wait_nth_line("401", 3);
}

#[test]
fn an_agent_comes_back_after_the_server_did_and_goes_on() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.port);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 1, 100_000);
    let path = home.join("file");
    let _agent = Agent::start_in(home, &proxy.url(), "shop-001", &[("FILE_PATH", path.to_str().unwrap())]);
    server.lists_agent("shop-001");
    server.assert_verified(&server.pull_id("shop-001"), &content);

    let folder = server.kill();
    let server = Server::start_in(folder, &[]);
    proxy.point_at(server.port);

    server.lists_agent("shop-001");
    server.assert_verified(&server.pull_id("shop-001"), &content);
}

#[test]
fn a_server_that_is_killed_in_mid_pull_finishes_it_after_its_restart() {
    let server = Server::start(&[]);
    let proxy = Proxy::start(server.port);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 4, 3_000_000);
    let path = home.join("file");
    let settings = [("FILE_PATH", path.to_str().unwrap()), ("MAX_RATE", "3M")];
    let _agent = Agent::start_in(home, &proxy.url(), "shop-001", &settings);
    server.lists_agent("shop-001");
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);

    let folder = server.kill();
    let server = Server::start_in(folder, &[]);
    let found = server.transfer(&id);
    assert_eq!(
        (&found["status"], &found["failure"]["code"]),
        (&json!("interrupted"), &json!("server_restarted"))
    );
    server.assert_downloads(&[]);
    proxy.point_at(server.port);

    let transfer = server.assert_verified(&id, &content);
    server.assert_downloads(&[(transfer["filename"].as_str().unwrap(), &sha256(&content))]);
}

#[test]
fn a_second_agent_with_the_same_id_is_refused_until_the_first_is_gone() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 2, 1000);
    let mut first = Agent::serving(&server, "shop-001", home, &[]);
    let home = TempDir::new();
    let other = random_file(&home.join("file"), 3, 1000);
    let path = home.join("file");
    let settings = [("FILE_PATH", path.to_str().unwrap())];

    let second = Agent::start_in(home, &server.url(), "shop-001", &settings);

    second.program.wait_line("409");
    let mut once = Agent::start(&server.url(), "shop-001", &[ONCE]);
    assert_eq!(once.program.wait_exit(), 1);
    server.assert_verified(&server.pull_id("shop-001"), &content);

    let line = server.line_of("shop-001");
    first.program.kill();

    server.lists_another_line("shop-001", &line);
    server.assert_verified(&server.pull_id("shop-001"), &other);
}

#[test]
fn the_secret_goes_in_the_header_and_is_never_printed() {
    let server = Server::start(&[]);
    let agent = Agent::start(&server.url(), "shop-001", &[("LOG_LEVEL", "debug")]);
    server.lists_agent("shop-001");
    assert!(!agent.program.output().contains(SECRET));
    assert!(!server.program.output().contains(SECRET));
}

#[test]
fn labels_of_meta_are_listed() {
    let server = Server::start(&[]);
    let _agent = Agent::start(&server.url(), "shop-001", &[("META", r#"{"region":"west"}"#)]);
    server.lists_agent("shop-001");
    let listed = crate::support::wait::eventually("its labels are here", || {
        let client = server.get("/clients/shop-001").expect(200);
        client["meta"]["region"].is_string().then_some(client)
    });
    assert_eq!(listed["meta"], json!({"region": "west"}));
}

#[test]
fn killing_one_agent_in_mid_pull_leaves_the_others_untouched() {
    let server = Server::start(&[]);
    let mut agents: Vec<_> = (0..4)
        .map(|n| {
            let home = TempDir::new();
            let content = random_file(&home.join("file"), n, 3_000_000);
            (Agent::serving(&server, &format!("shop-{n}"), home, &[("MAX_RATE", "2M")]), content)
        })
        .collect();
    let ids: Vec<_> = (0..4).map(|n| server.pull_id(&format!("shop-{n}"))).collect();
    for id in &ids {
        server.has_bytes(id);
    }

    agents[2].0.program.kill();

    let broken = server.reaches(&ids[2], "interrupted");
    assert_eq!(broken["failure"]["code"], "client_disconnected", "{broken}");
    server.lists_no_more("shop-2", Duration::from_secs(5));
    let mut names = Vec::new();
    for n in [0, 1, 3] {
        let transfer = server.assert_verified(&ids[n], &agents[n].1);
        assert_eq!(transfer["attempts"], 1, "untouched: {transfer}");
        names.push((transfer["filename"].as_str().unwrap().to_owned(), sha256(&agents[n].1)));
    }
    let expected: Vec<_> = names.iter().map(|(name, hash)| (name.as_str(), hash.as_str())).collect();
    server.assert_downloads(&expected);
}

#[test]
fn an_agent_that_is_killed_and_started_again_finishes_its_pull() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 9, 2_000_000);
    let path = home.join("file");
    let mut agent = Agent::serving(&server, "shop-001", home, &[("MAX_RATE", "2M")]);
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);

    agent.program.kill();

    server.reaches(&id, "interrupted");
    let settings = [("FILE_PATH", path.to_str().unwrap())];
    let again = Agent::start(&server.url(), "shop-001", &settings);
    let transfer = server.assert_verified(&id, &content);
    assert_eq!(transfer["attempts"], 2, "{transfer}");
    drop(again);
}

#[test]
fn an_agent_that_is_started_again_at_once_is_not_taken_for_a_second_one() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let path = home.join("file");
    std::fs::File::create(&path).and_then(|file| file.set_len(2 << 30)).unwrap();
    let settings = [("FILE_PATH", path.to_str().unwrap())];
    let mut agent = Agent::start(&server.url(), "shop-001", &settings);
    server.lists_agent("shop-001");
    let id = server.pull_id("shop-001");
    for _ in 0..3 {
        server.has_bytes(&id);

        agent.program.kill(); // at full speed: much of what it sent is still to be read
        let next = Agent::start(&server.url(), "shop-001", &settings);

        next.program.wait_line("connected");
        let printed = next.program.output();
        assert!(!printed.contains("refused with 409"), "{printed}");
        agent = next;
    }
    server.delete(&format!("/transfers/{id}")).expect(200);
}
