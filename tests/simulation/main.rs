//! The simulation: both pure machines, joined by queues, in 10,000 worlds of chance.
//!
//! A world is a server, a disk and a few clients, without a thread, a socket, a file or a clock: everything that happens
//! is one step of one actor, and one seeded generator says whose. So a seed is a world, for ever. In between lines are
//! cut, programs killed, powers cut, disks filled, bytes damaged, files changed. After every step, and when all has
//! come to rest: what is published is what its hash says and what the file once was; who was promised something got an
//! end and a reason; nothing is left behind.
//!
//! The shells here do what the real ones do (`server/`, `agent/`, `spool/`), an effect at a time, so that a crash or
//! another thread may come in between. Change them together.
//!
//! `TOWLINE_SEED=n cargo test --test simulation` runs that world alone and says what happens in it.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod agent;
mod coverage;
mod dice;
mod disk;
mod faults;
mod files;
mod ledger;
mod operator;
mod part;
mod plan;
mod scene;
mod sender;
mod server;
mod session;
mod wire;
mod world;
mod writer;

use std::ops::Range;

use coverage::Coverage;
use world::World;

/// Says which seed it was when a world panics.
struct Naming(u64);

impl Drop for Naming {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the world of seed {0} broke: TOWLINE_SEED={0} cargo test --test simulation", self.0);
        }
    }
}

fn run(seed: u64, is_traced: bool) -> Coverage {
    let _named = Naming(seed);
    World::new(seed, is_traced).run()
}

/// Runs the worlds of these seeds, unless one alone is asked for; all that there is to see must be seen in them.
fn run_all(seeds: Range<u64>) {
    if let Ok(seed) = std::env::var("TOWLINE_SEED") {
        let seed: u64 = seed.parse().expect("TOWLINE_SEED is a number");
        if seeds.start == 0 {
            println!("{}", run(seed, true));
        }
        return;
    }
    let mut coverage = Coverage::new();
    for seed in seeds {
        coverage.add(&run(seed, false));
    }
    println!("{coverage}");
    assert!(coverage.missing().is_empty(), "never seen: {:?}", coverage.missing());
}

#[test]
fn worlds_0_to_2499() {
    run_all(0..2500);
}

#[test]
fn worlds_2500_to_4999() {
    run_all(2500..5000);
}

#[test]
fn worlds_5000_to_7499() {
    run_all(5000..7500);
}

#[test]
fn worlds_7500_to_9999() {
    run_all(7500..10_000);
}

#[test]
fn a_seed_is_a_world() {
    for seed in 0..20 {
        assert_eq!(run(seed, false).to_string(), run(seed, false).to_string());
    }
}
