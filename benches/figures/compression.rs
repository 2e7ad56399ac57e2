//! What compressing gains on a thin line, and costs where there is nothing to gain.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::line::Line;
use super::site::{self, MIB, Rounds, Source, peak, timed};
use super::support::agent::Agent;
use super::support::server::Server;
use super::support::temp::TempDir;
use super::support::wait::eventually;

/// 20 Mbit/s, with a round trip of 100 ms.
const RATE: f64 = 2.5e6;
const DELAY: Duration = Duration::from_millis(50);
const SIZE: u64 = 12 * MIB;
const ROUNDS: usize = 3;
const PAGE: u64 = 4 << 10;

pub fn run() {
    let log =
        Source::made(SIZE, |file| file.write_all(&till_log(1, SIZE as usize)).expect("room on the disk"));
    thin(&log);
    whole(&Source::made(105 * MIB, |file| {
        file.write_all(&till_log(3, 105 << 20)).expect("room on the disk")
    }));
    for (what, source) in [
        ("noise", Source::random(100 * MIB)),
        ("a log", Source::made(100 * MIB, |file| file.write_all(&till_log(2, 100 << 20)).expect("room"))),
    ] {
        beside_each_other(&format!("100 MiB of {what}, without a line"), &source, None, site::ROUNDS);
    }
    let noise = Source::random(4 * MIB);
    beside_each_other("4 MiB of noise over 20 Mbit/s", &noise, Some(()), ROUNDS);
}

/// First and second pulls over the thin line: plain, compressed, and by rsync -z where there is one.
fn thin(log: &Source) {
    let (plain, ours) = (Way::new(log, "off"), Way::new(log, "auto"));
    let rsync = Rsync::start(log);
    let (mut first, mut second) =
        ([(); 3].map(|()| Figures::default()), [(); 3].map(|()| Figures::default()));
    for round in 0..ROUNDS {
        let before = std::fs::read(&log.path).expect("it is there");
        let ways: [Option<&dyn Pulls>; 3] = [
            Some(&plain as &dyn Pulls).filter(|_| round == 0),
            Some(&ours),
            rsync.as_ref().map(|rsync| rsync as _),
        ];
        for (way, figures) in ways.iter().zip(&mut first) {
            if let Some(way) = way {
                way.forget();
                figures.note(*way);
            }
        }
        edit(log, round as u64);
        for (way, figures) in ways.iter().zip(&mut second) {
            if let Some(way) = way {
                figures.note(*way);
            }
        }
        std::fs::write(&log.path, before).expect("room on the disk");
    }
    for (what, figures) in [("first pull", &first), ("second pull, 1 % of the 4 KiB pages edited", &second)] {
        println!("  a till's log of {} MiB over 20 Mbit/s, 100 ms round trip: {what}", SIZE / MIB);
        for (name, figures) in ["plain", "compressed", "rsync -z"].iter().zip(figures) {
            if figures.seconds.len() > 0 {
                println!(
                    "    {name}: {} s, {:.3} MB on the wire",
                    figures.seconds,
                    figures.bytes.median() / 1e6
                );
            }
        }
        let [plain, ours, rsync] = figures;
        println!("    plain takes {:.2} times as long", plain.seconds.median() / ours.seconds.median());
        if rsync.seconds.len() > 0 {
            println!(
                "    rsync -z takes {:.2} times as long",
                rsync.seconds.median() / ours.seconds.median()
            );
        }
    }
}

/// A whole day's log, once.
fn whole(log: &Source) {
    let ours = Way::new(log, "auto");
    let (mut compressed, mut rsynced) = (Figures::default(), Figures::default());
    compressed.note(&ours);
    print!(
        "  a till's log of {} MiB, first pull, once: compressed {:.2} s",
        log.size / MIB,
        compressed.seconds.median()
    );
    if let Some(rsync) = Rsync::start(log) {
        rsync.forget();
        rsynced.note(&rsync);
        print!(", rsync -z {:.2} s", rsynced.seconds.median());
    }
    println!("; plain at least {:.1} s, at the line's rate", log.size as f64 / RATE);
    println!(
        "    peak resident: server {:.1} MiB, agent {:.1} MiB",
        peak(&ours.server.program),
        peak(&ours.agent.program)
    );
}

#[derive(Default)]
struct Figures {
    seconds: Rounds,
    bytes: Rounds,
}

impl Figures {
    fn note(&mut self, way: &dyn Pulls) {
        let before = way.carried();
        self.seconds.push(timed(|| way.pull()));
        self.bytes.push((way.carried() - before) as f64);
    }
}

/// A program that fetches the file over a thin line of its own.
trait Pulls {
    fn pull(&self);
    fn carried(&self) -> u64;
    /// The next pull is a first one again.
    fn forget(&self);
}

/// Towline.
struct Way {
    server: Server,
    line: Option<Line>,
    agent: Agent,
}

impl Way {
    fn new(source: &Source, compress: &str) -> Way {
        Way::over(source, compress, true)
    }

    fn over(source: &Source, compress: &str, thin: bool) -> Way {
        let server = site::server(&[]);
        let line = thin.then(|| Line::to(server.port, RATE, DELAY));
        let url = line.as_ref().map_or(server.url(), |line| format!("ws://127.0.0.1:{}/ws", line.port));
        let file = source.path.to_str().expect("a plain name");
        let agent = Agent::start(
            &url,
            "shop",
            &[("LOG_LEVEL", "error"), ("FILE_PATH", file), ("COMPRESS", compress)],
        );
        server.lists_agent("shop");
        Way { server, line, agent }
    }
}

impl Pulls for Way {
    fn pull(&self) {
        let transfer = self.server.request("POST", "/download/shop?wait=120", &[], None).expect(200);
        assert_eq!(transfer["status"], "completed", "{transfer}");
    }

    fn carried(&self) -> u64 {
        self.line.as_ref().map_or(0, Line::carried)
    }

    fn forget(&self) {
        site::remove_downloads(&self.server);
    }
}

/// A daemon on the far side of the line, and a client that has the copy.
struct Rsync {
    daemon: Child,
    line: Line,
    folder: TempDir,
}

impl Rsync {
    fn start(source: &Source) -> Option<Rsync> {
        Command::new("rsync").arg("--version").stdout(Stdio::null()).status().ok()?;
        let folder = TempDir::new();
        let from = source.path.parent().expect("a folder").display().to_string();
        let config = folder.join("conf");
        std::fs::write(&config, format!("use chroot = no\n[shop]\npath = {from}\n"))
            .expect("room on the disk");
        let port =
            std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).ok()?.port();
        let daemon = Command::new("rsync")
            .args(["--daemon", "--no-detach", "--address=127.0.0.1", &format!("--port={port}")])
            .arg(format!("--config={}", config.display()))
            .spawn()
            .ok()?;
        eventually("rsync listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Some(Rsync { daemon, line: Line::to(port, RATE, DELAY), folder })
    }
}

impl Pulls for Rsync {
    fn pull(&self) {
        let from = format!("rsync://127.0.0.1:{}/shop/file", self.line.port);
        // -I: it looks at the bytes, as we do, not at times. --no-whole-file is its default here.
        let into = self.folder.join("copy");
        let done = Command::new("rsync").args(["-z", "-I", &from]).arg(into).status().expect("rsync");
        assert!(done.success(), "rsync: {done}");
    }

    fn carried(&self) -> u64 {
        self.line.carried()
    }

    fn forget(&self) {
        let _ = std::fs::remove_file(self.folder.join("copy")); // there is none yet at the first time
    }
}

impl Drop for Rsync {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The same pulls with and without compressing, in turn.
fn beside_each_other(what: &str, source: &Source, thin: Option<()>, rounds: usize) {
    let ways = ["off", "auto"].map(|compress| Way::over(source, compress, thin.is_some()));
    let (mut seconds, mut ratio) = ([Rounds::default(), Rounds::default()], Rounds::default());
    for round in 0..=rounds {
        let took = ways.each_ref().map(|way| {
            way.forget();
            timed(|| way.pull())
        });
        if round > 0 {
            seconds.iter_mut().zip(took).for_each(|(rounds, took)| rounds.push(took));
            ratio.push(took[1] / took[0]);
        }
    }
    println!("  {what}: COMPRESS=off {} s, auto {} s", seconds[0], seconds[1]);
    println!("    ratio {ratio}");
}

/// Writes other lines over 1 % of the pages.
fn edit(log: &Source, round: u64) {
    let file = OpenOptions::new().write(true).open(&log.path).expect("it is there");
    let pages = SIZE / PAGE;
    let other = till_log(100 + round, (pages / 100 * PAGE) as usize);
    for (number, page) in other.chunks(PAGE as usize).enumerate() {
        let place = (number as u64 * 97 + round * 13) % pages;
        file.write_all_at(page, place * PAGE).expect("room on the disk");
    }
    file.sync_all().expect("a disk");
}

/// A till's log as shops have them: `gzip -6` makes 4.8 times less of it, `zstd -3` 6.4 times.
fn till_log(seed: u64, length: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "coffee",
        "milk",
        "bread",
        "butter",
        "cheese",
        "apples",
        "bananas",
        "water",
        "beer",
        "chocolate",
        "paper",
        "battery",
        "sugar",
        "flour",
        "tomato",
        "candle",
    ];
    let mut state = 7u64;
    let mut next = |sides: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % sides
    };
    let articles: Vec<String> = (0..3000)
        .map(|number| {
            let (one, other) = (WORDS[next(16) as usize], WORDS[next(16) as usize]);
            format!("ean=40{:011} item=\"{one} {other} {}g\"", next(100_000_000_000), 50 * (1 + number % 40))
        })
        .collect();
    state = state.wrapping_add(seed << 32); // the same articles in every log
    let mut next = |sides: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % sides
    };
    let mut text = Vec::with_capacity(length + 1000);
    let (mut now, mut receipt) = (0, 100_000 * seed);
    let mut line = |now: u64, till: u64, receipt: u64, rest: String| {
        let (hours, minutes, seconds) = (now / 3_600_000 % 24, now / 60_000 % 60, now / 1000 % 60);
        let time = format!("2025-10-31T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", now % 1000);
        writeln!(text, "{time} INFO  [till-{till:02}] receipt={receipt} {rest}").expect("memory");
        text.len() < length
    };
    loop {
        (now, receipt) = (now + next(9000), receipt + 1);
        let (till, mut total) = (1 + next(6), 0);
        line(
            now,
            till,
            receipt,
            format!("begin cashier={:04} session={:016x}", 1000 + next(40), next(u64::MAX)),
        );
        for number in 0..1 + next(6) {
            now += next(2500);
            let article = next(3000).min(next(3000));
            let (count, price) = (1 + next(3), 89 + article * 37 % 1900);
            total += count * price;
            let article = &articles[article as usize];
            let rest = format!(
                "line={number} {article} qty={count} price={}.{:02} vat=19",
                price / 100,
                price % 100
            );
            line(now, till, receipt, rest);
        }
        now += next(20_000);
        let paid = ["cash", "card", "card", "voucher"][next(4) as usize];
        let rest = format!(
            "paid total={}.{:02} method={paid} auth={:06} took={}ms",
            total / 100,
            total % 100,
            next(1_000_000),
            next(900)
        );
        if !line(now, till, receipt, rest) {
            break;
        }
    }
    text.truncate(length);
    text
}
