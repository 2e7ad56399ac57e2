//! Programs that cannot work end at once, with exit code 2 and one line that names what is wrong.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod support;

use std::fs;
use std::time::{Duration, Instant};

use support::program::Program;
use support::server::{SECRET, Server};
use support::temp::TempDir;
use support::v1_client::V1Client;

const SERVER: &str = env!("CARGO_BIN_EXE_towline-server");
const AGENT: &str = env!("CARGO_BIN_EXE_towline-agent");
const TOWLINE: &str = env!("CARGO_BIN_EXE_towline");

/// Starts `exe`: it ends at once with 2, its one line names `named`, and no secret is in it.
#[track_caller]
fn is_refused(exe: &str, home: &TempDir, args: &[&str], settings: &[(&str, &str)], named: &str) {
    let begun_at = Instant::now();
    let mut program = Program::start("program", exe, args, settings, home);
    let code = program.wait_exit();
    let output = program.output();
    assert_eq!(code, 2, "{output}");
    assert!(begun_at.elapsed() < Duration::from_secs(5), "at once, not after {:?}", begun_at.elapsed());
    assert_eq!(output.lines().count(), 1, "one line: {output}");
    assert!(output.contains(named), "{named} is not named: {output}");
    assert!(!output.contains(SECRET), "{output}");
}

#[test]
fn without_a_secret_neither_program_starts() {
    let home = TempDir::new();
    for exe in [SERVER, AGENT] {
        is_refused(exe, &home, &[], &[], "AUTH_SECRET");
        is_refused(exe, &home, &[], &[("AUTH_SECRET", "")], "AUTH_SECRET");
    }
    is_refused(SERVER, &home, &[], &[("AUTH_SECRET", "change_me")], "AUTH_SECRET");
}

#[test]
fn a_secret_is_never_taken_from_a_flag() {
    let home = TempDir::new();
    for exe in [SERVER, AGENT] {
        is_refused(exe, &home, &["--auth-secret", SECRET], &[], "AUTH_SECRET");
        is_refused(exe, &home, &[&format!("--auth-secret={SECRET}")], &[], "AUTH_SECRET");
    }
}

#[test]
fn a_setting_that_does_not_parse_is_named_with_its_value() {
    let home = TempDir::new();
    let key = ("AUTH_SECRET", SECRET);
    for (exe, name, value) in [
        (SERVER, "PORT", "65536"),
        (SERVER, "PORT", "http"),
        (SERVER, "CHUNK_SIZE", "-1"),
        (SERVER, "MAX_CONCURRENT_TRANSFERS", "0"),
        (SERVER, "STALL_SECONDS", "soon"),
        (AGENT, "CLIENT_ID", "../x"),
        (AGENT, "SHARES", "logs"),
        (AGENT, "META", "{broken"),
        (AGENT, "MAX_RATE", "fast"),
        (AGENT, "CONGESTION_CONTROL", "bbr or cubic"),
        (AGENT, "SERVER_URL", "localhost:8080/ws"),
    ] {
        is_refused(exe, &home, &[], &[key, (name, value)], name);
        is_refused(exe, &home, &[], &[key, (name, value)], value);
    }
    is_refused(SERVER, &home, &["--no-such-flag"], &[key], "--no-such-flag");
}

#[test]
fn an_upload_dir_that_cannot_work_is_named() {
    let home = TempDir::new();
    let file = home.join("a-file");
    fs::write(&file, "x").unwrap();
    // Neither root nor anyone else may make a folder in /proc.
    for dir in [file.to_str().unwrap(), "/proc/towline", "/proc"] {
        let settings = [("AUTH_SECRET", SECRET), ("HOST", "127.0.0.1"), ("PORT", "0"), ("UPLOAD_DIR", dir)];
        is_refused(SERVER, &home, &[], &settings, "UPLOAD_DIR");
    }
    assert_eq!(fs::read(&file).unwrap(), b"x");
}

#[test]
fn an_upload_dir_that_is_missing_is_made() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    server.assert_verified(&server.pull_id("shop-001"), b"x");
}

#[test]
fn a_port_in_use_is_named() {
    let first = Server::start(&[]);
    let home = TempDir::new();
    let port = first.port.to_string();
    let settings = [("HOST", "127.0.0.1"), ("PORT", port.as_str()), ("AUTH_SECRET", SECRET)];

    let mut second = Program::start("second server", SERVER, &[], &settings, &home);

    let code = second.wait_exit();
    assert!(code == 1 || code == 2, "{code}");
    assert!(second.output().contains(&port), "{}", second.output());
    first.get("/clients").expect(200);
}

#[test]
fn an_upload_dir_in_use_by_another_server_is_refused() {
    let first = Server::start(&[]);
    let home = TempDir::new();
    let dir = first.uploads.to_str().unwrap();
    let settings = [("HOST", "127.0.0.1"), ("PORT", "0"), ("AUTH_SECRET", SECRET), ("UPLOAD_DIR", dir)];

    let mut second = Program::start("second server", SERVER, &[], &settings, &home);

    let code = second.wait_exit();
    assert!(code == 1 || code == 2, "{code}");
    assert!(second.output().contains(dir), "{}", second.output());
    first.get("/clients").expect(200);
}

#[test]
fn settings_are_read_from_env_file_environment_and_flag_in_rising_order() {
    let home = TempDir::new();
    fs::write(
        home.join(".env"),
        format!("# v1's file\nAUTH_SECRET={SECRET}\nWS_PATH=/from-file\nHOST=127.0.0.1\nPORT=0\n"),
    )
    .unwrap();
    let ready = |args: &[&str], settings: &[(&str, &str)]| {
        let program = Program::start("towline-server", SERVER, args, settings, &home);
        program.wait_line("WebSocket path: ")
    };
    assert!(ready(&[], &[]).ends_with("WebSocket path: /from-file"));
    assert!(ready(&[], &[("WS_PATH", "/from-environment")]).ends_with("WebSocket path: /from-environment"));
    assert!(
        ready(&["--ws-path", "/from-flag"], &[("WS_PATH", "/x")]).ends_with("WebSocket path: /from-flag")
    );
    assert!(home.join("downloads").is_dir(), "UPLOAD_DIR is ./downloads unless set");
}

/// Of the descriptors that it may have, the server raises its own limit to the last one, and says what that is good for.
#[test]
fn the_server_says_how_many_clients_there_is_room_for() {
    let program = Server::start_limited("ulimit -n 2000 && ulimit -Sn 256").program;
    let said = program.wait_line("there is room for ");
    assert!(said.contains("[WARN] there is room for 1100 clients, for"), "{said}");
    assert!(said.contains("2000 open files; LimitNOFILE="), "{said}");
}

#[test]
fn a_swarm_that_may_not_open_so_many_files_says_how_many_it_may() {
    let home = TempDir::new();
    let settings = [("AUTH_SECRET", SECRET), ("SERVER_URL", "ws://127.0.0.1:1/ws")];
    let args = ["-c", "ulimit -n 256 && exec \"$0\" swarm 1000", TOWLINE];
    let mut swarm = Program::start("swarm", "/bin/sh", &args, &settings, &home);
    assert_eq!(swarm.wait_exit(), 1);
    let output = swarm.output();
    assert!(output.contains("1000 agents need 1064 open files, and this process may have 256"), "{output}");
}
