//! One pull over lines that are thin, or long and lossy, against bare TCP over the same link.

use std::thread;

use super::link::{EVERYWHERE, Link, Nature, Work, run_apart};
use super::send::over;
use super::site::{MIB, Rounds, Source, pull, remove_downloads, server, timed};

pub const WORK: &[Work] = &[("thin", thin), ("lossy", lossy)];

pub fn run() {
    run_apart(WORK);
}

/// 25 MiB that do not compress; the queue before the bottleneck holds 100 ms.
fn thin() {
    println!(" 20 Mbit/s, 100 ms round trip, 25 MiB");
    let link = match Link::open(Nature { mbit: 20.0, round_trip_ms: 100.0, queue: 250_000, loss: 0.0 }) {
        Ok(link) => link,
        Err(why) => return println!("  skipped: {why}"),
    };
    let source = Source::random(25 * MIB);
    for congestion in ["bbr", "cubic"] {
        let (mut bare, mut ours, mut ratio) = (Rounds::default(), Rounds::default(), Rounds::default());
        let site = Site::new(&link, congestion, &source);
        for _ in 0..if congestion == "bbr" { 2 } else { 1 } {
            let below = over(&link, congestion, &source, 1);
            let above = site.pull(&source);
            bare.push(below);
            ours.push(above);
            ratio.push(above / below);
        }
        println!("  {congestion}: bare TCP {bare} s, towline {ours} s, ratio {ratio}");
    }
}

/// What losses cost, as each algorithm takes them. Those that crawl go side by side and use a tenth of the link between them;
/// they get a smaller file each, which takes them past their first seconds.
fn lossy() {
    println!(" 100 Mbit/s, 200 ms round trip, 1 % of packets lost");
    let link = match Link::open(Nature { mbit: 100.0, round_trip_ms: 200.0, queue: 2_500_000, loss: 0.01 }) {
        Ok(link) => link,
        Err(why) => return println!("  skipped: {why}"),
    };
    let (large, small) = (Source::random(25 * MIB), Source::random(3 * MIB));
    let rate = |source: &Source, count: usize, seconds: f64| {
        Rounds::from_iter([(source.size * count as u64) as f64 / seconds / 1e6])
    };
    let bare = |count: usize| rate(&small, count, over(&link, "cubic", &small, count));
    let (one, four, eight, ours) = thread::scope(|scope| {
        let [one, four, eight] = [1, 4, 8].map(|count| scope.spawn(move || bare(count)));
        let ours = scope.spawn(|| rate(&small, 1, Site::new(&link, "cubic", &small).pull(&small)));
        let done = "no panic";
        (
            one.join().expect(done),
            four.join().expect(done),
            eight.join().expect(done),
            ours.join().expect(done),
        )
    });
    let (mut bare_bbr, mut auto) = (Rounds::default(), Rounds::default());
    for _ in 0..3 {
        bare_bbr.push(rate(&large, 1, over(&link, "bbr", &large, 1)).median());
        // A new line for each: one that has just been used knows the way.
        auto.push(rate(&large, 1, Site::new(&link, "auto", &large).pull(&large)).median());
    }
    println!("  MB/s, and times bare cubic over one connection");
    for (what, rates) in [
        ("bare TCP, cubic, 3 MiB", &one),
        ("bare TCP, cubic, 4 connections", &four),
        ("bare TCP, cubic, 8 connections", &eight),
        ("towline, cubic, 3 MiB", &ours),
        ("bare TCP, bbr, 25 MiB", &bare_bbr),
        ("towline, auto, 25 MiB", &auto),
    ] {
        println!("    {what:<32} {rates}  {:>5.1} x", rates.median() / one.median());
    }
}

/// Both ends of Towline over a link.
struct Site {
    server: super::support::server::Server,
    _agent: super::support::agent::Agent,
}

impl Site {
    fn new(link: &Link, congestion: &str, source: &Source) -> Site {
        let server = server(&[EVERYWHERE]);
        let path = source.path.to_str().expect("a plain name");
        let agent =
            link.agent(&server, "shop-001", &[("FILE_PATH", path), ("CONGESTION_CONTROL", congestion)]);
        Site { server, _agent: agent }
    }

    /// Seconds from the request to the verified file.
    fn pull(&self, source: &Source) -> f64 {
        let seconds = timed(|| drop(pull(&self.server, "shop-001", source)));
        remove_downloads(&self.server);
        seconds
    }
}
