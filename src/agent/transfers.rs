//! The transfers of one line: which run, which were sent lately.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;

use crossbeam_channel::Sender;

use super::answers::Answers;
use crate::gain::Speed;
use crate::limits;
use crate::names::{RequestId, Sha256Hash};

/// What the threads of a session share; see the module.
#[derive(Default)]
pub(super) struct Transfers {
    running: HashMap<RequestId, Running>,
    /// What was sent lately, for comparing with what the server computed.
    sent: VecDeque<(RequestId, Sha256Hash)>,
    /// Threads that send; more than `running` while stopped ones come to their end.
    threads: usize,
    /// Counts what was started.
    serial: u64,
    /// How fast the line was for the last one that only the line slowed.
    pub(super) line_speed: Speed,
    /// Folders that are being listed.
    pub(super) listings: usize,
}

/// A transfer that is being sent.
struct Running {
    attempt: u32,
    /// Tells it from others of this session; attempts of a v1 server all have the same number.
    serial: u64,
    /// Dropped to stop it.
    _stop: Sender<Infallible>,
    /// The server's hashes, on their way to it.
    answers: Answers,
}

impl Transfers {
    /// An attempt begins, and with it the earlier one at the same transfer is stopped. Returns what [`Transfers::over`]
    /// knows it by; nothing when as many run as may.
    pub(super) fn begin(
        &mut self,
        id: RequestId,
        attempt: u32,
        stop: Sender<Infallible>,
        answers: Answers,
    ) -> Option<u64> {
        if self.threads >= limits::MAX_AGENT_TRANSFERS {
            return None;
        }
        self.threads += 1;
        self.serial += 1;
        let serial = self.serial;
        self.running.insert(id, Running { attempt, serial, _stop: stop, answers });
        Some(serial)
    }

    /// An attempt has ended.
    pub(super) fn over(&mut self, id: RequestId, serial: u64) {
        self.threads -= 1;
        if self.running.get(&id).is_some_and(|running| running.serial == serial) {
            self.running.remove(&id);
        }
    }

    /// Stops this attempt, or whichever runs; says whether there was one.
    pub(super) fn stop(&mut self, id: RequestId, attempt: Option<u32>) -> bool {
        let is_meant =
            self.running.get(&id).is_some_and(|running| attempt.is_none_or(|it| it == running.attempt));
        is_meant && self.running.remove(&id).is_some()
    }

    /// Stops all.
    pub(super) fn stop_all(&mut self) {
        self.running.clear();
    }

    /// Where the answers to this attempt's questions go; nothing when it does not run any more.
    pub(super) fn answers(&mut self, id: RequestId, attempt: u32) -> Option<&mut Answers> {
        let running = self.running.get_mut(&id).filter(|running| running.attempt == attempt)?;
        Some(&mut running.answers)
    }

    /// Notes what was sent.
    pub(super) fn note_sent(&mut self, id: RequestId, hash: Sha256Hash) {
        if self.sent.len() == limits::MAX_ENDED_IDS {
            self.sent.pop_front();
        }
        self.sent.push_back((id, hash));
    }

    /// The hash of what was sent lately.
    pub(super) fn hash_sent(&self, id: RequestId) -> Option<Sha256Hash> {
        self.sent.iter().find(|(sent, _)| *sent == id).map(|(_, hash)| *hash)
    }
}
