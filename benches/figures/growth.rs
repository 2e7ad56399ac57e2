//! What becomes of the cost as the work grows: larger files, more transfers at once, more clients, more records.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use towline::clock;
use towline::names::RequestId;
use towline::random;
use towline::transfer::{Status, Transfer};

use super::site::{MIB, Rounds, Source, agent, peak, pull, remove_downloads, server, timed};
use super::small::pattern;
use super::support::program::Program;
use super::support::server::{SECRET, Server};
use super::support::temp::TempDir;
use super::support::wait::within;

/// How often a call is made whose time is a median.
const CALLS: usize = 21;

pub fn run() {
    sizes();
    at_once();
    clients();
}

/// One pull each. The large ones are nothing but a length at the agent; the server has all their bytes.
fn sizes() {
    println!(" one pull   bytes         s     MB/s   peak resident server, agent, MiB");
    for size in [1_000_000, 10_000_000, 100_000_000, 1_000_000_000, 10_000_000_000] {
        let source = if size <= 100_000_000 { Source::random(size) } else { Source::sparse(size) };
        let server = server(&[]);
        let agent = agent(&server, "shop-1", &source, &[]);
        let rounds = if size <= 100_000_000 { 5 } else { 1 };
        let times: Rounds = (0..rounds)
            .map(|_| {
                let time = timed(|| drop(pull(&server, "shop-1", &source)));
                remove_downloads(&server);
                time
            })
            .collect();
        let (time, rate) = (times.median(), size as f64 / times.median() / 1e6);
        let (ours, its) = (peak(&server.program), peak(&agent.program));
        println!("  {size:>16} {time:>9.3} {rate:>8.0}   {ours:.1}, {its:.1}");
    }
}

/// Of as many agents, 1 MiB each.
fn at_once() {
    println!(" pulls of 1 MiB at once   s     MiB/s   server's peak, MiB, and a transfer");
    let source = Source::random(MIB);
    for count in [1, 4, 16, 64, 256] {
        let server = server(&[("MAX_CONCURRENT_TRANSFERS", &count.to_string())]);
        let names: Vec<String> = (0..count).map(|number| format!("shop-{number}")).collect();
        let _agents: Vec<_> = names.iter().map(|name| agent(&server, name, &source, &[])).collect();
        let before = peak(&server.program);
        let time = timed(|| {
            thread::scope(|scope| {
                names.iter().for_each(|name| drop(scope.spawn(|| pull(&server, name, &source))));
            });
        });
        let after = peak(&server.program);
        let (rate, each) = (count as f64 / time, (after - before) / count as f64);
        println!("  {count:>10} {time:>16.3} {rate:>8.0}   {after:.1}, {each:.2}");
    }
}

/// Idle ones; a list of all, a pull of one of them, and one of each.
fn clients() {
    println!(" clients   GET /clients, ms   POST /download, ms   POST /downloads of all, s");
    for count in [1, 100, 1000, 10_000] {
        let server = server(&[("MAX_QUEUED_TRANSFERS", "20000"), ("MAX_CONCURRENT_TRANSFERS", "1")]);
        let home = TempDir::new();
        let settings = [("SERVER_URL", &*server.url()), ("AUTH_SECRET", SECRET), ("LOG_LEVEL", "error")];
        let args = ["swarm", &count.to_string()];
        let _swarm = Program::start("towline", env!("CARGO_BIN_EXE_towline"), &args, &settings, &home);
        within(Duration::from_secs(60), "all are connected", || {
            (server.clients().len() == count).then_some(())
        });
        let list = median_ms(|| drop(server.get("/clients").expect(200)));
        let post = median_ms(|| drop(server.post("/download/swarm-001", &serde_json::json!({}))));
        let all =
            timed(|| drop(server.post("/downloads", &serde_json::json!({ "clients": ["*"] })).expect(202)));
        println!("  {count:>6} {list:>14.2} {post:>19.2} {all:>22.2}");
    }
}

/// Records that an earlier run has left: the start, lists, and memory.
pub fn records() {
    println!(
        " records   start, s   lists, ms: newest 100, one client's, failed, one batch, behind all, one   resident, MiB"
    );
    for count in [1, 1000, 10_000, 100_000] {
        let home = TempDir::new();
        let rare = make_records(&home.join("downloads/.towline"), count);
        // As those of a server are: synced.
        let synced = Command::new("sync").arg("-f").arg(&*home).status().expect("coreutils");
        assert!(synced.success());
        let started = Instant::now();
        let server = Server::start_in(home, &[("LOG_LEVEL", "error"), ("KEEP_TRANSFERS", "200000")]);
        let start = started.elapsed().as_secs_f64();
        let batch = rare.batch_id.expect("it has one");
        let oldest = rare.created_at - count as u64;
        let calls = [
            "/transfers".to_owned(),
            format!("/transfers?clientId={}", rare.client_id),
            "/transfers?status=failed".to_owned(),
            format!("/transfers?batchId={batch}"),
            format!("/transfers?before={oldest}"),
            format!("/transfers/{}", rare.request_id),
        ];
        let found = |path: &str| server.get(path).expect(200).as_array().map_or(1, Vec::len);
        let founds: Vec<usize> = calls.iter().map(|path| found(path)).collect();
        assert_eq!(founds[1..], [1, 1, 1, 0, 1], "{calls:?}");
        let times: Vec<String> = calls
            .iter()
            .map(|path| format!("{:.2}", median_ms(|| drop(server.get(path).expect(200)))))
            .collect();
        println!("  {count:>6} {start:>9.2}   {}   {:.0}", times.join(", "), peak(&server.program));
    }
}

/// As the server leaves them; the one in the middle differs from all others.
fn make_records(state: &Path, count: usize) -> Transfer {
    let mut rare = None;
    let now = clock::now_ms();
    for number in 0..count {
        let request_id: RequestId = random::request_id();
        let filename = format!("shop-{}_{number}.bin", number % 1000);
        let client_id = format!("shop-{}", number % 1000).parse().expect("a client id");
        let created_at = now - (count - number) as u64;
        let mut transfer = Transfer { request_id, client_id, filename, created_at, ..pattern() };
        transfer.finished_at = Some(created_at);
        if number == count / 2 {
            transfer.client_id = "rare".parse().expect("a client id");
            (transfer.status, transfer.batch_id) = (Status::Failed, Some(random::request_id()));
            rare = Some(transfer.clone());
        }
        let folder = state.join(request_id.to_string());
        fs::create_dir_all(&folder).expect("room on the disk");
        let text = serde_json::to_vec_pretty(&transfer).expect("JSON");
        fs::write(folder.join("record.json"), text).expect("room on the disk");
    }
    rare.expect("one of them")
}

fn median_ms(mut call: impl FnMut()) -> f64 {
    1000.0 * (0..CALLS).map(|_| timed(&mut call)).collect::<Rounds>().median()
}
