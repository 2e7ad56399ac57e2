//! Our agent on an installed v1 server.

use std::fs;

use serde_json::{Value, json};
use tungstenite::protocol::CloseFrame;

use crate::support::agent::Agent;
use crate::support::files::{random_file, sha256};
use crate::support::server::SECRET;
use crate::support::temp::TempDir;
use crate::support::v1_server::{V1Line, V1Server};

const ID: &str = "6f9619ff-8b86-4011-b42d-00c04fc964ff";

/// An agent with a file of `size` on a v1 server, past its `register_meta`.
fn connected(size: usize, settings: &[(&str, &str)]) -> (Agent, V1Line, Vec<u8>) {
    let server = V1Server::start();
    let home = TempDir::new();
    let path = home.join("file");
    let content = random_file(&path, 1, size);
    let mut all = vec![
        ("TOKEN_IN_URL", "true"),
        ("META", r#"{"region":"west"}"#),
        ("FILE_PATH", path.to_str().unwrap()),
    ];
    all.extend_from_slice(settings);
    let agent = Agent::start_in(home, &server.url(), "shop-001", &all);
    let mut line = server.accept();
    let meta = line.hear_text();
    assert_eq!(meta["type"], "register_meta", "{meta}");
    assert_eq!(meta["meta"]["region"], "west", "{meta}");
    (agent, line, content)
}

#[test]
fn it_dials_as_a_v1_client_does() {
    let (_agent, line, _) = connected(1, &[]);
    let query = line.uri.strip_prefix("/ws?").unwrap();
    let pairs: Vec<_> = query.split('&').collect();
    assert!(pairs.contains(&"clientId=shop-001"), "{query}");
    assert!(pairs.contains(&format!("token={SECRET}").as_str()), "{query}");
}

#[test]
fn a_secret_in_the_url_is_form_encoded() {
    let secret = "pass word+100% &=#/long-enough";
    let (_agent, line, _) = connected(1, &[("AUTH_SECRET", secret)]);
    let token = line.uri.split(['?', '&']).find_map(|pair| pair.strip_prefix("token=")).unwrap();
    let token = token.replace("%20", "+");
    assert_eq!(token, "pass+word%2B100%25+%26%3D%23%2Flong-enough");
}

#[test]
fn unless_told_so_it_keeps_its_secret_out_of_the_url() {
    let server = V1Server::start();
    let _agent = Agent::start(&server.url(), "shop-001", &[]);
    let line = server.accept();
    assert!(!line.uri.contains(SECRET) && line.uri.contains("clientId=shop-001"), "{}", line.uri);
    assert_eq!(line.authorization, Some(format!("Bearer {SECRET}")));
}

#[test]
fn it_uploads_as_a_v1_client_does() {
    for size in [0, 1, 65536, 65537, 1_000_000] {
        let (_agent, mut line, content) = connected(size, &[]);

        line.ask(ID, &Value::Null, 65536);

        let received = line.receive(ID);
        assert_eq!(
            (&received.start["filename"], &received.start["filesize"]),
            (&json!("file"), &json!(size))
        );
        assert!(received.bytes == content, "{size} bytes");
        assert_eq!(received.headers.len(), size.div_ceil(65536));
        for (header, seq) in received.headers.iter().zip(1..) {
            assert_eq!((&header["requestId"], &header["seq"]), (&json!(ID), &json!(seq)), "{header}");
            assert!(header["timestamp"].is_u64(), "{header}");
        }
        let end = &received.end;
        assert_eq!((&end["type"], &end["requestId"]), (&json!("upload_end"), &json!(ID)), "{end}");
        assert_eq!((&end["checksum"], &end["filesize"]), (&json!(sha256(&content)), &json!(size)), "{end}");
        line.confirm(ID, &received.bytes);
    }
}

#[test]
fn it_serves_one_request_after_another_on_one_line() {
    let (_agent, mut line, content) = connected(100_000, &[]);
    for n in 0..5 {
        let id = format!("6f9619ff-8b86-4011-b42d-00c04fc964f{n}");
        line.ask(&id, &Value::Null, 16384);
        let received = line.receive(&id);
        assert!(received.bytes == content);
        line.confirm(&id, &received.bytes);
    }
}

#[test]
fn a_missing_file_is_said_in_v1s_words() {
    let (agent, mut line, _) = connected(1, &[]);
    fs::remove_file(agent.home.join("file")).unwrap();

    line.ask(ID, &Value::Null, 65536);

    let error = line.hear_text();
    assert_eq!(error["type"], "error", "{error}");
    assert_eq!((&error["message"], &error["requestId"]), (&json!("file_not_found"), &json!(ID)), "{error}");
}

#[test]
fn a_v1_server_gets_nothing_that_is_not_shared() {
    let (_agent, mut line, content) = connected(10, &[]);
    for (n, key) in ["/etc/passwd", "../../etc/passwd", "..", "file", r"C:\pos"].into_iter().enumerate() {
        let id = format!("6f9619ff-8b86-4011-b42d-00c04fc964f{n}");
        line.ask(&id, &json!(key), 65536);
        let error = line.hear_text();
        assert_eq!((&error["type"], &error["requestId"]), (&json!("error"), &json!(id)), "{key}: {error}");
    }
    line.ask(ID, &json!(""), 65536); // v1: as null
    assert!(line.receive(ID).bytes == content);
}

#[test]
fn it_says_so_when_the_server_computed_something_else() {
    let (agent, mut line, content) = connected(1000, &[]);
    line.ask(ID, &Value::Null, 65536);
    line.receive(ID);

    line.confirm(ID, b"something else");

    let warning = agent.program.wait_line(&sha256(b"something else"));
    assert!(warning.contains(ID), "{warning}");
    assert!(agent.program.output().contains(&sha256(&content)), "what it should have been");
}

#[test]
fn closed_as_unauthorised_by_v1_it_ends_with_3() {
    let server = V1Server::start();
    let mut agent =
        Agent::start(&server.url(), "shop-001", &[("RECONNECT", "false"), ("TOKEN_IN_URL", "true")]);
    let mut line = server.accept();

    let close = CloseFrame { code: 4001.into(), reason: "unauthorized".into() };
    line.socket.close(Some(close)).unwrap();
    while line.socket.read().is_ok() {}

    assert_eq!(agent.program.wait_exit(), 3);
    assert!(agent.program.output().contains("unauthorized"), "it says why");
}

#[test]
fn a_server_that_says_goodbye_and_does_not_hang_up_is_left_all_the_same() {
    let server = V1Server::start();
    let mut agent = Agent::start(&server.url(), "shop-001", &[("RECONNECT", "false")]);
    let mut line = server.accept();
    line.hear_text();

    line.socket.close(None).unwrap();

    assert_eq!(agent.program.wait_exit(), 1); // which waits 20 s; three beats of a v1 line are 45
    drop(line);
}

#[test]
fn a_server_that_says_no_hello_is_spoken_to_as_v1() {
    let server = V1Server::start();
    let home = TempDir::new();
    let path = home.join("file");
    let content = random_file(&path, 2, 1000);
    let settings = [("FILE_PATH", path.to_str().unwrap())];
    let _agent = Agent::start_in(home, &server.url(), "shop-001", &settings);
    let mut line = server.accept_in_silence();
    assert_eq!(line.hear_text()["type"], "register_meta");
    line.ask(ID, &Value::Null, 65536);
    assert!(line.receive(ID).bytes == content);
}

#[test]
fn what_a_hostile_server_says_ends_at_most_its_line() {
    let server = V1Server::start();
    let agent = Agent::start(&server.url(), "shop-001", &[]);
    for hostile in [
        "no json",
        "{\"type\":\"download_request\"}",
        "{\"type\":\"download_request\",\"requestId\":\"../x\",\"fileKey\":{},\"chunkSize\":-1}",
    ] {
        let mut line = server.accept();
        line.say_raw(hostile);
        line.cut();
    }
    // It has come back after each.
    let mut line = server.accept();
    line.hear_text();
    drop(line);
    assert!(!agent.program.output().contains("panicked"), "{}", agent.program.output());
}

#[test]
fn after_a_violation_it_dials_again_though_the_server_does_not_read() {
    let server = V1Server::start();
    let home = TempDir::new();
    let path = home.join("file");
    random_file(&path, 3, 40_000_000); // more than the sockets hold
    let settings = [("FILE_PATH", path.to_str().unwrap()), ("TOKEN_IN_URL", "true")];
    let agent = Agent::start_in(home, &server.url(), "shop-001", &settings);
    let mut line = server.accept();
    line.hear_text();
    line.ask(ID, &Value::Null, 65536);
    line.hear();

    line.say_raw(r#"{"type":"cancel"}"#);

    agent.program.wait_line("broke the protocol");
    let _next = server.accept();
    drop(line);
}
