//! Files to try things out with: pseudo-random bytes, so that nothing on the way can compress or guess them, made
//! faster than a disk takes them.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use crate::hash::Hasher;
use crate::names::Sha256Hash;

const BLOCK_BYTES: usize = 256 << 10;

/// Writes `size` bytes that depend on `seed` alone to a new file at `path`, and hashes them on the way.
///
/// # Errors
/// When the file is there already, or cannot be written.
pub fn make(path: &Path, size: u64, seed: u64) -> io::Result<Sha256Hash> {
    let mut file = File::create_new(path)?;
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut block = vec![0; BLOCK_BYTES];
    let mut hasher = Hasher::default();
    let mut left = size;
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            state = next(state);
            word.copy_from_slice(&state.to_le_bytes());
        }
        let part = &block[..left.min(BLOCK_BYTES as u64) as usize];
        hasher.update(part);
        file.write_all(part)?;
        left -= part.len() as u64;
    }
    Ok(hasher.hash())
}

/// Marsaglia's xorshift64: three shifts; a state other than 0 never becomes 0.
fn next(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^ state << 17
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::hash_all;

    #[test]
    fn a_file_is_as_long_as_asked_and_has_the_hash_that_is_told() {
        let folder = std::env::temp_dir().join(format!("towline-sample-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut hashes = Vec::new();
        for (size, seed) in [(0, 1), (1, 1), (300_000, 1), (300_000, 2)] {
            let path = folder.join(format!("{size}-{seed}"));
            let hash = make(&path, size, seed).unwrap();
            assert_eq!(hash_all(File::open(&path).unwrap()).unwrap(), (hash, size));
            assert!(!hashes.contains(&hash));
            hashes.push(hash);
        }
        assert!(make(&folder.join("0-1"), 0, 1).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
