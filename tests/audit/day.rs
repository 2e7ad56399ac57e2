//! A day of a server: whatever is asked, given, refused and ended has its line before the answer is here, through a kill and
//! a stop, and the chain holds.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::log::{events, good, head, lines, log_of, only, servers_is_good, verify};
use crate::support::agent::Agent;
use crate::support::files::{random_file, sha256};
use crate::support::http::exchange;
use crate::support::raw_line::refused;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;
use crate::support::v1_client::V1Client;
use crate::support::wait::eventually;

fn folder_with(len: usize) -> (TempDir, Vec<u8>) {
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 1, len);
    (home, content)
}

/// Who asked, as the line says; the port is any.
#[track_caller]
fn assert_by_operator(line: &Value) {
    assert_eq!(line["by"], "operator", "{line}");
    assert!(line["address"].as_str().is_some_and(|address| address.starts_with("127.0.0.1:")), "{line}");
}

#[test]
fn a_day_in_the_life() {
    let (home, content) = folder_with(300_000);
    random_file(&home.join("slow"), 2, 300_000);
    let server = Server::start(&[]);
    let log = log_of(&server.uploads);
    assert_eq!(lines(&log)[0]["event"], "server_started");
    let shares = format!("docs={}", home.display());
    let agent = Agent::serving(&server, "shop-001", home, &[("SHARES", &shares)]);
    assert_eq!(only(&log, "agent_connected")["clientId"], "shop-001");

    // A pull, its end, and the file that is taken: whole, in part, and only looked at.
    let pull = server.pull("shop-001", &json!({ "fileKey": "docs/file" }));
    let pulled = id(&pull);
    let asked = only(&log, "pull_asked");
    assert_by_operator(&asked);
    assert_eq!((&asked["clientId"], &asked["fileKey"]), (&json!("shop-001"), &json!("docs/file")));
    assert_eq!((&asked["requestId"], &asked["batchId"]), (&json!(pulled), &Value::Null));
    server.assert_verified(&pulled, &content);
    let ended = only(&log, "transfer_ended");
    assert_eq!((&ended["status"], &ended["bytes"]), (&json!("completed"), &json!(content.len())));
    assert_eq!((&ended["sha256"], &ended["code"]), (&json!(sha256(&content)), &Value::Null));
    let path = format!("/transfers/{pulled}/file");
    server.request("HEAD", &path, &[], None);
    assert_eq!(events(&log, "file_taken").len(), 0, "nothing was taken");
    assert_eq!(server.get(&path).body, content);
    server.request("GET", &path, &[("Range", "bytes=10-19")], None);
    let taken = events(&log, "file_taken");
    assert_eq!((taken.len(), &taken[0]["requestId"]), (2, &json!(pulled)));
    taken.iter().for_each(assert_by_operator);
    assert_eq!(
        (&taken[0]["first"], &taken[1]["first"], &taken[1]["last"]),
        (&Value::Null, &json!(10), &json!(19))
    );

    server.get("/clients/shop-001/files?path=docs").expect(200);
    let listed = only(&log, "listing_asked");
    assert_by_operator(&listed);
    assert_eq!((&listed["clientId"], &listed["path"]), (&json!("shop-001"), &json!("docs")));

    // What is refused, to whom it may concern and to strangers.
    server
        .post("/download/shop-404", &json!({ "fileKey": "docs/secret" }))
        .expect_error(404, "not connected");
    let no = only(&log, "refused");
    assert_by_operator(&no);
    assert_eq!(
        (&no["method"], &no["path"], &no["status"]),
        (&json!("POST"), &json!("/download/shop-404"), &json!(404))
    );
    assert_eq!(
        (&no["error"], &no["clientId"], &no["fileKey"]),
        (&json!("not connected"), &json!("shop-404"), &json!("docs/secret"))
    );
    let head = "GET /clients?token=hunter2 HTTP/1.1\r\nHost: x\r\nx-api-key: wrong\r\n\r\n";
    assert_eq!(exchange(server.port, head.as_bytes()).status, 401);
    let no = events(&log, "refused").pop().unwrap();
    assert_eq!((&no["by"], &no["status"], &no["path"]), (&Value::Null, &json!(401), &json!("/clients")));
    assert!(no["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{no}");
    assert_eq!(refused(server.port, b"/ws?clientId=shop-001&token=hunter2", "").status, 401);
    let no = only(&log, "agent_refused");
    assert_eq!((&no["status"], &no["error"]), (&json!(401), &json!("unauthorized")));
    assert!(no["message"].as_str().unwrap().starts_with("shop-001 "), "{no}");

    // A batch, one of which is not there; a cancel, and one that comes too late.
    let mut silent = V1Client::connect(&server, "till-7");
    let batch = server.post("/downloads", &json!({ "clients": ["till-7", "till-8"] })).expect(202);
    let cancelled = id(&batch["transfers"][0]);
    let asked = events(&log, "pull_asked").pop().unwrap();
    assert_eq!((&asked["batchId"], &asked["requestId"]), (&batch["batchId"], &json!(cancelled)));
    let no = events(&log, "refused").pop().unwrap();
    assert_eq!(
        (&no["clientId"], &no["batchId"], &no["status"]),
        (&json!("till-8"), &batch["batchId"], &json!(404))
    );
    silent.asked();
    server.delete(&format!("/transfers/{cancelled}")).expect(200);
    let last = lines(&log);
    let last: Vec<&str> = last.iter().rev().take(2).map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(last, ["transfer_ended", "cancel_asked"]);
    assert_by_operator(&only(&log, "cancel_asked"));
    assert_eq!(events(&log, "transfer_ended").pop().unwrap()["status"], "cancelled");
    server.delete(&format!("/transfers/{cancelled}")).expect_error(409, "already ended");
    let no = events(&log, "refused").pop().unwrap();
    assert_eq!((&no["method"], &no["path"]), (&json!("DELETE"), &json!(format!("/transfers/{cancelled}"))));
    drop(silent);
    eventually("the client's going is on record", || {
        let gone = events(&log, "agent_disconnected");
        gone.iter().any(|line| line["clientId"] == "till-7").then_some(())
    });

    after_a_kill_and_a_stop(server, agent, &pulled);
}

/// It is killed with a pull under way, goes on with it, and is stopped.
fn after_a_kill_and_a_stop(server: Server, agent: Agent, pulled: &str) {
    let before = servers_is_good(&server);
    let slow = id(&server.pull("shop-001", &json!({ "fileKey": "docs/slow", "maxRate": 1024 })));
    server.reaches(&slow, "receiving");
    let shop = agent.kill();
    let mut server = Server::start_in(server.kill(), &[]);
    let log = log_of(&server.uploads);
    assert_eq!(events(&log, "server_started").len(), 2);
    let shares = format!("docs={}", shop.display());
    let agent = Agent::serving(&server, "shop-001", shop, &[("SHARES", &shares)]);
    server.delete(&format!("/transfers/{slow}")).expect(200);
    server.program.signal(Signal::TERM);
    assert_eq!(server.program.wait_exit(), 0);
    drop(agent);

    assert_eq!(lines(&log).pop().unwrap()["event"], "server_stopped");
    let told = server.program.output();
    let heads: Vec<&str> = told.lines().filter(|line| line.contains("audit head seq=")).collect();
    let uploads = server.uploads.to_str().unwrap();
    let (code, text) = verify(&["--upload-dir", uploads, "--expect", &before]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("expected head {before} is seq=")), "{text}");
    assert_eq!(heads.len(), 2, "at the start and at the end: {told}");
    assert!(heads[1].ends_with(&head(&text)), "{heads:?} {text}");
    assert_eq!(head(&text), good(&log));
    let count = lines(&log).len();
    assert!(text.contains(&format!("files=1 lines={count} first=1 last={count} ")), "{text}");
    assert_eq!(events(&log, "transfer_ended").iter().filter(|line| line["requestId"] == pulled).count(), 1);
    assert!(!std::fs::read_to_string(&log).unwrap().contains("hunter2"), "a secret stands in it");
}
