//! What a peer did against the rules, by name.

use std::fmt;

use crate::names::{RequestId, printable};

/// A breach of the protocol by the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A text message over the bound.
    TextTooLong {
        /// Its bytes.
        length: usize,
    },
    /// A text message that is no JSON object with a known shape.
    NotAMessage {
        /// What the parser says.
        why: String,
    },
    /// A binary message whose header is longer than the message, or over the bound.
    BadHeaderLength {
        /// The stated length.
        header: usize,
        /// The whole message's.
        message: usize,
    },
    /// A binary message whose header is no JSON object with the fields of a chunk.
    NotAHeader {
        /// What the parser says.
        why: String,
    },
    /// A message about a transfer that was never asked for on this line.
    UnknownRequest {
        /// Its id.
        id: RequestId,
    },
    /// More messages in a second than a peer has to send.
    TooManyMessages {
        /// The bound.
        most: u32,
    },
    /// `upload_start` again.
    StartTwice,
    /// A chunk or the end before `upload_start`.
    BeforeStart,
    /// A chunk that is not the next one.
    SeqGap {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// A chunk that does not begin where the last one ended, or (v2) does not say where it begins.
    OffsetGap {
        /// The offset that was due.
        expected: u64,
        /// The offset that came.
        got: Option<u64>,
    },
    /// More bytes than the stated size.
    TooManyBytes {
        /// The stated size.
        size: u64,
    },
    /// `same` for bytes that the server does not have, for none, or for more than a window.
    NotHeld {
        /// Where they would begin.
        offset: u64,
        /// How many.
        length: u64,
        /// How many the server has.
        have: u64,
    },
    /// A question about blocks that the server does not have, about none or too many, out of order, or twice.
    BadQuestion {
        /// The block that it begins with.
        block: Option<u64>,
    },
    /// A compressed chunk, where none was asked for.
    NotAgreed,
    /// A compressed chunk that says it holds nothing, more than a chunk may, or no more than it takes.
    BadLength {
        /// Bytes of the file, as stated.
        stated: u64,
        /// Bytes that came.
        came: u64,
        /// The most that a chunk may hold.
        most: u64,
    },
    /// A compressed chunk that can't be decompressed to what it says it holds.
    BadFrame {
        /// What is wrong with it.
        why: String,
    },
    /// An answer that was not asked for, or that is none.
    BadAnswer,
}

/// What a violation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// The line: the peer can't be understood any more.
    Line,
    /// That attempt; the line and its other transfers go on.
    Attempt,
}

impl Violation {
    /// What this ends.
    pub fn ends(&self) -> Ends {
        match self {
            Violation::TextTooLong { .. }
            | Violation::NotAMessage { .. }
            | Violation::BadHeaderLength { .. }
            | Violation::NotAHeader { .. }
            | Violation::UnknownRequest { .. }
            | Violation::TooManyMessages { .. }
            | Violation::BadAnswer => Ends::Line,
            Violation::StartTwice
            | Violation::BeforeStart
            | Violation::SeqGap { .. }
            | Violation::OffsetGap { .. }
            | Violation::TooManyBytes { .. }
            | Violation::NotHeld { .. }
            | Violation::BadQuestion { .. }
            | Violation::NotAgreed
            | Violation::BadLength { .. }
            | Violation::BadFrame { .. } => Ends::Attempt,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::TextTooLong { length } => write!(f, "a text message of {length} bytes"),
            Violation::NotAMessage { why } => write!(f, "not a message: {}", printable(why)),
            Violation::BadHeaderLength { header, message } => {
                write!(f, "a chunk header of {header} bytes in a message of {message}")
            }
            Violation::NotAHeader { why } => write!(f, "not a chunk header: {}", printable(why)),
            Violation::UnknownRequest { id } => write!(f, "request {id} was never made on this line"),
            Violation::TooManyMessages { most } => write!(f, "more than {most} messages in a second"),
            Violation::StartTwice => write!(f, "upload_start came twice"),
            Violation::BeforeStart => write!(f, "data came before upload_start"),
            Violation::SeqGap { expected, got } => {
                write!(f, "chunk {got} came where chunk {expected} was due")
            }
            Violation::OffsetGap { expected, got: Some(got) } => {
                write!(f, "bytes from offset {got} came where offset {expected} was due")
            }
            Violation::OffsetGap { expected, got: None } => {
                write!(f, "a chunk without an offset came where offset {expected} was due")
            }
            Violation::TooManyBytes { size } => write!(f, "more than the stated {size} bytes came"),
            Violation::NotHeld { offset, length, have } => {
                write!(f, "{length} bytes from offset {offset} can't be kept: the server has {have}")
            }
            Violation::BadQuestion { block: Some(block) } => {
                write!(f, "a question about blocks from {block} on that may not be asked here")
            }
            Violation::BadQuestion { block: None } => write!(f, "a question about no block"),
            Violation::NotAgreed => write!(f, "a compressed chunk came, and none was asked for"),
            Violation::BadLength { stated, came, most } => {
                write!(
                    f,
                    "a compressed chunk of {came} bytes says it holds {stated}; it may hold more than it has, and at most {most}"
                )
            }
            Violation::BadFrame { why } => {
                write!(f, "a compressed chunk that can't be decompressed: {}", printable(why))
            }
            Violation::BadAnswer => write!(f, "hashes came that were not asked for"),
        }
    }
}
