//! The agent's side of one attempt: what to read, when to send the end, when the file was not a snapshot. Pure.
//!
//! The agent reads `size` bytes as of the open. When size or modification time differ at the end, it reads those
//! bytes again: an equal hash means that the file held exactly this content between the two reads (a log that only
//! grew); otherwise it answers `file_changed` (CONTRACT §4).
//!
//! ```text
//! Sending --all sent--> Checking --unchanged--> Over (End)
//!    |                     +--changed--> Rereading --all read--> Over (End or Changed)
//!    +-- the file is shorter than it was --> Over (Changed)
//! ```
//! The shell owns the file, the hash and the line; it does what [`Outbound::next`] says and reports back.

/// What the shell does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read up to `length` bytes at `offset` and send them as chunk `seq`; report with [`Outbound::sent`].
    Send {
        /// Where to read, in bytes.
        offset: u64,
        /// How much, at least 1.
        length: usize,
        /// The chunk's number, from 1.
        seq: u64,
    },
    /// Look at size and modification time again; report with [`Outbound::checked`].
    Check,
    /// Read up to `length` bytes at `offset` again and hash them; report with [`Outbound::reread`].
    Reread {
        /// Where to read, in bytes.
        offset: u64,
        /// How much, at least 1.
        length: usize,
    },
    /// All was read again: compare both hashes; report with [`Outbound::compared`].
    Compare,
    /// Send `upload_end`.
    End,
    /// Answer `file_changed`.
    Changed,
}

/// What a look or a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// As it was.
    Same,
    /// Something differs.
    Different,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Sending { sent: u64, seq: u64 },
    Checking,
    Rereading { read: u64 },
    Comparing,
    Over(Found),
}

/// One attempt at sending a file of a fixed size.
#[derive(Debug, Clone)]
pub struct Outbound {
    size: u64,
    chunk: usize,
    state: State,
}

impl Outbound {
    /// A file of `size` bytes as of its open, in chunks of `chunk` bytes (at least 1).
    pub fn new(size: u64, chunk: usize) -> Outbound {
        Outbound { size, chunk: chunk.max(1), state: State::Sending { sent: 0, seq: 1 } }
    }

    /// What to do next. Asking twice without a report in between gives the same answer.
    pub fn next(&self) -> Step {
        let length = |done: u64| (self.size - done).min(self.chunk as u64) as usize;
        match self.state {
            State::Sending { sent, .. } if sent == self.size => Step::Check,
            State::Sending { sent, seq } => Step::Send { offset: sent, length: length(sent), seq },
            State::Checking => Step::Check,
            State::Rereading { read } if read == self.size => Step::Compare,
            State::Rereading { read } => Step::Reread { offset: read, length: length(read) },
            State::Comparing => Step::Compare,
            State::Over(Found::Same) => Step::End,
            State::Over(Found::Different) => Step::Changed,
        }
    }

    /// `bytes` were read and sent; 0 means that the file ends here, before its size.
    pub fn sent(&mut self, bytes: usize) {
        if let State::Sending { sent, seq } = &mut self.state {
            *sent = (*sent + bytes as u64).min(self.size);
            *seq += 1;
            if *sent == self.size {
                self.state = State::Checking;
            } else if bytes == 0 {
                self.state = State::Over(Found::Different);
            }
        }
    }

    /// Size and modification time were looked at again.
    pub fn checked(&mut self, found: Found) {
        self.state = match found {
            Found::Same => State::Over(Found::Same),
            Found::Different => State::Rereading { read: 0 },
        };
    }

    /// `bytes` were read again; 0 means that the file ends here, before its size.
    pub fn reread(&mut self, bytes: usize) {
        if let State::Rereading { read } = &mut self.state {
            *read = (*read + bytes as u64).min(self.size);
            if *read == self.size {
                self.state = State::Comparing;
            } else if bytes == 0 {
                self.state = State::Over(Found::Different);
            }
        }
    }

    /// Both hashes were compared.
    pub fn compared(&mut self, found: Found) {
        self.state = State::Over(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a whole attempt: every read gives at most `read` bytes. Returns the sizes sent and the last step.
    fn run(size: u64, chunk: usize, read: usize, look: Found, compare: Found) -> (Vec<usize>, Step) {
        let mut outbound = Outbound::new(size, chunk);
        let (mut sizes, mut expected_offset) = (Vec::new(), 0);
        loop {
            match outbound.next() {
                Step::Send { offset, length, seq } => {
                    assert_eq!((offset, seq), (expected_offset, sizes.len() as u64 + 1));
                    let got = length.min(read);
                    expected_offset += got as u64;
                    sizes.push(got);
                    outbound.sent(got);
                }
                Step::Check => {
                    assert_eq!(expected_offset, size);
                    outbound.checked(look);
                }
                Step::Reread { offset, length } => {
                    assert!(offset + length as u64 <= size);
                    outbound.reread(length.min(read));
                }
                Step::Compare => outbound.compared(compare),
                last @ (Step::End | Step::Changed) => return (sizes, last),
            }
        }
    }

    #[test]
    fn sizes_around_a_chunk() {
        use Found::Same;
        assert_eq!(run(0, 4, 99, Same, Same), (vec![], Step::End));
        assert_eq!(run(1, 4, 99, Same, Same), (vec![1], Step::End));
        assert_eq!(run(4, 4, 99, Same, Same), (vec![4], Step::End));
        assert_eq!(run(9, 4, 99, Same, Same), (vec![4, 4, 1], Step::End));
        assert_eq!(run(5, 4, 3, Same, Same), (vec![3, 2], Step::End), "short reads");
    }

    #[test]
    fn snapshots() {
        use Found::{Different, Same};
        assert_eq!(run(9, 4, 99, Different, Same).1, Step::End, "a log that only grew");
        assert_eq!(run(9, 4, 99, Different, Different).1, Step::Changed);
        assert_eq!(run(0, 4, 99, Different, Same).1, Step::End, "empty, and then not");
    }

    #[test]
    fn a_file_that_was_cut_short() {
        let mut outbound = Outbound::new(9, 4);
        outbound.sent(4);
        outbound.sent(0);
        assert_eq!(outbound.next(), Step::Changed);
        let mut outbound = Outbound::new(4, 4);
        outbound.sent(4);
        outbound.checked(Found::Different);
        outbound.reread(0);
        assert_eq!(outbound.next(), Step::Changed);
    }
}
