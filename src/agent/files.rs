//! Where a transfer's bytes come from: a share, or a generator.

use std::io;
use std::os::unix::fs::FileExt;

use crate::names::FileKey;
use crate::outbound::Found;
use crate::protocol::{Entry, Kind};
use crate::refusal::Refusal;
use crate::shares::listing::Listing;
use crate::shares::{OpenFile, Shares};

/// What an agent serves.
pub(super) enum Files {
    /// Its owner's files.
    Shared(Shares),
    /// Made-up files of this size, in bytes.
    Generated {
        /// Bytes.
        size: u64,
    },
}

/// One open file.
pub(super) enum Content {
    Opened(OpenFile),
    Generated { size: u64 },
}

impl Files {
    /// The names of what is offered.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Files::Shared(shares) => shares.names().map(|name| name.to_string()).collect(),
            Files::Generated { .. } => Vec::new(),
        }
    }

    pub(super) fn open(&self, key: Option<&FileKey>) -> Result<Content, Refusal> {
        match (self, key) {
            (Files::Shared(shares), key) => shares.open(key).map(Content::Opened),
            (Files::Generated { size }, _) => Ok(Content::Generated { size: *size }),
        }
    }

    pub(super) fn list(&self, path: Option<&str>) -> Result<Listing, Refusal> {
        match self {
            Files::Shared(shares) => shares.list(path),
            Files::Generated { size } => {
                let entry =
                    Entry { name: GENERATED.to_owned(), kind: Kind::File, size: Some(*size), modified: None };
                Ok(Listing { entries: vec![entry], truncated: false })
            }
        }
    }
}

const GENERATED: &str = "generated.bin";

impl Content {
    pub(super) fn name(&self) -> &str {
        match self {
            Content::Opened(file) => &file.name,
            Content::Generated { .. } => GENERATED,
        }
    }

    /// Bytes, as of the open.
    pub(super) fn size(&self) -> u64 {
        match self {
            Content::Opened(file) => file.stamp.size,
            Content::Generated { size } => *size,
        }
    }

    /// Whether size and modification time are as they were at the open.
    pub(super) fn look_again(&self) -> Result<Found, Refusal> {
        match self {
            Content::Opened(file) => {
                Ok(if file.restat()? == file.stamp { Found::Same } else { Found::Different })
            }
            Content::Generated { .. } => Ok(Found::Same),
        }
    }

    /// Reads at `offset` until `into` is full or the file ends.
    pub(super) fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Content::Opened(file) => {
                let mut read = 0;
                while read < into.len() {
                    match file.file.read_at(&mut into[read..], offset + read as u64) {
                        Ok(0) => break,
                        Ok(more) => read += more,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(read)
            }
            Content::Generated { .. } => {
                generate(into, offset);
                Ok(into.len())
            }
        }
    }
}

/// Bytes that depend on their offset alone and do not compress: SplitMix64 (Steele, Lea, Flood 2014) of each word's number.
fn generate(into: &mut [u8], offset: u64) {
    let mut at = offset;
    let mut rest = into;
    while !rest.is_empty() {
        let word = mix(at / 8).to_le_bytes();
        let from = (at % 8) as usize;
        let length = rest.len().min(8 - from);
        let (now, later) = rest.split_at_mut(length);
        now.copy_from_slice(&word[from..from + length]);
        (at, rest) = (at + length as u64, later);
    }
}

fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_bytes_depend_on_their_offset_alone() {
        let mut whole = [0; 100];
        generate(&mut whole, 0);
        for (from, to) in [(0, 100), (1, 2), (3, 50), (8, 16), (99, 100), (7, 9)] {
            let mut part = vec![0; to - from];
            generate(&mut part, from as u64);
            assert_eq!(part, whole[from..to]);
        }
    }
}
