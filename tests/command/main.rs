//! The operator's command against real servers and agents.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod demo;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::agent::Agent;
use support::files;
use support::program::Program;
use support::server::{SECRET, Server};
use support::temp::TempDir;
use support::wait::eventually;

const TOWLINE: &str = env!("CARGO_BIN_EXE_towline");
const SERVER: &str = env!("CARGO_BIN_EXE_towline-server");

/// `towline` in `home`, with an empty environment.
fn towline(home: &Path, args: &[&str]) -> Command {
    let mut towline = Command::new(TOWLINE);
    towline.args(args).env_clear().current_dir(home).stdin(Stdio::null());
    towline
}

/// The same for `server`, to its end.
fn operate(server: &Server, home: &Path, args: &[&str]) -> Output {
    let mut towline = towline(home, args);
    towline.env("API_KEY", SECRET).env("SERVER", format!("http://127.0.0.1:{}", server.port));
    towline.output().unwrap()
}

/// The JSON that it prints with `--json`.
#[track_caller]
fn json(server: &Server, args: &[&str]) -> Value {
    let home = TempDir::new();
    let output = operate(server, &home, &[args, &["--json"]].concat());
    assert_eq!(code(&output), 0, "{args:?}: {}", err(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// An agent with `len` bytes as its `FILE_PATH`, and those bytes.
fn agent(server: &Server, id: &str, len: usize, settings: &[(&str, &str)]) -> (Agent, Vec<u8>) {
    let home = TempDir::new();
    let content = files::random_file(&home.join("file"), len as u64, len);
    (Agent::serving(server, id, home, settings), content)
}

#[test]
fn pull_brings_what_the_agents_have() {
    let server = Server::start(&[]);
    let sources =
        [agent(&server, "shop-001", 300_001, &[("SHARES", "more=file")]), agent(&server, "shop-002", 1, &[])];
    let home = TempDir::new();
    fs::create_dir(home.join("inbox")).unwrap();

    let output = operate(&server, &home, &["pull", "shop-001", "shop-002", "--output", "inbox", "--json"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let mut transfers: Vec<Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    transfers.sort_by_key(|transfer| transfer["clientId"].to_string());
    assert_eq!(transfers.len(), 2);
    for (transfer, (_, content)) in transfers.iter().zip(&sources) {
        assert_eq!(transfer["status"], "completed");
        assert_eq!(transfer["sha256"], files::sha256(content));
        let saved = home.join("inbox").join(transfer["filename"].as_str().unwrap());
        assert!(fs::read(saved).unwrap() == *content);
    }
    assert_eq!(names(&home.join("inbox")).len(), 2, "no part is left");

    let output = operate(&server, &home, &["pull", "shop-001", "--file-key", "more", "--output", "copy.db"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("shop-001: saved as copy.db\n"), "{}", out(&output));
    assert!(fs::read(home.join("copy.db")).unwrap() == sources[0].1);
    let output = operate(&server, &home, &["pull", "shop-001", "--output", "copy.db"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("nothing is overwritten"), "{}", err(&output));
    let listed = json(&server, &["transfers", "--client", "shop-001"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "the refused pull asked for nothing");
}

#[test]
fn what_the_server_knows_is_listed() {
    let server = Server::start(&[]);
    let (_agent, _) = agent(&server, "shop-001", 5_000, &[("META", r#"{"region":"west"}"#)]);
    let home = TempDir::new();
    assert_eq!(code(&operate(&server, &home, &["pull", "shop-001"])), 0);

    let clients = out(&operate(&server, &home, &["clients"]));
    assert!(
        clients.lines().nth(1).unwrap().starts_with("shop-001 ") && clients.contains("region=west"),
        "{clients}"
    );
    let listed = json(&server, &["transfers"]);
    let id = listed[0]["requestId"].as_str().unwrap();
    let table = out(&operate(&server, &home, &["transfers", "--status", "completed", "--limit", "1"]));
    assert!(table.lines().nth(1).unwrap().starts_with(id) && table.contains("5.0 kB"), "{table}");
    assert_eq!(json(&server, &["show", id]), listed[0]);
    let shown = out(&operate(&server, &home, &["show", id]));
    assert!(shown.contains("\nsize           5000 (5.0 kB)\n"), "{shown}");
    let cancelled = operate(&server, &home, &["cancel", id]);
    assert_eq!(code(&cancelled), 1);
    assert!(err(&cancelled).contains("409"), "{}", err(&cancelled));
}

#[test]
fn what_goes_wrong_has_its_exit_code_and_one_line() {
    let server = Server::start(&[]);
    let _agent = Agent::serving(&server, "shop-001", TempDir::new(), &[]); // without its file
    let home = TempDir::new();
    let url = format!("http://127.0.0.1:{}", server.port);
    let no_such = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
    for (args, key, expected, wanted) in [
        (&["pull", "shop-001"][..], SECRET, 1, "file_not_found"),
        (&["pull", "shop-002"], SECRET, 4, "`towline clients`"),
        (&["pull", "shop-001", "shop-002"], SECRET, 4, "file_not_found"),
        (&["pull", "shop-001"], "a-key-of-ours", 3, "does not accept the key"),
        (&["pull", "shop-001", "--max-rate", "1"], SECRET, 2, "says 400"),
        (&["clients"], "a-key-of-ours", 3, "does not accept the key"),
        (&["show", no_such], SECRET, 1, "`towline transfers`"),
        (&["clients"], "", 2, "API_KEY is not set"),
        (&["clients", "--server", "http://127.0.0.1:1"], SECRET, 1, "no answer from http://127.0.0.1:1"),
        (&["clients", "--server", "localhost"], SECRET, 2, "SERVER=localhost (from the command line)"),
        (&["clients", "--api-key", SECRET], SECRET, 2, "API_KEY is never taken from a flag"),
        (&["clients", "--jsno"], SECRET, 2, "no such flag: --jsno"),
        (&["clients", "x"], SECRET, 2, "unexpected argument: x"),
        (&["show"], SECRET, 2, "expected the id of one transfer"),
        (&["pull"], SECRET, 2, "expected 1 to 256 clients"),
        (&["nonsense"], SECRET, 2, "no such command: nonsense"),
        (&["help", "nonsense"], SECRET, 2, "no such command: nonsense"),
        (&["demo", "--size", "11G"], SECRET, 2, "--size=11G"),
        (&["swarm", "0"], SECRET, 2, "expected the number of agents"),
        (&["server"], SECRET, 2, "AUTH_SECRET is not set"),
        (&["agent"], SECRET, 2, "AUTH_SECRET is not set"),
    ] {
        let output = towline(&home, args).env("API_KEY", key).env("SERVER", &url).output().unwrap();
        let err = err(&output);
        assert_eq!(code(&output), expected, "{args:?}: {err}");
        assert!(err.contains(wanted), "{args:?}: {err}");
        assert!(!err.contains(SECRET) && !err.contains("a-key-of-ours"), "{args:?}: {err}");
        let problems = err.lines().filter(|line| line.starts_with("towline")).count();
        assert_eq!(problems, if expected == 4 && args.len() == 3 { 2 } else { 1 }, "{args:?}: {err}");
    }
}

#[test]
fn every_help_is_there() {
    let home = TempDir::new();
    let mut all =
        vec![(vec![], "Commands:"), (vec!["--help"], "Commands:"), (vec!["--version"], "towline 0")];
    for name in ["demo", "clients", "pull", "transfers", "show", "cancel", "swarm", "server", "agent"] {
        all.push((vec![name, "--help"], "Usage: towline"));
        all.push((vec!["help", name], "Usage: towline"));
        all.push((vec![name, "-V"], "towline"));
    }
    for (args, wanted) in all {
        let output = towline(&home, &args).output().unwrap();
        assert_eq!((code(&output), output.stderr.len()), (0, 0), "{args:?}");
        assert!(out(&output).contains(wanted), "{args:?}: {}", out(&output));
    }
}

#[test]
fn settings_come_from_a_file_too() {
    let home = TempDir::new();
    let settings =
        format!("# v1's\nAUTH_SECRET='{SECRET}' # the key\nPORT=0\nHOST=127.0.0.1\nUPLOAD_DIR=in box\n");
    for (name, args) in [(".env", &[][..]), ("other.env", &["--env-file", "other.env"])] {
        fs::write(home.join(name), &settings).unwrap();
        let server = Program::start("towline-server", SERVER, args, &[], &home);
        server.wait_line("Server running on port ");
        drop(server);
        assert!(home.join("in box").is_dir());
        fs::remove_file(home.join(name)).unwrap();
    }
    let mut server = Program::start("towline-server", SERVER, &["--env-file", "other.env"], &[], &home);
    assert_eq!(server.wait_exit(), 2);
    assert!(server.output().contains("other.env: there is no such file"), "{}", server.output());
}

/// `towline pull shop-001` for `server`, while it runs.
fn start_pull(server: &Server, home: &Path, more: &[&str]) -> Program {
    let url = format!("http://127.0.0.1:{}", server.port);
    let args = [&["pull", "shop-001"], more].concat();
    Program::start("towline pull", TOWLINE, &args, &[("API_KEY", SECRET), ("SERVER", &url)], home)
}

/// The id of the one transfer, when bytes of it are here.
fn receiving(server: &Server) -> String {
    eventually("bytes arrive", || {
        let listed = json(server, &["transfers", "--status", "receiving"]);
        listed[0]["requestId"].as_str().map(str::to_owned)
    })
}

#[test]
fn a_pull_can_be_cancelled_from_elsewhere() {
    let server = Server::start(&[]);
    let (_agent, _) = agent(&server, "shop-001", 3_000_000, &[("MAX_RATE", "100k")]);
    let home = TempDir::new();
    let mut pull = start_pull(&server, &home, &[]);
    let id = receiving(&server);
    let output = operate(&server, &home, &["cancel", &id]);
    assert_eq!((code(&output), out(&output)), (0, format!("{id}: cancelled\n")));
    assert_eq!(pull.wait_exit(), 1);
    let wanted = format!("shop-001: cancelled (transfer {id})");
    assert!(pull.output().contains(&wanted), "{}", pull.output());
    assert_eq!(json(&server, &["show", &id])["status"], "cancelled");
}

/// Makes the server know `shop-001`, which is not connected afterwards.
fn make_known(server: &Server) {
    drop(agent(server, "shop-001", 1, &[]));
    eventually("it is gone", || (json(server, &["clients"]).as_array().unwrap().is_empty()).then_some(()));
}

#[test]
fn a_pull_that_gives_up_waiting_leaves_the_transfer_running() {
    let server = Server::start(&[]);
    make_known(&server);
    let home = TempDir::new();
    let output = operate(&server, &home, &["pull", "shop-001", "--queue-for", "1h", "--timeout", "1s"]);
    let id = json(&server, &["transfers", "--status", "queued"])[0]["requestId"].as_str().unwrap().to_owned();
    assert_eq!((code(&output), out(&output).as_str()), (1, ""));
    assert!(err(&output).contains(&format!("`towline show {id}`")), "{}", err(&output));

    let mut pull = start_pull(&server, &home, &["--queue-for", "1h", "--timeout", "1h"]);
    let (_agent, _) = agent(&server, "shop-001", 5_000, &[]);
    assert_eq!(pull.wait_exit(), 0);
}

#[test]
fn without_a_terminal_each_change_of_status_is_a_line() {
    let server = Server::start(&[]);
    make_known(&server);
    let home = TempDir::new();
    let mut pull = start_pull(&server, &home, &["--queue-for", "1h"]);
    let queued = pull.wait_line("shop-001: queued");
    assert!(queued.contains("; waits until 2"), "{queued}");
    let (first, _) = agent(&server, "shop-001", 1_000_000, &[("MAX_RATE", "100k")]);
    pull.wait_line("shop-001: receiving 1.0 MB");
    drop(first);
    let interrupted = pull.wait_line("shop-001: interrupted: client_disconnected: ");
    assert!(interrupted.contains("; waits until 2"), "{interrupted}");
    let (_second, _) = agent(&server, "shop-001", 1_000_000, &[]);
    assert_eq!(pull.wait_exit(), 0);
    assert!(!pull.output().contains("Ctrl-C"), "{}", pull.output());
}

#[test]
fn a_pull_outlives_a_restart_of_the_server() {
    let first = Server::start(&[]);
    let (_agent, content) = agent(&first, "shop-001", 1_500_000, &[("MAX_RATE", "1M")]);
    let home = TempDir::new();
    let mut pull = start_pull(&first, &home, &["--output", "copy.db"]);
    receiving(&first);
    let port = first.port.to_string();
    let _second = Server::start_in(first.kill(), &[("PORT", &port)]);
    assert_eq!(pull.wait_exit(), 0);
    assert!(fs::read(home.join("copy.db")).unwrap() == content);
}

#[test]
fn a_swarm_is_pulled_from() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let settings = [("AUTH_SECRET", SECRET), ("SERVER_URL", &server.url())];
    let swarm =
        Program::start("swarm", TOWLINE, &["swarm", "3", "--size", "1M", "--prefix", "s"], &settings, &home);
    swarm.wait_line("3 of 3 connected after ");
    for id in ["s001", "s002", "s003"] {
        server.lists_agent(id);
    }
    let output = operate(&server, &home, &["pull", "s001", "s002", "s003"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(out(&output).matches(": 1.0 MB in ").count(), 3);

    let port = server.port.to_string();
    let _second = Server::start_in(server.kill(), &[("PORT", &port)]);
    swarm.wait_nth_line("3 of 3 connected after ", 2);
}
