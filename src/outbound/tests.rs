//! Whole attempts, with a server that is a slice of bytes.

use std::collections::VecDeque;

use super::*;
use crate::blocks::{block_hash, page_hashes};
use crate::limits::{BLOCK_BYTES, PAGE_BYTES};

/// How an attempt went.
#[derive(Debug, Default)]
struct Told {
    /// What the server has at the end.
    file: Vec<u8>,
    /// The sizes of the chunks.
    chunks: Vec<usize>,
    /// Bytes that were the same.
    kept: u64,
    /// Hashes that were asked for.
    hashes: usize,
}

/// What happens to the file in the course of an attempt.
struct Source<'a> {
    bytes: &'a [u8],
    /// At most this much is read at once.
    read: usize,
    look: Found,
    compare: Found,
}

impl<'a> Source<'a> {
    fn steady(bytes: &'a [u8]) -> Source<'a> {
        Source { bytes, read: usize::MAX, look: Found::Same, compare: Found::Same }
    }

    fn at(&self, offset: u64, length: usize) -> &'a [u8] {
        let rest = self.bytes.get(offset as usize..).unwrap_or_default();
        &rest[..length.min(self.read).min(rest.len())]
    }
}

fn answer(held: &[u8], question: &Question) -> Vec<BlockHash> {
    let blocks: Vec<&[u8]> = held.chunks(BLOCK_BYTES).collect();
    match question {
        Question::Blocks { from, count } => {
            blocks.iter().skip(*from as usize).take(*count as usize).map(|block| block_hash(block)).collect()
        }
        Question::Pages(numbers) => {
            numbers.iter().flat_map(|number| page_hashes(blocks[*number as usize])).collect()
        }
    }
}

/// Runs an attempt to its end.
fn run(size: usize, chunk: usize, source: &Source<'_>, held: &[u8]) -> (Told, Step) {
    let mut outbound = Outbound::new(size as u64, chunk, held.len() as u64);
    let (mut told, mut open, mut buffer) = (Told::default(), VecDeque::new(), Vec::new());
    loop {
        match outbound.next() {
            Step::Ask(question) => {
                open.push_back(question);
                outbound.asked();
            }
            Step::Await => {
                let hashes = answer(held, &open.pop_front().expect("it waits for an answer that will come"));
                told.hashes += hashes.len();
                outbound.answered(&hashes).unwrap();
            }
            Step::Read { offset, length, .. } => {
                buffer = source.at(offset, length).to_vec();
                outbound.read(&buffer);
            }
            Step::Send { offset, piece, seq } => {
                assert_eq!((offset, seq), (told.file.len() as u64, told.chunks.len() as u64 + 1));
                assert!(piece.len() <= chunk && !piece.is_empty());
                told.file.extend_from_slice(&buffer[piece.clone()]);
                told.chunks.push(piece.len());
                outbound.sent();
            }
            Step::Same { offset, length } => {
                assert_eq!(offset, told.file.len() as u64);
                told.file.extend_from_slice(&held[offset as usize..(offset + length) as usize]);
                told.kept += length;
                outbound.sent();
            }
            Step::Check => outbound.checked(source.look),
            Step::Reread { offset, length } => {
                assert!(offset + length as u64 <= size as u64);
                outbound.reread(source.at(offset, length).len());
            }
            Step::Compare => outbound.compared(source.compare),
            last @ (Step::End | Step::Changed) => return (told, last),
        }
    }
}

fn sizes(size: usize, chunk: usize, read: usize) -> Vec<usize> {
    let bytes = bytes(size);
    let (told, last) = run(size, chunk, &Source { read, ..Source::steady(&bytes) }, &[]);
    assert_eq!((last, told.file), (Step::End, bytes));
    told.chunks
}

/// Bytes of which no two pages are the same.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect()
}

#[test]
fn sizes_around_a_chunk() {
    assert_eq!(sizes(0, 4, 99), [0; 0]);
    assert_eq!(sizes(1, 4, 99), [1]);
    assert_eq!(sizes(4, 4, 99), [4]);
    assert_eq!(sizes(9, 4, 99), [4, 4, 1]);
    assert_eq!(sizes(5, 4, 3), [3, 2], "short reads");
}

#[test]
fn snapshots() {
    use Found::{Different, Same};
    let outcome = |size: usize, look, compare| {
        let bytes = bytes(size);
        run(size, 4, &Source { look, compare, ..Source::steady(&bytes) }, &[]).1
    };
    assert_eq!(outcome(9, Different, Same), Step::End, "a log that only grew");
    assert_eq!(outcome(9, Different, Different), Step::Changed);
    assert_eq!(outcome(0, Different, Same), Step::End, "empty, and then not");
}

#[test]
fn a_file_that_was_cut_short() {
    let bytes = bytes(200_000);
    for there in [0, 4, 65_536, 199_999] {
        for held in [&[][..], &bytes, &[1; 200_000]] {
            let (_, last) = run(200_000, 1000, &Source::steady(&bytes[..there]), held);
            assert_eq!(last, Step::Changed);
        }
    }
    let mut outbound = Outbound::new(4, 4, 0);
    outbound.read(&[0; 4]);
    outbound.sent();
    outbound.checked(Found::Different);
    outbound.reread(0);
    assert_eq!(outbound.next(), Step::Changed);
}

#[test]
fn an_unchanged_file_moves_no_byte() {
    for length in [1, 4095, 65_536, 65_537, (16 << 20) - 1, 16 << 20, (16 << 20) + 1, 40_000_000] {
        let bytes = bytes(length);
        let (told, last) = run(length, 65_536, &Source::steady(&bytes), &bytes);
        assert_eq!((last, told.kept, told.chunks.len()), (Step::End, length as u64, 0));
        assert_eq!(told.hashes, length.div_ceil(BLOCK_BYTES));
    }
}

#[test]
fn what_differs_is_sent_and_no_more() {
    let old = bytes(40_000_000);
    let mut new = old.clone();
    let changed = [0, 1, 2, 16, 17, 4096, 5000, old.len() / PAGE_BYTES];
    changed.iter().for_each(|page| new[page * PAGE_BYTES] ^= 1);
    for chunk in [1024, 65_536, 4 << 20] {
        let (told, last) = run(new.len(), chunk, &Source::steady(&new), &old);
        assert_eq!((last, told.file == new), (Step::End, true));
        let sent: usize = told.chunks.iter().sum();
        assert_eq!(sent, 7 * PAGE_BYTES + old.len() % PAGE_BYTES);
        assert!(told.hashes < old.len() / BLOCK_BYTES + 2 + 6 * 16);
    }
}

#[test]
fn lengths_that_differ() {
    let new = bytes(300_000);
    for held in [1, 4096, 5000, 65_536, 70_000, 299_999, 300_001, 20_000_000] {
        let mut old = bytes(held.max(300_000));
        old.truncate(held);
        let (told, last) = run(new.len(), 65_536, &Source::steady(&new), &old);
        assert_eq!((last, told.file == new), (Step::End, true), "{held}");
        let most = new.len().saturating_sub(held) + PAGE_BYTES;
        assert!(told.chunks.iter().sum::<usize>() <= most, "{held}: {:?}", told.chunks);
    }
}

#[test]
fn a_server_that_has_less_than_it_said() {
    let bytes = bytes(40_000_000);
    for there in [0, 65_536, 16 << 20, (16 << 20) + 65_536, 20 << 20] {
        let mut outbound = Outbound::new(bytes.len() as u64, 65_536, bytes.len() as u64);
        let (mut open, mut sent, mut same, mut questions) = (VecDeque::new(), 0, 0, 0);
        let last = loop {
            match outbound.next() {
                Step::Ask(question) => {
                    questions += 1;
                    open.push_back(question);
                    outbound.asked();
                }
                Step::Await => {
                    let hashes = answer(&bytes[..there], &open.pop_front().unwrap());
                    outbound.answered(&hashes).unwrap();
                }
                Step::Read { offset, length, reading } => {
                    assert_eq!(reading, Reading::First, "nothing is read twice");
                    outbound.read(&bytes[offset as usize..offset as usize + length]);
                }
                Step::Send { piece, .. } => {
                    sent += piece.len();
                    outbound.sent();
                }
                Step::Same { length, .. } => {
                    same += length as usize;
                    outbound.sent();
                }
                Step::Check => outbound.checked(Found::Same),
                last => break last,
            }
        };
        assert_eq!((last, sent, same), (Step::End, bytes.len() - there, there));
        assert!(questions <= 3, "{there}: {questions}");
    }
}

#[test]
fn a_page_that_changes_between_looking_and_sending() {
    let (old, new) = (vec![1; 100_000], vec![2; 100_000]);
    let mut outbound = Outbound::new(100_000, 65_536, 100_000);
    let mut open = VecDeque::new();
    loop {
        match outbound.next() {
            Step::Ask(question) => {
                open.push_back(question);
                outbound.asked();
            }
            Step::Await => outbound.answered(&answer(&old, &open.pop_front().unwrap())).unwrap(),
            Step::Read { offset, length, reading: Reading::First } => {
                outbound.read(&new[offset as usize..offset as usize + length]);
            }
            Step::Read { length, reading: Reading::Again, .. } => outbound.read(&vec![3; length]),
            last => return assert_eq!(last, Step::Changed),
        }
    }
}

#[test]
fn answers_that_are_none() {
    let hash = block_hash(b"");
    assert_eq!(Outbound::new(9, 4, 0).answered(&[hash]), Err(Violation::BadAnswer), "nothing was asked");
    let mut outbound = Outbound::new(9, 4, 9);
    assert_eq!(outbound.answered(&[hash]), Err(Violation::BadAnswer), "nothing was asked yet");
    outbound.asked();
    assert_eq!(outbound.clone().answered(&[hash, hash]), Err(Violation::BadAnswer), "one block was");
    assert_eq!(outbound.answered(&[]), Ok(()), "the server has nothing after all");
    assert_eq!(outbound.answered(&[]), Err(Violation::BadAnswer));
}
