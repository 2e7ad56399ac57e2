//! The operator's command against real servers and agents.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use towline::hash::hash_all;

const TOWLINE: &str = env!("CARGO_BIN_EXE_towline");
const SERVER: &str = env!("CARGO_BIN_EXE_towline-server");
const AGENT: &str = env!("CARGO_BIN_EXE_towline-agent");
const KEY: &str = "test-key";

/// A folder that is removed at the end of its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("towline-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, size: usize) -> PathBuf {
        let path = self.0.join(name);
        let seed = name.bytes().map(u32::from).sum::<u32>();
        let bytes: Vec<u8> =
            (0..size as u32).map(|n| (n.wrapping_mul(2_654_435_761).rotate_left(seed) >> 11) as u8).collect();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// `program` in `folder`, with an empty environment.
fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(folder).stdin(Stdio::null());
    command
}

/// A server with the downloads in `folder/downloads`, and its port.
fn server(folder: &Folder, port: &str) -> (Running, String) {
    let mut server = command(SERVER, &folder.0);
    server.envs([("AUTH_SECRET", KEY), ("PORT", port), ("HOST", "127.0.0.1")]);
    let mut child = server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let running = Running(child);
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let port = line.trim_end().strip_prefix("Server running on port ").unwrap().to_owned();
    line.clear();
    lines.read_line(&mut line).unwrap();
    assert_eq!(line, "WebSocket path: /ws\n");
    (running, port)
}

fn agent(folder: &Folder, port: &str, id: &str, settings: &[(&str, &str)]) -> Running {
    let mut agent = command(AGENT, &folder.0);
    agent.envs([
        ("AUTH_SECRET", KEY),
        ("CLIENT_ID", id),
        ("SERVER_URL", &format!("ws://127.0.0.1:{port}/ws")),
    ]);
    Running(agent.envs(settings.iter().copied()).stderr(Stdio::null()).spawn().unwrap())
}

/// `towline` for the server on `port`.
fn towline(folder: &Folder, port: &str, args: &[&str]) -> Command {
    let mut towline = command(TOWLINE, &folder.0);
    towline.envs([("API_KEY", KEY), ("SERVER", &format!("http://127.0.0.1:{port}"))]).args(args);
    towline
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The JSON that `towline ARGS --json` prints.
fn json(folder: &Folder, port: &str, args: &[&str]) -> Value {
    let output = towline(folder, port, args).arg("--json").output().unwrap();
    assert_eq!(code(&output), 0, "{args:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Waits until `probe` has an answer.
fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_for_clients(folder: &Folder, port: &str, count: usize) {
    eventually("clients", || {
        let clients = json(folder, port, &["clients"]);
        (clients.as_array().unwrap().len() == count).then_some(())
    });
}

#[test]
fn demo_shows_a_verified_pull_and_leaves_nothing() {
    let folder = Folder::new();
    let mut demo = command(TOWLINE, &folder.0);
    demo.args(["demo", "--size", "3M"]).env("TMPDIR", &folder.0);
    demo.env("PORT", "not for the demo").env("AUTH_SECRET", "nor this");
    let output = demo.output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(code(&output), 0, "{out}{err}");
    for expected in
        ["shop-001: equal, ", "shop-002: equal, ", "MB/s", "curl -X POST \"$SERVER/download/shop-001\""]
    {
        assert!(out.contains(expected), "{expected} in {out}");
    }
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn demo_keeps_all_running_when_told_to() {
    let folder = Folder::new();
    let mut demo = command(TOWLINE, &folder.0);
    let output = demo.args(["demo", "--size", "0", "--keep"]).env("TMPDIR", &folder.0).output().unwrap();
    let out = text(&output.stdout);
    assert_eq!(code(&output), 0, "{out}");
    let part = |from: &str, to: &str| out.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned();
    let mut clients = command(TOWLINE, &folder.0);
    clients.env("SERVER", part("SERVER=", " ")).env("API_KEY", part("API_KEY=", "\n"));
    let clients = clients.args(["clients", "--json"]).output().unwrap();
    let clients: Value = serde_json::from_slice(&clients.stdout).unwrap();
    assert_eq!(clients.as_array().unwrap().len(), 2);
    let stopped = Command::new("sh").args(["-c", &part("To end it: ", "\n")]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn pull_brings_what_the_agents_have() {
    let folder = Folder::new();
    let (_server, port) = server(&folder, "0");
    let sources = [folder.file("one.db", 300_001), folder.file("two.db", 1)];
    let path = |index: usize| sources[index].to_str().unwrap();
    let _one = agent(&folder, &port, "shop-001", &[("FILE_PATH", path(0)), ("SHARES", "more=one.db")]);
    let _two = agent(&folder, &port, "shop-002", &[("FILE_PATH", path(1))]);
    wait_for_clients(&folder, &port, 2);

    fs::create_dir(folder.0.join("inbox")).unwrap();
    let pull = ["pull", "shop-001", "shop-002", "--output", "inbox", "--json"];
    let output = towline(&folder, &port, &pull).output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let mut transfers: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    transfers.sort_by_key(|transfer| transfer["clientId"].to_string());
    assert_eq!(transfers.len(), 2);
    for (transfer, source) in transfers.iter().zip(&sources) {
        let saved = folder.0.join("inbox").join(transfer["filename"].as_str().unwrap());
        let (hash, _) = hash_all(File::open(&saved).unwrap()).unwrap();
        assert_eq!(fs::read(saved).unwrap(), fs::read(source).unwrap());
        assert_eq!(transfer["sha256"], hash.to_string());
        assert_eq!(transfer["status"], "completed");
    }
    assert_eq!(fs::read_dir(folder.0.join("inbox")).unwrap().count(), 2, "no part is left");

    let output =
        towline(&folder, &port, &["pull", "shop-001", "--file-key", "more", "--output", "copy.db"]).output();
    let output = output.unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("shop-001: saved as copy.db"), "{}", text(&output.stdout));
    let again = towline(&folder, &port, &["pull", "shop-001", "--output", "copy.db"]).output().unwrap();
    assert_eq!(code(&again), 2);
    assert!(text(&again.stderr).contains("nothing is overwritten"));

    let listed = json(&folder, &port, &["transfers", "--client", "shop-001"]);
    assert_eq!(listed.as_array().unwrap().len(), 2, "the refused pull asked for nothing");
    let shown = json(&folder, &port, &["show", listed[0]["requestId"].as_str().unwrap()]);
    assert_eq!(shown, listed[0]);
    let table = towline(&folder, &port, &["transfers"]).output().unwrap();
    assert_eq!(text(&table.stdout).lines().count(), 4);
    let cancel = ["cancel", listed[0]["requestId"].as_str().unwrap()];
    let cancelled = towline(&folder, &port, &cancel).output().unwrap();
    assert_eq!(code(&cancelled), 1);
    assert!(text(&cancelled.stderr).contains("409"), "{}", text(&cancelled.stderr));
}

#[test]
fn what_goes_wrong_has_its_exit_code_and_one_line() {
    let folder = Folder::new();
    let (_server, port) = server(&folder, "0");
    let _agent = agent(&folder, &port, "shop-001", &[("FILE_PATH", "/nonexistent/pos.db")]);
    wait_for_clients(&folder, &port, 1);
    let no_such = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
    for (args, key, expected, wanted) in [
        (&["pull", "shop-001"][..], KEY, 1, "file_not_found"),
        (&["pull", "shop-002"], KEY, 4, "`towline clients`"),
        (&["pull", "shop-001", "shop-002"], KEY, 4, "file_not_found"),
        (&["pull", "shop-001"], "wrong", 3, "does not accept the key"),
        (&["clients"], "wrong", 3, "does not accept the key"),
        (&["show", no_such], KEY, 1, "`towline transfers`"),
        (&["clients"], "", 2, "API_KEY is not set"),
        (&["clients", "--server", "http://127.0.0.1:1"], KEY, 1, "no answer from http://127.0.0.1:1"),
        (&["clients", "--server", "localhost"], KEY, 2, "SERVER=localhost (from the command line)"),
        (&["clients", "--api-key", KEY], KEY, 2, "API_KEY is never taken from a flag"),
        (&["clients", "--jsno"], KEY, 2, "no such flag: --jsno"),
        (&["clients", "x"], KEY, 2, "unexpected argument: x"),
        (&["show"], KEY, 2, "expected the id of one transfer"),
        (&["pull"], KEY, 2, "expected 1 to 256 clients"),
        (&["nonsense"], KEY, 2, "no such command: nonsense"),
        (&["demo", "--size", "11G"], KEY, 2, "--size=11G"),
        (&["swarm", "0"], KEY, 2, "expected the number of agents"),
        (&["server", "--port", "http"], KEY, 2, "AUTH_SECRET is not set"),
        (&["agent"], KEY, 2, "AUTH_SECRET is not set"),
    ] {
        let output = towline(&folder, &port, args).env("API_KEY", key).output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(code(&output), expected, "{args:?}: {err}");
        assert!(err.contains(wanted), "{args:?}: {err}");
        assert!(!err.contains(KEY) && !err.contains("wrong"), "{args:?}: {err}");
        let errors = err.lines().filter(|line| line.starts_with("towline")).count();
        assert_eq!(errors, if args.len() == 3 && args[2] == "shop-002" { 2 } else { 1 }, "{args:?}: {err}");
    }
}

#[test]
fn every_help_is_there() {
    let folder = Folder::new();
    let mut all = vec![vec![], vec!["--help"], vec!["--version"]];
    for name in ["demo", "clients", "pull", "transfers", "show", "cancel", "swarm", "server", "agent"] {
        all.push(vec![name, "--help"]);
        all.push(vec![name, "-V"]);
    }
    for args in all {
        let output = command(TOWLINE, &folder.0).args(&args).output().unwrap();
        assert_eq!((code(&output), output.stderr.len()), (0, 0), "{args:?}");
        let wanted = if args.len() == 2 && args[1] == "--help" { "Usage: towline" } else { "towline" };
        assert!(text(&output.stdout).contains(wanted), "{args:?}");
    }
}

#[test]
fn settings_come_from_a_file_too() {
    let folder = Folder::new();
    let settings =
        format!("# from v1\nAUTH_SECRET='{KEY}' # the key\nPORT=0\nHOST=127.0.0.1\nUPLOAD_DIR=in box\n");
    for (name, args) in [(".env", &[][..]), ("other.env", &["--env-file", "other.env"])] {
        fs::write(folder.0.join(name), &settings).unwrap();
        let mut server = command(SERVER, &folder.0);
        let child = server.args(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut running = Running(child);
        let mut line = String::new();
        BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("Server running on port "), "{line}");
        drop(running);
        fs::remove_file(folder.0.join(name)).unwrap();
        fs::remove_dir_all(folder.0.join("in box")).unwrap();
    }
    let output = command(SERVER, &folder.0).args(["--env-file", "other.env"]).output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(text(&output.stderr).contains("other.env: there is no such file"), "{}", text(&output.stderr));
}

#[test]
fn a_pull_can_be_cancelled_from_elsewhere() {
    let folder = Folder::new();
    let (_server, port) = server(&folder, "0");
    let source = folder.file("slow.db", 3_000_000);
    let _agent =
        agent(&folder, &port, "shop-001", &[("FILE_PATH", source.to_str().unwrap()), ("MAX_RATE", "100k")]);
    wait_for_clients(&folder, &port, 1);
    let pull = towline(&folder, &port, &["pull", "shop-001"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut pull = Running(pull);
    let receiving = ["transfers", "--status", "receiving"];
    let id = eventually("bytes arrive", || {
        json(&folder, &port, &receiving)[0]["requestId"].as_str().map(str::to_owned)
    });
    let output = towline(&folder, &port, &["cancel", &id]).output().unwrap();
    assert_eq!((code(&output), text(&output.stdout)), (0, format!("{id}: cancelled\n")));
    assert_eq!(pull.0.wait().unwrap().code(), Some(1));
    let mut err = String::new();
    pull.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(err.contains(&format!("shop-001: cancelled (transfer {id})")), "{err}");
    assert_eq!(json(&folder, &port, &["show", &id])["status"], "cancelled");
}

#[test]
fn a_pull_outlives_a_restart_of_the_server() {
    let folder = Folder::new();
    let (first, port) = server(&folder, "0");
    let source = folder.file("slow.db", 1_500_000);
    let settings = [("FILE_PATH", source.to_str().unwrap()), ("MAX_RATE", "1M")];
    let _agent = agent(&folder, &port, "shop-001", &settings);
    wait_for_clients(&folder, &port, 1);
    let pull = ["pull", "shop-001", "--output", "copy.db"];
    let mut pull =
        Running(towline(&folder, &port, &pull).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let receiving = ["transfers", "--status", "receiving"];
    eventually("bytes arrive", || json(&folder, &port, &receiving)[0]["bytes"].as_u64());
    drop(first);
    let _second = server(&folder, &port);
    assert_eq!(pull.0.wait().unwrap().code(), Some(0));
    assert_eq!(fs::read(folder.0.join("copy.db")).unwrap(), fs::read(source).unwrap());
}

#[test]
fn a_swarm_is_pulled_from() {
    let folder = Folder::new();
    let (_server, port) = server(&folder, "0");
    let mut swarm = command(TOWLINE, &folder.0);
    swarm.args(["swarm", "3", "--size", "1M", "--prefix", "s"]).env("AUTH_SECRET", KEY);
    swarm.env("SERVER_URL", format!("ws://127.0.0.1:{port}/ws")).stdout(Stdio::null());
    let _swarm = Running(swarm.spawn().unwrap());
    wait_for_clients(&folder, &port, 3);
    let output = towline(&folder, &port, &["pull", "s001", "s002", "s003"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).matches(": 1.0 MB in ").count(), 3);
}
