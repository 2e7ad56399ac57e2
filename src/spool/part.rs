//! A file that is arriving.
//!
//! It is covered from 0 on, in order: by bytes that came, and by bytes that were here before. Those stand in the part
//! itself, as an earlier attempt left it, and behind its end in an older download of the same file. A part is written
//! over in place; so what is covered is new, and what is not is still as it was. Nothing is believed of what was here:
//! whatever is kept is read and hashed now, with the rest, in order.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::SystemTime;

use super::error::{Doing, at};
use super::{SpoolError, remove_if_there};
use crate::blocks::{BlockHash, block_hash, page_hashes};
use crate::hash::Hasher;
use crate::limits::{self, BLOCK_BYTES};
use crate::names::Sha256Hash;
use rustix::fs::{Advice, fadvise};

/// Why bytes that were here can't be kept.
#[derive(Debug)]
pub enum KeepError {
    /// They are not here any more, or can't be read.
    Gone(io::Error),
    /// They can't be copied.
    Disk(SpoolError),
}

/// A file that is arriving, and its hash so far; see the module.
#[derive(Debug)]
pub struct Part {
    pub(super) file: File,
    pub(super) path: PathBuf,
    hasher: Hasher,
    /// How far it is covered.
    bytes: u64,
    /// How long it was when the attempt began.
    length: u64,
    older: Option<(File, u64)>,
    buffer: Vec<u8>,
    /// Up to where the kernel was told to write to the disk.
    written_back: u64,
}

impl Part {
    /// A part in an open file of `length` bytes.
    pub(super) fn new(file: File, path: PathBuf, length: u64, older: Option<(File, u64)>) -> Part {
        Part {
            file,
            path,
            hasher: Hasher::default(),
            bytes: 0,
            length,
            older,
            buffer: Vec::new(),
            written_back: 0,
        }
    }

    /// Stores `bytes` behind what is covered.
    ///
    /// # Errors
    /// Nothing more may be stored then.
    pub fn store(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        self.hasher.update(bytes);
        self.file.write_all_at(bytes, self.bytes).map_err(at(Doing::Write, &self.path))?;
        self.bytes += bytes.len() as u64;
        self.start_write_back();
        Ok(())
    }

    /// Has the kernel write what has gathered to the disk, without waiting for it: the sync at the end then finds little left.
    fn start_write_back(&mut self) {
        let length = self.bytes - self.written_back;
        if length < limits::WRITE_BACK_BYTES {
            return;
        }
        // POSIX knows no "begin to write"; Linux does so for pages that are said to be of no more use (mm/fadvise.c), and drops none
        // that it has yet to write. Should it refuse, the sync has more to do.
        let _hint = fadvise(&self.file, self.written_back, NonZeroU64::new(length), Advice::DontNeed);
        self.written_back = self.bytes;
    }

    /// Covers `length` more bytes with those that are here.
    ///
    /// # Errors
    /// Nothing more may be stored then.
    pub fn keep(&mut self, length: u64) -> Result<(), KeepError> {
        let end = self.bytes + length;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BLOCK_BYTES, 0);
        while self.bytes < end {
            let piece = &mut buffer[..(end - self.bytes).min(BLOCK_BYTES as u64) as usize];
            let read = self.read_at(piece, self.bytes).map_err(KeepError::Gone)?;
            if read < piece.len() {
                return Err(KeepError::Gone(io::ErrorKind::UnexpectedEof.into()));
            }
            self.hasher.update(piece);
            let to = self.bytes + read as u64;
            if to > self.length {
                self.file
                    .write_all_at(piece, self.bytes)
                    .map_err(|e| KeepError::Disk(at(Doing::Write, &self.path)(e)))?;
            }
            self.bytes = to;
        }
        self.buffer = buffer;
        Ok(())
    }

    /// The hashes of the blocks that are here, at most `count` of them.
    pub fn block_hashes(&mut self, from: u64, count: u64) -> Vec<BlockHash> {
        let mut hashes = Vec::new();
        self.each_block(from..from + count, |block| hashes.push(block_hash(block)));
        hashes
    }

    /// The hashes of the pages of these blocks, as far as they are here.
    pub fn page_hashes(&mut self, blocks: &[u64]) -> Vec<BlockHash> {
        let mut hashes = Vec::new();
        self.each_block(blocks.iter().copied(), |block| hashes.extend(page_hashes(block)));
        hashes
    }

    /// How far it is covered, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of what is covered.
    pub fn hash(&self) -> Sha256Hash {
        self.hasher.hash()
    }

    /// Cuts off what is not covered. The file is of this moment then, also when all of it was here before: a download's
    /// age counts from its publishing. One that is not small is synced, by itself, so that nobody has to wait for it:
    /// [`super::Spool::save_with_part`] has little left to do.
    ///
    /// # Errors
    /// Nothing is certain about the part then.
    pub fn seal(&self) -> Result<(), SpoolError> {
        let cut = if self.length > self.bytes { self.file.set_len(self.bytes) } else { Ok(()) };
        if let Err(error) = self.file.set_modified(SystemTime::now()) {
            log::warn!("{}", at(Doing::Date, &self.path)(error)); // some file systems leave that to the owner
        }
        let synced = cut.and_then(|()| match self.bytes <= limits::SMALL_PART_BYTES {
            true => Ok(()),
            false => self.file.sync_all(),
        });
        synced.map_err(at(Doing::Sync, &self.path))
    }

    /// Whether what has the part's name is still the file that was hashed, as long as it was then.
    ///
    /// # Errors
    /// `NotFound` when it is not.
    pub(super) fn is_in_its_place(&self) -> io::Result<()> {
        let (ours, there) = (self.file.metadata()?, std::fs::symlink_metadata(&self.path)?);
        let is_ours = (ours.dev(), ours.ino()) == (there.dev(), there.ino()) && ours.len() == self.bytes;
        if is_ours { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Removes it.
    pub fn discard(self) {
        if let Err(error) = remove_if_there(&self.path) {
            log::warn!("{error}"); // the last save of its record tries again
        }
    }

    /// Reads blocks until one is short: there is nothing behind it.
    fn each_block(&mut self, blocks: impl IntoIterator<Item = u64>, mut each: impl FnMut(&[u8])) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BLOCK_BYTES, 0);
        for block in blocks {
            let read =
                self.read_at(&mut buffer, block.saturating_mul(BLOCK_BYTES as u64)).unwrap_or_else(|error| {
                    log::warn!("{}", at(Doing::Read, &self.path)(error));
                    0
                });
            each(&buffer[..read]);
            if read < BLOCK_BYTES {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// Reads what was here at `offset`, until `into` is full or there is no more.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < into.len() {
            let from = offset.saturating_add(read as u64);
            let (file, end) = match &self.older {
                _ if from < self.length => (&self.file, self.length),
                Some((older, length)) if from < *length => (older, *length),
                Some(_) | None => break,
            };
            let most = (end - from).min((into.len() - read) as u64) as usize;
            match file.read_at(&mut into[read..read + most], from) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::hash::hash_all;
    use crate::hub::Held;
    use crate::names::RequestId;
    use crate::spool::Spool;

    fn id() -> RequestId {
        RequestId::from_random([9; 16])
    }

    fn here(older: Option<&str>) -> Held {
        Held::Some { bytes: 1, older: older.map(str::to_owned) }
    }

    struct Scene {
        folder: PathBuf,
        spool: Spool,
    }

    impl Scene {
        fn new(name: &str) -> Scene {
            let folder = std::env::temp_dir().join(format!("towline-part-{name}-{}", std::process::id()));
            let spool = Spool::open(&folder).unwrap();
            fs::create_dir(spool.state_dir().join(id().to_string())).unwrap();
            Scene { folder, spool }
        }

        fn part(&self, held: &Held) -> Part {
            self.spool.part(id(), held).unwrap()
        }

        fn content(&self) -> Vec<u8> {
            fs::read(self.spool.state_dir().join(id().to_string()).join("part")).unwrap()
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.folder).unwrap();
        }
    }

    fn bytes(length: usize, seed: u8) -> Vec<u8> {
        (0..length).map(|at| (at / 4096) as u8 ^ seed).collect()
    }

    #[test]
    fn an_attempt_goes_on_in_place_where_the_last_one_stopped() {
        let scene = Scene::new("resume");
        let whole = bytes(300_000, 1);
        let mut first = scene.part(&Held::Nothing);
        first.store(&whole[..200_000]).unwrap();
        drop(first);
        let mut second = scene.part(&here(None));
        assert_eq!(second.block_hashes(0, 9).len(), 4);
        assert_eq!(second.block_hashes(2, 1), [block_hash(&whole[131_072..196_608])]);
        assert_eq!(second.page_hashes(&[2, 3]).len(), 16 + 1);
        second.keep(100).unwrap();
        second.keep(199_900).unwrap();
        second.store(&whole[200_000..]).unwrap();
        second.file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        second.seal().unwrap();
        let modified = second.file.metadata().unwrap().modified().unwrap();
        assert!(modified.elapsed().unwrap().as_secs() < 60, "as old as its publishing, not as its bytes");
        assert_eq!(second.hash(), hash_all(&whole[..]).unwrap().0);
        assert_eq!(scene.content(), whole);
    }

    #[test]
    fn what_is_behind_the_part_comes_from_an_older_download() {
        let scene = Scene::new("older");
        let (old, mut new) = (bytes(300_000, 1), bytes(300_000, 1));
        new[50_000..150_000].fill(7);
        fs::write(scene.folder.join("old.bin"), &old).unwrap();
        let held = here(Some("old.bin"));
        let mut first = scene.part(&held);
        first.keep(50_000).unwrap();
        first.store(&new[50_000..100_000]).unwrap();
        drop(first);
        let mut second = scene.part(&held);
        assert_eq!(second.block_hashes(0, 9).len(), 5);
        let mixed = [&new[..100_000], &old[100_000..]].concat();
        assert_eq!(second.block_hashes(1, 1), [block_hash(&mixed[65_536..131_072])], "part, then download");
        second.keep(100_000).unwrap();
        second.store(&new[100_000..150_000]).unwrap();
        second.keep(100_000).unwrap();
        assert!(matches!(second.keep(50_001), Err(KeepError::Gone(_))), "there is no more");
        assert_eq!(second.bytes(), 250_000);
    }

    #[test]
    fn a_file_that_became_shorter() {
        let scene = Scene::new("shorter");
        let mut first = scene.part(&Held::Nothing);
        first.store(&bytes(100_000, 1)).unwrap();
        drop(first);
        let mut second = scene.part(&here(Some("there-is-none")));
        second.keep(10).unwrap();
        second.seal().unwrap();
        assert_eq!(scene.content().len(), 10);
        drop(second);
        assert_eq!(scene.part(&Held::Nothing).block_hashes(0, 9), [block_hash(b"")], "thrown away");
    }
}
