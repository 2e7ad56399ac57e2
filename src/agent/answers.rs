//! The server's answers on their way to a transfer that asks: in the order of its questions, and no other.

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::blocks::{BLOCK_PAGES, BlockHash};
use crate::outbound::Question;
use crate::protocol::{HashesHeader, HashesOf, Violation};

/// Questions that a transfer has open at the most: about the blocks of the next window, and about pages of this one.
const MOST_OPEN: usize = 2;

/// The questions that have no answer yet, and where the answers go.
pub(super) struct Answers {
    open: VecDeque<Open>,
    to: Sender<Vec<BlockHash>>,
}

struct Open {
    of: HashesOf,
    from: u64,
    most_hashes: usize,
}

impl Answers {
    /// Answers to a transfer that has asked nothing yet, and where they arrive.
    pub(super) fn new() -> (Answers, Receiver<Vec<BlockHash>>) {
        let (to, answers) = bounded(MOST_OPEN);
        (Answers { open: VecDeque::new(), to }, answers)
    }

    /// Notes a question, before it is sent.
    pub(super) fn asked(&mut self, question: &Question) {
        let (of, from, most_hashes) = match question {
            Question::Blocks { from, count } => {
                (HashesOf::Blocks, *from, usize::try_from(*count).unwrap_or(usize::MAX))
            }
            Question::Pages(blocks) => {
                (HashesOf::Pages, blocks.first().copied().unwrap_or(0), blocks.len() * BLOCK_PAGES)
            }
        };
        self.open.push_back(Open { of, from, most_hashes });
    }

    /// Hands an answer on.
    ///
    /// # Errors
    /// [`Violation::BadAnswer`] when it is not one to the question that was asked first, or holds more than that asked.
    pub(super) fn take(&mut self, header: &HashesHeader, hashes: Vec<BlockHash>) -> Result<(), Violation> {
        let open = self.open.pop_front().ok_or(Violation::BadAnswer)?;
        if (open.of, open.from) != (header.of, header.from) || hashes.len() > open.most_hashes {
            return Err(Violation::BadAnswer);
        }
        match self.to.try_send(hashes) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(_)) => Err(Violation::BadAnswer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::block_hash;
    use crate::names::RequestId;

    fn header(of: HashesOf, from: u64) -> HashesHeader {
        HashesHeader { request_id: RequestId::from_random([1; 16]), attempt: 1, of, from }
    }

    fn hashes(count: usize) -> Vec<BlockHash> {
        vec![block_hash(b""); count]
    }

    #[test]
    fn answers_come_in_the_order_of_the_questions() {
        let (mut answers, taken) = Answers::new();
        answers.asked(&Question::Blocks { from: 256, count: 3 });
        answers.asked(&Question::Pages(vec![7, 9]));
        assert_eq!(answers.take(&header(HashesOf::Blocks, 256), hashes(3)), Ok(()));
        assert_eq!(answers.take(&header(HashesOf::Pages, 7), hashes(0)), Ok(()), "fewer than were asked for");
        assert_eq!((taken.recv().unwrap().len(), taken.recv().unwrap().len()), (3, 0));
        assert_eq!(answers.take(&header(HashesOf::Pages, 7), hashes(1)), Err(Violation::BadAnswer), "again");
        answers.asked(&Question::Blocks { from: 0, count: 1 });
        drop(taken);
        assert_eq!(answers.take(&header(HashesOf::Blocks, 0), hashes(1)), Ok(()), "nobody waits any more");
    }

    #[test]
    fn what_is_no_answer() {
        for (of, from, count) in [
            (HashesOf::Pages, 3, 1),
            (HashesOf::Blocks, 4, 1),
            (HashesOf::Blocks, 0, 1),
            (HashesOf::Blocks, 3, 6),
        ] {
            let (mut answers, _taken) = Answers::new();
            answers.asked(&Question::Blocks { from: 3, count: 5 });
            assert_eq!(answers.take(&header(of, from), hashes(count)), Err(Violation::BadAnswer));
        }
        let (mut answers, _taken) = Answers::new();
        answers.asked(&Question::Pages(vec![3, 8]));
        assert_eq!(answers.take(&header(HashesOf::Pages, 3), hashes(33)), Err(Violation::BadAnswer));
    }
}
