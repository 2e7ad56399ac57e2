//! One pull, from the request to the verified and synced file.

use super::floor;
use super::site::{
    GIB, MIB, Pairs, ROUNDS, Source, agent, print_peaks, pull, remove_downloads, server, used,
};

pub fn run() {
    pairs("100 MiB", &Source::random(100 * MIB), ROUNDS);
    pairs("1 GiB", &Source::random(GIB), 5);
    println!(" 5 GiB, sparse: memory does not depend on the size");
    let source = Source::sparse(5 * GIB);
    let server = server(&[]);
    let agent = agent(&server, "shop-001", &source, &[]);
    pull(&server, "shop-001", &source);
    print_peaks(&server, &[agent]);
}

fn pairs(what: &str, source: &Source, rounds: usize) {
    println!(" {what}");
    let server = server(&[]);
    let agent = agent(&server, "shop-001", source, &[]);
    let mut pairs = Pairs::default();
    for round in 0..=rounds {
        // On the same disk as the downloads.
        let below = used(&[], || floor::copy(source, &server.uploads.join("floor")));
        let above = used(&[&server.program, &agent.program], || drop(pull(&server, "shop-001", source)));
        remove_downloads(&server);
        if round > 0 {
            pairs.push(below, above);
        }
    }
    pairs.print("floor");
    print_peaks(&server, &[agent]);
}
