//! Pulls of small files: how many a second over eight lines, and how long one takes to begin.
//!
//! The floor is the disk's work alone: as many threads as there are callers do, with the server's own code, the writes and
//! the syncs that the contract asks for each pull, and nothing else. Beside it the same with a sync of each file by itself.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use towline::hub::Held;
use towline::random;
use towline::record::Record;
use towline::spool::Spool;
use towline::transfer::{Status, Transfer};

use super::site::{Rounds, print_peaks, server, timed};
use super::support::agent::Agent;
use super::support::files::random_bytes;
use super::support::server::{SECRET, Server};
use super::support::temp::TempDir;

const LINES: usize = 8;
const CALLERS: usize = 64;
/// Pulls of one round.
const PULLS: usize = 3000;
const ROUNDS: usize = 5;
/// Pulls one by one.
const ALONE: usize = 400;

pub fn run() {
    let files = TempDir::new();
    for number in 0..((ROUNDS + 1) * PULLS / LINES).max(ALONE) {
        fs::write(files.join(number.to_string()), random_bytes(number as u64, 1024))
            .expect("room on the disk");
    }
    rates(&files);
    beginnings(&files);
}

/// An agent that offers all these files, at `url`.
fn start_agent(url: &str, name: &str, files: &TempDir) -> Agent {
    let share = format!("files={}", files.display());
    Agent::start(url, name, &[("LOG_LEVEL", "error"), ("SHARES", &share)])
}

/// 64 callers, eight lines: against the same writes and syncs.
fn rates(files: &TempDir) {
    let slots = CALLERS.to_string();
    let each = (CALLERS / LINES).to_string();
    // Nothing is forgotten, as nothing is in the floor.
    let keep = ((ROUNDS + 1) * PULLS).to_string();
    let server = server(&[
        ("MAX_CONCURRENT_TRANSFERS", &slots),
        ("MAX_TRANSFERS_PER_CLIENT", &each),
        ("KEEP_TRANSFERS", &keep),
    ]);
    let names: Vec<String> = (1..=LINES).map(|number| format!("shop-{number}")).collect();
    let agents: Vec<Agent> = names.iter().map(|name| start_agent(&server.url(), name, files)).collect();
    names.iter().for_each(|name| server.lists_agent(name));
    let pattern = pattern();
    let (mut floors, mut plains, mut ours, mut ratios) =
        (Rounds::default(), Rounds::default(), Rounds::default(), Rounds::default());
    let mut kept = Vec::new();
    for round in 0..=ROUNDS {
        // Removed at the end: what is removed costs the next sync.
        let folders = [TempDir::new(), TempDir::new()];
        let floor = PULLS as f64 / floor(&pattern, &folders[0]);
        let plain = PULLS as f64 / plain_floor(&pattern, &folders[1]);
        kept.push(folders);
        let rate = PULLS as f64
            / timed(|| {
                many_callers(|number| ask(&server, &names[number % LINES], (round * PULLS + number) / LINES));
            });
        if round > 0 {
            floors.push(floor);
            plains.push(plain);
            ours.push(rate);
            ratios.push(rate / floor);
        }
    }
    println!(" {PULLS} pulls of 1 KiB, {LINES} lines, {CALLERS} callers, a second:");
    println!("  floor {floors}; each file synced by itself {plains}");
    println!("  towline {ours}; ratio {ratios}");
    print_peaks(&server, &agents);
}

fn many_callers(one: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Relaxed)
                    && number < PULLS
                {
                    one(number);
                }
            });
        }
    });
}

/// A pull, to its end, on a connection of its own.
fn ask(server: &Server, name: &str, file: usize) {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port)).expect("it listens");
    let body = format!("{{\"fileKey\":\"files/{file}\"}}");
    let head = format!("POST /download/{name}?wait=60 HTTP/1.1\r\nHost: x\r\nx-api-key: {SECRET}\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""status":"completed""#), "{answer}");
}

/// A transfer as they are.
pub fn pattern() -> Transfer {
    let text = r#"{"requestId":"5207f011-b9cf-4128-9058-5196a78c5f81","clientId":"shop-001","fileKey":"files/1000",
        "batchId":null,"status":"completed","filename":"a.bin","outPath":"/srv/towline/downloads/a.bin","sourceName":"1000",
        "size":1024,"bytes":1024,"bytesOnWire":1024,"sha256":"be68b4ac9a60a6dd2e6c5c4aba9a59842321046c0875817ad98babf6219f649d",
        "attempts":1,"requestedBy":"operator@127.0.0.1:1","maxRate":null,"createdAt":1795363192157,
        "startedAt":1795363192158,"finishedAt":1795363192159,"expiresAt":null,"failure":null}"#;
    serde_json::from_str(text).expect("a transfer")
}

/// What is on the disk of each pull, by the code that puts it there.
fn floor(pattern: &Transfer, folder: &TempDir) -> f64 {
    let spool = Spool::open(&folder.join("downloads")).expect("a folder");
    timed(|| {
        many_callers(|number| {
            let mut transfer = fresh(pattern, number);
            save(&spool, &mut transfer, Status::Queued);
            let id = transfer.request_id;
            let mut part = spool.part(id, &Held::Nothing).expect("room on the disk");
            part.store(&[7; 1024]).expect("room on the disk");
            part.seal().expect("room on the disk");
            transfer.status = Status::Verifying;
            let record = Record { transfer: transfer.clone(), idempotency: None };
            spool.save_with_part(&record, &part).expect("room on the disk");
            transfer.status = Status::Completed;
            let record = Record { transfer, idempotency: None };
            spool.publish(part, &record).expect("a free name");
            spool.save(&record).expect("room on the disk");
        });
    })
}

fn save(spool: &Spool, transfer: &mut Transfer, status: Status) {
    transfer.status = status;
    let record = Record { transfer: transfer.clone(), idempotency: None };
    spool.save(&record).expect("room on the disk");
}

fn fresh(pattern: &Transfer, number: usize) -> Transfer {
    let filename = format!("shop-1_{number}.bin");
    Transfer { request_id: random::request_id(), filename, ..pattern.clone() }
}

/// The same, each file and each folder synced by itself.
fn plain_floor(pattern: &Transfer, folder: &TempDir) -> f64 {
    let (uploads, state) = (folder.join("downloads"), folder.join("downloads/.towline"));
    fs::create_dir_all(&state).expect("room on the disk");
    let text = serde_json::to_vec_pretty(pattern).expect("JSON");
    timed(|| {
        many_callers(|number| {
            let own = state.join(number.to_string());
            fs::create_dir(&own).expect("room on the disk");
            save_plainly(&own, &text);
            sync_folder(&state);
            let part = own.join("part");
            write_synced(&part, &[7; 1024]);
            save_plainly(&own, &text);
            fs::rename(&part, uploads.join(format!("{number}.bin"))).expect("a rename");
            sync_folder(&uploads);
            save_plainly(&own, &text);
        });
    })
}

fn save_plainly(folder: &Path, text: &[u8]) {
    let new = folder.join("record.json.new");
    write_synced(&new, text);
    fs::rename(&new, folder.join("record.json")).expect("a rename");
    sync_folder(folder);
}

fn write_synced(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).expect("room on the disk");
    file.write_all(bytes).and_then(|()| file.sync_all()).expect("room on the disk");
}

fn sync_folder(path: &Path) {
    File::open(path).and_then(|folder| folder.sync_all()).expect("it syncs");
}

/// One by one: from the first byte of the request to the first byte of the file at the server's port.
fn beginnings(files: &TempDir) {
    let server = server(&[]);
    let (port, arrivals) = watched(server.port);
    let _agent = start_agent(&format!("ws://127.0.0.1:{port}/ws"), "shop-1", files);
    server.lists_agent("shop-1");
    let pattern = pattern();
    let (mut begins, mut saves, mut wholes) = (Rounds::default(), Rounds::default(), Rounds::default());
    let folder = TempDir::new();
    let spool = Spool::open(&folder.join("downloads")).expect("a folder");
    for number in 0..ALONE {
        while arrivals.try_recv().is_ok() {}
        let started = Instant::now();
        ask(&server, "shop-1", number);
        wholes.push(1000.0 * started.elapsed().as_secs_f64());
        let arrived = arrivals.recv_timeout(Duration::from_secs(5)).expect("a chunk came");
        begins.push(1000.0 * (arrived - started).as_secs_f64());
        let mut transfer = fresh(&pattern, number);
        saves.push(1000.0 * timed(|| save(&spool, &mut transfer, Status::Queued)));
    }
    println!(" {ALONE} pulls of 1 KiB, one by one, ms:");
    let line = |name: &str, rounds: &Rounds| {
        println!("  {name} median {:.3}, 99 % {:.3}", rounds.median(), rounds.quantile(0.99));
    };
    line("trigger to first byte", &begins);
    line("one durable save    ", &saves);
    println!("  above the save: median {:.3}", begins.median() - saves.median());
    line("trigger to answer   ", &wholes);
}

/// A way to the server that says when a binary message comes from the agent.
fn watched(server: u16) -> (u16, mpsc::Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (tell, arrivals) = mpsc::channel();
    thread::spawn(move || {
        let (mut agent, _) = listener.accept().expect("the agent comes");
        let mut to = TcpStream::connect(("127.0.0.1", server)).expect("it listens");
        agent.set_nodelay(true).and_then(|()| to.set_nodelay(true)).expect("a socket");
        let (mut from, mut back) = (to.try_clone().expect("a socket"), agent.try_clone().expect("a socket"));
        thread::spawn(move || std::io::copy(&mut from, &mut back));
        let mut buffer = [0; 64 << 10];
        while let Ok(count @ 1..) = agent.read(&mut buffer) {
            let now = Instant::now();
            if to.write_all(&buffer[..count]).is_err() {
                return;
            }
            if has_chunk(&buffer[..count]) && tell.send(now).is_err() {
                return;
            }
        }
    });
    (port, arrivals)
}

/// Whether one of these frames of a client is binary (RFC 6455, section 5.2). Small ones come whole.
fn has_chunk(mut frames: &[u8]) -> bool {
    while let [first, second, rest @ ..] = frames {
        if first & 0x0f == 2 {
            return true;
        }
        let (length, head) = match (second & 0x7f, rest) {
            (126, [high, low, ..]) => (usize::from(u16::from_be_bytes([*high, *low])), 8),
            (short, _) => (usize::from(short), 6),
        };
        frames = frames.get(head + length..).unwrap_or_default();
    }
    false
}
