//! A disk that takes no line keeps nobody from the shops, and loses no line; a flood of refusals fills no disk.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::log::{events, good, lines, log_of, verify};
use crate::support::agent::Agent;
use crate::support::files::random_file;
use crate::support::http::exchange;
use crate::support::server::Server;
use crate::support::temp::TempDir;
use crate::support::wait::eventually;

#[test]
fn a_log_that_takes_no_line_is_written_later_and_pulls_go_on() {
    let home = TempDir::new();
    let log = log_of(&home.join("downloads"));
    fs::create_dir_all(&log).unwrap(); // a folder in its place
    let server = Server::start_in(home, &[]);
    server.program.wait_line("takes no line");
    server.get("/readyz").expect_error(503, "disk full");
    let files = TempDir::new();
    let content = random_file(&files.join("file"), 1, 100_000);
    let _agent = Agent::serving(&server, "shop-001", files, &[]);
    let id = server.pull_id("shop-001");
    server.assert_verified(&id, &content);
    server.get("/readyz").expect_error(503, "disk full");

    fs::remove_dir(&log).unwrap();
    eventually("it is written again", || (server.get("/readyz").status == 200).then_some(()));
    let found: Vec<_> = lines(&log).iter().map(|line| line["event"].clone()).collect();
    assert_eq!(found, ["server_started", "agent_connected", "pull_asked", "transfer_ended"]);
    good(&log);
    assert_eq!(server.program.output().matches("takes no line").count(), 1, "said once, not with each line");
}

#[test]
fn a_log_that_is_removed_goes_on_in_a_new_file() {
    let server = Server::start(&[]);
    let log = log_of(&server.uploads);
    let before = fs::read(&log).unwrap();
    fs::remove_file(&log).unwrap();
    server.post("/download/shop-404", &json!({})).expect(404);
    let found: Vec<_> = lines(&log).iter().map(|line| line["event"].clone()).collect();
    assert_eq!(found, ["file_began_anew", "refused"]);
    good(&log);
    // With what was removed it is one chain.
    let kept = log.with_file_name("kept");
    fs::write(&kept, before).unwrap();
    let (code, text) = verify(&[kept.to_str().unwrap(), log.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("seq=2 says file_began_anew"), "{text}");
}

#[test]
fn a_flood_of_strangers_is_counted_not_written() {
    let mut server = Server::start(&[]);
    let log = log_of(&server.uploads);
    let flood = 400;
    for _ in 0..flood {
        assert_eq!(exchange(server.port, b"GET /clients HTTP/1.1\r\nHost: x\r\n\r\n").status, 401);
    }
    // Whoever has a key is on record all the same.
    server.post("/download/shop-404", &json!({ "fileKey": "mine" })).expect(404);
    server.program.signal(Signal::TERM);
    assert_eq!(server.program.wait_exit(), 0);
    let refused = events(&log, "refused");
    let strangers = refused.iter().filter(|line| line["status"] == 401).count();
    assert!((60..100).contains(&strangers), "{strangers}");
    assert!(refused.iter().any(|line| line["fileKey"] == "mine"));
    let left_out: u64 = events(&log, "left_out").iter().map(|line| line["count"].as_u64().unwrap()).sum();
    assert_eq!(strangers as u64 + left_out, flood);
    good(&log);
}
