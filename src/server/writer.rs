//! The writer of a running transfer: takes chunks from a bounded channel, stores and hashes them, and publishes.
//!
//! It also answers what the agent asks about the bytes that are here. Once there is a writer, it alone reports how its
//! attempt ends, after its part is published, removed or let go: the next attempt may go on with it. It also does the counting of silence, because it alone knows whether
//! it waits for the client or for its own disk.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::Arc;

use crossbeam_channel::{Receiver, TryRecvError, select};

use super::Server;
use crate::blocks::{BlockHash, write_hashes};
use crate::compression::Decompressor;
use crate::hub::Begun;
use crate::limits;
use crate::line::{Bytes, InUse, Outbox, Pulse};
use crate::names::{ClientId, RequestId, Sha256Hash};
use crate::protocol::{HashesHeader, HashesOf, ToAgent, pack_head, to_text};
use crate::spool::{KeepError, Part, SpoolError};
use crate::threads;
use crate::transfer::{Failure, FailureCode};

/// What a session hands to a writer.
pub(super) enum Piece {
    /// More of the file.
    Payload(Bytes),
    /// The same, compressed: it states that it holds so many bytes.
    Compressed { payload: Bytes, length: u64 },
    /// More of the file, which is here.
    Keep { length: u64 },
    /// What are the hashes of these blocks?
    AskBlocks { from: u64, count: u64 },
    /// What are the hashes of the pages of these blocks?
    AskPages { blocks: Vec<u64> },
    /// The agent is at work.
    KeepWaiting,
    /// All of it has come; the agent states this hash.
    End(Sha256Hash),
    /// The attempt came to nothing.
    Fail(Failure),
}

/// One attempt's writer.
pub(super) struct Writer<'s> {
    pub(super) server: &'s Server,
    pub(super) client: ClientId,
    pub(super) id: RequestId,
    pub(super) attempt: u32,
    /// As stated, in bytes.
    pub(super) size: u64,
    pub(super) pieces: Receiver<Piece>,
    /// Disconnected when the transfer has been ended by somebody else.
    pub(super) stop: Receiver<Infallible>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) untold: Cell<Covered>,
    /// Chunks have memory for as long as this is here.
    pub(super) _chunks: InUse,
}

/// What has come, and the hub has not been told of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Covered {
    /// Bytes of the file.
    bytes: u64,
    /// Bytes that went over the line for them.
    on_wire: u64,
}

/// How the pieces ended.
enum Ending {
    Complete(Sha256Hash),
    Failed(Failure),
    /// Somebody else ended the transfer, and has said so.
    Stopped,
}

impl Writer<'_> {
    /// Runs to the end of the attempt.
    pub(super) fn run(self, mut part: Part) {
        if self.size > limits::CHUNK_BYTES as u64 {
            // Before the first byte is stored, so that a restart finds a record that says what was going on.
            self.server.keep_saved(self.id);
        } else if !self.server.ask(|hub| hub.is_receiving(self.id, self.attempt)) {
            // A file of one chunk has arrived before that could be on the disk: a restart finds it queued, and goes on the
            // same way. But who ended it before its part was made has not removed that, and saves no more.
            return part.discard();
        }
        if self.size >= limits::LONG_FILE_BYTES {
            threads::step_back();
        }
        let ending = self.receive(&mut part);
        self.tell_hub();
        match ending {
            Ending::Complete(stated) => self.finish(part, stated),
            Ending::Failed(failure) => self.let_go(part, failure),
            Ending::Stopped => part.discard(),
        }
    }

    fn receive(&self, part: &mut Part) -> Ending {
        let mut decompressor = Decompressor::default();
        loop {
            let piece = match self.next() {
                Ok(piece) => piece,
                Err(ending) => return ending,
            };
            match piece {
                Some(Piece::Payload(payload)) => {
                    decompressor.end_frame();
                    if let Err(error) = part.store(&payload) {
                        return Ending::Failed(self.disk_failure(&error));
                    }
                    self.covered(payload.len(), payload.len());
                }
                Some(Piece::Compressed { payload, length }) => {
                    let chunk = match decompressor.decompress(&payload, length as usize) {
                        Ok(chunk) => chunk,
                        // Bytes that were damaged on the way, most likely: plain ones would have another hash.
                        Err(violation) => {
                            let failure = Failure::new(FailureCode::ChecksumMismatch, violation.to_string());
                            return Ending::Failed(failure);
                        }
                    };
                    if let Err(error) = part.store(chunk) {
                        return Ending::Failed(self.disk_failure(&error));
                    }
                    self.covered(chunk.len(), payload.len());
                }
                Some(Piece::Keep { length }) => match part.keep(length) {
                    Ok(()) => self.covered(length as usize, 0),
                    Err(KeepError::Disk(error)) => return Ending::Failed(self.disk_failure(&error)),
                    Err(KeepError::Gone(error)) => {
                        let message =
                            format!("what the server had of the file is not there any more: {error}");
                        return Ending::Failed(Failure::new(FailureCode::ChecksumMismatch, message));
                    }
                },
                Some(Piece::AskBlocks { from, count }) => {
                    self.answer(HashesOf::Blocks, from, part.block_hashes(from, count));
                }
                Some(Piece::AskPages { blocks }) => {
                    let from = blocks.first().copied().unwrap_or_default();
                    self.answer(HashesOf::Pages, from, part.page_hashes(&blocks));
                }
                Some(Piece::KeepWaiting) => {}
                Some(Piece::End(stated)) => return Ending::Complete(stated),
                Some(Piece::Fail(failure)) => {
                    if failure.code == FailureCode::SizeMismatch {
                        self.tell(part.hash(), false);
                    }
                    return Ending::Failed(failure);
                }
                None => {
                    let message = "the client's line went down in mid-transfer";
                    return Ending::Failed(Failure::new(FailureCode::ClientDisconnected, message));
                }
            }
        }
    }

    /// The next piece; `None` when the line is gone.
    fn next(&self) -> Result<Option<Piece>, Ending> {
        if self.stop.try_recv() == Err(TryRecvError::Disconnected) {
            return Err(Ending::Stopped);
        }
        if let Ok(piece) = self.pieces.try_recv() {
            return Ok(Some(piece));
        }
        // Nothing more is here: whoever looks sees all that has come.
        self.tell_hub();
        loop {
            let bytes_before = self.pulse.bytes();
            select! {
                recv(self.pieces) -> piece => return Ok(piece.ok()),
                recv(self.stop) -> _ => return Err(Ending::Stopped),
                default(self.server.settings.stall) => {
                    // The session may wait for another writer's disk, or a chunk may come slowly: neither is silence.
                    let came = self.pulse.bytes() - bytes_before;
                    if self.pulse.is_waiting() || came >= limits::MIN_PROGRESS_BYTES as i64 {
                        continue;
                    }
                    let seconds = self.server.settings.stall.as_secs();
                    let message = format!("no byte came for {seconds} s");
                    return Err(Ending::Failed(Failure::new(FailureCode::Stalled, message)));
                }
            }
        }
    }

    /// Counts what has come; the hub, for which all transfers queue up, is told of many chunks at once.
    fn covered(&self, bytes: usize, on_wire: usize) {
        let Covered { bytes: before, on_wire: before_on_wire } = self.untold.get();
        let untold = Covered { bytes: before + bytes as u64, on_wire: before_on_wire + on_wire as u64 };
        self.untold.set(untold);
        if untold.bytes >= limits::UNTOLD_BYTES {
            self.tell_hub();
        }
    }

    fn tell_hub(&self) {
        let Covered { bytes, on_wire } = self.untold.take();
        if bytes > 0 || on_wire > 0 {
            self.server.ask(|hub| hub.covered(self.id, self.attempt, bytes, on_wire));
        }
    }

    fn answer(&self, of: HashesOf, from: u64, hashes: Vec<BlockHash>) {
        let mut payload = Vec::new();
        write_hashes(hashes, &mut payload);
        let head = pack_head(&HashesHeader { request_id: self.id, attempt: self.attempt, of, from });
        self.covered(0, payload.len());
        // An agent that has gone ends its session, and with it this attempt.
        let _gone = self.outbox.binary(&head, &payload);
    }

    fn disk_failure(&self, error: &SpoolError) -> Failure {
        log::error!("transfer {} of {}: {error}", self.id, self.client);
        error.failure()
    }

    /// Verified or absent: no other path leads to `completed`.
    fn finish(&self, part: Part, stated: Sha256Hash) {
        let (id, attempt, computed, bytes) = (self.id, self.attempt, part.hash(), part.bytes());
        log::info!("upload_end {id} computed={computed} bytes={bytes} clientId={}", self.client);
        if computed != stated {
            let message = format!("the agent states {stated}, the bytes that came have {computed}");
            self.tell(computed, false);
            return self.let_go(part, Failure::new(FailureCode::ChecksumMismatch, message));
        }
        if self.server.ask(|hub| hub.verify(id, attempt, computed)) == Begun::Unwanted {
            return part.discard();
        }
        let synced = part.seal().and_then(|()| self.server.save_with_part(id, &part));
        if let Err(error) = synced {
            return self.let_go(part, self.disk_failure(&error));
        }
        // From here on it is too late to cancel.
        let now = self.server.now();
        let Some(last) = self.server.ask(|hub| hub.publish(id, attempt, now)) else {
            return part.discard();
        };
        match self.server.publish(part, &last) {
            Ok(()) => {
                log::info!("transfer {id} of {} is completed: {}", self.client, last.transfer.filename);
                self.server.lock().stops.remove(&id);
                let tell = || self.tell(computed, true);
                self.server.act_around(|hub, now| hub.complete(id, now), || (), tell);
            }
            Err(error) => self.report(self.disk_failure(&error)),
        }
    }

    /// The part is closed before anybody hears of the failure. The next attempt goes on with it; if there is none, it
    /// goes with the save of the final record.
    fn let_go(&self, part: Part, failure: Failure) {
        drop(part);
        self.report(failure);
    }

    fn report(&self, failure: Failure) {
        log::warn!("transfer {} of {} attempt={} ended: {failure}", self.id, self.client, self.attempt);
        self.server.lock().stops.remove(&self.id);
        self.server.act(|hub, now| hub.attempt_failed(self.id, self.attempt, failure, now));
    }

    fn tell(&self, computed: Sha256Hash, ok: bool) {
        let message = ToAgent::UploadReceived { request_id: self.id, computed, ok };
        // An agent that has gone meanwhile will not miss it.
        let _gone = self.outbox.text(&to_text(&message));
    }
}
