//! The server's side of one attempt: what may come from the agent, in which order, and what it means. Pure.
//!
//! ```text
//! Asked --upload_start--> Receiving --upload_end--> Over
//!   |                         |
//!   +------ error ------------+--------- error ---> Over
//! ```
//! An attempt that is over takes nothing more: what is still in flight is [`Action::Ignore`].
//! The shell opens the part, stores, hashes and publishes; it never decides what is in order.
//! Bytes that the server already has will enter here as one more event that covers a range of the file.

use crate::limits;
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
        /// Payload bytes.
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
    /// Store the payload behind what is stored already.
    Store,
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

/// One attempt at a transfer.
#[derive(Debug, Clone)]
pub struct Inbound {
    attempt: u32,
    dialect: Dialect,
    max_size: u64,
    state: State,
}

impl Inbound {
    /// An attempt that has just been asked for; `max_size` is the largest file that is taken, in bytes.
    pub fn new(attempt: u32, dialect: Dialect, max_size: u64) -> Inbound {
        Inbound { attempt, dialect, max_size, state: State::Asked }
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
            Event::Progress { .. } => Ok(Action::KeepWaiting),
            Event::Error { code, message, .. } => Ok(Action::Fail(agent_failure(code, message))),
        };
        if matches!(taken, Err(_) | Ok(Action::Fail(_) | Action::Finish { .. })) {
            self.state = State::Over;
        }
        taken
    }

    /// Whether the event names another attempt than this one. A v1 client names none.
    fn is_stale(&self, event: &Event<'_>) -> bool {
        let named = match event {
            Event::Start { attempt, .. } | Event::End { attempt, .. } | Event::Error { attempt, .. } => {
                *attempt
            }
            Event::Chunk { header, .. } => header.attempt,
            Event::Progress { attempt } => Some(*attempt),
        };
        match self.dialect {
            Dialect::V1 => false,
            Dialect::V2 => named.is_some_and(|attempt| attempt != self.attempt),
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
        let State::Receiving { size, received, next_seq } = &mut self.state else {
            return Err(Violation::BeforeStart);
        };
        if header.seq != *next_seq {
            return Err(Violation::SeqGap { expected: *next_seq, got: header.seq });
        }
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
        Ok(if length == 0 { Action::Ignore } else { Action::Store })
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
mod tests {
    use super::*;
    use crate::names::RequestId;
    use crate::protocol::Ends;

    const HASH: Sha256Hash = Sha256Hash([7; 32]);

    fn header(seq: u64, offset: Option<u64>, attempt: Option<u32>) -> ChunkHeader {
        let request_id = RequestId::from_random([1; 16]);
        ChunkHeader { request_id, seq, timestamp: 0.into(), attempt, offset }
    }

    fn start(size: u64) -> Event<'static> {
        Event::Start { attempt: None, filename: "/var/pos.db", size }
    }

    fn end(size: Option<u64>) -> Event<'static> {
        Event::End { attempt: None, checksum: HASH, size }
    }

    fn v1() -> Inbound {
        Inbound::new(1, Dialect::V1, 1000)
    }

    fn v2() -> Inbound {
        Inbound::new(2, Dialect::V2, 1000)
    }

    fn code(taken: Result<Action, Violation>) -> FailureCode {
        match taken {
            Ok(Action::Fail(failure)) => failure.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_v1_file() {
        let mut inbound = v1();
        assert_eq!(inbound.step(start(5)), Ok(Action::Begin { source_name: "pos.db".into(), size: 5 }));
        let (one, two) = (header(1, None, None), header(2, None, None));
        assert_eq!(inbound.step(Event::Chunk { header: &one, length: 3 }), Ok(Action::Store));
        assert_eq!(inbound.step(Event::Chunk { header: &two, length: 4 }), Ok(Action::Store), "it grew");
        assert_eq!(inbound.step(end(Some(5))), Ok(Action::Finish { checksum: HASH }));
        assert_eq!(inbound.step(end(Some(5))), Ok(Action::Ignore), "the end again");
    }

    #[test]
    fn a_v2_file_and_what_is_left_of_an_earlier_attempt() {
        let mut inbound = v2();
        assert_eq!(
            inbound.step(Event::Start { attempt: Some(1), filename: "x", size: 9 }),
            Ok(Action::Ignore)
        );
        inbound.step(Event::Start { attempt: Some(2), filename: "x", size: 4 }).unwrap();
        let stale = header(7, Some(700), Some(1));
        assert_eq!(inbound.step(Event::Chunk { header: &stale, length: 3 }), Ok(Action::Ignore));
        let good = header(1, Some(0), Some(2));
        assert_eq!(inbound.step(Event::Chunk { header: &good, length: 4 }), Ok(Action::Store));
        assert_eq!(inbound.step(Event::Progress { attempt: 2 }), Ok(Action::KeepWaiting));
        assert_eq!(inbound.step(Event::Progress { attempt: 1 }), Ok(Action::Ignore));
        assert_eq!(inbound.step(end(Some(4))), Ok(Action::Finish { checksum: HASH }));
    }

    #[test]
    fn empty_files() {
        for mut inbound in [v1(), v2()] {
            inbound.step(start(0)).unwrap();
            assert_eq!(inbound.step(end(Some(0))), Ok(Action::Finish { checksum: HASH }));
        }
        let mut inbound = v1();
        inbound.step(start(0)).unwrap();
        let empty = header(1, None, None);
        assert_eq!(inbound.step(Event::Chunk { header: &empty, length: 0 }), Ok(Action::Ignore));
    }

    #[test]
    fn fewer_bytes_than_stated() {
        for (at_start, at_end) in [(5, Some(5)), (5, None), (0, Some(5))] {
            let mut inbound = v1();
            inbound.step(start(at_start)).unwrap();
            assert_eq!(code(inbound.step(end(at_end))), FailureCode::SizeMismatch);
        }
    }

    #[test]
    fn files_over_the_bound() {
        assert_eq!(code(v2().step(start(1001))), FailureCode::FileTooLarge);
        let mut growing = v1();
        growing.step(start(1)).unwrap();
        let header = header(1, None, None);
        assert_eq!(
            code(growing.step(Event::Chunk { header: &header, length: 1001 })),
            FailureCode::FileTooLarge
        );
    }

    #[test]
    fn agent_errors() {
        let error = |code, message| Event::Error { attempt: None, code, message };
        assert_eq!(code(v1().step(error(None, "file_not_found"))), FailureCode::FileNotFound);
        assert_eq!(code(v2().step(error(Some("not_shared"), "out"))), FailureCode::NotShared);
        assert_eq!(code(v2().step(error(Some("dance"), "?"))), FailureCode::AgentError);
        assert_eq!(
            code(v2().step(error(Some("disk_full"), "not the agent's word"))),
            FailureCode::AgentError
        );
        let long = "x\n".repeat(1000);
        let Ok(Action::Fail(failure)) = v1().step(error(None, &long)) else { panic!() };
        assert!(
            failure.message.chars().count() <= limits::MAX_ERROR_CHARS && !failure.message.contains('\n')
        );
    }

    /// Brings about the violation, in an attempt of its own; `None` for those of a line, which never get here.
    fn provoke(violation: &Violation) -> Option<Result<Action, Violation>> {
        let mut inbound = v2();
        let next = header(1, Some(0), Some(2));
        Some(match violation {
            Violation::TextTooLong { .. }
            | Violation::NotAMessage { .. }
            | Violation::BadHeaderLength { .. }
            | Violation::NotAHeader { .. }
            | Violation::UnknownRequest { .. } => return None,
            Violation::StartTwice => {
                inbound.step(start(5)).unwrap();
                inbound.step(start(5))
            }
            Violation::BeforeStart => inbound.step(Event::Chunk { header: &next, length: 1 }),
            Violation::SeqGap { got, .. } => {
                inbound.step(start(5)).unwrap();
                inbound.step(Event::Chunk { header: &header(*got, Some(0), None), length: 1 })
            }
            Violation::OffsetGap { got, .. } => {
                inbound.step(start(5)).unwrap();
                inbound.step(Event::Chunk { header: &header(1, *got, None), length: 1 })
            }
            Violation::TooManyBytes { size } => {
                inbound.step(start(*size)).unwrap();
                inbound.step(Event::Chunk { header: &next, length: size + 1 })
            }
        })
    }

    #[test]
    fn violations_of_an_attempt() {
        for violation in [
            Violation::StartTwice,
            Violation::BeforeStart,
            Violation::SeqGap { expected: 1, got: 2 },
            Violation::SeqGap { expected: 1, got: 0 },
            Violation::OffsetGap { expected: 0, got: Some(1) },
            Violation::OffsetGap { expected: 0, got: None },
            Violation::TooManyBytes { size: 5 },
        ] {
            assert_eq!(violation.ends(), Ends::Attempt);
            assert_eq!(provoke(&violation), Some(Err(violation)));
        }
        assert_eq!(v2().step(end(None)), Err(Violation::BeforeStart));
    }

    #[test]
    fn nothing_comes_after_the_end_of_an_attempt() {
        let mut inbound = v2();
        assert!(inbound.step(end(None)).is_err());
        assert_eq!(inbound.step(start(5)), Ok(Action::Ignore));
        assert_eq!(
            inbound.step(Event::Chunk { header: &header(1, Some(0), None), length: 1 }),
            Ok(Action::Ignore)
        );
    }
}
