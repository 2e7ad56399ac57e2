//! The agent's side of one attempt, with a server that may answer anything and a file that may change at any time.

use std::collections::VecDeque;
use std::sync::OnceLock;

use towline::blocks::{BlockHash, block_count, block_hash, page_hashes};
use towline::inbound::{self, Event, Inbound};
use towline::limits::{BLOCK_BYTES, PAGE_BYTES, WINDOW_BLOCKS};
use towline::names::{RequestId, Sha256Hash};
use towline::outbound::{Found, Outbound, Question, Step};
use towline::protocol::{ChunkHeader, Dialect, Violation};

use super::Choices;

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Steps of one run; enough for every file that is read to its end.
const MAX_STEPS: usize = 2000;
/// Bytes that one run reads. A file that is larger is found to be shorter then.
const MAX_READ: u64 = 8 * BLOCK;

struct Run<'a> {
    choices: Choices<'a>,
    /// Whether the server tells the truth, and the file stays as it is.
    is_honest: bool,
    size: u64,
    chunk: usize,
    /// What the server has, byte by byte, as far as it is looked at.
    held: Vec<u8>,
    have: u64,
    /// What is open, oldest first.
    open: VecDeque<Question>,
    buffer: Vec<u8>,
    read: u64,
    sent: u64,
    /// Whether what the server has is the beginning of the file, or all of it.
    is_unchanged: bool,
    /// What the server has at the end, and how much that is.
    file: Vec<u8>,
    done: u64,
    seq: u64,
    /// A server that keeps to the rules.
    peer: Inbound,
}

/// Whatever a server answers, what is sent covers the file in order and to its end, in bounds, and breaks no rule of the
/// server's own machine; what is read lies in the file. When both are honest, the server ends up with the file.
pub fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let is_honest = choices.way(2) == 0;
    let (size, have) = match is_honest {
        true => (u64::from(choices.byte()) << 11, u64::from(choices.byte()) << 11),
        // No file system holds a larger file.
        false => (choices.number(3 * BLOCK) & i64::MAX as u64, choices.number(3 * BLOCK)),
    };
    let size = if is_honest { size + u64::from(choices.way(3)) } else { size };
    let chunk = [1 << 10, 4 << 10, 5000, 64 << 10, 4 << 20][usize::from(choices.way(5))];
    let mut held = content(have.min(MAX_READ)).to_vec();
    for _ in 0..choices.way(5) {
        let at = usize::from(choices.byte()) * PAGE_BYTES / 2;
        held.iter_mut().skip(at).take(usize::from(choices.byte())).for_each(|byte| *byte ^= 1);
    }
    let is_unchanged = held == content(held.len() as u64);
    let mut peer = Inbound::new(1, Dialect::V2, u64::MAX, have, None);
    let started = peer.step(Event::Start { attempt: Some(1), filename: "x", size });
    assert!(matches!(started, Ok(inbound::Action::Begin { .. })));
    let mut run = Run {
        choices,
        is_honest,
        size,
        chunk,
        held,
        have,
        open: VecDeque::new(),
        buffer: Vec::new(),
        read: 0,
        sent: 0,
        is_unchanged,
        file: Vec::new(),
        done: 0,
        seq: 0,
        peer,
    };
    let mut outbound = Outbound::new(size, chunk, have);
    for _ in 0..MAX_STEPS {
        if !run.step(&mut outbound) {
            return;
        }
    }
    assert!(!is_honest, "it comes to an end");
}

/// The first bytes of the file: no two pages are alike.
fn content(length: u64) -> &'static [u8] {
    static CONTENT: OnceLock<Vec<u8>> = OnceLock::new();
    let byte = |at: u64| (at / 512).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[(at % 8) as usize];
    &CONTENT.get_or_init(|| (0..MAX_READ).map(byte).collect())[..length as usize]
}

impl Run<'_> {
    /// Does what is next; false when it is over.
    fn step(&mut self, outbound: &mut Outbound) -> bool {
        let step = outbound.next();
        assert_eq!(step, outbound.next(), "to ask changes nothing");
        match step {
            Step::Ask(question) => self.ask(question, outbound),
            Step::Await => return self.answer(outbound),
            Step::Read { offset, length, .. } => self.read(offset, length, outbound),
            Step::Send { offset, piece, seq } => {
                assert!(piece.end <= self.buffer.len() && (1..=self.chunk.max(1)).contains(&piece.len()));
                self.seq += 1;
                assert_eq!((offset, seq), (self.done, self.seq));
                let request_id = RequestId::from_random([1; 16]);
                let (timestamp, attempt) = (0.into(), Some(1));
                let header =
                    ChunkHeader { request_id, seq, timestamp, attempt, offset: Some(offset), zstd: None };
                self.accept(Event::Chunk { header: &header, length: piece.len() as u64 });
                self.file.extend_from_slice(&self.buffer[piece.clone()]);
                (self.done, self.sent) = (self.done + piece.len() as u64, self.sent + piece.len() as u64);
                outbound.sent();
            }
            Step::Same { offset, length } => {
                assert!(offset == self.done && offset + length <= self.have);
                self.accept(Event::Same { attempt: 1, offset, length });
                let end = self.held.len().min((offset + length) as usize);
                self.file.extend_from_slice(self.held.get(offset as usize..end).unwrap_or_default());
                self.done += length;
                outbound.sent();
            }
            Step::Check => outbound.checked(self.found()),
            Step::Reread { offset, length } => {
                assert!(length > 0 && offset + length as u64 <= self.size);
                let most = self.at_most(length);
                outbound.reread(most);
            }
            Step::Compare => outbound.compared(self.found()),
            Step::End => {
                assert_eq!(self.done, self.size, "all is covered");
                self.accept(Event::End {
                    attempt: Some(1),
                    checksum: Sha256Hash([7; 32]),
                    size: Some(self.size),
                });
                if self.is_honest {
                    assert!(self.file == content(self.size), "the server has the file");
                    let new = self.size.saturating_sub(self.have);
                    assert!(
                        !self.is_unchanged || self.sent <= new + PAGE_BYTES as u64,
                        "what it has is not sent"
                    );
                }
                return false;
            }
            Step::Changed => {
                assert!(!self.is_honest, "the file did not change");
                return false;
            }
        }
        // Hashes that nobody asked for, at any time.
        if !self.is_honest && self.open.is_empty() && self.choices.way(32) == 31 {
            assert_eq!(outbound.answered(&[]), Err(Violation::BadAnswer));
            return false;
        }
        true
    }

    fn accept(&mut self, event: Event<'_>) {
        let taken = self.peer.step(event.clone());
        assert!(!matches!(taken, Err(_) | Ok(inbound::Action::Fail(_))), "{event:?}: {taken:?}");
    }

    fn ask(&mut self, question: Question, outbound: &mut Outbound) {
        assert!(self.open.len() < 2, "at most two questions are open");
        match &question {
            Question::Blocks { from, count } => {
                self.accept(Event::AskBlocks { attempt: 1, from: *from, count: *count });
            }
            Question::Pages(blocks) => self.accept(Event::AskPages { attempt: 1, blocks }),
        }
        self.open.push_back(question);
        outbound.asked();
    }

    /// Answers the oldest question; false when the answer was too long, which ends the line.
    fn answer(&mut self, outbound: &mut Outbound) -> bool {
        let question = self.open.pop_front().expect("it waits for an answer that will come");
        let mut hashes = self.true_answer(&question);
        let most = match &question {
            Question::Blocks { count, .. } => *count as usize,
            Question::Pages(blocks) => blocks.len() * (BLOCK_BYTES / PAGE_BYTES),
        };
        if !self.is_honest {
            match self.choices.way(8) {
                0 => hashes.truncate(self.choices.byte().into()),
                1 => hashes.resize(self.choices.byte().into(), block_hash(b"x")),
                2 => hashes.resize(most, block_hash(b"y")),
                3 => hashes.resize(most + 1, block_hash(b"z")),
                4 => hashes.reverse(),
                _ => {}
            }
        }
        let is_too_long = hashes.len() > most;
        assert_eq!(outbound.answered(&hashes).is_err(), is_too_long);
        !is_too_long
    }

    fn true_answer(&self, question: &Question) -> Vec<BlockHash> {
        let blocks: Vec<&[u8]> = self.held.chunks(BLOCK_BYTES).collect();
        match question {
            Question::Blocks { from, count } => {
                let there =
                    blocks.iter().skip(*from as usize).take((*count).min(WINDOW_BLOCKS as u64) as usize);
                there.map(|block| block_hash(block)).collect()
            }
            Question::Pages(numbers) => {
                assert!(numbers.iter().all(|number| *number < block_count(self.have)));
                let there = numbers.iter().filter_map(|number| blocks.get(*number as usize));
                there.flat_map(|block| page_hashes(block)).collect()
            }
        }
    }

    fn read(&mut self, offset: u64, length: usize, outbound: &mut Outbound) {
        assert!(length > 0 && offset + length as u64 <= self.size, "in the file");
        assert!(length <= self.chunk.max(BLOCK_BYTES));
        let is_too_much = self.read + length as u64 > 4 * MAX_READ || offset + length as u64 > MAX_READ;
        let most = if is_too_much { 0 } else { self.at_most(length) };
        self.buffer = match most {
            0 => Vec::new(),
            most => content(offset + most as u64)[offset as usize..].to_vec(),
        };
        if !self.is_honest && self.choices.way(16) == 15 {
            self.buffer.iter_mut().step_by(1000).for_each(|byte| *byte ^= 1); // somebody writes to it
        }
        self.read += most as u64;
        outbound.read(&self.buffer);
    }

    /// How much of what is asked for can be read.
    fn at_most(&mut self, length: usize) -> usize {
        match !self.is_honest && self.choices.way(16) == 0 && !self.choices.is_over() {
            true => usize::from(self.choices.byte()).min(length),
            false => length,
        }
    }

    fn found(&mut self) -> Found {
        if self.is_honest || self.choices.way(2) == 0 { Found::Same } else { Found::Different }
    }
}
