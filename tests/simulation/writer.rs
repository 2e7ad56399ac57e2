//! The writer of a running transfer, each of its effects a step, as `server/writer.rs` does it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use towline::blocks::{BlockHash, write_hashes};
use towline::compression::Decompressor;
use towline::hub::Begun;
use towline::limits::{MIN_PROGRESS_BYTES, WRITER_QUEUE_CHUNKS};
use towline::names::{RequestId, Sha256Hash};
use towline::protocol::{HashesHeader, HashesOf, ToAgent};
use towline::transfer::{Failure, FailureCode, Transfer};

use crate::coverage::Seen;
use crate::part::{KeepError, Part};
use crate::scene::{Scene, trace};
use crate::server::{Effects, Server};

/// What a session hands to a writer.
pub enum Piece {
    Payload(Vec<u8>),
    Compressed { payload: Vec<u8>, length: u64 },
    Keep { length: u64 },
    AskBlocks { from: u64, count: u64 },
    AskPages { blocks: Vec<u64> },
    KeepWaiting,
    End(Sha256Hash),
    Fail(Failure),
}

/// The bounded channel between them.
#[derive(Default)]
pub struct Channel {
    pub pieces: VecDeque<Piece>,
    /// The session has dropped its end.
    is_closed: bool,
    /// The writer has ended.
    pub is_deserted: bool,
}

impl Channel {
    pub fn is_full(&self) -> bool {
        self.pieces.len() >= WRITER_QUEUE_CHUNKS
    }

    /// Whether a sender that waits would go on.
    pub fn takes(&self) -> bool {
        self.is_deserted || !self.is_full()
    }

    pub fn close(&mut self) {
        self.is_closed = true;
    }
}

#[derive(Debug)]
enum Stage {
    SaveFirst,
    /// Whether it is still wanted.
    Look,
    Receive,
    Verify(Sha256Hash),
    Sync,
    Save,
    Publish,
    Rename(Transfer),
    WriteLast(Transfer),
    SyncBoth(Transfer, bool),
    Complete,
    TellPublished,
    Report(Failure),
    Discard,
    Over,
}

pub struct Writer {
    line: usize,
    id: RequestId,
    attempt: u32,
    channel: Rc<RefCell<Channel>>,
    stop: Rc<Cell<bool>>,
    part: Part,
    stage: Stage,
    decompressor: Decompressor,
    effects: Effects,
    /// Since when it waits for a piece, and what the line had brought by then.
    since: u64,
    bytes_before: u64,
}

impl Writer {
    pub fn new(
        line: usize,
        id: RequestId,
        attempt: u32,
        channel: Rc<RefCell<Channel>>,
        stop: Rc<Cell<bool>>,
        part: Part,
        scene: &Scene,
    ) -> Writer {
        let bytes_before = scene.lines[line].bytes_read;
        Writer {
            line,
            id,
            attempt,
            channel,
            stop,
            part,
            stage: Stage::SaveFirst,
            decompressor: Decompressor::default(),
            effects: Effects::new(),
            since: scene.time,
            bytes_before,
        }
    }

    /// A file of one chunk has arrived before a record that says so could be on the disk.
    pub fn of_size(mut self, size: u64, scene: &Scene) -> Writer {
        if size <= scene.plan.chunk {
            self.stage = Stage::Look;
        }
        self
    }

    /// Whether it could still say how its attempt at `id` ends.
    pub fn may_report(&self, id: RequestId) -> bool {
        self.id == id && !self.stop.get() && !matches!(self.stage, Stage::Over | Stage::TellPublished)
    }

    /// When it loses patience.
    pub fn due(&self, stall_ms: u64) -> Option<u64> {
        matches!(self.stage, Stage::Receive).then_some(self.since + stall_ms)
    }

    pub fn can_step(&self, scene: &Scene) -> bool {
        if !self.effects.is_empty() || !matches!(self.stage, Stage::Receive) {
            return true;
        }
        let channel = self.channel.borrow();
        let is_late = scene.time >= self.since + scene.plan.config.stall_ms;
        !channel.pieces.is_empty() || channel.is_closed || self.stop.get() || is_late
    }

    /// Does one thing; false when it has ended.
    pub fn step(&mut self, server: &mut Server, scene: &mut Scene) -> bool {
        if let Some(effect) = self.effects.pop_front() {
            server.perform(scene, effect);
            return true;
        }
        let (id, attempt) = (self.id, self.attempt);
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        self.stage = match stage {
            Stage::SaveFirst => {
                // A record that does not say so is only logged.
                let _logged = server.save(scene, id);
                self.wait(scene)
            }
            Stage::Look => match server.hub.is_receiving(id, attempt) {
                true => self.wait(scene),
                false => Stage::Discard,
            },
            Stage::Receive => self.receive(server, scene),
            Stage::Verify(stated) => self.verify(stated, server, scene),
            Stage::Sync => match self.part.sync(&mut scene.disk, &mut scene.dice) {
                Ok(()) => Stage::Save,
                Err(trouble) => Stage::Report(trouble.failure()),
            },
            Stage::Save => match server.save(scene, id) {
                Ok(()) => Stage::Publish,
                Err(trouble) => Stage::Report(trouble.failure()),
            },
            Stage::Publish => match server.hub.publish(id, attempt, server.now(scene)) {
                Some(last) => Stage::Rename(last.transfer),
                None => Stage::Discard,
            },
            Stage::Rename(last) => match scene.disk.rename(id, &last.filename, &mut scene.dice) {
                Ok(()) => Stage::WriteLast(last),
                Err(trouble) => publish_failed(trouble, scene),
            },
            Stage::WriteLast(last) => match scene.disk.take_last(&mut scene.dice) {
                Ok(is_written) => Stage::SyncBoth(last, is_written),
                Err(trouble) => publish_failed(trouble, scene),
            },
            Stage::SyncBoth(last, is_written) => {
                match scene.disk.sync_both(&last, is_written, &mut scene.dice) {
                    Ok(is_ready) => {
                        scene.note(if is_ready { Seen::LastIsReady } else { Seen::LastIsNotReady });
                        Stage::Complete
                    }
                    Err(trouble) => publish_failed(trouble, scene),
                }
            }
            Stage::Complete => {
                trace!(scene, "writer: {id} is published");
                server.stop_writer(id);
                self.effects = server.act(scene, |hub, now| hub.complete(id, now));
                Stage::TellPublished
            }
            Stage::TellPublished => {
                self.tell(true, scene);
                Stage::Over
            }
            Stage::Report(failure) => {
                trace!(scene, "writer: {id} attempt={attempt} fails: {failure}");
                server.stop_writer(id);
                let code = failure.code;
                self.effects = server.act(scene, |hub, now| hub.attempt_failed(id, attempt, failure, now));
                note(code, server, id, scene);
                Stage::Over
            }
            Stage::Discard => {
                scene.disk.remove_part(id);
                Stage::Over
            }
            Stage::Over => {
                self.channel.borrow_mut().is_deserted = true;
                return false;
            }
        };
        true
    }

    fn wait(&mut self, scene: &Scene) -> Stage {
        self.since = scene.time;
        self.bytes_before = scene.lines[self.line].bytes_read;
        Stage::Receive
    }

    fn receive(&mut self, server: &mut Server, scene: &mut Scene) -> Stage {
        let has_piece = {
            let channel = self.channel.borrow();
            !channel.pieces.is_empty() || channel.is_closed
        };
        if self.stop.get() && (!has_piece || scene.dice.one_in(2)) {
            return Stage::Discard;
        }
        if !has_piece {
            let line = &scene.lines[self.line];
            if line.is_waiting || line.bytes_read - self.bytes_before >= MIN_PROGRESS_BYTES as u64 {
                return self.wait(scene);
            }
            scene.note(Seen::StalledInTransfer);
            return Stage::Report(Failure::new(FailureCode::Stalled, "no byte came"));
        }
        let piece = self.channel.borrow_mut().pieces.pop_front();
        match piece {
            Some(piece) => self.take(piece, server, scene),
            None => {
                Stage::Report(Failure::new(FailureCode::ClientDisconnected, "the client's line went down"))
            }
        }
    }

    fn take(&mut self, piece: Piece, server: &mut Server, scene: &mut Scene) -> Stage {
        match piece {
            Piece::Payload(payload) => {
                self.decompressor.end_frame();
                return self.store(&payload, payload.len() as u64, server, scene);
            }
            Piece::Compressed { payload, length } => {
                scene.note(Seen::CameCompressed);
                let chunk = match self.decompressor.decompress(&payload, length as usize) {
                    Ok(chunk) => chunk.to_vec(),
                    Err(violation) => {
                        scene.note(Seen::BadFrame);
                        let failure = Failure::new(FailureCode::ChecksumMismatch, violation.to_string());
                        return Stage::Report(failure);
                    }
                };
                return self.store(&chunk, payload.len() as u64, server, scene);
            }
            Piece::Keep { length } => match self.part.keep(length, &mut scene.disk, &mut scene.dice) {
                Ok(()) => self.covered(length, 0, server, scene),
                Err(KeepError::Disk(trouble)) => return Stage::Report(trouble.failure()),
                Err(KeepError::Gone) => {
                    scene.note(Seen::KeptIsGone);
                    let message = "what the server had of the file is not there any more";
                    return Stage::Report(Failure::new(FailureCode::ChecksumMismatch, message));
                }
            },
            Piece::AskBlocks { from, count } => {
                let hashes = self.part.block_hashes(from, count);
                self.answer(HashesOf::Blocks, from, hashes, server, scene);
            }
            Piece::AskPages { blocks } => {
                let hashes = self.part.page_hashes(&blocks);
                self.answer(HashesOf::Pages, blocks[0], hashes, server, scene);
            }
            Piece::KeepWaiting => {}
            Piece::End(stated) => return Stage::Verify(stated),
            Piece::Fail(failure) => {
                if failure.code == FailureCode::SizeMismatch {
                    self.tell(false, scene);
                }
                return Stage::Report(failure);
            }
        }
        self.wait(scene)
    }

    fn store(&mut self, chunk: &[u8], on_wire: u64, server: &mut Server, scene: &mut Scene) -> Stage {
        match self.part.store(chunk, &mut scene.disk, &mut scene.dice) {
            Ok(()) => self.covered(chunk.len() as u64, on_wire, server, scene),
            Err(trouble) => return Stage::Report(trouble.failure()),
        }
        self.wait(scene)
    }

    fn covered(&self, bytes: u64, on_wire: u64, server: &mut Server, scene: &mut Scene) {
        scene.ledger.of(self.id).arrived += on_wire;
        server.hub.covered(self.id, self.attempt, bytes, on_wire);
    }

    fn answer(
        &self,
        of: HashesOf,
        from: u64,
        hashes: Vec<BlockHash>,
        server: &mut Server,
        scene: &mut Scene,
    ) {
        let mut payload = Vec::new();
        write_hashes(hashes, &mut payload);
        self.covered(0, payload.len() as u64, server, scene);
        let header = HashesHeader { request_id: self.id, attempt: self.attempt, of, from };
        scene.lines[self.line].hashes(header, payload);
    }

    fn verify(&mut self, stated: Sha256Hash, server: &mut Server, scene: &mut Scene) -> Stage {
        let computed = self.part.hash();
        if self.part.kept.of_part > 0 {
            scene.note(Seen::KeptOfPart);
        }
        if self.part.kept.of_older > 0 {
            scene.note(Seen::KeptOfOlder);
        }
        if computed != stated {
            self.tell(false, scene);
            return Stage::Report(Failure::new(FailureCode::ChecksumMismatch, "another hash"));
        }
        match server.hub.verify(self.id, self.attempt, computed) {
            Begun::Wanted => Stage::Sync,
            Begun::Unwanted => Stage::Discard,
        }
    }

    fn tell(&self, ok: bool, scene: &mut Scene) {
        let message = ToAgent::UploadReceived { request_id: self.id, computed: self.part.hash(), ok };
        scene.lines[self.line].tell(message);
    }
}

fn publish_failed(trouble: crate::disk::Trouble, scene: &mut Scene) -> Stage {
    scene.note(Seen::PublishFailed);
    Stage::Report(trouble.failure())
}

/// Notes a failure that is followed by another attempt.
fn note(code: FailureCode, server: &Server, id: RequestId, scene: &mut Scene) {
    let is_live = server.hub.transfer(id).is_some_and(|transfer| !transfer.status.is_final());
    if !is_live {
        return;
    }
    match code {
        FailureCode::ChecksumMismatch => {
            scene.note(Seen::MismatchRetried);
            let known = scene.ledger.of(id);
            (known.was_mismatched, known.is_disturbed) = (true, true);
            known.mismatches += 1;
        }
        FailureCode::FileChanged => scene.note(Seen::FileChangedRetried),
        FailureCode::Stalled => scene.note(Seen::StalledRetried),
        _ => {}
    }
}
