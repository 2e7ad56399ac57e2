//! A client: dials, reads its line, and sends, as `agent/session.rs` does it; or as an installed v1 client does.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use towline::backoff::Backoff;
use towline::blocks::{BlockHash, read_hashes};
use towline::limits;
use towline::names::{ClientId, RequestId};
use towline::protocol::{Dialect, ToAgent, ToServer, ZSTD};
use towline::refusal::RefusalCode;

use crate::coverage::Seen;
use crate::files::Shelf;
use crate::plan::Kind;
use crate::scene::{Scene, trace};
use crate::sender::{Job, Sender};
use crate::wire::Down;

/// What the reader keeps of a transfer that is being sent.
pub struct Running {
    attempt: u32,
    serial: u64,
    stop: Rc<Cell<bool>>,
    answers: Rc<RefCell<VecDeque<Vec<BlockHash>>>>,
}

pub struct Client {
    pub id: ClientId,
    pub kind: Kind,
    pub shelf: Shelf,
    pub line: Option<usize>,
    pub senders: Vec<Sender>,
    pub running: BTreeMap<RequestId, Running>,
    backoff: Backoff,
    has_progressed: bool,
    /// Not before this does it dial.
    pub dials_at: u64,
    /// Its senders do nothing until then: a slow disk.
    pub stalls_until: u64,
    /// Its reader does nothing until then.
    pub deaf_until: u64,
    dialect: Dialect,
}

impl Client {
    pub fn new(number: usize, kind: Kind, shelf: Shelf) -> Client {
        Client {
            id: format!("shop-{number}").parse().expect("a client id"),
            kind,
            shelf,
            line: None,
            senders: Vec::new(),
            running: BTreeMap::new(),
            backoff: Backoff::default(),
            has_progressed: false,
            dials_at: 0,
            stalls_until: 0,
            deaf_until: 0,
            dialect: Dialect::V1,
        }
    }

    /// The line that it has dialled is open.
    pub fn opened(&mut self, line: usize, scene: &mut Scene) {
        self.line = Some(line);
        self.has_progressed = false;
        if self.kind == Kind::Node {
            self.register(line, scene);
        } else if scene.plan.registers_late && !scene.is_calm && scene.dice.one_in(3) {
            self.deaf_until = scene.time + scene.dice.between(0, 5000);
        }
    }

    fn register(&mut self, line: usize, scene: &mut Scene) {
        let v2 = self.kind == Kind::Towline;
        self.dialect = if v2 { Dialect::V2 } else { Dialect::V1 };
        scene.lines[line].say(ToServer::RegisterMeta {
            meta: Default::default(),
            protocol: v2.then_some(2),
            agent_version: v2.then(|| "0".to_owned()),
            shares: v2.then(Vec::new),
            congestion_control: None,
            compress: (v2 && scene.plan.has_text).then(|| vec![ZSTD.to_owned()]),
        });
    }

    pub fn can_read(&self, scene: &Scene) -> bool {
        self.deaf_until <= scene.time
            && self.line.is_some_and(|line| scene.lines[line].agent_reads(scene.time))
    }

    /// Reads one message, or the end of the line.
    pub fn read(&mut self, scene: &mut Scene) {
        let line = self.line.expect("it reads a line");
        match scene.lines[line].to_agent.pop_front() {
            None => self.lost(scene),
            Some(Down::Hashes(header, payload)) => {
                let hashes = read_hashes(&payload).expect("whole hashes");
                if let Some(running) = self.running.get(&header.request_id)
                    && running.attempt == header.attempt
                {
                    let mut answers = running.answers.borrow_mut();
                    assert!(answers.len() < 2, "an honest server answered what was not asked");
                    answers.push_back(hashes);
                }
            }
            Some(Down::Text(message)) => self.take(message, line, scene),
        }
    }

    fn take(&mut self, message: ToAgent, line: usize, scene: &mut Scene) {
        match message {
            ToAgent::Hello { .. } if self.kind != Kind::Node => self.register(line, scene),
            ToAgent::DownloadRequest {
                request_id: id,
                file_key,
                chunk_size,
                attempt,
                max_rate: _,
                have,
                compress,
                ..
            } => {
                let asked = chunk_size.map_or(limits::CHUNK_BYTES, |size| size as usize);
                let chunk = asked.clamp(limits::MIN_CHUNK_BYTES, limits::MAX_CHUNK_BYTES);
                let (attempt, have) = (attempt.unwrap_or(1), have.unwrap_or(0));
                let (key, kind, dialect) = (file_key, self.kind, self.dialect);
                let compress = compress.as_deref() == Some(ZSTD);
                let job = Job { id, attempt, key, chunk, have, compress, kind, dialect };
                self.start(job, line, scene);
            }
            ToAgent::Cancel { request_id: id, attempt } if self.kind != Kind::Node => {
                scene.note(Seen::WithdrawnAnswered);
                let is_meant = |running: &&Running| attempt.is_none_or(|attempt| attempt == running.attempt);
                match self.running.get(&id).filter(is_meant) {
                    Some(_) => self.stop(id),
                    None => {
                        let attempt = attempt.filter(|_| self.dialect == Dialect::V2);
                        scene.lines[line].say(refusal(id, self.dialect, attempt, RefusalCode::Cancelled));
                    }
                }
            }
            ToAgent::Hello { .. }
            | ToAgent::Cancel { .. }
            | ToAgent::UploadReceived { .. }
            | ToAgent::List { .. }
            | ToAgent::Closing { .. }
            | ToAgent::Unknown => {}
        }
    }

    fn start(&mut self, job: Job, line: usize, scene: &mut Scene) {
        trace!(scene, "{}: is asked for {} attempt={} have={}", self.id, job.id, job.attempt, job.have);
        if self.senders.len() >= limits::MAX_AGENT_TRANSFERS {
            let attempt = Some(job.attempt).filter(|_| self.dialect == Dialect::V2);
            let no = refusal(job.id, self.dialect, attempt, RefusalCode::TooManyTransfers);
            return scene.lines[line].say(no);
        }
        let (stop, answers) = (Rc::new(Cell::new(false)), Rc::new(RefCell::default()));
        self.stop(job.id); // an earlier attempt
        scene.serial += 1;
        self.running.insert(
            job.id,
            Running {
                attempt: job.attempt,
                serial: scene.serial,
                stop: stop.clone(),
                answers: Rc::clone(&answers),
            },
        );
        self.senders.push(Sender::new(job, line, scene.serial, stop, answers));
    }

    /// Removing one stops its transfer.
    fn stop(&mut self, id: RequestId) {
        if let Some(running) = self.running.remove(&id) {
            running.stop.set(true);
        }
    }

    /// A sender has ended.
    pub fn over(&mut self, id: RequestId, serial: u64) {
        self.has_progressed = true;
        if self.running.get(&id).is_some_and(|running| running.serial == serial) {
            self.stop(id);
        }
    }

    /// The line is gone, and with it all that is sent on it.
    pub fn lost(&mut self, scene: &mut Scene) {
        trace!(scene, "{}: has lost its line", self.id);
        if let Some(line) = self.line.take() {
            scene.lines[line].close(scene.time);
        }
        self.senders.clear();
        self.running.clear();
        if self.has_progressed {
            self.backoff.reset();
        }
        self.deaf_until = 0;
        let pause = self.backoff.pause(scene.dice.next() as u32);
        self.dials_at = self.dials_at.max(scene.time + pause.as_millis() as u64);
    }

    /// Nobody answered, or said no.
    pub fn not_connected(&mut self, scene: &mut Scene) {
        let pause = self.backoff.pause(scene.dice.next() as u32);
        self.dials_at = scene.time + pause.as_millis() as u64;
    }

    /// The machine or the program starts again.
    pub fn restart(&mut self, scene: &mut Scene) {
        trace!(scene, "{}: restarts", self.id);
        self.senders.clear();
        self.running.clear();
        self.backoff.reset();
        self.line = None;
        self.deaf_until = 0;
        self.dials_at = scene.time + scene.dice.between(0, 3000);
    }
}

/// The agent's no, as each dialect has it.
pub fn refusal(id: RequestId, dialect: Dialect, attempt: Option<u32>, code: RefusalCode) -> ToServer {
    let word = code.as_str().to_owned();
    let (code, message, attempt) = match dialect {
        Dialect::V1 => (None, word, None),
        Dialect::V2 => (Some(word), "simulated".to_owned(), attempt),
    };
    ToServer::Error { request_id: Some(id), code, message, attempt }
}
