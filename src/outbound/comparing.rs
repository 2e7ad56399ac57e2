//! Comparing a file with what the server has, window by window: blocks first, then the pages of those that differ.
//!
//! ```text
//! Blocks --their hashes are here--> Looking --all equal--> Telling --all told--> Blocks (of the next window)
//!                                      +--some differ--> Pages --their hashes are here--> Telling
//! ```
//! The blocks of the next window are asked about before this one is looked at, so that only windows in which something
//! differs cost a round trip. A block is hashed into the whole file's hash when it is looked at; what of it is sent is
//! read once more then, and must hash to what it did before.

use std::collections::VecDeque;

use super::{Question, Reading, Step};
use crate::blocks::{BLOCK_PAGES, BlockHash, block_count, block_hash, page_hashes};
use crate::limits::{BLOCK_BYTES, PAGE_BYTES, WINDOW_BLOCKS};
use crate::protocol::Violation;

const BLOCK: u64 = BLOCK_BYTES as u64;
const PAGE: u64 = PAGE_BYTES as u64;
const WINDOW: u64 = WINDOW_BLOCKS as u64;

/// The comparison; see the module.
#[derive(Debug, Clone)]
pub(super) struct Comparing {
    /// Bytes that both sides have, from 0 on: what is compared.
    common: u64,
    /// Bytes that the server has.
    have: u64,
    /// The first block of this window.
    from: u64,
    /// Blocks that were asked about, from 0 on.
    asked_blocks: u64,
    /// The questions that have no answer yet, oldest first.
    open: VecDeque<Asked>,
    /// The server's hashes of this window's blocks, and those of the next one.
    theirs: Option<Vec<BlockHash>>,
    ahead: Option<Vec<BlockHash>>,
    /// Our hashes of the pages that were looked at in this window.
    pages: Vec<BlockHash>,
    /// Blocks of this window that were looked at.
    looked: u64,
    /// Those of them that differ.
    differing: Vec<u64>,
    /// What is still to be told of this window.
    runs: VecDeque<Run>,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Blocks,
    Looking,
    Pages,
    Telling,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Asked {
    Blocks { from: u64, count: u64 },
    Pages,
}

/// Bytes that follow each other and are all the same, or all not.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    offset: u64,
    length: u64,
    same: bool,
}

/// What became of bytes that were read.
pub(super) enum Read {
    /// They are compared.
    Looked,
    /// They are as they were, and go to the server.
    ToSend,
    /// The file is no longer what was compared.
    Changed,
}

impl Comparing {
    /// `size` bytes here, `have` there; neither is 0.
    pub(super) fn new(size: u64, have: u64) -> Comparing {
        Comparing {
            common: size.min(have),
            have,
            from: 0,
            asked_blocks: 0,
            open: VecDeque::new(),
            theirs: None,
            ahead: None,
            pages: Vec::new(),
            looked: 0,
            differing: Vec::new(),
            runs: VecDeque::new(),
            phase: Phase::Blocks,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Blocks && self.from >= block_count(self.common)
    }

    pub(super) fn next(&self) -> Step {
        match self.phase {
            Phase::Blocks if self.asked_blocks <= self.from => self.ask_blocks(),
            Phase::Looking if self.looked == 0 && self.asked_blocks == self.end() && !self.is_last() => {
                self.ask_blocks()
            }
            Phase::Looking => {
                let offset = (self.from + self.looked) * BLOCK;
                let length = (self.common - offset).min(BLOCK) as usize;
                Step::Read { offset, length, reading: Reading::First }
            }
            Phase::Pages if !self.open.contains(&Asked::Pages) => {
                Step::Ask(Question::Pages(self.differing.clone()))
            }
            Phase::Blocks | Phase::Pages => Step::Await,
            Phase::Telling => {
                let Run { offset, length, same } =
                    *self.runs.front().expect("a window is told until no run is left");
                if same {
                    Step::Same { offset, length }
                } else {
                    Step::Read { offset, length: length.min(BLOCK) as usize, reading: Reading::Again }
                }
            }
        }
    }

    pub(super) fn asked(&mut self) {
        match self.next() {
            Step::Ask(Question::Blocks { from, count }) => {
                self.asked_blocks = from + count;
                self.open.push_back(Asked::Blocks { from, count });
            }
            Step::Ask(Question::Pages(_)) => self.open.push_back(Asked::Pages),
            _ => {}
        }
    }

    /// An answer may hold fewer hashes than were asked for: the server has no more after all.
    pub(super) fn answered(&mut self, hashes: &[BlockHash]) -> Result<(), Violation> {
        match self.open.pop_front() {
            Some(Asked::Blocks { from, count }) if hashes.len() as u64 <= count => {
                if (hashes.len() as u64) < count {
                    self.common = self.common.min((from + hashes.len() as u64) * BLOCK);
                }
                if from == self.from {
                    self.theirs = Some(hashes.to_vec());
                    self.look();
                } else {
                    self.ahead = Some(hashes.to_vec());
                }
                Ok(())
            }
            Some(Asked::Pages) if hashes.len() <= self.differing.len() * BLOCK_PAGES => {
                self.compare_pages(hashes);
                Ok(())
            }
            Some(_) | None => Err(Violation::BadAnswer),
        }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) -> Read {
        let Step::Read { offset, length, reading } = self.next() else { return Read::Changed };
        if bytes.len() < length {
            return Read::Changed;
        }
        match reading {
            Reading::First => {
                self.look_at(bytes);
                Read::Looked
            }
            Reading::Again => {
                let first = ((offset - self.from * BLOCK) / PAGE) as usize;
                let before = self.pages[first..].iter().copied();
                let unchanged = page_hashes(bytes).zip(before).all(|(now, then)| now == then);
                if unchanged { Read::ToSend } else { Read::Changed }
            }
        }
    }

    /// `length` bytes of the first run were told.
    pub(super) fn told(&mut self, length: u64) {
        if let Some(run) = self.runs.front_mut() {
            run.offset += length;
            run.length -= length;
            if run.length == 0 {
                self.runs.pop_front();
            }
        }
        if self.runs.is_empty() {
            self.from = self.end();
            self.phase = Phase::Blocks;
            self.pages.clear();
            self.differing.clear();
            self.looked = 0;
            self.theirs = self.ahead.take();
            self.look();
        }
    }

    /// Looks at this window's blocks, when their hashes are here.
    fn look(&mut self) {
        if self.theirs.is_some() && !self.is_over() {
            self.phase = Phase::Looking;
        }
    }

    fn look_at(&mut self, block: &[u8]) {
        let theirs = self.theirs.as_ref().and_then(|hashes| hashes.get(self.looked as usize));
        if theirs != Some(&block_hash(block)) {
            self.differing.push(self.from + self.looked);
        }
        self.pages.extend(page_hashes(block));
        self.looked += 1;
        if self.from + self.looked == self.end() {
            if self.differing.is_empty() {
                let offset = self.from * BLOCK;
                self.runs.push_back(Run { offset, length: self.end_offset() - offset, same: true });
                self.phase = Phase::Telling;
            } else {
                self.phase = Phase::Pages;
            }
        }
    }

    fn compare_pages(&mut self, theirs: &[BlockHash]) {
        let mut answered = theirs;
        let mut differing = self.differing.iter().copied().peekable();
        let mut runs = VecDeque::new();
        for block in self.from..self.end() {
            let (offset, end) = (block * BLOCK, ((block + 1) * BLOCK).min(self.common));
            if differing.next_if_eq(&block).is_none() {
                push(&mut runs, Run { offset, length: end - offset, same: true });
                continue;
            }
            let there = (self.have - offset).min(BLOCK).div_ceil(PAGE) as usize;
            let (of_block, rest) = answered.split_at(there.min(answered.len()));
            answered = rest;
            for (page, offset) in (offset..end).step_by(PAGE_BYTES).enumerate() {
                let ours = self.pages[(block - self.from) as usize * BLOCK_PAGES + page];
                let length = (end - offset).min(PAGE);
                push(&mut runs, Run { offset, length, same: of_block.get(page) == Some(&ours) });
            }
        }
        self.runs = runs;
        self.phase = Phase::Telling;
    }

    fn ask_blocks(&self) -> Step {
        let from = self.asked_blocks;
        let count = (block_count(self.common) - from).min(WINDOW);
        Step::Ask(Question::Blocks { from, count })
    }

    /// The block behind this window.
    fn end(&self) -> u64 {
        (self.from + WINDOW).min(block_count(self.common))
    }

    /// The byte behind this window.
    fn end_offset(&self) -> u64 {
        (self.end() * BLOCK).min(self.common)
    }

    fn is_last(&self) -> bool {
        self.end() == block_count(self.common)
    }
}

/// Adds a run, or makes the last one longer.
fn push(runs: &mut VecDeque<Run>, run: Run) {
    match runs.back_mut() {
        Some(last) if last.same == run.same => last.length += run.length,
        _ => runs.push_back(run),
    }
}
