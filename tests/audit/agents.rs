//! The shop's own record: what was taken, by which operator, and what came of it. What can't be put there is refused.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::log::{events, good, lines, log_of, only};
use crate::support::agent::Agent;
use crate::support::files::{random_file, sha256};
use crate::support::program::Program;
use crate::support::server::{SECRET, Server, id};
use crate::support::temp::TempDir;
use crate::support::v1_client::V1Client;
use crate::support::v1_server::V1Server;
use crate::support::wait::eventually;

/// A file to share, and a record beside it.
struct Shop {
    content: Vec<u8>,
    record: PathBuf,
    shares: String,
}

fn shop(home: &Path, len: usize) -> Shop {
    let docs = home.join("docs");
    fs::create_dir(&docs).unwrap();
    fs::create_dir(home.join("log")).unwrap();
    let content = random_file(&docs.join("file"), 1, len);
    Shop { content, record: home.join("log/taken.jsonl"), shares: format!("docs={}", docs.display()) }
}

#[test]
fn who_took_what_is_on_the_shops_record() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let Shop { content, record, shares } = shop(&home, 300_000);
    let settings = [("SHARES", &*shares), ("AUDIT_FILE", record.to_str().unwrap())];
    let agent = Agent::start_in(home, &server.url(), "shop-001", &settings);
    server.lists_agent("shop-001");
    assert_eq!(lines(&record)[0]["event"], "agent_started");
    assert_eq!(only(&record, "connected")["server"], server.url());

    let pulled = id(&server.pull("shop-001", &json!({ "fileKey": "docs/file" })));
    server.assert_verified(&pulled, &content);
    let asked = only(&record, "file_asked");
    assert_eq!((&asked["by"], &asked["fileKey"]), (&json!("operator"), &json!("docs/file")));
    assert_eq!(
        (&asked["share"], &asked["requestId"], &asked["attempt"]),
        (&json!("docs"), &json!(pulled), &json!(1))
    );
    let ended = only(&record, "file_ended");
    assert_eq!((&ended["outcome"], &ended["bytes"]), (&json!("sent"), &json!(content.len())));
    assert_eq!((&ended["sha256"], &ended["by"]), (&json!(sha256(&content)), &json!("operator")));
    // The address of an operator is none of the shop's business.
    assert!(!fs::read_to_string(&record).unwrap().contains("operator@"));

    for (key, code) in
        [("docs/none", "file_not_found"), ("secrets/x", "not_shared"), ("docs/../x", "bad_request")]
    {
        let answer = server.post("/download/shop-001", &json!({ "fileKey": key }));
        if answer.status != 202 {
            continue; // the server refuses by itself what no agent can serve
        }
        server.assert_failed(&id(&answer.json()), code);
        let ended = events(&record, "file_ended").pop().unwrap();
        assert_eq!(
            (&ended["fileKey"], &ended["outcome"], &ended["bytes"]),
            (&json!(key), &json!(code), &json!(0))
        );
    }
    server.get("/clients/shop-001/files?path=docs").expect(200);
    assert_eq!(only(&record, "listing_asked")["path"], "docs");
    assert_eq!(only(&record, "listing_asked")["by"], "operator");
    assert_eq!(server.get("/clients/shop-001/files?path=secrets").status, 404);
    assert_eq!(only(&record, "listing_refused")["code"], "not_shared");
    good(&record);

    // It goes on where it was.
    let before = lines(&record).len();
    let home = agent.kill();
    let _agent = Agent::start_in(home, &server.url(), "shop-001", &settings);
    eventually("it has begun again", || (lines(&record).len() > before + 1).then_some(()));
    good(&record);
}

#[test]
fn without_a_record_the_log_says_who() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    random_file(&home.join("file"), 1, 1000);
    let agent = Agent::serving(&server, "shop-001", home, &[]);
    let id = server.pull_id("shop-001");
    let line = agent.program.wait_line(&format!("transfer {id} asked"));
    assert!(line.ends_with("fileKey=null attempt=1 by=operator"), "{line}");
    server.get("/clients/shop-001/files").expect(200);
    assert!(agent.program.wait_line("listing ").ends_with("by=operator"));
}

#[test]
fn a_record_that_cannot_be_written_ends_an_agent_at_its_start() {
    let home = TempDir::new();
    let held = home.join("held.jsonl");
    let server = Server::start(&[]);
    let settings = [("AUDIT_FILE", held.to_str().unwrap())];
    let _first = Agent::start(&server.url(), "shop-001", &settings);
    server.lists_agent("shop-001");
    fs::create_dir(home.join("folder")).unwrap();
    std::os::unix::fs::symlink(&held, home.join("link")).unwrap();
    for (name, wanted) in [
        ("held.jsonl", "another process writes to it"),
        ("none/taken.jsonl", "No such file"),
        ("folder", "directory"),
        ("link", "symbolic links"),
        ("..", "no name of a file"),
    ] {
        let path = home.join(name);
        let settings =
            [("AUTH_SECRET", SECRET), ("CLIENT_ID", "shop-002"), ("AUDIT_FILE", path.to_str().unwrap())];
        let exe = env!("CARGO_BIN_EXE_towline-agent");
        let mut agent = Program::start("towline-agent", exe, &[], &settings, &home);
        assert_eq!(agent.wait_exit(), 2);
        let said = agent.output();
        let line = said.lines().last().unwrap();
        assert!(line.starts_with("towline-agent: AUDIT_FILE=") && line.contains(wanted), "{name}: {said}");
    }
}

#[test]
fn what_cannot_be_put_on_record_is_refused_until_it_can() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let Shop { content, record, shares } = shop(&home, 1000);
    let (log, away) = (home.join("log"), home.join("away"));
    let settings = [("SHARES", &*shares), ("AUDIT_FILE", record.to_str().unwrap())];
    let agent = Agent::start_in(home, &server.url(), "shop-001", &settings);
    server.lists_agent("shop-001");

    fs::rename(&log, &away).unwrap();
    let refused = id(&server.pull("shop-001", &json!({ "fileKey": "docs/file" })));
    let transfer = server.assert_failed(&refused, "read_failed");
    assert!(transfer["failure"]["message"].as_str().unwrap().contains("AUDIT_FILE"), "{transfer}");
    assert_eq!(transfer["bytes"], 0);
    assert_eq!(server.get("/clients/shop-001/files").status, 502);
    agent.program.wait_line("takes no line");

    fs::rename(&away, &log).unwrap();
    let pulled = id(&server.pull("shop-001", &json!({ "fileKey": "docs/file" })));
    server.assert_verified(&pulled, &content);
    let asked: Vec<Value> =
        events(&record, "file_asked").iter().map(|line| line["requestId"].clone()).collect();
    assert_eq!(asked, [refused, pulled], "what was refused is on record too");
    good(&record);
}

#[test]
fn a_v1_client_is_not_told_and_an_agent_believes_no_name() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "till-7");
    server.pull_id("till-7");
    let request = loop {
        let message = client.hear();
        if message["type"] == "download_request" {
            break message;
        }
    };
    assert!(request.get("requestedBy").is_none(), "{request}");
    assert_eq!(events(&log_of(&server.uploads), "pull_asked").len(), 1);

    // A server that lies: long, and with what could disguise a line.
    let home = TempDir::new();
    let Shop { record, shares, .. } = shop(&home, 1000);
    let liar = V1Server::start();
    let settings = [("SHARES", &*shares), ("AUDIT_FILE", record.to_str().unwrap())];
    let agent = Agent::start_in(home, &liar.url(), "shop-001", &settings);
    let mut line = liar.accept_in_silence();
    line.say(&json!({ "type": "hello", "serverTime": "x", "protocol": 2, "heartbeatSeconds": 15 }));
    line.hear_text();
    let name = format!("eve\n\u{1b}[31m\u{202e}\"{}", "x".repeat(100_000));
    let id = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
    line.say(&json!({
        "type": "download_request", "requestId": id, "fileKey": "docs/file", "attempt": 1, "requestedBy": name
    }));
    line.hear_text();
    let path = format!("docs/{}", "y\n".repeat(50_000));
    line.say(&json!({ "type": "list", "requestId": id, "path": path, "requestedBy": name }));
    eventually("both are on record", || (!events(&record, "listing_refused").is_empty()).then_some(()));
    let by = format!("eve[31m\"{}", "x".repeat(64 - 8));
    assert_eq!(only(&record, "file_asked")["by"], by);
    let listing = only(&record, "listing_asked");
    assert_eq!((&listing["by"], listing["path"].as_str().unwrap().len()), (&json!(by), 4096));
    good(&record);
    assert!(agent.program.output().lines().all(|line| line.len() < 1000), "no long line in its log");
}
