//! The server's side of one attempt: what may come from the agent, in which order, and what it means. Pure.
//!
//! ```text
//! Asked --upload_start--> Receiving --upload_end--> Over
//!   |                         |
//!   +------ error ------------+--------- error ---> Over
//! ```
//! An attempt that is over takes nothing more: what is still in flight is [`Action::Ignore`].
//! Chunks and `same` cover the file from 0 to its end, in order; in between the agent asks for hashes of what the server
//! has, each once and of nothing that is covered already, because a part is written over in place.
//! The shell opens the part, stores, keeps, hashes and publishes; it never decides what is in order.

use crate::blocks::block_count;
use crate::limits::{self, BLOCK_BYTES, WINDOW_BLOCKS};
use crate::names::{Sha256Hash, source_name};
use crate::protocol::{ChunkHeader, Dialect, Violation};
use crate::refusal::RefusalCode;
use crate::transfer::{Failure, FailureCode};

/// What came from the agent for this transfer.
#[derive(Debug, Clone)]
pub enum Event<'a> {
    /// `upload_start`.
    Start {
        /// The attempt that it names.
        attempt: Option<u32>,
        /// As sent.
        filename: &'a str,
        /// Bytes.
        size: u64,
    },
    /// A chunk.
    Chunk {
        /// Its header.
        header: &'a ChunkHeader,
        /// Payload bytes, as they came.
        length: u64,
    },
    /// `upload_end`.
    End {
        /// The attempt that it names.
        attempt: Option<u32>,
        /// Over what was sent.
        checksum: Sha256Hash,
        /// Bytes, when stated again.
        size: Option<u64>,
    },
    /// `ask_blocks`.
    AskBlocks {
        /// The attempt that it names.
        attempt: u32,
        /// The first block.
        from: u64,
        /// How many.
        count: u64,
    },
    /// `ask_pages`.
    AskPages {
        /// The attempt that it names.
        attempt: u32,
        /// Of these blocks.
        blocks: &'a [u64],
    },
    /// `same`.
    Same {
        /// The attempt that it names.
        attempt: u32,
        /// Where it begins, in bytes.
        offset: u64,
        /// Bytes.
        length: u64,
    },
    /// `progress`.
    Progress {
        /// The attempt that it names.
        attempt: u32,
    },
    /// `error`.
    Error {
        /// The attempt that it names.
        attempt: Option<u32>,
        /// The word, when there is one.
        code: Option<&'a str>,
        /// For a person; of a v1 client, the word.
        message: &'a str,
    },
}

impl Event<'_> {
    /// The attempt that it names.
    pub fn attempt(&self) -> Option<u32> {
        match self {
            Event::Start { attempt, .. } | Event::End { attempt, .. } | Event::Error { attempt, .. } => {
                *attempt
            }
            Event::Chunk { header, .. } => header.attempt,
            Event::AskBlocks { attempt, .. }
            | Event::AskPages { attempt, .. }
            | Event::Same { attempt, .. }
            | Event::Progress { attempt } => Some(*attempt),
        }
    }
}

/// What the shell does now.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Open a part for a file of this name and size.
    Begin {
        /// Fit to show.
        source_name: String,
        /// Bytes.
        size: u64,
    },
    /// Store the payload behind what is covered already.
    Store,
    /// Decompress the payload to this many bytes, and store them there.
    Decompress {
        /// Bytes.
        length: u64,
    },
    /// The next `length` bytes are those that are here.
    Keep {
        /// Bytes.
        length: u64,
    },
    /// Answer with the hashes of these blocks.
    TellBlocks {
        /// The first block.
        from: u64,
        /// How many.
        count: u64,
    },
    /// Answer with the hashes of the pages of these blocks.
    TellPages {
        /// Ascending.
        blocks: Vec<u64>,
    },
    /// All is here: compare the hash, publish.
    Finish {
        /// What the agent states.
        checksum: Sha256Hash,
    },
    /// The agent is alive and at work.
    KeepWaiting,
    /// The attempt is over.
    Fail(Failure),
    /// Left over from an earlier attempt, or of no consequence.
    Ignore,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Asked,
    Receiving { size: u64, received: u64, next_seq: u64 },
    Over,
}

/// The first blocks that have not been asked about.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    block: u64,
    pages_of: u64,
}

/// One attempt at a transfer.
#[derive(Debug, Clone)]
pub struct Inbound {
    attempt: u32,
    dialect: Dialect,
    max_size: u64,
    /// Bytes that the agent was told the server has.
    have: u64,
    /// What a compressed chunk may hold; nothing where none was asked for.
    most_compressed: Option<u64>,
    asked: Asked,
    state: State,
}

impl Inbound {
    /// An attempt that has just been asked for; `max_size` is the largest file that is taken, `have` what the agent was
    /// told that the server has, `most_compressed` what a chunk may hold that comes compressed where that was asked for:
    /// all in bytes.
    pub fn new(
        attempt: u32,
        dialect: Dialect,
        max_size: u64,
        have: u64,
        most_compressed: Option<u64>,
    ) -> Inbound {
        let (asked, state) = (Asked::default(), State::Asked);
        Inbound { attempt, dialect, max_size, have, most_compressed, asked, state }
    }

    /// Takes what came and says what to do.
    ///
    /// # Errors
    /// The violations of [`crate::protocol::Ends::Attempt`]; the attempt is over then.
    pub fn step(&mut self, event: Event<'_>) -> Result<Action, Violation> {
        if self.state == State::Over || self.is_stale(&event) {
            return Ok(Action::Ignore);
        }
        let taken = match event {
            Event::Start { filename, size, .. } => self.start(filename, size),
            Event::Chunk { header, length } => self.chunk(header, length),
            Event::End { checksum, size, .. } => self.end(checksum, size),
            Event::AskBlocks { from, count, .. } => self.ask_blocks(from, count),
            Event::AskPages { blocks, .. } => self.ask_pages(blocks),
            Event::Same { offset, length, .. } => self.same(offset, length),
            Event::Progress { .. } => Ok(Action::KeepWaiting),
            Event::Error { code, message, .. } => Ok(Action::Fail(agent_failure(code, message))),
        };
        if matches!(taken, Err(_) | Ok(Action::Fail(_) | Action::Finish { .. })) {
            self.state = State::Over;
        }
        taken
    }

    /// Whether the event names a later attempt than this one: whoever knows what was asked for last decides.
    pub fn is_before(&self, event: &Event<'_>) -> bool {
        self.named(event).is_some_and(|attempt| attempt > self.attempt)
    }

    fn is_stale(&self, event: &Event<'_>) -> bool {
        self.named(event).is_some_and(|attempt| attempt != self.attempt)
    }

    /// The attempt that the event names. A v1 client knows of none.
    fn named(&self, event: &Event<'_>) -> Option<u32> {
        match self.dialect {
            Dialect::V1 => None,
            Dialect::V2 => event.attempt(),
        }
    }

    fn start(&mut self, filename: &str, size: u64) -> Result<Action, Violation> {
        if self.state != State::Asked {
            return Err(Violation::StartTwice);
        }
        if size > self.max_size {
            return Ok(Action::Fail(self.too_large(size)));
        }
        self.state = State::Receiving { size, received: 0, next_seq: 1 };
        Ok(Action::Begin { source_name: source_name(filename), size })
    }

    fn chunk(&mut self, header: &ChunkHeader, length: u64) -> Result<Action, Violation> {
        let compressed = self.compressed(header, length);
        let State::Receiving { size, received, next_seq } = &mut self.state else {
            return Err(Violation::BeforeStart);
        };
        if header.seq != *next_seq {
            return Err(Violation::SeqGap { expected: *next_seq, got: header.seq });
        }
        let compressed = compressed?;
        let length = compressed.unwrap_or(length);
        let total = received.saturating_add(length);
        match self.dialect {
            Dialect::V2 if header.offset != Some(*received) => {
                return Err(Violation::OffsetGap { expected: *received, got: header.offset });
            }
            Dialect::V2 if total > *size => return Err(Violation::TooManyBytes { size: *size }),
            // A v1 client reads a file that grows to its new end; its checksum decides.
            Dialect::V1 if total > self.max_size => return Ok(Action::Fail(self.too_large(total))),
            Dialect::V1 | Dialect::V2 => {}
        }
        *received = total;
        *next_seq += 1;
        Ok(match compressed {
            Some(length) => Action::Decompress { length },
            None if length == 0 => Action::Ignore,
            None => Action::Store,
        })
    }

    /// How many bytes of the file a compressed chunk holds that came as `came` bytes; `None` for a plain one. To a v1
    /// client the field means nothing.
    fn compressed(&self, header: &ChunkHeader, came: u64) -> Result<Option<u64>, Violation> {
        let Some(stated) = header.zstd.filter(|_| self.dialect == Dialect::V2) else { return Ok(None) };
        let most = self.most_compressed.ok_or(Violation::NotAgreed)?;
        if stated <= came || stated > most {
            return Err(Violation::BadLength { stated, came, most });
        }
        Ok(Some(stated))
    }

    fn ask_blocks(&mut self, from: u64, count: u64) -> Result<Action, Violation> {
        let State::Receiving { .. } = self.state else { return Err(Violation::BeforeStart) };
        let is_window = (1..=WINDOW_BLOCKS as u64).contains(&count);
        if !is_window || from != self.asked.block || from + count > block_count(self.have) {
            return Err(Violation::BadQuestion { block: Some(from) });
        }
        self.asked.block = from + count;
        Ok(Action::TellBlocks { from, count })
    }

    fn ask_pages(&mut self, blocks: &[u64]) -> Result<Action, Violation> {
        let State::Receiving { received, .. } = self.state else { return Err(Violation::BeforeStart) };
        let (Some(first), Some(last)) = (blocks.first().copied(), blocks.last().copied()) else {
            return Err(Violation::BadQuestion { block: None });
        };
        let is_in_order = blocks.is_sorted_by(|one, next| one < next);
        let is_open = first >= self.asked.pages_of.max(block_count(received)) && last < self.asked.block;
        if blocks.len() > WINDOW_BLOCKS || !is_in_order || !is_open {
            return Err(Violation::BadQuestion { block: Some(first) });
        }
        self.asked.pages_of = last + 1;
        Ok(Action::TellPages { blocks: blocks.to_vec() })
    }

    fn same(&mut self, offset: u64, length: u64) -> Result<Action, Violation> {
        let State::Receiving { size, received, .. } = &mut self.state else {
            return Err(Violation::BeforeStart);
        };
        if offset != *received {
            return Err(Violation::OffsetGap { expected: *received, got: Some(offset) });
        }
        let is_window = (1..=(WINDOW_BLOCKS * BLOCK_BYTES) as u64).contains(&length);
        if !is_window || length > self.have.saturating_sub(offset) {
            return Err(Violation::NotHeld { offset, length, have: self.have });
        }
        if length > size.saturating_sub(offset) {
            return Err(Violation::TooManyBytes { size: *size });
        }
        *received += length;
        Ok(Action::Keep { length })
    }

    fn end(&mut self, checksum: Sha256Hash, stated_again: Option<u64>) -> Result<Action, Violation> {
        let State::Receiving { size, received, .. } = self.state else {
            return Err(Violation::BeforeStart);
        };
        let stated = size.max(stated_again.unwrap_or(size));
        if received < stated {
            let message = format!("the agent stated {stated} bytes and sent {received}");
            return Ok(Action::Fail(Failure::new(FailureCode::SizeMismatch, message)));
        }
        Ok(Action::Finish { checksum })
    }

    fn too_large(&self, size: u64) -> Failure {
        let message = format!("the file has {size} bytes or more; MAX_FILE_SIZE is {}", self.max_size);
        Failure::new(FailureCode::FileTooLarge, message)
    }
}

/// The failure that an agent's `error` means. A v1 client has the word in `message`.
fn agent_failure(code: Option<&str>, message: &str) -> Failure {
    let word = code.unwrap_or(message);
    // A server's own reasons are not taken from an agent.
    let known = serde_json::from_value::<RefusalCode>(word.into()).ok().map(FailureCode::from);
    let message: String =
        crate::names::printable(message).to_string().chars().take(limits::MAX_ERROR_CHARS).collect();
    Failure::new(known.unwrap_or(FailureCode::AgentError), message)
}

#[cfg(test)]
mod tests;
