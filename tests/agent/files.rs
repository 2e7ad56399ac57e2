//! What an agent gives out, and what no key gets out of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::files::random_file;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;

/// An agent that shares `logs`, a folder, and `db`, a file, beside files that it does not share.
fn sharing(server: &Server) -> Agent {
    let home = TempDir::new();
    fs::create_dir_all(home.join("logs/2025")).unwrap();
    fs::write(home.join("logs/pos.log"), "a log").unwrap();
    fs::write(home.join("logs/2025/pos 1.log"), "an older log").unwrap();
    fs::write(home.join("pos.db"), "a database").unwrap();
    fs::write(home.join("secret"), "not shared").unwrap();
    fs::create_dir(home.join("logs-secret")).unwrap();
    fs::write(home.join("logs-secret/x"), "not shared").unwrap();
    let shares = format!("logs={},db={}", home.join("logs").display(), home.join("pos.db").display());
    let agent = Agent::start_in(home, &server.url(), "shop-001", &[("SHARES", &shares)]);
    server.lists_agent("shop-001");
    agent
}

#[track_caller]
fn fails(server: &Server, key: &str, code: &str) {
    let transfer = server.pull("shop-001", &json!({"fileKey": key}));
    let failed = server.ended(&id(&transfer));
    assert_eq!(
        (&failed["status"], &failed["failure"]["code"]),
        (&json!("failed"), &json!(code)),
        "{key}: {failed}"
    );
}

#[test]
fn file_path_is_what_a_null_key_means() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 1, 100_000);
    let _agent = Agent::serving(&server, "shop-001", home, &[]);
    for body in [json!({}), json!({"fileKey": null})] {
        let transfer = server.assert_verified(&id(&server.pull("shop-001", &body)), &content);
        assert_eq!((&transfer["sourceName"], &transfer["attempts"]), (&json!("file"), &json!(1)));
    }
    let listed = server.get("/clients/shop-001").expect(200);
    assert_eq!(listed["protocol"], 2);
    assert_eq!(listed["agentVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn shares_are_pulled_by_name_and_path() {
    let server = Server::start(&[]);
    let _agent = sharing(&server);
    for (key, content, name) in [
        ("db", "a database", "pos.db"),
        ("logs/pos.log", "a log", "pos.log"),
        ("logs/2025/pos 1.log", "an older log", "pos 1.log"),
    ] {
        let transfer = server.pull("shop-001", &json!({"fileKey": key}));
        let ended = server.assert_verified(&id(&transfer), content.as_bytes());
        assert_eq!((&ended["fileKey"], &ended["sourceName"]), (&json!(key), &json!(name)));
    }
}

#[test]
fn a_key_that_names_no_path_of_a_share_is_400() {
    let server = Server::start(&[]);
    let _agent = sharing(&server);
    let long = format!("logs/{}", "k".repeat(10 << 10));
    for key in [
        "../../etc/passwd",
        "/etc/passwd",
        "logs/../../x",
        "logs/..",
        "logs/../secret",
        "logs/./pos.log",
        "logs//pos.log",
        "logs/",
        "/",
        ".",
        "..",
        "logs\\..\\secret",
        "logs/a\\b",
        "logs/nul\0",
        "db\0",
        &long,
    ] {
        server.post("/download/shop-001", &json!({"fileKey": key})).expect_error(400, "bad request");
    }
    assert_eq!(server.get("/transfers").expect(200), json!([]));
}

#[test]
fn what_is_not_shared_is_not_there() {
    let server = Server::start(&[]);
    let _agent = sharing(&server);
    fails(&server, "other", "not_shared");
    fails(&server, "other/pos.log", "not_shared");
    fails(&server, "logs-secret/x", "not_shared");
    fails(&server, "LOGS/pos.log", "not_shared");
    fails(&server, "logs/missing.log", "file_not_found");
    fails(&server, "logs/missing/pos.log", "file_not_found");
    server.assert_downloads(&[]);
}

#[test]
fn no_symbolic_link_leads_out_of_a_share() {
    let server = Server::start(&[]);
    let agent = sharing(&server);
    let logs = agent.home.join("logs");
    symlink("/etc/passwd", logs.join("absolute")).unwrap();
    symlink("../secret", logs.join("relative")).unwrap();
    symlink("..", logs.join("folder")).unwrap();
    symlink("/", logs.join("root")).unwrap();
    symlink("folder/secret", logs.join("through")).unwrap();
    symlink("loop", logs.join("loop")).unwrap();
    for key in
        ["logs/absolute", "logs/relative", "logs/folder/secret", "logs/root/etc/passwd", "logs/through"]
    {
        fails(&server, key, "not_shared");
    }
    let looped = server.pull("shop-001", &json!({"fileKey": "logs/loop"}));
    assert_eq!(server.ended(&id(&looped))["status"], "failed");
    server.assert_downloads(&[]);
}

#[test]
fn what_is_shared_can_be_looked_at() {
    let server = Server::start(&[]);
    let _agent = sharing(&server);
    let names = |path: &str| {
        let answer = server.get(&format!("/clients/shop-001/files{path}")).expect(200);
        let entries = answer["entries"].as_array().unwrap_or_else(|| panic!("entries in {answer}")).clone();
        let entries = entries.iter().map(|entry| (entry["name"].clone(), entry["kind"].clone()));
        let mut entries: Vec<_> = entries.map(|(name, kind)| format!("{name} {kind}")).collect();
        entries.sort();
        entries
    };
    assert_eq!(names(""), [r#""db" "file""#, r#""logs" "folder""#]);
    assert_eq!(names("?path=logs"), [r#""2025" "folder""#, r#""pos.log" "file""#]);
    assert_eq!(names("?path=logs/2025"), [r#""pos 1.log" "file""#]);
    for path in ["other", "logs/missing", "logs/../..", "%2Fetc", ".."] {
        let answer = server.get(&format!("/clients/shop-001/files?path={path}"));
        assert!((400..600).contains(&answer.status), "{path}: {}", answer.status);
        assert!(answer.json()["message"].is_string(), "{path}");
    }
    server.get("/clients/nobody/files").expect(404);
}

#[test]
fn only_a_file_is_pulled() {
    let server = Server::start(&[]);
    let agent = sharing(&server);
    rustix::fs::mkfifoat(rustix::fs::CWD, agent.home.join("logs/pipe"), rustix::fs::Mode::RUSR).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(agent.home.join("logs/socket")).unwrap();
    fails(&server, "logs", "not_a_file");
    fails(&server, "logs/2025", "not_a_file");
    fails(&server, "logs/pipe", "not_a_file");
    let socket = server.pull("shop-001", &json!({"fileKey": "logs/socket"}));
    assert_eq!(server.ended(&id(&socket))["status"], "failed");
    server.assert_downloads(&[]);
}

#[test]
fn a_device_is_no_file() {
    let server = Server::start(&[]);
    let settings = [("SHARES", "dev=/dev"), ("FILE_PATH", "/dev/zero")];
    let _agent = Agent::start(&server.url(), "shop-001", &settings);
    server.lists_agent("shop-001");
    fails(&server, "dev/null", "not_a_file");
    fails(&server, "dev/zero", "not_a_file");
    server.assert_failed(&server.pull_id("shop-001"), "not_a_file");
}

#[test]
fn a_file_that_the_agent_may_not_read_says_so() {
    if rustix::process::geteuid().is_root() {
        return; // root may read everything
    }
    let server = Server::start(&[]);
    let agent = sharing(&server);
    let path = agent.home.join("logs/pos.log");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    fails(&server, "logs/pos.log", "permission_denied");
}

#[test]
fn an_agent_without_the_file_starts_with_a_warning_and_serves_it_when_it_comes() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let path = home.join("file");
    let agent = Agent::serving(&server, "shop-001", home, &[]);
    assert!(agent.program.output().contains(path.to_str().unwrap()), "a warning names it");
    server.assert_failed(&server.pull_id("shop-001"), "file_not_found");

    let content = random_file(&path, 2, 1000);

    server.assert_verified(&server.pull_id("shop-001"), &content);
}

#[test]
fn an_agent_with_nothing_to_give_says_so() {
    let server = Server::start(&[]);
    let _agent = Agent::start(&server.url(), "shop-001", &[]);
    server.lists_agent("shop-001");
    let transfer = server.ended(&server.pull_id("shop-001"));
    assert_eq!(transfer["status"], "failed", "{transfer}");
    assert!(!transfer["failure"]["message"].as_str().unwrap().is_empty());
}

#[test]
fn files_of_every_size_are_pulled_and_verified() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let path = home.join("file");
    let _agent = Agent::serving(&server, "shop-001", home, &[]);
    const CHUNK: usize = 256 << 10;
    for size in [0, 1, 65535, 65536, 65537, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK, 10_000_000] {
        let content = random_file(&path, size as u64, size);
        let transfer = server.assert_verified(&server.pull_id("shop-001"), &content);
        assert_eq!(transfer["bytes"], size);
    }
}

#[test]
fn a_chunk_size_of_either_side_is_honoured() {
    for (server_has, agent_has) in [("4096", "65536"), ("65536", "4096"), ("1024", "1024")] {
        let server = Server::start(&[("CHUNK_SIZE", server_has)]);
        let home = TempDir::new();
        let content = random_file(&home.join("file"), 3, 3 * 65536);
        let _agent = Agent::serving(&server, "shop-001", home, &[("CHUNK_SIZE", agent_has)]);
        server.assert_verified(&server.pull_id("shop-001"), &content);
    }
}

#[test]
fn several_pulls_of_one_agent_run_at_once() {
    let server = Server::start(&[("MAX_TRANSFERS_PER_CLIENT", "5")]);
    let home = TempDir::new();
    let names = ["a", "b", "c", "d", "e"];
    let contents = names.map(|name| random_file(&home.join(name), name.as_bytes()[0].into(), 3_000_000));
    let shares = format!("all={}", home.display());
    let _agent = Agent::start_in(home, &server.url(), "shop-001", &[("SHARES", &shares)]);
    server.lists_agent("shop-001");

    let ids = names.map(|name| id(&server.pull("shop-001", &json!({"fileKey": format!("all/{name}")}))));

    for (id, content) in ids.iter().zip(&contents) {
        server.assert_verified(id, content);
    }
}
