//! A line that one pull fills: what a second one, a listing and a cancel take beside it.

use std::time::Duration;

use serde_json::json;

use super::link::{EVERYWHERE, Link, Nature, Work, run_apart};
use super::site::{MIB, Rounds, Source, server, timed};
use super::support::files::random_file;
use super::support::server::{Server, id};
use super::support::temp::TempDir;
use super::support::wait::within;

pub const WORK: &[Work] = &[
    ("shared-20-bbr", || shared(20.0, 250_000, "bbr")),
    ("shared-20-cubic", || shared(20.0, 250_000, "cubic")),
    ("shared-2-bbr", || shared(2.0, 64_000, "bbr")),
    ("shared-2-cubic", || shared(2.0, 64_000, "cubic")),
];
const ROUNDS: usize = 5;

pub fn run() {
    run_apart(WORK);
}

/// The large file is longer than anybody waits here: 256 MiB fill 20 Mbit/s for 107 s.
fn shared(mbit: f64, queue: usize, congestion: &str) {
    println!(" {mbit} Mbit/s, 100 ms round trip, a queue of {queue} bytes, {congestion}");
    let link = match Link::open(Nature { mbit, round_trip_ms: 100.0, queue, loss: 0.0 }) {
        Ok(link) => link,
        Err(why) => return println!("  skipped: {why}"),
    };
    let large = Source::random(256 * MIB);
    let folder = TempDir::new();
    random_file(&folder.join("small"), 1, 20_000);
    let server = server(&[EVERYWHERE, ("HEARTBEAT_SECONDS", "5")]);
    let shares = format!("small={}", folder.join("small").display());
    let file = large.path.to_str().expect("a plain name");
    let settings = [("FILE_PATH", file), ("SHARES", &shares), ("CONGESTION_CONTROL", congestion)];
    let _agent = link.agent(&server, "shop-001", &settings);
    let alone = small_pull(&server);
    let big = server.pull_id("shop-001");
    // Until the line, its queue and the sockets are as full as they get.
    let full = (mbit * 1e6 / 8.0 * 5.0) as u64;
    within(Duration::from_secs(30), "the line is full", || {
        server.transfer(&big)["bytes"].as_u64().filter(|bytes| *bytes > full)
    });
    let beside: Rounds = (0..ROUNDS).map(|_| small_pull(&server)).collect();
    println!("  20 kB alone {alone:.2} s, beside the large file {beside} s");
    let listing = timed(|| drop(server.get("/clients/shop-001/files").expect(200)));
    println!("  a listing beside it {listing:.2} s");
    let cancel = timed(|| drop(server.delete(&format!("/transfers/{big}")).expect(200)));
    let after = small_pull(&server);
    println!("  its cancel answers after {cancel:.2} s; 20 kB asked for right behind that {after:.2} s");
}

fn small_pull(server: &Server) -> f64 {
    timed(|| {
        let asked = server.post("/download/shop-001?wait=60", &json!({ "fileKey": "small" }));
        let transfer = asked.expect(200);
        assert_eq!(transfer["status"], "completed", "{} {transfer}", id(&transfer));
    })
}
