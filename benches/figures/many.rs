//! Many pulls at once, of as many agents.

use std::thread;
use std::time::Instant;

use super::site::{MIB, Rounds, Source, agent, peak, print_peaks, pull, remove_downloads, server, timed};
use super::support::server::Server;

/// Small files that are asked for while the others run.
const SMALL_FILES: usize = 9;

pub fn run() {
    let small = Source::random(1024);
    at_once(16, &Source::random(100 * MIB), &small);
    at_once(64, &Source::random(40 * MIB), &small);
}

fn at_once(count: usize, source: &Source, small: &Source) {
    let size = source.size / MIB;
    println!(" {count} pulls of {size} MiB");
    let slots = (count + 1).to_string();
    let server = server(&[("MAX_CONCURRENT_TRANSFERS", &slots)]);
    let names: Vec<String> = (1..=count).map(|number| format!("shop-{number:03}")).collect();
    let agents: Vec<_> = names.iter().map(|name| agent(&server, name, source, &[])).collect();
    let _other = agent(&server, "small", small, &[]);
    let alone: Rounds = (0..5)
        .map(|_| {
            let time = timed(|| drop(pull(&server, &names[0], source)));
            remove_downloads(&server);
            time
        })
        .collect();
    let idle = peak(&server.program);
    let (mut each, mut between, mut total) = (Rounds::default(), Rounds::default(), 0.0);
    thread::scope(|scope| {
        let pulls = scope.spawn(|| at_the_same_time(&server, &names, source));
        // One after the other for as long as the others run.
        while !pulls.is_finished() && between.len() < SMALL_FILES {
            between.push(1000.0 * timed(|| drop(pull(&server, "small", small))));
        }
        (each, total) = pulls.join().expect("no panic");
    });
    let rate = (count as u64 * size) as f64 / total;
    let one = size as f64 / alone.median();
    println!("  {rate:.0} MiB/s in all, one alone {one:.0} MiB/s: ratio {:.2}", rate / one);
    println!("  the slowest took {:.2} times the median's time", each.quantile(1.0) / each.median());
    println!("  1 KiB asked for in between, {} times: {between} ms", between.len());
    print_peaks(&server, &agents);
    println!("    {:.2} MiB a running transfer", (peak(&server.program) - idle) / count as f64);
}

/// What each pull takes, and all together, in seconds.
fn at_the_same_time(server: &Server, names: &[String], source: &Source) -> (Rounds, f64) {
    let started = Instant::now();
    let each = thread::scope(|scope| {
        let one = |name| scope.spawn(move || timed(|| drop(pull(server, name, source))));
        let threads: Vec<_> = names.iter().map(|name| one(name.as_str())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    (each, started.elapsed().as_secs_f64())
}
