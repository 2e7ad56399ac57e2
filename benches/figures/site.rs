//! What the parts share: a server, agents with one file, pulls, and what processes have used.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;
use towline::hash::hash_all;
use towline::names::Sha256Hash;

use super::support::agent::Agent;
use super::support::files::random_bytes;
use super::support::program::Program;
use super::support::server::Server;
use super::support::temp::TempDir;

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
/// Rounds that count; one more warms up.
pub const ROUNDS: usize = 9;

/// Nothing is logged but errors: what is measured is the work.
const QUIET: (&str, &str) = ("LOG_LEVEL", "error");

/// A file of an agent.
pub struct Source {
    pub path: PathBuf,
    pub size: u64,
    pub hash: Sha256Hash,
    _folder: TempDir,
}

impl Source {
    /// Bytes that do not compress.
    pub fn random(size: u64) -> Source {
        Source::made(size, |file| {
            for (number, at) in (0..size).step_by(MIB as usize).enumerate() {
                let length = MIB.min(size - at) as usize;
                file.write_all(&random_bytes(number as u64, length)).expect("room on the disk");
            }
        })
    }

    /// Nothing but a length.
    pub fn sparse(size: u64) -> Source {
        Source::made(size, |file| file.get_ref().set_len(size).expect("room on the disk"))
    }

    /// What `write` makes.
    pub fn made(size: u64, write: impl FnOnce(&mut BufWriter<File>)) -> Source {
        let folder = TempDir::new();
        let path = folder.join("file");
        let mut file = BufWriter::new(File::create(&path).expect("a file"));
        write(&mut file);
        file.flush().expect("room on the disk");
        let hash = hash_all(File::open(&path).expect("it is there")).expect("it can be read").0;
        Source { path, size, hash, _folder: folder }
    }
}

/// A server that is quiet, with `settings`.
pub fn server(settings: &[(&str, &str)]) -> Server {
    Server::start(&[&[QUIET], settings].concat())
}

/// An agent that is quiet, known to `server`, with `source` as its file.
pub fn agent(server: &Server, name: &str, source: &Source, settings: &[(&str, &str)]) -> Agent {
    let file = ("FILE_PATH", source.path.to_str().expect("a plain name"));
    let agent = Agent::start(&server.url(), name, &[&[QUIET, file], settings].concat());
    server.lists_agent(name);
    agent
}

/// Asks for an agent's file, and returns when it is there, verified and synced.
pub fn pull(server: &Server, name: &str, source: &Source) -> Value {
    let transfer = server.request("POST", &format!("/download/{name}?wait=120"), &[], None).expect(200);
    assert_eq!(transfer["status"], "completed", "{transfer}");
    assert_eq!(transfer["sha256"], source.hash.to_string(), "{transfer}");
    transfer
}

/// Without its downloads the next pull is a first one again.
pub fn remove_downloads(server: &Server) {
    for entry in std::fs::read_dir(&server.uploads).expect("the folder").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "bin") {
            std::fs::remove_file(entry.path()).expect("a download");
        }
    }
}

/// What processes used, this one included.
#[derive(Clone, Copy)]
pub struct Used {
    /// Wall, in seconds.
    pub wall: f64,
    /// Of processors, user and system, in seconds.
    pub processor: f64,
}

/// What `work` uses, in this process and in `programs`.
pub fn used(programs: &[&Program], work: impl FnOnce()) -> Used {
    let all = || processor_of("self") + programs.iter().map(|program| processor(program)).sum::<f64>();
    let (before, started) = (all(), Instant::now());
    work();
    Used { wall: started.elapsed().as_secs_f64(), processor: all() - before }
}

/// Of processors, user and system, in seconds, since a program's start.
pub fn processor(program: &Program) -> f64 {
    processor_of(&program.id().to_string())
}

/// Fields 14 and 15 of proc_pid_stat(5), in hundredths of a second (USER_HZ is 100 for every Linux that we know).
fn processor_of(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("Linux, and it lives");
    let behind_its_name = stat.rsplit(')').next().expect("a name in brackets");
    let ticks = behind_its_name.split_whitespace().skip(11).take(2);
    ticks.map(|number| number.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}

pub fn timed(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

/// Figures of rounds.
#[derive(Default)]
pub struct Rounds(Vec<f64>);

impl Rounds {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The value below which `share` of all are.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn sum(&self) -> f64 {
        self.0.iter().sum()
    }
}

impl FromIterator<f64> for Rounds {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Rounds {
        Rounds(values.into_iter().collect())
    }
}

/// Median (least to most).
impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.median(), self.quantile(0.0), self.quantile(1.0))
    }
}

/// Floor and Towline, round by round.
#[derive(Default)]
pub struct Pairs {
    floor: Rounds,
    ours: Rounds,
    ratio: Rounds,
    floor_processor: Rounds,
    our_processor: Rounds,
}

impl Pairs {
    pub fn push(&mut self, floor: Used, ours: Used) {
        self.floor.push(floor.wall);
        self.ours.push(ours.wall);
        self.ratio.push(ours.wall / floor.wall);
        self.floor_processor.push(floor.processor);
        self.our_processor.push(ours.processor);
    }

    pub fn print(&self, floor: &str) {
        let rounds = self.ours.len();
        println!(
            "  wall, median of {rounds} (least to most): {floor} {} s, towline {} s",
            self.floor, self.ours
        );
        println!("    ratio {}", self.ratio);
        // One by one they are too coarse: the kernel counts hundredths of a second.
        let (floor_sum, our_sum) = (self.floor_processor.sum(), self.our_processor.sum());
        let each = rounds as f64;
        println!(
            "  processor, both ends, mean: {floor} {:.3} s, towline {:.3} s",
            floor_sum / each,
            our_sum / each
        );
        println!("    ratio {:.3}", our_sum / floor_sum);
    }
}

/// The most that a program had resident (`VmHWM`), in MiB.
pub fn peak(program: &Program) -> f64 {
    program.status("VmHWM") as f64 / 1024.0
}

/// Prints the peaks of both ends.
pub fn print_peaks(server: &Server, agents: &[Agent]) {
    let most = agents.iter().map(|agent| peak(&agent.program)).fold(0.0, f64::max);
    println!("  peak resident: server {:.1} MiB, agent {most:.1} MiB", peak(&server.program));
}
