//! A part on the simulated disk: covered from 0 on by bytes that come and by bytes that were here, as `spool/part.rs`
//! does it with a file.

use std::cell::RefCell;
use std::rc::Rc;

use towline::blocks::{BlockHash, block_hash, page_hashes};
use towline::hash::Hasher;
use towline::limits::{BLOCK_BYTES, PAGE_BYTES};
use towline::names::Sha256Hash;

use crate::dice::Dice;
use crate::disk::{Disk, Trouble};

/// What a file holds, and what of it a power cut can't take.
#[derive(Debug, Default)]
pub struct Inode {
    pub bytes: Vec<u8>,
    synced: Vec<u8>,
    is_dirty: bool,
}

pub type File = Rc<RefCell<Inode>>;

impl Inode {
    pub fn write_at(&mut self, bytes: &[u8], at: usize) {
        let end = at + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
        self.is_dirty = true;
    }

    pub fn set_length(&mut self, length: usize) {
        self.bytes.resize(length, 0);
        self.is_dirty = true;
    }

    pub fn sync(&mut self) {
        if self.is_dirty {
            self.synced.clone_from(&self.bytes);
            self.is_dirty = false;
        }
    }

    /// The power goes: of what was not synced each page may be new, old or garbage, and the end anywhere.
    pub fn lose_power(&mut self, dice: &mut Dice) {
        if !self.is_dirty {
            return;
        }
        let (old, new) = (self.synced.len() as u64, self.bytes.len() as u64);
        let length = match dice.below(3) {
            0 => old,
            1 => new,
            _ => dice.between(old.min(new), old.max(new)),
        };
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(length as usize, 0);
        for (number, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
            match dice.below(6) {
                0 => page.fill(0),
                1 => dice.fill(page),
                2 => {
                    page.fill(0);
                    let old = self.synced.get(number * PAGE_BYTES..).unwrap_or_default();
                    let length = old.len().min(page.len());
                    page[..length].copy_from_slice(&old[..length]);
                }
                _ => {}
            }
        }
        self.synced.clone_from(&bytes);
        self.bytes = bytes;
        self.is_dirty = false;
    }

    /// A kill leaves all that was written.
    pub fn outlive(&mut self) {
        self.sync();
    }
}

/// Why bytes that were here can't be kept.
pub enum KeepError {
    Gone,
    Disk(Trouble),
}

/// What bytes were kept from.
#[derive(Default, Clone, Copy)]
pub struct Kept {
    pub of_part: u64,
    pub of_older: u64,
}

/// A file that is arriving.
pub struct Part {
    pub file: File,
    hasher: Hasher,
    bytes: u64,
    length: u64,
    older: Option<(File, u64)>,
    pub kept: Kept,
}

impl Part {
    pub fn new(file: File, older: Option<(File, u64)>) -> Part {
        let length = file.borrow().bytes.len() as u64;
        Part { file, hasher: Hasher::default(), bytes: 0, length, older, kept: Kept::default() }
    }

    pub fn store(&mut self, bytes: &[u8], disk: &mut Disk, dice: &mut Dice) -> Result<(), Trouble> {
        self.hasher.update(bytes);
        let at = self.bytes as usize;
        if let Err(trouble) = disk.work(dice) {
            let written = dice.index(bytes.len() + 1);
            self.file.borrow_mut().write_at(&bytes[..written], at);
            return Err(trouble);
        }
        self.file.borrow_mut().write_at(bytes, at);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub fn keep(&mut self, length: u64, disk: &mut Disk, dice: &mut Dice) -> Result<(), KeepError> {
        let end = self.bytes + length;
        while self.bytes < end {
            let wanted = (end - self.bytes).min(BLOCK_BYTES as u64) as usize;
            let piece = self.read_at(wanted, self.bytes);
            if piece.len() < wanted {
                return Err(KeepError::Gone);
            }
            self.hasher.update(&piece);
            let to = self.bytes + wanted as u64;
            if to > self.length {
                disk.work(dice).map_err(KeepError::Disk)?;
                self.file.borrow_mut().write_at(&piece, self.bytes as usize);
            }
            let of_part = self.length.clamp(self.bytes, to) - self.bytes;
            self.kept.of_part += of_part;
            self.kept.of_older += wanted as u64 - of_part;
            self.bytes = to;
        }
        Ok(())
    }

    pub fn block_hashes(&self, from: u64, count: u64) -> Vec<BlockHash> {
        let mut hashes = Vec::new();
        self.each_block(from..from + count, |block| hashes.push(block_hash(block)));
        hashes
    }

    pub fn page_hashes(&self, blocks: &[u64]) -> Vec<BlockHash> {
        let mut hashes = Vec::new();
        self.each_block(blocks.iter().copied(), |block| hashes.extend(page_hashes(block)));
        hashes
    }

    pub fn hash(&self) -> Sha256Hash {
        self.hasher.hash()
    }

    pub fn sync(&self, disk: &mut Disk, dice: &mut Dice) -> Result<(), Trouble> {
        disk.work(dice)?;
        if self.length > self.bytes {
            self.file.borrow_mut().set_length(self.bytes as usize);
        }
        disk.work(dice)?;
        self.file.borrow_mut().sync();
        Ok(())
    }

    fn each_block(&self, blocks: impl IntoIterator<Item = u64>, mut each: impl FnMut(&[u8])) {
        for block in blocks {
            let bytes = self.read_at(BLOCK_BYTES, block * BLOCK_BYTES as u64);
            each(&bytes);
            if bytes.len() < BLOCK_BYTES {
                break;
            }
        }
    }

    fn read_at(&self, wanted: usize, offset: u64) -> Vec<u8> {
        let mut into = Vec::with_capacity(wanted);
        while into.len() < wanted {
            let from = offset + into.len() as u64;
            let (file, end) = match &self.older {
                _ if from < self.length => (&self.file, self.length),
                Some((older, length)) if from < *length => (older, *length),
                Some(_) | None => break,
            };
            let file = file.borrow();
            let end = end.min(file.bytes.len() as u64); // somebody may have cut it meanwhile
            let most = (end.saturating_sub(from)).min((wanted - into.len()) as u64) as usize;
            if most == 0 {
                break;
            }
            into.extend_from_slice(&file.bytes[from as usize..from as usize + most]);
        }
        into
    }
}
