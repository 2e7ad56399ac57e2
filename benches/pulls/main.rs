//! What a pull costs: time against a floor in the same run, and memory. A plain harness, no gate.
//!
//! `cargo bench --bench pulls` prints medians, and ratios of runs that follow each other. The floor is the best plain
//! program we know for the same work: read, SHA-256, send over bare TCP; receive, SHA-256, write, fsync.

#[cfg(feature = "tls")]
mod tls;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use towline::hash::{Hasher, hash_all};
use towline::names::Sha256Hash;

const SECRET: &str = "bench-secret";
const MIB: u64 = 1 << 20;
const ROUNDS: usize = 9;
const CHUNK: usize = 256 << 10;

fn main() {
    let folder = std::env::temp_dir().join(format!("towline-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let source = folder.join("source");
    make_file(&source, 100 * MIB);
    let hash = hash_all(File::open(&source).expect("the source")).expect("reads").0;

    one_pull(&folder, &source, hash);
    #[cfg(feature = "tls")]
    tls::one_pull(&folder, &source, hash);
    many_pulls(&folder, &source, 16);
    let sparse = folder.join("sparse");
    File::create(&sparse).and_then(|file| file.set_len(5 << 30)).expect("a sparse file");
    large_file(&folder, &sparse);
    std::fs::remove_dir_all(&folder).expect("our own folder");
}

/// 100 MiB, request to verified and synced file, against the floor.
fn one_pull(folder: &Path, source: &Path, hash: Sha256Hash) {
    let server = Server::start(folder, 5, None);
    let agent = server.agent("shop-001", source);
    let (mut floor, mut ours, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let below = run_floor(source, &folder.join("floor"), hash);
        let above = timed(|| server.pull("shop-001", hash));
        if round > 0 {
            // the first round only warms up
            floor.push(below);
            ours.push(above);
            ratios.push(above / below);
        }
        server.remove_downloads();
    }
    println!("one pull of 100 MiB, {ROUNDS} rounds: median (least to most)");
    println!("  floor    {} s", spread(floor));
    println!("  towline  {} s", spread(ours));
    println!("  ratio    {}", spread(ratios));
    println!("  peak resident: server {} MiB, agent {} MiB", mib(peak(&server.child)), mib(peak(&agent.0)));
}

/// Many agents pulled at once: rate, and memory.
fn many_pulls(folder: &Path, source: &Path, count: usize) {
    let server = Server::start(folder, count, None);
    let names: Vec<String> = (1..=count).map(|number| format!("shop-{number:03}")).collect();
    let agents: Vec<Agent> = names.iter().map(|name| server.agent(name, source)).collect();
    let hash = hash_all(File::open(source).expect("the source")).expect("reads").0;
    let idle = peak(&server.child);
    let seconds = timed(|| {
        thread::scope(|scope| {
            for name in &names {
                scope.spawn(|| server.pull(name, hash));
            }
        });
    });
    println!("{count} pulls of 100 MiB at once");
    println!("  {:.2} s, {:.0} MiB/s in all", seconds, (100 * count) as f64 / seconds);
    let most = agents.iter().map(|agent| peak(&agent.0)).max().unwrap_or_default();
    let server_peak = peak(&server.child);
    println!(
        "  peak resident: server {} MiB ({} before, {:.2} a transfer), agent {} MiB",
        mib(server_peak),
        mib(idle),
        (server_peak - idle) as f64 / 1024.0 / count as f64,
        mib(most)
    );
}

/// Memory does not depend on the size of the file.
fn large_file(folder: &Path, source: &Path) {
    let server = Server::start(folder, 5, None);
    let agent = server.agent("shop-001", source);
    let hash = hash_all(File::open(source).expect("the source")).expect("reads").0;
    let seconds = timed(|| server.pull("shop-001", hash));
    println!("one pull of a sparse file of 5 GiB");
    println!(
        "  {seconds:.1} s; peak resident: server {} MiB, agent {} MiB",
        mib(peak(&server.child)),
        mib(peak(&agent.0))
    );
}

/// The floor: the same file over bare TCP, hashed at both ends, written and synced.
fn run_floor(source: &Path, to: &Path, expected: Sha256Hash) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    timed(|| {
        let (sent, received) = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let socket = TcpStream::connect(address)?;
                hash_and_copy(File::open(source)?, &socket)
            });
            let received = listener.accept().and_then(|(socket, _)| {
                let file = File::create(to)?;
                let hash = hash_and_copy(socket, &file)?;
                file.sync_all()?;
                Ok(hash)
            });
            (sender.join().expect("no panic"), received)
        });
        assert_eq!((sent.expect("sent"), received.expect("received")), (expected, expected));
    })
}

fn hash_and_copy(mut from: impl Read, mut to: impl Write) -> io::Result<Sha256Hash> {
    let (mut buffer, mut hasher) = (vec![0; CHUNK], Hasher::default());
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.hash());
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
}

#[cfg(feature = "tls")]
use tls::Identity;
/// Without TLS there is none.
#[cfg(not(feature = "tls"))]
enum Identity {}

/// A running server.
struct Server<'a> {
    child: Child,
    port: u16,
    downloads: PathBuf,
    own: Option<&'a Identity>,
}

/// A running agent.
struct Agent(Child);

impl<'a> Server<'a> {
    fn start(folder: &Path, slots: usize, own: Option<&'a Identity>) -> Server<'a> {
        let downloads =
            folder.join(format!("downloads-{slots}-{:?}", Instant::now()).replace([' ', '{', '}', ':'], ""));
        let mut command = quiet(env!("CARGO_BIN_EXE_towline-server"), folder);
        #[cfg(feature = "tls")]
        if let Some(own) = own {
            command.env("TLS_CERT", &own.files.0).env("TLS_KEY", &own.files.1);
        }
        let mut child = command
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("UPLOAD_DIR", &downloads)
            .env("MAX_CONCURRENT_TRANSFERS", slots.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let port = line
            .trim()
            .rsplit(' ')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("Server running on port");
        Server { child, port, downloads, own }
    }

    fn agent(&self, name: &str, source: &Path) -> Agent {
        let mut command = quiet(env!("CARGO_BIN_EXE_towline-agent"), source.parent().expect("in a folder"));
        #[cfg(feature = "tls")]
        if let Some(own) = self.own {
            command.env("TLS_CA", &own.files.0);
        }
        let scheme = if self.own.is_some() { "wss" } else { "ws" };
        let child = command
            .env("SERVER_URL", format!("{scheme}://127.0.0.1:{}/ws", self.port))
            .env("CLIENT_ID", name)
            .env("FILE_PATH", source)
            .spawn()
            .expect("the agent starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.ask("GET", &format!("/clients/{name}")).contains("\"protocol\":2") {
            assert!(Instant::now() < deadline, "{name} does not connect");
            thread::yield_now();
        }
        Agent(child)
    }

    fn pull(&self, name: &str, hash: Sha256Hash) {
        let answer = self.ask("POST", &format!("/download/{name}?wait=120"));
        assert!(
            answer.contains("\"status\":\"completed\"") && answer.contains(&hash.to_string()),
            "{answer}"
        );
    }

    fn ask(&self, method: &str, target: &str) -> String {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\n\r\n");
        #[cfg(feature = "tls")]
        if let Some(own) = self.own {
            return tls::ask(self.port, own, &request);
        }
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("the server listens");
        socket.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    }

    fn remove_downloads(&self) {
        for entry in std::fs::read_dir(&self.downloads).expect("the folder").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "bin") {
                std::fs::remove_file(entry.path()).expect("a download");
            }
        }
    }
}

fn quiet(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("AUTH_SECRET", SECRET)
        .env("LOG_LEVEL", "error")
        .current_dir(folder)
        .stdout(Stdio::null());
    command
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

fn end(child: &mut Child) {
    child.kill().and_then(|()| child.wait()).expect("our own child");
}

/// Bytes that do not compress, and are the same each time.
fn make_file(path: &Path, size: u64) {
    let mut file = std::io::BufWriter::new(File::create(path).expect("a file"));
    let mut state = 1u64;
    for _ in 0..size / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17; // xorshift64, Marsaglia 2003
        file.write_all(&state.to_le_bytes()).expect("room on the disk");
    }
    file.flush().expect("room on the disk");
}

fn timed(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:.3} ({:.3} to {:.3})", values[values.len() / 2], values[0], values[values.len() - 1])
}

/// The most memory that a process had resident (`VmHWM`), in KiB.
fn peak(child: &Child) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("Linux, and a live child");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}
