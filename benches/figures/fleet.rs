//! Ten thousand idle agents on one server: what a line costs, and what a restart does. The other end is `towline swarm`.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Signal, getrlimit};

use super::site::{Rounds, processor, remove_downloads, timed};
use super::support::program::Program;
use super::support::server::{SECRET, Server};
use super::support::temp::TempDir;
use super::support::wait::{pause, within};
#[cfg(feature = "tls")]
use super::tls::Identity;

const AGENTS: usize = 10_000;
/// Agents with larger files, on a server of their own.
const LARGE: usize = 300;
/// How long their heartbeats are watched: two beats of 15 s.
const IDLE: Duration = Duration::from_secs(30);
/// Small pulls with one client connected, and with all.
const PULLS: usize = 40;
/// More than anything here may take.
const BACK: Duration = Duration::from_secs(60);

const SETTINGS: &[(&str, &str)] = &[("LOG_LEVEL", "error")];

pub fn run() {
    let count = fleet();
    let (mut server, home) = (Server::start(SETTINGS), TempDir::new());
    let empty = Memory::of(&server);
    let swarm = connected(&server, count, &home, &[]);
    empty.print(&server, &swarm, count);
    pulls(&server, count);
    heartbeats(&server, &swarm);
    after_pulls();
    for (time, word) in [(2, "kill -9"), (3, "SIGTERM")] {
        server = restarted(server, &swarm, word, time, count, &[]);
    }
}

/// The same over TLS, as far as it differs.
#[cfg(feature = "tls")]
pub fn run_secure() {
    let (count, home) = (fleet(), TempDir::new());
    let own = Identity::make(&home);
    let text = |path: &std::path::Path| path.to_str().expect("a plain name").to_owned();
    let (certificate, key) = (text(&own.files.0), text(&own.files.1));
    let settings = [SETTINGS, &[("TLS_CERT", &*certificate), ("TLS_KEY", &*key)]].concat();
    let server = Server::start_secure(&own.files.0, &settings);
    let empty = Memory::of(&server);
    let swarm = connected(&server, count, &home, &[("TLS_CA", &certificate)]);
    empty.print(&server, &swarm, count);
    restarted(server, &swarm, "kill -9", 2, count, &settings[1..]);
}

/// As many agents as open files allow.
fn fleet() -> usize {
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let count = AGENTS.min(usize::try_from(most / 20 * 11).unwrap_or(AGENTS));
    if count < AGENTS {
        println!("  {count} agents instead of {AGENTS}: a process may have {most} open files (ulimit -Hn)");
    }
    count
}

/// A swarm of which all are connected.
fn connected(server: &Server, count: usize, home: &TempDir, settings: &[(&str, &str)]) -> Program {
    let before = processor(&server.program);
    let swarm = swarm(server, count, "swarm-", "1Ki", home, settings);
    println!("  {}", complete(&swarm, count, 1));
    println!(
        "  processor until then: server {:.1} s, swarm {:.1} s",
        processor(&server.program) - before,
        processor(&swarm)
    );
    registered(server, count);
    swarm
}

fn swarm(
    server: &Server,
    count: usize,
    prefix: &str,
    size: &str,
    home: &TempDir,
    settings: &[(&str, &str)],
) -> Program {
    let url = server.url();
    let own = [("LOG_LEVEL", "error"), ("AUTH_SECRET", SECRET), ("SERVER_URL", url.as_str())];
    let arguments = ["swarm", &count.to_string(), "--prefix", prefix, "--size", size];
    let exe = env!("CARGO_BIN_EXE_towline");
    Program::start("towline swarm", exe, &arguments, &[&own, settings].concat(), home)
}

/// The line that a swarm prints when it is complete, for the `time`th time.
fn complete(swarm: &Program, count: usize, time: usize) -> String {
    let words = format!("{count} of {count} connected");
    within(BACK, "all are connected", || {
        let output = swarm.output();
        output.lines().filter(|line| line.contains(&words)).nth(time - 1).map(str::to_owned)
    })
}

/// Waits until all have said who they are, and the server has gone to sleep.
fn registered(server: &Server, count: usize) {
    within(BACK, "all are registered", || {
        let clients = server.get("/clients").expect(200);
        let known = clients.as_array()?.iter().filter(|client| client["agentVersion"].is_string()).count();
        (known >= count).then_some(())
    });
    pause(Duration::from_secs(2)); // what the list cost goes back
}

/// What a server has resident, and what the kernel holds, in KiB.
struct Memory {
    server: u64,
    kernel: u64,
}

impl Memory {
    fn of(server: &Server) -> Memory {
        let text = std::fs::read_to_string("/proc/meminfo").expect("Linux");
        let value = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("proc_meminfo(5)");
            line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
        };
        let kernel = ["Slab", "KernelStack", "PageTables"].into_iter().map(value).sum();
        Memory { server: server.program.status("VmRSS"), kernel }
    }

    fn print(&self, server: &Server, swarm: &Program, count: usize) {
        let (now, each) = (Memory::of(server), |kib: u64| kib as f64 / count as f64);
        println!(
            "  a line: {:.1} KiB resident at the server, {:.1} at the swarm, {:.1} in the kernel for both ends",
            each(now.server.saturating_sub(self.server)),
            each(swarm.status("VmRSS")),
            each(now.kernel.saturating_sub(self.kernel))
        );
    }
}

fn heartbeats(server: &Server, swarm: &Program) {
    let before = (processor(&server.program), processor(swarm));
    pause(IDLE);
    let share = |used: f64| used / IDLE.as_secs_f64() * 100.0;
    println!(
        "  heartbeats every 15 s, {} s: server {:.2} % of a core, swarm {:.2} %",
        IDLE.as_secs(),
        share(processor(&server.program) - before.0),
        share(processor(swarm) - before.1)
    );
}

/// A pull of 1 KiB from any of them, against one from a client that is alone.
fn pulls(server: &Server, count: usize) {
    let (alone, home) = (Server::start(SETTINGS), TempDir::new());
    let _single = swarm(&alone, 1, "swarm-", "1Ki", &home, &[]);
    alone.lists_agent("swarm-001");
    let (mut of_one, mut of_all) = (Rounds::default(), Rounds::default());
    for number in 0..PULLS {
        of_one.push(1000.0 * timed(|| pull(&alone, "swarm-001")));
        let name = format!("swarm-{:03}", 1 + number * 37 % count);
        of_all.push(1000.0 * timed(|| pull(server, &name)));
    }
    println!("  a pull of 1 KiB, request to verified file, median of {PULLS} (least to most):");
    println!("    one connected {of_one} ms, {count} connected {of_all} ms");
}

fn pull(server: &Server, name: &str) {
    let transfer = server.request("POST", &format!("/download/{name}?wait=60"), &[], None).expect(200);
    assert_eq!(transfer["status"], "completed", "{transfer}");
}

/// What a line that was pulled from keeps. The allocator keeps what the first few needed, for all of them.
fn after_pulls() {
    let (server, home) = (&Server::start(SETTINGS), TempDir::new());
    let large = swarm(server, LARGE, "large-", "10M", &home, &[]);
    complete(&large, LARGE, 1);
    server.lists_agent(&format!("large-{LARGE:03}"));
    let now = || (server.program.status("VmRSS") as f64, large.status("VmRSS") as f64);
    println!(
        "  pulls of 10 MB from {LARGE} clients of another server, one after the other: what is resident after each hundred"
    );
    for hundred in 0..LARGE / 100 {
        let before = now();
        for number in 1..=100 {
            pull(server, &format!("large-{:03}", hundred * 100 + number));
            remove_downloads(server);
        }
        let after = now();
        let each = |after: f64, before: f64| {
            format!("{:+.0} KiB, {:+.1} each", after - before, (after - before) / 100.0)
        };
        println!("    server {}; agents {}", each(after.0, before.0), each(after.1, before.1));
    }
}

/// The server ends and is started again at once.
fn restarted(
    mut server: Server,
    swarm: &Program,
    word: &str,
    time: usize,
    count: usize,
    settings: &[(&str, &str)],
) -> Server {
    let (port, begun) = (server.port.to_string(), Instant::now());
    if word == "SIGTERM" {
        server.program.signal(Signal::TERM);
        server.program.wait_exit();
    }
    let (ended, ca) = (begun.elapsed(), server.ca.clone());
    let settings = [&[("PORT", port.as_str())], SETTINGS, settings].concat();
    let mut server = Server::start_in(server.kill(), &settings);
    server.ca = ca;
    complete(swarm, count, time);
    println!(
        "  {word} and a new start: all are back {:.1} s later ({:.1} s of them to end; processor of the new one {:.1} s)",
        begun.elapsed().as_secs_f64(),
        ended.as_secs_f64(),
        processor(&server.program)
    );
    registered(&server, count);
    server
}
