//! What Towline costs: time, processor, memory and bytes, each against a floor that is measured in the same run. A plain
//! harness, no gate.
//!
//! ```text
//! cargo bench --bench figures             all parts
//! cargo bench --bench figures -- one tls  these parts
//! ```
//! Rounds of the floor and of Towline follow each other in turn, so that what the machine does meanwhile meets both. A
//! figure is the median of its rounds, with the least and the most behind it; a ratio is that of rounds that follow each
//! other.

#[cfg(feature = "compress")]
mod compression;
mod fleet;
mod floor;
mod growth;
#[cfg(feature = "compress")]
mod line;
mod lines;
mod link;
mod many;
mod one;
mod relay;
mod send;
mod shared;
mod site;
mod small;
#[path = "../../tests/support/mod.rs"]
mod support;
#[cfg(feature = "tls")]
mod tls;

use std::process::ExitCode;
use std::time::Instant;

/// A part: its name, what it shows, and the work.
type Part = (&'static str, &'static str, fn());

const PARTS: &[Part] = &[
    ("one", "one pull of 100 MiB, of 1 GiB, of 5 GiB: time, processor, memory", one::run),
    #[cfg(feature = "tls")]
    ("tls", "one pull over wss://, against the same cipher alone", tls::run),
    ("many", "16 and 64 pulls at once: rate, fairness, a small file among them, memory", many::run),
    ("small", "pulls of 1 KiB files: how many a second, how long one takes to begin", small::run),
    (
        "growth",
        "1 MB to 10 GB, 1 to 256 pulls at once, 1 to 10,000 clients, 1 to 100,000 records",
        growth::run,
    ),
    ("lines", "one pull over a thin line, and over a long and lossy one, against bare TCP", lines::run),
    ("shared", "a second pull and a cancel beside a pull that fills a thin line", shared::run),
    ("fleet", "10,000 idle agents: memory, heartbeats, a pull among them, restarts", fleet::run),
    #[cfg(feature = "tls")]
    ("fleet-tls", "10,000 idle agents over wss://: memory, a restart", fleet::run_secure),
    #[cfg(feature = "compress")]
    (
        "compression",
        "a log over 20 Mbit/s, plain, compressed, by rsync -z; noise; no line at all",
        compression::run,
    ),
];

fn main() -> ExitCode {
    // cargo adds flags of its own, such as --bench.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let Some(code) = link::apart(&words, &[lines::WORK, shared::WORK].concat()) {
        return code;
    }
    if let Some(word) = words.iter().find(|word| PARTS.iter().all(|(name, ..)| name != word)) {
        eprintln!("{word}: the parts are");
        PARTS.iter().for_each(|(name, what, _)| eprintln!("  {name}: {what}"));
        return ExitCode::from(2);
    }
    for (name, what, run) in PARTS {
        if words.is_empty() || words.iter().any(|word| word == name) {
            let started = Instant::now();
            println!("{name}: {what}");
            run();
            println!("  took {:.0} s\n", started.elapsed().as_secs_f64());
        }
    }
    ExitCode::SUCCESS
}
