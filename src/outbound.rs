//! The agent's side of one attempt: what to read, what to send, and when the file was not a snapshot. Pure.
//!
//! What the server already has is compared first (`comparing.rs`); what is behind that is read and sent. The agent reads
//! `size` bytes as of the open. When size or modification time differ at the end, it reads those bytes again: an equal
//! hash means that the file held exactly this content between the two reads (a log that only grew); otherwise it answers
//! `file_changed`.
//!
//! ```text
//! Comparing --all that both have--> Reading <--> Sending
//!    |  ^                              |
//!    v  |                              +--all sent--> Checking --unchanged--> Over (End)
//!  Sending                                               +--changed--> Rereading --all read--> Over (End or Changed)
//!
//! any --a read finds the file shorter, or otherwise than just before--> Over (Changed)
//! ```
//! The shell owns the file, the hash and the line; it does what [`Outbound::next`] says and reports back.

mod comparing;

use std::ops::Range;

use crate::blocks::BlockHash;
use crate::protocol::Violation;
use comparing::Comparing;

/// What the shell does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this question; report with [`Outbound::asked`].
    Ask(Question),
    /// Wait for the next answer; report with [`Outbound::answered`].
    Await,
    /// Read `length` bytes at `offset`, or fewer where the file ends; report with [`Outbound::read`].
    Read {
        /// Where to read, in bytes.
        offset: u64,
        /// How much, at least 1.
        length: usize,
        /// Whether to hash them.
        reading: Reading,
    },
    /// Send a piece of what was read last as chunk `seq`; report with [`Outbound::sent`].
    Send {
        /// Where the piece is in the file, in bytes.
        offset: u64,
        /// Where it is in what was read.
        piece: Range<usize>,
        /// The chunk's number, from 1.
        seq: u64,
    },
    /// Send `same`; report with [`Outbound::sent`].
    Same {
        /// Where it begins, in bytes.
        offset: u64,
        /// How much.
        length: u64,
    },
    /// Look at size and modification time again; report with [`Outbound::checked`].
    Check,
    /// Read up to `length` bytes at `offset` once more and hash them by themselves; report with [`Outbound::reread`].
    Reread {
        /// Where to read, in bytes.
        offset: u64,
        /// How much, at least 1.
        length: usize,
    },
    /// All was read again: compare both hashes; report with [`Outbound::compared`].
    Compare,
    /// Send `upload_end`.
    End,
    /// Answer `file_changed`.
    Changed,
}

/// What the agent wants to know of the bytes that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// The hashes of `count` blocks.
    Blocks {
        /// The first one's number.
        from: u64,
        /// How many.
        count: u64,
    },
    /// The hashes of the pages of these blocks.
    Pages(Vec<u64>),
}

/// Whether bytes are read for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Yes: they follow what was hashed, and are hashed.
    First,
    /// No: they were hashed when they were compared, and are read to be sent.
    Again,
}

/// What a look or a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// As it was.
    Same,
    /// Something differs.
    Different,
}

#[derive(Debug, Clone)]
enum State {
    Comparing(Box<Comparing>),
    Reading,
    /// `from` of the `length` bytes that were read have been sent; then it goes on with `then`.
    Sending {
        from: usize,
        length: usize,
        then: Option<Box<Comparing>>,
    },
    Checking,
    Rereading {
        read: u64,
    },
    ComparingHashes,
    Over(Found),
}

/// One attempt at sending a file of a fixed size.
#[derive(Debug, Clone)]
pub struct Outbound {
    size: u64,
    chunk: usize,
    /// Bytes that have been sent or were the same, from 0 on.
    done: u64,
    seq: u64,
    state: State,
}

impl Outbound {
    /// A file of `size` bytes as of its open, in chunks of `chunk` bytes (at least 1), of which the server says that it
    /// has `have` bytes of some state.
    pub fn new(size: u64, chunk: usize, have: u64) -> Outbound {
        let state = match size.min(have) {
            0 => State::Reading,
            _ => State::Comparing(Box::new(Comparing::new(size, have))),
        };
        Outbound { size, chunk: chunk.max(1), done: 0, seq: 1, state }.settled()
    }

    /// What to do next. Asking twice without a report in between gives the same answer.
    pub fn next(&self) -> Step {
        let length = |done: u64| (self.size - done).min(self.chunk as u64) as usize;
        match &self.state {
            State::Comparing(comparing) => comparing.next(),
            State::Reading => {
                Step::Read { offset: self.done, length: length(self.done), reading: Reading::First }
            }
            State::Sending { from, length, .. } => {
                let to = from.saturating_add(self.chunk).min(*length);
                Step::Send { offset: self.done, piece: *from..to, seq: self.seq }
            }
            State::Checking => Step::Check,
            State::Rereading { read } if *read == self.size => Step::Compare,
            State::Rereading { read } => Step::Reread { offset: *read, length: length(*read) },
            State::ComparingHashes => Step::Compare,
            State::Over(Found::Same) => Step::End,
            State::Over(Found::Different) => Step::Changed,
        }
    }

    /// The question was sent.
    pub fn asked(&mut self) {
        if let State::Comparing(comparing) = &mut self.state {
            comparing.asked();
        }
    }

    /// The server answered the question that was sent first and not answered yet.
    ///
    /// # Errors
    /// [`Violation::BadAnswer`] when there is no such question, or more than was asked for.
    pub fn answered(&mut self, hashes: &[BlockHash]) -> Result<(), Violation> {
        let State::Comparing(comparing) = &mut self.state else { return Err(Violation::BadAnswer) };
        comparing.answered(hashes)?;
        self.settle();
        Ok(())
    }

    /// These bytes were read; fewer than asked for mean that the file ends here, before its size.
    pub fn read(&mut self, bytes: &[u8]) {
        let then = match std::mem::replace(&mut self.state, State::Over(Found::Different)) {
            State::Reading if !bytes.is_empty() => None,
            State::Comparing(mut comparing) => match comparing.read(bytes) {
                comparing::Read::Looked => return self.state = State::Comparing(comparing),
                comparing::Read::ToSend => Some(comparing),
                comparing::Read::Changed => return,
            },
            _ => return,
        };
        self.state = State::Sending { from: 0, length: bytes.len(), then };
    }

    /// What [`Step::Send`] or [`Step::Same`] asked for was sent.
    pub fn sent(&mut self) {
        let step = self.next();
        match (&mut self.state, step) {
            (State::Sending { from, .. }, Step::Send { piece, .. }) => {
                *from = piece.end;
                self.done += piece.len() as u64;
                self.seq += 1;
            }
            (State::Comparing(comparing), Step::Same { length, .. }) => {
                comparing.told(length);
                self.done += length;
            }
            _ => return,
        }
        self.settle();
    }

    /// Size and modification time were looked at again.
    pub fn checked(&mut self, found: Found) {
        self.state = match found {
            Found::Same => State::Over(Found::Same),
            Found::Different => State::Rereading { read: 0 },
        };
    }

    /// `bytes` were read again; 0 means that the file ends here, before its size.
    pub fn reread(&mut self, bytes: usize) {
        if let State::Rereading { read } = &mut self.state {
            *read = (*read + bytes as u64).min(self.size);
            if *read == self.size {
                self.state = State::ComparingHashes;
            } else if bytes == 0 {
                self.state = State::Over(Found::Different);
            }
        }
    }

    /// Both hashes were compared.
    pub fn compared(&mut self, found: Found) {
        self.state = State::Over(found);
    }

    fn settled(mut self) -> Outbound {
        self.settle();
        self
    }

    /// Leaves a state in which there is nothing more to do.
    fn settle(&mut self) {
        if let State::Sending { from, length, then } = &mut self.state
            && from == length
        {
            let length = *length as u64;
            self.state = match then.take() {
                Some(mut comparing) => {
                    comparing.told(length);
                    State::Comparing(comparing)
                }
                None => State::Reading,
            };
        }
        if let State::Comparing(comparing) = &self.state
            && comparing.is_over()
        {
            self.state = State::Reading;
        }
        if matches!(self.state, State::Reading) && self.done == self.size {
            self.state = State::Checking;
        }
    }
}

#[cfg(test)]
mod tests;
