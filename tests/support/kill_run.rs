//! Deaths at random moments, while pulls of random sizes run: of the server, of an agent, of both.
//!
//! A moment is a number of bytes on the wire, not a time: so it falls into the middle of files on any machine. All
//! of it follows from a seed, as far as two processes that race allow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::agent::Agent;
use super::audit::{Audit, Pull, downloads};
use super::fault_proxy::FaultProxy;
use super::files::{random_bytes, sha256};
use super::program::{Holds, Program};
use super::server::{Server, id, is_final};
use super::temp::TempDir;
use super::wait::{Deadline, within};

const FILES: usize = 5;
/// Pulls that each client has to do at any time.
const PULLS: usize = 4;
/// Bytes on the wire between two deaths, at most.
const MOST_BETWEEN: u64 = 8 << 20;
/// The same as a time, when all agents pause before they dial again.
const LONGEST_BETWEEN: Duration = Duration::from_secs(2);
const MOST_FILE: u64 = 8 << 20;
/// Whoever lost its server again and again dials once a minute.
const DRAIN: Duration = Duration::from_secs(180);
/// Lines whose end nobody tells are noticed soon.
const PATIENCE: [(&str, &str); 3] =
    [("HEARTBEAT_SECONDS", "1"), ("STALL_SECONDS", "10"), ("MAX_CONCURRENT_TRANSFERS", "6")];

/// What was seen.
pub struct Outcome {
    pub audit: Audit,
    pub wire: u64,
    pub servers_killed: usize,
    pub agents_killed: usize,
    /// Files that were in UPLOAD_DIR unverified at the moment of a server's death, whatever became of them.
    pub unverified_at_death: usize,
    /// Transfers that a server which was started again did not know.
    pub forgotten: usize,
    /// Transfers that had ended, and read otherwise after more deaths.
    pub altered: usize,
    /// What holds more than at rest before: threads or descriptors.
    pub leaks: Vec<String>,
}

impl Outcome {
    pub fn is_sound(&self) -> bool {
        self.audit.is_sound() && self.unverified_at_death == 0 && self.forgotten == 0 && self.leaks.is_empty()
    }
}

/// Kills `kills` times among `agents` agents and a server, and looks at what is left when all is done.
#[track_caller]
pub fn run(seed: u64, kills: usize, agents: usize) -> Outcome {
    let mut run = Run::start(seed, agents);
    let rest = run.rest();
    for _ in 0..kills {
        run.ask();
        if run.dice.below(8) > 0 {
            let moment = run.proxy.carried() + run.dice.below(MOST_BETWEEN);
            run.proxy.wait_carried(moment, Deadline::after(LONGEST_BETWEEN));
        }
        let victim = run.dice.below(8);
        if victim < 5 {
            run.kill_agent();
        }
        if victim >= 4 {
            run.kill_server();
        }
    }
    run.finish(rest)
}

/// An agent, and the files that it offers.
struct Shop {
    client: String,
    agent: Option<Agent>,
    /// Its `SHARES`.
    shares: String,
    files: Vec<Source>,
}

/// A file, and the hash of each content that it has had.
struct Source {
    path: PathBuf,
    content: Vec<u8>,
    versions: BTreeSet<String>,
}

struct Run {
    dice: Dice,
    server: Option<Server>,
    proxy: FaultProxy,
    shops: Vec<Shop>,
    /// Shop, file and id of each pull that was accepted.
    asked: Vec<(usize, usize, String)>,
    /// Those that have not ended as far as we know.
    open: Vec<(usize, String)>,
    /// The others, as they read when we learnt of their end.
    ended: Vec<Value>,
    verified: BTreeMap<String, String>,
    servers_killed: usize,
    agents_killed: usize,
    unverified_at_death: usize,
    forgotten: usize,
}

impl Run {
    fn start(seed: u64, agents: usize) -> Run {
        let mut dice = Dice(seed);
        let server = Server::start(&PATIENCE);
        let proxy = FaultProxy::start(server.port, |_| Vec::new());
        let shops: Vec<_> = (0..agents).map(|number| Shop::start(number, &proxy, &mut dice)).collect();
        for shop in &shops {
            server.lists_agent(&shop.client);
        }
        Run {
            dice,
            server: Some(server),
            proxy,
            shops,
            asked: Vec::new(),
            open: Vec::new(),
            ended: Vec::new(),
            verified: BTreeMap::new(),
            servers_killed: 0,
            agents_killed: 0,
            unverified_at_death: 0,
            forgotten: 0,
        }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it is there between two deaths")
    }

    /// What the server, and the agent that holds most, hold at rest.
    fn rest(&self) -> (Holds, Holds) {
        let agents = self.shops.iter().map(|shop| shop.program().holds());
        let most = |a: Holds, b: Holds| Holds {
            threads: a.threads.max(b.threads),
            descriptors: a.descriptors.max(b.descriptors),
        };
        (self.server().program.holds(), agents.reduce(most).expect("there is an agent"))
    }

    /// Sees to it that each client has pulls to do.
    fn ask(&mut self) {
        let server = self.server.as_ref().expect("it is there between two deaths");
        let ended = &mut self.ended;
        self.open.retain(|(_, id)| {
            let transfer = server.transfer(id);
            let is_open = !is_final(&transfer);
            if !is_open {
                ended.push(transfer);
            }
            is_open
        });
        for (number, shop) in self.shops.iter_mut().enumerate() {
            let has = self.open.iter().filter(|(of, _)| *of == number).count();
            for _ in has..PULLS {
                let file = self.dice.below(FILES as u64) as usize;
                shop.files[file].change(&mut self.dice);
                let body = json!({"fileKey": format!("f{file}"), "queueFor": "1h"});
                let id = id(&server.pull(&shop.client, &body));
                self.asked.push((number, file, id.clone()));
                self.open.push((number, id));
            }
        }
    }

    fn kill_agent(&mut self) {
        let number = self.dice.below(self.shops.len() as u64) as usize;
        let shop = &mut self.shops[number];
        let home = shop.agent.take().expect("it is there between two deaths").kill();
        self.agents_killed += 1;
        if self.dice.below(3) == 0 {
            let file = self.dice.below(FILES as u64) as usize;
            shop.files[file].change(&mut self.dice); // perhaps one that has arrived in part
        }
        shop.agent = Some(start_agent(home, &self.proxy, &shop.client, &shop.shares));
    }

    fn kill_server(&mut self) {
        let server = self.server.take().expect("it is there between two deaths");
        let uploads = server.uploads.clone();
        let folder = server.kill();
        self.servers_killed += 1;
        let good: BTreeSet<_> =
            self.shops.iter().flat_map(|shop| &shop.files).flat_map(|file| &file.versions).collect();
        let found = downloads(&uploads, &self.verified);
        self.unverified_at_death += found.values().filter(|hash| !good.contains(hash)).count();
        self.verified = found;

        let folder = if self.dice.below(3) == 0 {
            self.servers_killed += 1;
            let moment = Duration::from_millis(self.dice.below(30)); // it reads its spool meanwhile
            Server::killed_while_starting(folder, &PATIENCE, moment)
        } else {
            folder
        };
        let server = Server::start_in(folder, &PATIENCE);
        self.proxy.point_at(server.port);
        let forgotten = |id: &&str| server.get(&format!("/transfers/{id}")).status != 200;
        self.forgotten += self.open.iter().map(|(_, id)| id.as_str()).filter(forgotten).count();
        self.server = Some(server);
    }

    /// Waits for the end of all, and looks at what is left.
    fn finish(mut self, rest: (Holds, Holds)) -> Outcome {
        within(DRAIN, "all pulls end", || {
            let (_, id) = self.open.last()?;
            let ended = is_final(&self.server().get(&format!("/transfers/{id}?wait=10")).json());
            if ended {
                self.open.pop();
            }
            self.open.is_empty().then_some(())
        });
        let pull = |(shop, file, id): &(usize, usize, String)| Pull {
            id: id.clone(),
            may_be: self.shops[*shop].files[*file].versions.clone(),
        };
        let pulls: Vec<_> = self.asked.iter().map(pull).collect();
        let audit = Audit::of(self.server(), &pulls);
        let altered = |then: &&Value| self.server().transfer(&id(then)) != **then;
        let altered = self.ended.iter().filter(altered).count();
        let mut leaks = Vec::new();
        let programs = self.shops.iter().map(|shop| (shop.client.as_str(), shop.program(), rest.1));
        for (name, program, rest) in programs.chain([("server", &self.server().program, rest.0)]) {
            let deadline = Deadline::after(Duration::from_secs(40)); // threads that served a caller rest for a while
            while !program.holds().is_within(rest) && !deadline.passed() {
                super::wait::pause(Duration::from_millis(100));
            }
            if !program.holds().is_within(rest) {
                leaks.push(format!("{name} held {rest:?}, and holds {:?}", program.holds()));
            }
        }
        Outcome {
            audit,
            wire: self.proxy.carried(),
            servers_killed: self.servers_killed,
            agents_killed: self.agents_killed,
            unverified_at_death: self.unverified_at_death,
            forgotten: self.forgotten,
            altered,
            leaks,
        }
    }
}

impl Shop {
    fn start(number: usize, proxy: &FaultProxy, dice: &mut Dice) -> Shop {
        let (client, home) = (format!("shop-{number:03}"), TempDir::new());
        let files: Vec<_> = (0..FILES).map(|file| Source::new(home.join(format!("f{file}")), dice)).collect();
        let shares =
            files.iter().enumerate().map(|(file, source)| format!("f{file}={}", source.path.display()));
        let shares = shares.collect::<Vec<_>>().join(",");
        let agent = start_agent(home, proxy, &client, &shares);
        Shop { client, agent: Some(agent), shares, files }
    }

    fn program(&self) -> &Program {
        &self.agent.as_ref().expect("it is there between two deaths").program
    }
}

/// Slow enough that a file takes a while, and most deaths meet one.
fn start_agent(home: TempDir, proxy: &FaultProxy, client: &str, shares: &str) -> Agent {
    Agent::start_in(home, &proxy.url(), client, &[("SHARES", shares), ("MAX_RATE", "8M")])
}

impl Source {
    fn new(path: PathBuf, dice: &mut Dice) -> Source {
        let mut source = Source { path, content: random_content(dice), versions: BTreeSet::new() };
        source.write();
        source
    }

    /// Mostly into another file, so that there is much to send; else as a database and a log change, or not at all.
    fn change(&mut self, dice: &mut Dice) {
        match dice.below(4) {
            0 => return,
            1 => {
                if !self.content.is_empty() {
                    let at = dice.below(self.content.len() as u64) as usize;
                    let end = self.content.len().min(at + 4096);
                    self.content[at..end].copy_from_slice(&random_bytes(dice.next(), end - at));
                }
                let more = dice.below(100_000) as usize;
                self.content.extend(random_bytes(dice.next(), more));
            }
            _ => self.content = random_content(dice),
        }
        self.write();
    }

    /// In one step, so that there is no other content than those that are noted.
    fn write(&mut self) {
        self.versions.insert(sha256(&self.content));
        let new = self.path.with_extension("new");
        fs::write(&new, &self.content).expect("the shop's folder takes a file");
        fs::rename(&new, &self.path).expect("the shop's folder takes a file");
    }
}

/// Of a size whose magnitude is random, so that there are small ones too.
fn random_content(dice: &mut Dice) -> Vec<u8> {
    let most = MOST_FILE >> dice.below(8);
    random_bytes(dice.next(), dice.below(most) as usize)
}

/// Random numbers (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// From 0 to `bound`, without it.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "killed             {} servers, {} agents", self.servers_killed, self.agents_killed)?;
        writeln!(f, "{}", self.audit)?;
        writeln!(f, "unverified at the moment of a server's death  {}", self.unverified_at_death)?;
        writeln!(f, "forgotten by a server that was started again  {}", self.forgotten)?;
        writeln!(f, "ended, and other after more deaths  {}", self.altered)?;
        writeln!(f, "leaks of threads or descriptors  {}", self.leaks.len())?;
        self.leaks.iter().try_for_each(|leak| writeln!(f, "  {leak}"))?;
        let ratio = self.wire as f64 / self.audit.bytes_of_files.max(1) as f64;
        write!(f, "bytes on the wire / bytes of files  {} MB, {ratio:.3}", self.wire / 1_000_000)
    }
}
