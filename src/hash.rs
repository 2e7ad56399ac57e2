//! SHA-256, as it comes. The only file that names `sha2`.

use std::hint::black_box;
use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::names::Sha256Hash;

/// A hash in the making.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes in `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all that was taken in; more may follow.
    pub fn hash(&self) -> Sha256Hash {
        Sha256Hash(self.0.clone().finalize().into())
    }
}

/// Hashes `bytes`.
pub fn of(bytes: &[u8]) -> Sha256Hash {
    Sha256Hash(Sha256::digest(bytes).into())
}

/// Whether two hashes are the same, in a time that does not depend on where they differ: for secrets.
pub fn is_same(one: &Sha256Hash, other: &Sha256Hash) -> bool {
    // Without the black box the compiler may leave the loop at the first difference.
    let differences = one.0.iter().zip(&other.0).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    black_box(differences) == 0
}

/// Hashes all that `reader` gives; returns its length too, in bytes.
///
/// # Errors
/// Those of the reader.
pub fn hash_all(mut reader: impl Read) -> io::Result<(Sha256Hash, u64)> {
    let (mut hasher, mut length) = (Hasher::default(), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((hasher.hash(), length)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sha256Hash, is_same, of};

    #[test]
    fn sameness() {
        let hash = of(b"abc");
        assert!(is_same(&hash, &of(b"abc")));
        for byte in 0..32 {
            for bit in 0..8 {
                let mut other: Sha256Hash = hash;
                other.0[byte] ^= 1 << bit;
                assert!(!is_same(&hash, &other));
            }
        }
    }

    #[test]
    fn the_standards_example() {
        // FIPS 180-4's "abc".
        let (hash, length) = super::hash_all(&b"abc"[..]).unwrap();
        assert_eq!(hash.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(length, 3);
    }
}
