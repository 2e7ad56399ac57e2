use super::*;
use crate::names::RequestId;
use crate::protocol::Ends;

const HASH: Sha256Hash = Sha256Hash([7; 32]);

fn header(seq: u64, offset: Option<u64>, attempt: Option<u32>) -> ChunkHeader {
    let request_id = RequestId::from_random([1; 16]);
    ChunkHeader { request_id, seq, timestamp: 0.into(), attempt, offset, zstd: None }
}

fn start(size: u64) -> Event<'static> {
    Event::Start { attempt: None, filename: "/var/pos.db", size }
}

fn end(size: Option<u64>) -> Event<'static> {
    Event::End { attempt: None, checksum: HASH, size }
}

fn v1() -> Inbound {
    Inbound::new(1, Dialect::V1, 1000, 0, None)
}

fn v2() -> Inbound {
    Inbound::new(2, Dialect::V2, 1000, 0, None)
}

/// An attempt at a file of `size` bytes, of which the server has `have`.
fn resumed(size: u64, have: u64) -> Inbound {
    let mut inbound = Inbound::new(2, Dialect::V2, u64::MAX, have, None);
    inbound.step(start(size)).unwrap();
    inbound
}

fn same(offset: u64, length: u64) -> Event<'static> {
    Event::Same { attempt: 2, offset, length }
}

fn ask_blocks(from: u64, count: u64) -> Event<'static> {
    Event::AskBlocks { attempt: 2, from, count }
}

fn ask_pages(blocks: &[u64]) -> Event<'_> {
    Event::AskPages { attempt: 2, blocks }
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
    assert_eq!(inbound.step(Event::Start { attempt: Some(1), filename: "x", size: 9 }), Ok(Action::Ignore));
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
fn what_names_a_later_attempt_is_for_whoever_knows_what_was_asked_for_last() {
    let start = |attempt| Event::Start { attempt, filename: "x", size: 9 };
    let later = [None, Some(1), Some(2), Some(3)].map(|attempt| v2().is_before(&start(attempt)));
    assert_eq!(later, [false, false, false, true]);
    assert!(v2().is_before(&Event::Same { attempt: 3, offset: 0, length: 1 }));
    assert!(!v1().is_before(&start(Some(3))), "a v1 client knows of no attempts");
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
    assert_eq!(code(growing.step(Event::Chunk { header: &header, length: 1001 })), FailureCode::FileTooLarge);
}

#[test]
fn agent_errors() {
    let error = |code, message| Event::Error { attempt: None, code, message };
    assert_eq!(code(v1().step(error(None, "file_not_found"))), FailureCode::FileNotFound);
    assert_eq!(code(v2().step(error(Some("not_shared"), "out"))), FailureCode::NotShared);
    assert_eq!(code(v2().step(error(Some("dance"), "?"))), FailureCode::AgentError);
    assert_eq!(code(v2().step(error(Some("disk_full"), "not the agent's word"))), FailureCode::AgentError);
    let long = "x\n".repeat(1000);
    let Ok(Action::Fail(failure)) = v1().step(error(None, &long)) else { panic!() };
    assert!(failure.message.chars().count() <= limits::MAX_ERROR_CHARS && !failure.message.contains('\n'));
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
        | Violation::UnknownRequest { .. }
        | Violation::TooManyMessages { .. }
        | Violation::BadAnswer => return None,
        Violation::BadFrame { .. } => return None, // what a payload holds is found out where it is decompressed
        Violation::NotAgreed | Violation::BadLength { .. } => {
            let most = if let Violation::BadLength { most, .. } = violation { Some(*most) } else { None };
            let mut inbound = Inbound::new(2, Dialect::V2, 1000, 0, most);
            inbound.step(start(100)).unwrap();
            let (stated, came) = if let Violation::BadLength { stated, came, .. } = violation {
                (*stated, *came)
            } else {
                (5, 1)
            };
            inbound.step(Event::Chunk { header: &ChunkHeader { zstd: Some(stated), ..next }, length: came })
        }
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
        Violation::NotHeld { offset, length, have } => resumed(u64::MAX, *have).step(same(*offset, *length)),
        Violation::BadQuestion { block: Some(block) } => resumed(9, 5).step(ask_blocks(*block, 1)),
        Violation::BadQuestion { block: None } => resumed(9, 5).step(ask_pages(&[])),
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
        Violation::NotHeld { offset: 0, length: 6, have: 5 },
        Violation::NotHeld { offset: 0, length: 1, have: 0 },
        Violation::NotHeld { offset: 0, length: 0, have: 5 },
        Violation::NotHeld { offset: 0, length: (16 << 20) + 1, have: u64::MAX },
        Violation::BadQuestion { block: Some(1) },
        Violation::BadQuestion { block: None },
        Violation::NotAgreed,
        Violation::BadLength { stated: 65, came: 9, most: 64 },
        Violation::BadLength { stated: 9, came: 9, most: 64 },
        Violation::BadLength { stated: u64::MAX, came: 9, most: 64 },
        Violation::BadLength { stated: 0, came: 0, most: 64 },
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

#[test]
fn what_is_here_is_asked_about_kept_and_completed() {
    const BLOCK: u64 = BLOCK_BYTES as u64;
    let mut inbound = resumed(3 * BLOCK, 2 * BLOCK + 5);
    assert_eq!(inbound.step(ask_blocks(0, 2)), Ok(Action::TellBlocks { from: 0, count: 2 }));
    assert_eq!(inbound.step(ask_blocks(2, 1)), Ok(Action::TellBlocks { from: 2, count: 1 }));
    assert_eq!(inbound.step(ask_pages(&[1, 2])), Ok(Action::TellPages { blocks: vec![1, 2] }));
    assert_eq!(inbound.step(same(0, BLOCK)), Ok(Action::Keep { length: BLOCK }));
    let chunk = header(1, Some(BLOCK), Some(2));
    assert_eq!(inbound.step(Event::Chunk { header: &chunk, length: BLOCK }), Ok(Action::Store));
    assert_eq!(inbound.step(same(2 * BLOCK, 5)), Ok(Action::Keep { length: 5 }));
    let chunk = header(2, Some(2 * BLOCK + 5), Some(2));
    assert_eq!(inbound.step(Event::Chunk { header: &chunk, length: BLOCK - 5 }), Ok(Action::Store));
    assert_eq!(inbound.step(end(None)), Ok(Action::Finish { checksum: HASH }));
}

#[test]
fn no_question_twice_nor_about_what_is_covered() {
    const BLOCK: u64 = BLOCK_BYTES as u64;
    let refused = |inbound: &mut Inbound, event: Event<'_>| {
        assert!(matches!(inbound.step(event), Err(Violation::BadQuestion { .. })));
    };
    let asked = |size: u64| {
        let mut inbound = resumed(size, size);
        inbound.step(ask_blocks(0, 256)).unwrap();
        inbound
    };
    refused(&mut asked(999 * BLOCK), ask_blocks(0, 256));
    refused(&mut asked(999 * BLOCK), ask_blocks(512, 256));
    refused(&mut asked(999 * BLOCK), ask_blocks(256, 257));
    refused(&mut asked(999 * BLOCK), ask_blocks(256, 0));
    refused(&mut asked(300 * BLOCK), ask_blocks(256, 45));
    refused(&mut asked(999 * BLOCK), ask_blocks(256, u64::MAX));
    refused(&mut asked(999 * BLOCK), ask_pages(&[256]));
    refused(&mut asked(999 * BLOCK), ask_pages(&[3, 3]));
    refused(&mut asked(999 * BLOCK), ask_pages(&[4, 3]));
    let mut twice = asked(999 * BLOCK);
    twice.step(ask_pages(&[3, 5])).unwrap();
    refused(&mut twice, ask_pages(&[5]));
    let mut covered = asked(999 * BLOCK);
    covered.step(same(0, BLOCK + 1)).unwrap();
    refused(&mut covered, ask_pages(&[1]));
}

#[test]
fn what_is_the_same_stays_in_order() {
    let mut inbound = resumed(100, 50);
    inbound.step(same(0, 10)).unwrap();
    assert_eq!(inbound.step(same(11, 1)), Err(Violation::OffsetGap { expected: 10, got: Some(11) }));
    assert_eq!(resumed(10, 50).step(same(0, 11)), Err(Violation::TooManyBytes { size: 10 }));
    assert_eq!(
        Inbound::new(2, Dialect::V2, 1000, 5, None).step(same(0, 1)),
        Err(Violation::BeforeStart),
        "before the start"
    );
    let stale = Event::Same { attempt: 1, offset: 0, length: 1 };
    assert_eq!(resumed(10, 50).step(stale), Ok(Action::Ignore));
}

#[test]
fn a_compressed_chunk_counts_as_what_it_holds() {
    let mut inbound = Inbound::new(2, Dialect::V2, 1000, 0, Some(64));
    inbound.step(start(100)).unwrap();
    let one = ChunkHeader { zstd: Some(64), ..header(1, Some(0), Some(2)) };
    assert_eq!(inbound.step(Event::Chunk { header: &one, length: 9 }), Ok(Action::Decompress { length: 64 }));
    let two = header(2, Some(64), Some(2));
    assert_eq!(inbound.step(Event::Chunk { header: &two, length: 36 }), Ok(Action::Store));
    assert_eq!(inbound.step(end(None)), Ok(Action::Finish { checksum: HASH }));
}

#[test]
fn what_a_compressed_chunk_may_hold() {
    let taken = |most, stated, came| {
        let mut inbound = Inbound::new(2, Dialect::V2, 1000, 0, most);
        inbound.step(start(100)).unwrap();
        let header = ChunkHeader { zstd: Some(stated), ..header(1, Some(0), Some(2)) };
        inbound.step(Event::Chunk { header: &header, length: came })
    };
    assert_eq!(taken(Some(200), 101, 9), Err(Violation::TooManyBytes { size: 100 }));
    assert_eq!(taken(Some(64), 64, 63), Ok(Action::Decompress { length: 64 }));
}

#[test]
fn what_a_v1_client_calls_zstd_is_its_own_matter() {
    let mut inbound = v1();
    inbound.step(start(9)).unwrap();
    let header = ChunkHeader { zstd: Some(64), ..header(1, None, None) };
    assert_eq!(inbound.step(Event::Chunk { header: &header, length: 9 }), Ok(Action::Store));
}
