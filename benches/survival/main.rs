//! What a pull survives, and what that costs on the wire. A plain harness; exit code 1 when a bound does not hold.
//!
//! ```text
//! cargo bench --bench survival                        all of it
//! cargo bench --bench survival -- kills [N] [SEED]    kill -9 of either side, N times (200), while pulls run
//! cargo bench --bench survival -- cuts                1 GiB, cut at 10, 50, 95 %, and kill -9 of either side at half
//! cargo bench --bench survival -- dying-line          1 GiB at 100 Mbit/s over lines that live for 5 s
//! cargo bench --bench survival -- second              second pulls: unchanged, 1 % of pages changed, 1 % appended
//! ```
//! Bytes on the wire are counted by a proxy, in both directions, with all that is not the file.

mod site;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use site::{Bounds, Site};
use support::fault_proxy::Fault::{Cut, DieAfter, Throttle};
use support::fault_proxy::Toward;
use support::files::{log_lines, random_bytes};
use support::kill_run;
use support::wait::Deadline;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;
const PAGE: u64 = 4096;
/// What resuming may cost, as a share of the file.
const RESUMED: f64 = 1.02;

fn main() -> ExitCode {
    // cargo adds flags of its own, such as --bench.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let number = |at: usize| words.get(at).map(|word| word.parse::<u64>().expect("a number"));
    let holds = match words.first().map(String::as_str) {
        None => [kills(200, seed()), cuts(), dying_line(), second()].into_iter().all(|part| part),
        Some("kills") => kills(number(1).unwrap_or(200) as usize, number(2).unwrap_or_else(seed)),
        Some("cuts") => cuts(),
        Some("dying-line") => dying_line(),
        Some("second") => second(),
        Some(other) => {
            eprintln!("{other}: the parts are kills, cuts, dying-line and second");
            return ExitCode::from(2);
        }
    };
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn seed() -> u64 {
    std::process::id().into()
}

/// Pulls of random sizes while server and agents die.
fn kills(kills: usize, seed: u64) -> bool {
    println!("{kills} deaths at random moments, seed {seed}");
    let started = Instant::now();
    let outcome = kill_run::run(seed, kills, 6);
    println!("{outcome}");
    println!("took {:.0} s: {}\n", started.elapsed().as_secs_f64(), verdict(outcome.is_sound()));
    outcome.is_sound()
}

/// 1 GiB, interrupted once in each way.
fn cuts() -> bool {
    println!("1 GiB, interrupted once; at most {RESUMED} × its size on the wire");
    let bounds = Bounds { wire: (GIB as f64 * RESUMED) as u64 };
    let mut holds = true;
    for percent in [10, 50, 95] {
        let at = GIB / 100 * percent;
        let site = Site::start(move |number| match number {
            0 => vec![Cut(Toward::Server, at)],
            _ => vec![],
        });
        site.fill(GIB);
        let pull = site.begin();
        holds &= site.end(pull, &format!("line cut at {percent} %"), bounds);
    }
    let half = |site: &Site| {
        let there = site.proxy.wait_carried(GIB / 2, Deadline::after(Duration::from_secs(120)));
        assert!(there, "half of it never came");
    };
    let mut site = Site::start(|_| vec![]);
    site.fill(GIB);
    let pull = site.begin();
    half(&site);
    site.restart_server();
    holds &= site.end(pull, "server killed at 50 %", bounds);
    drop(site); // its files go
    let mut site = Site::start(|_| vec![]);
    site.fill(GIB);
    let pull = site.begin();
    half(&site);
    site.restart_agent();
    holds &= site.end(pull, "agent killed at 50 %", bounds);
    println!();
    holds
}

/// 1 GiB over lines each of which lives for 5 s.
fn dying_line() -> bool {
    println!("1 GiB at 100 Mbit/s over lines that live for 5 s");
    let site = Site::start(|_| vec![Throttle(Toward::Server, 12_500_000), DieAfter(Duration::from_secs(5))]);
    site.fill(GIB);
    let pull = site.begin();
    let holds = site.end(pull, "lines that live for 5 s", Bounds { wire: u64::MAX });
    println!();
    holds
}

/// A file that was pulled before.
fn second() -> bool {
    println!("second pulls; the bounds are what plain rsync moves for the same two files");
    let site = Site::start(|_| vec![]);
    site.fill(100 * MIB);
    let mut holds = site.end(site.begin(), "100 MiB, the first time", Bounds { wire: 110 * MIB });
    holds &= site.end(site.begin(), "unchanged", Bounds { wire: 100_000 });

    let pages = 100 * MIB / PAGE;
    let file = OpenOptions::new().write(true).open(site.file()).expect("the file is there");
    for (seed, dice) in random_bytes(7, (pages / 100 * 8) as usize).chunks(8).enumerate() {
        let page = u64::from_le_bytes(dice.try_into().expect("8 bytes")) % pages;
        let bytes = random_bytes(1_000_000 + seed as u64, PAGE as usize);
        file.write_all_at(&bytes, page * PAGE).expect("room on the disk");
    }
    holds &= site.end(site.begin(), "1 % of its 4 KiB pages changed", Bounds { wire: 3_400_000 });

    let site = Site::start(|_| vec![]);
    let mut text = log_lines(0, 105_000_000);
    fs::write(site.file(), &text).expect("room on the disk");
    holds &= site.end(site.begin(), "a log of 105 MB, the first time", Bounds { wire: 110_000_000 });
    text.extend(log_lines(10_000_000, 1_050_000));
    fs::write(site.file(), &text).expect("room on the disk");
    holds &= site.end(site.begin(), "1 % appended", Bounds { wire: 1_200_000 });
    println!();
    holds
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "DOES NOT HOLD" }
}
