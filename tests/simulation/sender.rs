//! A running transfer on the agent's side, one step of its machine at a time, as `agent/sender.rs` does it; for a v1
//! client, a plain copy of the file from its beginning to wherever its end is by then.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use towline::blocks::BlockHash;
use towline::compression::Compressor;
use towline::hash::Hasher;
use towline::limits::BLOCK_BYTES;
use towline::names::{FileKey, RequestId};
use towline::outbound::{Found, Outbound, Question, Reading, Step};
use towline::protocol::{ChunkHeader, Dialect, ToServer};
use towline::refusal::RefusalCode;

use crate::agent::refusal;
use crate::coverage::Seen;
use crate::files::{Shelf, SourceRef};
use crate::plan::Kind;
use crate::scene::{Scene, trace};

/// What was asked for.
pub struct Job {
    pub id: RequestId,
    pub attempt: u32,
    pub key: Option<FileKey>,
    pub chunk: usize,
    pub have: u64,
    pub compress: bool,
    pub kind: Kind,
    pub dialect: Dialect,
}

/// An open file.
struct Content {
    source: SourceRef,
    stamp: (u64, usize),
    opened: u64,
}

enum Stage {
    Open,
    /// The machine leads.
    Following(Box<Outbound>, Content),
    /// A v1 client copies.
    Copying {
        at: u64,
        seq: u64,
        content: Content,
    },
    Refuse(RefusalCode),
    Over,
}

pub struct Sender {
    pub job: Job,
    line: usize,
    /// Tells it from others.
    pub serial: u64,
    stop: Rc<Cell<bool>>,
    answers: Rc<RefCell<VecDeque<Vec<BlockHash>>>>,
    stage: Stage,
    buffer: Vec<u8>,
    hasher: Hasher,
    again: Hasher,
    compressor: Option<Compressor>,
    last_sign: u64,
}

/// How often a sign of life is due.
const SIGN_MS: u64 = 1000;

impl Sender {
    pub fn new(
        job: Job,
        line: usize,
        serial: u64,
        stop: Rc<Cell<bool>>,
        answers: Rc<RefCell<VecDeque<Vec<BlockHash>>>>,
    ) -> Sender {
        let (hasher, again) = (Hasher::default(), Hasher::default());
        let compressor = Compressor::new().filter(|_| job.compress);
        Sender {
            job,
            line,
            serial,
            stop,
            answers,
            stage: Stage::Open,
            buffer: Vec::new(),
            hasher,
            again,
            compressor,
            last_sign: 0,
        }
    }

    pub fn can_step(&self, scene: &Scene) -> bool {
        let has_room = scene.lines[self.line].has_room();
        match &self.stage {
            Stage::Following(outbound, _) => match outbound.next() {
                Step::Await => self.stop.get() || !self.answers.borrow().is_empty(),
                Step::Ask(_) | Step::Send { .. } | Step::Same { .. } => has_room,
                Step::Read { .. }
                | Step::Check
                | Step::Reread { .. }
                | Step::Compare
                | Step::End
                | Step::Changed => true,
            },
            Stage::Copying { .. } => has_room,
            Stage::Open | Stage::Refuse(_) | Stage::Over => true,
        }
    }

    /// Does one thing; false when it has ended.
    pub fn step(&mut self, shelf: &Shelf, scene: &mut Scene) -> bool {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Open => self.open(shelf, scene),
            Stage::Following(outbound, content) => self.follow(outbound, content, scene),
            Stage::Copying { at, seq, content } => self.copy(at, seq, content, scene),
            Stage::Refuse(code) => {
                trace!(scene, "sender: {} attempt={} says {code}", self.job.id, self.job.attempt);
                let no = refusal(self.job.id, self.job.dialect, self.stated_attempt(), code);
                scene.lines[self.line].say(no);
                Stage::Over
            }
            Stage::Over => return false,
        };
        true
    }

    fn stated_attempt(&self) -> Option<u32> {
        Some(self.job.attempt).filter(|_| self.job.dialect == Dialect::V2)
    }

    fn open(&mut self, shelf: &Shelf, scene: &mut Scene) -> Stage {
        let Some(source) = shelf.open(self.job.key.as_ref()) else {
            return Stage::Refuse(RefusalCode::FileNotFound);
        };
        let stamp = source.borrow().stamp();
        scene.ledger.opened(self.job.id, &source, scene.step, self.job.kind);
        let content = Content { source, stamp, opened: scene.step };
        let size = stamp.0;
        trace!(scene, "sender: opens {} attempt={} size={size}", self.job.id, self.job.attempt);
        scene.lines[self.line].say(ToServer::UploadStart {
            request_id: self.job.id,
            filename: "C:\\pos\\pos.db".to_owned(),
            filesize: size,
            attempt: self.stated_attempt(),
        });
        self.last_sign = scene.time;
        if self.job.kind == Kind::Node {
            return Stage::Copying { at: 0, seq: 1, content };
        }
        let piece = if self.job.have > 0 { self.job.chunk.max(BLOCK_BYTES) } else { self.job.chunk };
        let buffer = piece.min(size as usize).max(1);
        let outbound = Outbound::new(size, self.job.chunk.min(buffer), self.job.have);
        Stage::Following(Box::new(outbound), content)
    }

    fn follow(&mut self, mut outbound: Box<Outbound>, content: Content, scene: &mut Scene) -> Stage {
        let (request_id, attempt) = (self.job.id, self.job.attempt);
        let step = outbound.next();
        let checks_stop = matches!(
            step,
            Step::Ask(_) | Step::Await | Step::Read { .. } | Step::Same { .. } | Step::Reread { .. }
        );
        if checks_stop && self.stop.get() {
            return Stage::Refuse(RefusalCode::Cancelled);
        }
        match step {
            Step::Ask(question) => {
                let message = match question {
                    Question::Blocks { from, count } => {
                        ToServer::AskBlocks { request_id, attempt, from, count }
                    }
                    Question::Pages(blocks) => ToServer::AskPages { request_id, attempt, blocks },
                };
                self.tell(message, scene);
                outbound.asked();
            }
            Step::Await => {
                let hashes = self.answers.borrow_mut().pop_front().expect("it can step");
                outbound.answered(&hashes).expect("an honest server answers what was asked");
            }
            Step::Read { offset, length, reading } => {
                self.read(&content, offset, length);
                if reading == Reading::First {
                    self.hasher.update(&self.buffer);
                }
                outbound.read(&self.buffer);
                self.give_sign(scene);
            }
            Step::Send { offset, piece, seq } => {
                let payload = self.buffer[piece].to_vec();
                self.send(seq, Some(offset), payload, scene);
                outbound.sent();
            }
            Step::Same { offset, length } => {
                self.tell(ToServer::Same { request_id, attempt, offset, length }, scene);
                outbound.sent();
            }
            Step::Check => {
                let is_same = content.source.borrow().stamp() == content.stamp;
                outbound.checked(if is_same { Found::Same } else { Found::Different });
            }
            Step::Reread { offset, length } => {
                scene.note(Seen::ReadAgain);
                self.read(&content, offset, length);
                self.again.update(&self.buffer);
                outbound.reread(self.buffer.len());
                self.give_sign(scene);
            }
            Step::Compare => {
                let is_same = self.again.hash() == self.hasher.hash();
                outbound.compared(if is_same { Found::Same } else { Found::Different });
            }
            Step::End => {
                self.end(content.stamp.0, &content, scene);
                return Stage::Over;
            }
            Step::Changed => return Stage::Refuse(RefusalCode::FileChanged),
        }
        Stage::Following(outbound, content)
    }

    /// What an installed client does: it reads to the end of the file, wherever that is.
    fn copy(&mut self, at: u64, seq: u64, content: Content, scene: &mut Scene) -> Stage {
        self.read(&content, at, self.job.chunk);
        if self.buffer.is_empty() {
            self.end(at, &content, scene);
            return Stage::Over;
        }
        self.hasher.update(&self.buffer);
        let payload = std::mem::take(&mut self.buffer);
        let at = at + payload.len() as u64;
        self.send(seq, None, payload, scene);
        Stage::Copying { at, seq: seq + 1, content }
    }

    fn end(&mut self, size: u64, content: &Content, scene: &mut Scene) {
        let checksum = self.hasher.hash();
        trace!(scene, "sender: ends {} attempt={} size={size}", self.job.id, self.job.attempt);
        scene.ledger.stated(self.job.id, &content.source, content.opened, scene.step);
        scene.lines[self.line].say(ToServer::UploadEnd {
            request_id: self.job.id,
            checksum,
            filesize: Some(size),
            attempt: self.stated_attempt(),
        });
    }

    fn read(&mut self, content: &Content, offset: u64, length: usize) {
        let source = content.source.borrow();
        let bytes = source.bytes();
        let from = (offset as usize).min(bytes.len());
        let to = (from + length).min(bytes.len());
        self.buffer.clear();
        self.buffer.extend_from_slice(&bytes[from..to]);
    }

    fn tell(&mut self, message: ToServer, scene: &mut Scene) {
        scene.lines[self.line].say(message);
        self.last_sign = scene.time;
    }

    fn send(&mut self, seq: u64, offset: Option<u64>, payload: Vec<u8>, scene: &mut Scene) {
        let (payload, zstd) = self.pack(seq, payload);
        let header = ChunkHeader {
            request_id: self.job.id,
            seq,
            timestamp: 0.into(),
            attempt: self.stated_attempt(),
            offset: offset.filter(|_| self.job.dialect == Dialect::V2),
            zstd,
        };
        scene.lines[self.line].chunk(header, payload);
        self.last_sign = scene.time;
    }

    /// Compresses chunks, with a plain one among them now and then.
    fn pack(&mut self, seq: u64, chunk: Vec<u8>) -> (Vec<u8>, Option<u64>) {
        let Some(compressor) = &mut self.compressor else { return (chunk, None) };
        let smaller = if seq % 5 == 3 { None } else { compressor.compress(&chunk).map(<[u8]>::to_vec) };
        match smaller {
            Some(smaller) => (smaller, Some(chunk.len() as u64)),
            None => {
                compressor.end_frame();
                (chunk, None)
            }
        }
    }

    fn give_sign(&mut self, scene: &mut Scene) {
        if self.job.dialect == Dialect::V2 && scene.time >= self.last_sign + SIGN_MS {
            self.last_sign = scene.time;
            let (request_id, attempt) = (self.job.id, self.job.attempt);
            scene.lines[self.line].say(ToServer::Progress { request_id, attempt });
        }
    }
}
