//! A thin line, a long one, one that loses packets: the kernel's own TCP over a link that we carry the packets of.
//!
//! A part that wants one runs apart, in a network namespace of its own, where the server is; what runs on the other side
//! of the link has another. Each has a TUN device; `relay.rs` is what is between them. netem would do, but not every
//! kernel has it. That takes root, or a system that lets users have namespaces and /dev/net/tun; and python3, for two
//! lines that Rust has no safe words for.

use std::io::Write;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::support::agent::Agent;
use super::support::program::Program;
use super::support::server::{SECRET, Server};
use super::support::temp::TempDir;
use super::{relay, send};

/// Where a server listens that takes agents from over the link.
pub const EVERYWHERE: (&str, &str) = ("HOST", "0.0.0.0");
const OURS: &str = "10.99.0.2";
const THEIRS: &str = "10.99.0.1";
const NEAR: &str = "tl-near";
const FAR: &str = "tl-far";
/// The word that a program which runs apart begins with.
const APART: &str = "apart";
/// What a program that panics ends with.
const PANIC: i32 = 101;
/// How long setting up may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a link is like, in both directions.
#[derive(Clone, Copy)]
pub struct Nature {
    /// Its rate in Mbit/s, heads of IP and TCP included.
    pub mbit: f64,
    pub round_trip_ms: f64,
    /// Bytes that wait before the bottleneck; more are lost.
    pub queue: usize,
    /// The share of packets that are lost besides.
    pub loss: f64,
}

/// Work that is done apart, by its name.
pub type Work = (&'static str, fn());

/// What this program is when its first words say so; `None` when they don't.
pub fn apart(words: &[String], all: &[Work]) -> Option<ExitCode> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [APART, "relay", mbit, round_trip, queue, loss] => Some(relay::run(Nature {
            mbit: mbit.parse().expect("a number"),
            round_trip_ms: round_trip.parse().expect("a number"),
            queue: queue.parse().expect("a number"),
            loss: loss.parse().expect("a number"),
        })),
        [APART, "send", address, congestion, path, count] => {
            send::run(address, congestion, path, count.parse().expect("a number"));
            Some(ExitCode::SUCCESS)
        }
        [APART, name] => {
            all.iter().find(|(known, _)| *known == name).expect("our own name").1();
            Some(ExitCode::SUCCESS)
        }
        _ => None,
    }
}

/// Does all of this work, each apart from the others and all at the same time: a link that is thin leaves the machine idle.
/// Prints what each has printed, in order.
pub fn run_apart(all: &[Work]) {
    let start = |(name, _): &Work| {
        let mut unshare = Command::new("unshare");
        unshare.args(if rustix::process::geteuid().is_root() { &["-n"][..] } else { &["-U", "-r", "-n"] });
        unshare.arg(std::env::current_exe().expect("this program")).args([APART, name]);
        unshare.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()
    };
    let running: Vec<_> = all.iter().map(start).collect();
    for (child, (name, _)) in running.into_iter().zip(all) {
        match child.and_then(Child::wait_with_output) {
            Ok(output) if output.status.success() => {
                std::io::stdout().write_all(&output.stdout).expect("somewhere to print")
            }
            Ok(output) if output.status.code() == Some(PANIC) => panic!("{name} came to no end"),
            Ok(output) => println!("  {name}: skipped: no network namespace of its own ({})", output.status),
            Err(error) => println!("  {name}: skipped: unshare: {error}"),
        }
    }
}

/// A link, open; its near end is in a namespace of its own.
pub struct Link {
    /// Keeps the namespace; ends when we do.
    keeper: Child,
    relay: Child,
}

impl Link {
    /// Opens one in the namespace that we have to ourselves.
    ///
    /// # Errors
    /// Says what this system does not let us do.
    pub fn open(nature: Nature) -> Result<Link, String> {
        let mut keeper = Command::new("unshare");
        keeper.args(["-n", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let keeper = keeper.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut relay = Command::new("python3");
        relay.args(["-c", include_str!("tun.py"), NEAR, FAR]).arg(std::env::current_exe().expect("us"));
        let Nature { mbit, round_trip_ms, queue, loss } = nature;
        relay.args([APART, "relay", &mbit.to_string(), &round_trip_ms.to_string()]);
        relay.args([queue.to_string(), loss.to_string()]);
        let relay = relay.spawn().map_err(|error| format!("python3: {error}"))?;
        let mut link = Link { keeper, relay };
        link.set_up()?;
        Ok(link)
    }

    fn set_up(&mut self) -> Result<(), String> {
        let started = Instant::now();
        let (ours, theirs) = ("/proc/self/ns/net", format!("/proc/{}/ns/net", self.keeper.id()));
        let is_there = || {
            let devices = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
            devices.contains(FAR) && std::fs::read_link(ours).ok() != std::fs::read_link(&theirs).ok()
        };
        while !is_there() {
            if let Ok(Some(status)) = self.relay.try_wait() {
                return Err(format!("no TUN device ({status})"));
            }
            if started.elapsed() > PATIENCE {
                return Err("no TUN device, or no namespace".to_owned());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let keeper = self.keeper.id().to_string();
        shell(Command::new("sh"), "ip link set lo up")?;
        shell(Command::new("sh"), &format!("ip link set {NEAR} netns {keeper}"))?;
        let end = |device: &str, own: &str, other: &str| {
            // What one connection learnt of the path is not the next one's.
            format!(
                "echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save; ip addr add {own} peer {other} dev {device} \
                 && ip link set {device} txqueuelen 10000 up"
            )
        };
        shell(Command::new("sh"), &end(FAR, OURS, THEIRS))?;
        shell(self.command("sh"), &end(NEAR, THEIRS, OURS))
    }

    /// A program that runs at the near end, where an agent is.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.keeper.id().to_string(), "-n", program]);
        command
    }

    /// This program at the near end, as [`apart`] has it.
    pub fn again(&self, words: &[&str]) -> Command {
        let exe = std::env::current_exe().expect("this program");
        let mut command = self.command(exe.to_str().expect("a plain name"));
        command.arg(APART).args(words);
        command
    }

    /// An agent at the near end, known to the server.
    pub fn agent(&self, server: &Server, name: &str, settings: &[(&str, &str)]) -> Agent {
        let home = TempDir::new();
        let mut command = self.command(env!("CARGO_BIN_EXE_towline-agent"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).current_dir(&*home);
        command.env("SERVER_URL", format!("ws://{OURS}:{}/ws", server.port));
        command.envs([("CLIENT_ID", name), ("AUTH_SECRET", SECRET), ("LOG_LEVEL", "error")]);
        command.envs(settings.iter().copied());
        let program = Program::spawn("towline-agent", command).expect("it starts");
        server.lists_agent(name);
        Agent { program, home }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for child in [&mut self.relay, &mut self.keeper] {
            let _ended = child.kill(); // it may have ended by itself
            let _ended = child.wait();
        }
    }
}

fn shell(mut command: Command, script: &str) -> Result<(), String> {
    let output = command.args(["-c", script]).output().map_err(|error| format!("sh: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{script}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
