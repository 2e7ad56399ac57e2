//! Hashes of blocks and pages, by which two sides find out which parts of a file both have. The only file that names
//! `twox-hash`.
//!
//! A file is seen as blocks of [`BLOCK_BYTES`], a block as pages of [`PAGE_BYTES`]; the last of each may
//! be shorter. The hash is XXH3 with 64 bits: it finds differences, and proves nothing. What proves a file is the
//! SHA-256 of all of it, which is always checked; so a block hash that is equal by chance, or because somebody made it
//! so, costs another attempt and nothing else.

use twox_hash::XxHash3_64;

use crate::limits::{BLOCK_BYTES, PAGE_BYTES};

/// Bytes of one hash on the wire.
pub const HASH_BYTES: usize = 8;
/// Pages of a block.
pub const BLOCK_PAGES: usize = BLOCK_BYTES / PAGE_BYTES;

/// The hash of a block or of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHash(u64);

/// Hashes `bytes`.
pub fn block_hash(bytes: &[u8]) -> BlockHash {
    BlockHash(XxHash3_64::oneshot(bytes))
}

/// The hashes of the pages of a block.
pub fn page_hashes(block: &[u8]) -> impl Iterator<Item = BlockHash> + '_ {
    block.chunks(PAGE_BYTES).map(block_hash)
}

/// How many blocks `bytes` have, the last of which may be short.
pub fn block_count(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES as u64)
}

/// Puts hashes into the payload of an answer.
pub fn write_hashes(hashes: impl IntoIterator<Item = BlockHash>, into: &mut Vec<u8>) {
    hashes.into_iter().for_each(|hash| into.extend_from_slice(&hash.0.to_be_bytes()));
}

/// Reads the payload of an answer; `None` when it is no whole number of hashes.
pub fn read_hashes(payload: &[u8]) -> Option<Vec<BlockHash>> {
    let hashes = payload.chunks_exact(HASH_BYTES);
    if !hashes.remainder().is_empty() {
        return None;
    }
    let read = |hash: &[u8]| BlockHash(u64::from_be_bytes(hash.try_into().expect("exact chunks")));
    Some(hashes.map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algorithms_own_test_values() {
        // XXH3_64bits of nothing, and of "abc", as xxHash's own `xxhsum -H3` prints them.
        assert_eq!(block_hash(b""), BlockHash(0x2d06_8005_38d3_94c2));
        assert_eq!(block_hash(b"abc"), BlockHash(0x78af_5f94_892f_3950));
    }

    #[test]
    fn hashes_on_the_wire() {
        let mut payload = Vec::new();
        write_hashes([BlockHash(1), BlockHash(u64::MAX)], &mut payload);
        assert_eq!(payload, [0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(read_hashes(&payload), Some(vec![BlockHash(1), BlockHash(u64::MAX)]));
        assert_eq!(read_hashes(&[]), Some(vec![]));
        assert_eq!(read_hashes(&payload[1..]), None);
    }

    #[test]
    fn a_short_block_has_fewer_pages() {
        let pages = |length: usize| page_hashes(&vec![7; length]).count();
        assert_eq!([0, 1, 4096, 4097, BLOCK_BYTES].map(pages), [0, 1, 1, 2, BLOCK_PAGES]);
        assert_eq!([0, 1, BLOCK_BYTES as u64, BLOCK_BYTES as u64 + 1].map(block_count), [0, 1, 1, 2]);
    }
}
