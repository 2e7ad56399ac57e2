//! The server's side of one attempt, fed with any events in any order.

use towline::blocks::block_count;
use towline::inbound::{Action, Event, Inbound};
use towline::limits::{BLOCK_BYTES, MAX_CHUNK_BYTES, MAX_ERROR_CHARS, MAX_FILE_NAME_BYTES, WINDOW_BLOCKS};
use towline::names::{RequestId, Sha256Hash};
use towline::protocol::{ChunkHeader, Dialect, Ends, Violation};

use super::Choices;

const ATTEMPT: u32 = 3;

/// What the attempt has come to, told from its actions alone.
struct Model {
    dialect: Dialect,
    max_size: u64,
    have: u64,
    most_compressed: Option<u64>,
    /// The stated size, once it has begun.
    size: Option<u64>,
    /// Bytes that are stored or kept.
    covered: u64,
    /// Blocks of which the hashes were told; blocks whose pages may not be asked about any more.
    told: u64,
    pages_of: u64,
    chunks: u64,
    is_over: bool,
}

/// Bytes are covered in order, none twice, none beyond what was stated and may be taken; only what is there is kept;
/// hashes are told once, in bounds, and of nothing that is covered; nothing happens after the end, nor for another attempt.
pub fn run(data: &[u8]) {
    let mut choices = Choices(data);
    let dialect = if choices.way(4) == 0 { Dialect::V1 } else { Dialect::V2 };
    let have = match dialect {
        Dialect::V1 => 0,
        Dialect::V2 => choices.number(10 * BLOCK_BYTES as u64),
    };
    let max_size = choices.number(1 << 40);
    let most_compressed = data.last().filter(|last| **last % 4 != 0).map(|last| u64::from(*last) << 8);
    let mut inbound = Inbound::new(ATTEMPT, dialect, max_size, have, most_compressed);
    let mut model = Model {
        dialect,
        max_size,
        have,
        most_compressed,
        size: None,
        covered: 0,
        told: 0,
        pages_of: 0,
        chunks: 0,
        is_over: false,
    };
    while !choices.is_over() {
        model.step(&mut inbound, &mut choices);
    }
}

impl Model {
    fn step(&mut self, inbound: &mut Inbound, choices: &mut Choices<'_>) {
        let attempt = match choices.way(16) {
            0 => None,
            1 => Some(ATTEMPT - 1),
            2 => Some(ATTEMPT + 1),
            _ => Some(ATTEMPT),
        };
        let (text, word) = (choices.text(), choices.text());
        let blocks: Vec<u64> =
            (0..choices.way(9)).map(|nth| choices.number(self.pages_of + u64::from(nth))).collect();
        let mut header = ChunkHeader {
            request_id: RequestId::from_random([1; 16]),
            seq: choices.number(self.chunks + 1),
            timestamp: 0.into(),
            attempt,
            offset: (choices.way(16) != 0).then(|| choices.number(self.covered)),
            zstd: None,
        };
        let rest = self.size.unwrap_or(0).saturating_sub(self.covered);
        let named = attempt.unwrap_or(ATTEMPT);
        let event = match choices.way(8) {
            0 => {
                Event::Start { attempt, filename: &text, size: choices.number(12 * BLOCK_BYTES as u64 + 77) }
            }
            1 => Event::Chunk { header: &header, length: choices.number(rest).min(MAX_CHUNK_BYTES as u64) },
            2 => Event::Chunk { header: &header, length: choices.byte().into() },
            3 => Event::Same {
                attempt: named,
                offset: choices.number(self.covered),
                length: choices.number(rest.min(self.have.saturating_sub(self.covered))),
            },
            4 => Event::AskBlocks {
                attempt: named,
                from: choices.number(self.told),
                count: choices.number(block_count(self.have).saturating_sub(self.told)),
            },
            5 => Event::AskPages { attempt: named, blocks: &blocks },
            6 => Event::End {
                attempt,
                checksum: Sha256Hash([7; 32]),
                size: (choices.way(2) == 0).then(|| choices.number(self.size.unwrap_or(0))),
            },
            _ => match choices.way(4) {
                0 => Event::Error { attempt, code: (choices.way(2) == 0).then_some(&*word), message: &text },
                1 => {
                    let length = u64::from(choices.byte());
                    header.zstd = Some(choices.number(rest.min(length << 4)));
                    Event::Chunk { header: &header, length }
                }
                _ => Event::Progress { attempt: named },
            },
        };
        let is_ours = self.dialect == Dialect::V1 || event.attempt().is_none_or(|attempt| attempt == ATTEMPT);
        let taken = inbound.step(event.clone());
        if self.is_over || !is_ours {
            return assert_eq!(taken, Ok(Action::Ignore));
        }
        match taken {
            Ok(action) => self.check(&action, &event),
            Err(violation) => self.check_violation(&violation, &event),
        }
    }

    fn check(&mut self, action: &Action, event: &Event<'_>) {
        match (action, event) {
            (Action::Begin { source_name, size }, Event::Start { .. }) => {
                assert!(self.size.is_none() && *size <= self.max_size);
                assert!((1..=MAX_FILE_NAME_BYTES).contains(&source_name.len()));
                assert!(!source_name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\')));
                self.size = Some(*size);
            }
            (Action::Store, Event::Chunk { header, length }) => {
                assert_ne!(*length, 0);
                assert!(header.zstd.is_none() || self.dialect == Dialect::V1);
                self.take_chunk(header, *length);
            }
            (Action::Decompress { length }, Event::Chunk { header, length: came }) => {
                assert_eq!((self.dialect, header.zstd), (Dialect::V2, Some(*length)));
                assert!(*length > *came && Some(*length) <= self.most_compressed);
                self.take_chunk(header, *length);
            }
            (Action::Ignore, Event::Chunk { header, length: 0 }) => self.take_chunk(header, 0),
            (Action::Keep { length }, Event::Same { offset, .. }) => {
                assert_eq!((self.dialect, *offset), (Dialect::V2, self.covered));
                assert!((1..=(WINDOW_BLOCKS * BLOCK_BYTES) as u64).contains(length));
                assert!(self.covered + length <= self.have, "it is there");
                self.cover(*length);
            }
            (Action::TellBlocks { from, count }, Event::AskBlocks { .. }) => {
                assert_eq!(*from, self.told, "in order, without a gap");
                assert!((1..=WINDOW_BLOCKS as u64).contains(count));
                self.told += count;
                assert!(self.told <= block_count(self.have));
            }
            (Action::TellPages { blocks }, Event::AskPages { .. }) => self.check_pages(blocks),
            (Action::Finish { .. }, Event::End { size, .. }) => {
                let stated = self.size.expect("it has begun").max(size.unwrap_or(0));
                assert!(self.covered >= stated, "nothing is missing");
                self.is_over = true;
            }
            (Action::KeepWaiting, Event::Progress { .. }) => {}
            (
                Action::Fail(failure),
                Event::Start { .. } | Event::Chunk { .. } | Event::End { .. } | Event::Error { .. },
            ) => {
                super::assert_one_line(&failure.to_string());
                assert!(failure.message.chars().count() <= MAX_ERROR_CHARS);
                self.is_over = true;
            }
            other => panic!("{other:?}"),
        }
    }

    fn take_chunk(&mut self, header: &ChunkHeader, length: u64) {
        self.chunks += 1;
        assert_eq!(header.seq, self.chunks);
        if self.dialect == Dialect::V2 {
            assert_eq!(header.offset, Some(self.covered));
        }
        self.cover(length);
    }

    fn cover(&mut self, length: u64) {
        let size = self.size.expect("it has begun");
        self.covered = self.covered.checked_add(length).expect("no file is that large");
        assert!(self.covered <= if self.dialect == Dialect::V1 { self.max_size } else { size });
    }

    fn check_pages(&mut self, blocks: &[u64]) {
        assert!((1..=WINDOW_BLOCKS).contains(&blocks.len()));
        for block in blocks {
            assert!(
                (self.pages_of..self.told).contains(block),
                "told about, and pages not asked about before"
            );
            assert!(*block >= block_count(self.covered), "not written over");
            self.pages_of = block + 1;
        }
    }

    fn check_violation(&mut self, violation: &Violation, event: &Event<'_>) {
        assert_eq!(violation.ends(), Ends::Attempt);
        super::assert_one_line(&violation.to_string());
        match violation {
            Violation::BeforeStart => assert!(self.size.is_none()),
            Violation::StartTwice => assert!(self.size.is_some()),
            Violation::SeqGap { expected, got } => assert!(*expected == self.chunks + 1 && got != expected),
            Violation::OffsetGap { expected, got } => {
                assert!(*expected == self.covered && *got != Some(*expected));
            }
            Violation::TooManyBytes { size } => assert_eq!(Some(*size), self.size),
            Violation::NotHeld { offset, .. } => assert_eq!(*offset, self.covered),
            Violation::BadQuestion { .. } => {
                assert!(matches!(event, Event::AskBlocks { .. } | Event::AskPages { .. }));
            }
            Violation::NotAgreed => assert_eq!(self.most_compressed, None),
            Violation::BadLength { stated, came, most } => {
                assert!(Some(*most) == self.most_compressed && (stated <= came || stated > most));
            }
            other => panic!("{other:?}"),
        }
        self.is_over = true;
    }
}
