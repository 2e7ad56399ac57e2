//! Memory of chunks that come, for all transfers of a process.
//!
//! What malloc hands out for a chunk it keeps afterwards, once for each of its arenas: those of ten thousand lines are 16 on two
//! processors. So chunks are cut from slabs so large that malloc has the system map each by itself, and which go back whole when
//! no transfer runs any more. Of a slab just what was in use at once is resident; what was given back last is used first, and
//! has its pages already.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::BytesMut;
use rustix::net::RecvFlags;

use crate::limits;
use crate::lock::lock;
use crate::stream::Room;

/// The memory; see the module.
#[derive(Debug)]
pub struct Chunks {
    /// The shortest message that has its memory from here.
    shortest: usize,
    /// The longest; so much each has.
    length: usize,
    /// Counts how often no transfer ran any more: what was cut before that does not come back.
    age: AtomicU64,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    /// Transfers that are running.
    users: usize,
    /// What was in use before.
    back: Vec<BytesMut>,
    /// What is left of the last slab.
    fresh: BytesMut,
}

/// A transfer that is running: as long as there is one, memory is kept.
#[derive(Debug)]
pub struct InUse(Arc<Chunks>);

/// Memory of one message, of just its length; given back on drop.
#[derive(Debug)]
pub(super) struct Chunk {
    memory: BytesMut,
    filled: usize,
    length: usize,
    age: u64,
    chunks: Arc<Chunks>,
}

impl Chunks {
    /// For messages with a chunk of up to so many bytes, from `shortest` on.
    pub fn new(shortest: usize, chunk: usize) -> Chunks {
        let length = (chunk + super::frame::HEADROOM).next_multiple_of(limits::PAGE_BYTES);
        Chunks { shortest, length, age: AtomicU64::default(), free: Mutex::default() }
    }

    /// A transfer begins.
    pub fn in_use(self: &Arc<Self>) -> InUse {
        self.free().users += 1;
        InUse(self.clone())
    }

    /// Memory for a message of `length` bytes; `None` for one that is too long or so short that it is better off elsewhere, and when no
    /// transfer is running.
    pub(super) fn take(self: &Arc<Self>, length: usize) -> Option<Chunk> {
        if !(self.shortest..=self.length).contains(&length) {
            return None;
        }
        let mut free = self.free();
        if free.users == 0 {
            return None;
        }
        let memory = free.back.pop().unwrap_or_else(|| {
            if free.fresh.len() < self.length {
                // Zeros that the system makes when a page is touched.
                free.fresh = BytesMut::zeroed(limits::SLAB_BYTES);
            }
            free.fresh.split_to(self.length)
        });
        let age = self.age.load(Relaxed);
        Some(Chunk { memory, filled: 0, length, age, chunks: self.clone() })
    }

    /// How many wait to be used again.
    #[cfg(test)]
    pub(super) fn returned(&self) -> usize {
        self.free().back.len()
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        lock(&self.free)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut free = self.0.free();
        free.users -= 1;
        if free.users > 0 {
            return;
        }
        self.0.age.fetch_add(1, Relaxed);
        let memory = (std::mem::take(&mut free.back), std::mem::take(&mut free.fresh));
        drop(free); // nobody waits while the system takes it back
        drop(memory);
    }
}

impl Chunk {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[..self.filled]
    }

    /// Whether it is cut from what is to go back to the system, and keeps that from it.
    pub(super) fn is_of_the_past(&self) -> bool {
        self.age != self.chunks.age.load(Relaxed)
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.filled]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let mut free = self.chunks.free();
        if !self.is_of_the_past() {
            free.back.push(std::mem::take(&mut self.memory));
        }
    }
}

impl Room for Chunk {
    fn left(&self) -> usize {
        self.length - self.filled
    }

    fn receive(&mut self, socket: &TcpStream, flags: RecvFlags) -> io::Result<usize> {
        let count = rustix::net::recv(socket, &mut self.memory[self.filled..self.length], flags)?.0;
        self.filled += count;
        Ok(count)
    }

    fn put(&mut self, bytes: &[u8]) {
        self.memory[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }
}

// One slab holds some chunks, however large they are set.
const _: () = assert!(limits::SLAB_BYTES >= 4 * limits::MAX_CHUNK_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(chunks: &Arc<Chunks>, length: usize) -> Chunk {
        let mut chunk = chunks.take(length).unwrap();
        assert_eq!(chunk.left(), length);
        chunk.put(&vec![7; length - 1]);
        chunk.put(&[8]);
        assert_eq!((chunk.left(), chunk.as_ref().len(), chunk.bytes()[length - 1]), (0, length, 8));
        chunk
    }

    #[test]
    fn what_comes_back_is_used_again_while_a_transfer_runs_and_is_gone_afterwards() {
        let chunks = Arc::new(Chunks::new(16 << 10, 64 << 10));
        assert!(chunks.take(64 << 10).is_none(), "nothing runs");
        let (first, second) = (chunks.in_use(), chunks.in_use());
        let chunk = filled(&chunks, 65_700);
        let place = chunk.as_ref().as_ptr();
        drop(chunk);
        let (again, other) = (filled(&chunks, 30_000), filled(&chunks, 69_632));
        assert_eq!(again.as_ref().as_ptr(), place);
        assert_ne!(other.as_ref().as_ptr(), place);
        drop(first);
        drop(again);
        assert_eq!(chunks.returned(), 1);
        drop(second);
        assert!(other.is_of_the_past());
        let third = chunks.in_use();
        drop(other);
        assert_eq!(chunks.returned(), 0, "what was cut before does not come back");
        drop(third);
        let free = chunks.free();
        assert_eq!((free.back.capacity(), free.fresh.capacity(), free.users), (0, 0, 0));
    }

    #[test]
    fn messages_that_have_their_memory_elsewhere() {
        let chunks = Arc::new(Chunks::new(16 << 10, 64 << 10));
        let _running = chunks.in_use();
        for length in [0, (16 << 10) - 1, 69_633, 1 << 20, usize::MAX] {
            assert!(chunks.take(length).is_none(), "{length}");
        }
    }

    #[test]
    fn when_a_slab_is_used_up_there_is_another() {
        let chunks = Arc::new(Chunks::new(1, limits::MAX_CHUNK_BYTES));
        let _running = chunks.in_use();
        let all: Vec<_> = (0..20).map(|_| chunks.take(limits::MAX_CHUNK_BYTES).unwrap()).collect();
        drop(all);
        assert_eq!(chunks.returned(), 20);
    }
}
