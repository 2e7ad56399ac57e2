//! A running transfer on the agent's side: reads, hashes, sends, in the order that [`Outbound`] gives.

use std::cell::Cell;
use std::convert::Infallible;
use std::ops::Range;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, select};

use super::files::Content;
use super::journal::by_server;
use super::packing::Packing;
use super::session::Session;
use crate::allowance::Pull;
use crate::blocks::BlockHash;
use crate::clock;
use crate::hash::Hasher;
use crate::limits;
use crate::line::{Payload, binary_frame, close};
use crate::names::{FileKey, RequestId};
use crate::outbound::{Found, Outbound, Question, Reading, Step};
use crate::pace::{Pace, chunk_for};
use crate::protocol::{ChunkHeader, Dialect, ToServer, Violation, pack_head, to_text};
use crate::refusal::{Refusal, RefusalCode};
use crate::threads;

/// What was asked for.
pub(super) struct Sending {
    pub(super) id: RequestId,
    pub(super) attempt: u32,
    pub(super) file_key: Option<FileKey>,
    /// Payload of a chunk, in bytes.
    pub(super) chunk: usize,
    /// Bytes a second.
    pub(super) max_rate: Option<u64>,
    /// Bytes that the server has of an earlier state of the file.
    pub(super) have: u64,
    /// Whether chunks may come compressed.
    pub(super) compress: bool,
    /// The name of the operator's key.
    pub(super) by: Option<String>,
    /// Bytes of the file that have left.
    pub(super) sent: Cell<u64>,
}

/// Why nothing more is sent.
enum Quit {
    Refused(Refusal),
    /// The line is gone; nobody is left to tell.
    Gone,
}

/// What the loop of an attempt works with.
struct Work<'s> {
    session: &'s Session<'s>,
    stop: &'s Receiver<Infallible>,
    answers: &'s Receiver<Vec<BlockHash>>,
    content: Content,
    buffer: Payload,
    /// A chunk that became smaller, as a message.
    frame: Vec<u8>,
    hasher: Hasher,
    pace: Option<Pace>,
    packing: Packing,
    /// When the server last heard of this transfer.
    last_sign: Instant,
}

impl Sending {
    /// Runs the attempt to its end, and says how it ended.
    pub(super) fn run(
        self,
        session: &Session<'_>,
        stop: &Receiver<Infallible>,
        answers: &Receiver<Vec<BlockHash>>,
    ) {
        let taken = &session.agent.taken;
        if let Err(refusal) = taken.file_asked(&self) {
            return session.refuse(self.id, Some(self.attempt), &refusal);
        }
        match self.send(session, stop, answers) {
            Ok(()) => {}
            Err(Quit::Gone) => taken.file_ended(&self, "line_lost", self.sent.get(), None),
            Err(Quit::Refused(refusal)) => {
                taken.file_ended(&self, refusal.code.as_str(), self.sent.get(), None);
                session.refuse(self.id, Some(self.attempt), &refusal);
            }
        }
    }

    fn send(
        &self,
        session: &Session<'_>,
        stop: &Receiver<Infallible>,
        answers: &Receiver<Vec<BlockHash>>,
    ) -> Result<(), Quit> {
        let content = session.agent.files.open(self.file_key.as_ref()).map_err(Quit::Refused)?;
        let size = content.size();
        // Of what the server has already, nobody knows yet how much leaves.
        let surely = if self.have == 0 { size } else { 0 };
        let pull = Pull::new(self.id, self.file_key.as_ref());
        session.agent.allow_pull(pull, surely).map_err(Quit::Refused)?;
        let rates = [self.max_rate, session.agent.settings.max_rate];
        let chunk = chunk_for(rates.into_iter().flatten().min(), self.chunk);
        let attempt = self.stated_attempt(session);
        let filename = content.name().to_owned();
        by_server!(
            session.agent,
            info,
            "upload_start for {} filename={filename} size={size} attempt={} have={}",
            self.id,
            self.attempt,
            self.have
        );
        session.say(&ToServer::UploadStart { request_id: self.id, filename, filesize: size, attempt });
        if size >= limits::LONG_FILE_BYTES {
            threads::step_back();
        }
        let piece = if self.have > 0 { chunk.max(limits::BLOCK_BYTES) } else { chunk };
        let buffer = Payload::new(piece.min(usize::try_from(size).unwrap_or(usize::MAX)).max(1));
        let (pace, frame, hasher) = (self.max_rate.map(Pace::new), Vec::new(), Hasher::default());
        let packing = Packing::new(session, self.compress, size);
        let last_sign = Instant::now();
        let mut work =
            Work { session, stop, answers, content, buffer, frame, hasher, pace, packing, last_sign };
        let followed = self.follow(Outbound::new(size, chunk.min(work.buffer.len()), self.have), &mut work);
        work.packing.leave(session, work.pace.is_some());
        followed?;
        let checksum = work.hasher.hash();
        session.sent(self.id, checksum);
        session.agent.sent_whole(pull);
        let sent = self.sent.get();
        by_server!(
            session.agent,
            info,
            "upload_end {} computed={checksum} bytes={size} sent={sent}",
            self.id
        );
        session.agent.taken.file_ended(self, "sent", sent, Some(checksum));
        session.say(&ToServer::UploadEnd { request_id: self.id, checksum, filesize: Some(size), attempt });
        Ok(())
    }

    /// Does what the machine says until the end may be sent.
    fn follow(&self, mut outbound: Outbound, work: &mut Work<'_>) -> Result<(), Quit> {
        let mut again = Hasher::default();
        loop {
            match outbound.next() {
                Step::Ask(question) => {
                    self.ask(work, question)?;
                    outbound.asked();
                }
                Step::Await => {
                    let hashes = work.wait_for_answer()?;
                    outbound.answered(&hashes).map_err(|violation| work.give_up_line(&violation))?;
                }
                Step::Read { offset, length, reading } => {
                    let read = work.read(offset, length)?;
                    if reading == Reading::First {
                        work.hasher.update(&work.buffer[..read]);
                    }
                    outbound.read(&work.buffer[..read]);
                    self.give_sign(work);
                }
                Step::Send { offset, piece, seq } => {
                    self.send_chunk(work, seq, offset, piece)?;
                    outbound.sent();
                }
                Step::Same { offset, length } => {
                    let same = ToServer::Same { request_id: self.id, attempt: self.attempt, offset, length };
                    work.tell(&same)?;
                    outbound.sent();
                }
                Step::Check => outbound.checked(work.content.look_again().map_err(Quit::Refused)?),
                Step::Reread { offset, length } => {
                    let read = work.read(offset, length)?;
                    again.update(&work.buffer[..read]);
                    outbound.reread(read);
                    self.give_sign(work);
                }
                Step::Compare => {
                    let same = again.hash() == work.hasher.hash();
                    outbound.compared(if same { Found::Same } else { Found::Different });
                }
                Step::End => return Ok(()),
                Step::Changed => {
                    let message = "the file changed while it was read";
                    return Err(Quit::Refused(Refusal::new(RefusalCode::FileChanged, message)));
                }
            }
        }
    }

    fn ask(&self, work: &mut Work<'_>, question: Question) -> Result<(), Quit> {
        let (request_id, attempt) = (self.id, self.attempt);
        work.session.asks(request_id, attempt, &question);
        work.tell(&match question {
            Question::Blocks { from, count } => ToServer::AskBlocks { request_id, attempt, from, count },
            Question::Pages(blocks) => ToServer::AskPages { request_id, attempt, blocks },
        })
    }

    fn send_chunk(
        &self,
        work: &mut Work<'_>,
        seq: u64,
        offset: u64,
        piece: Range<usize>,
    ) -> Result<(), Quit> {
        let v2 = work.session.dialect == Dialect::V2;
        let length = piece.len();
        let smaller = work.packing.pack(&work.buffer[piece.clone()]);
        let (on_wire, zstd) = (smaller.map_or(length, <[u8]>::len), smaller.map(|_| length as u64));
        let head = pack_head(&ChunkHeader {
            request_id: self.id,
            seq,
            timestamp: clock::now_ms().into(),
            attempt: self.stated_attempt(work.session),
            offset: v2.then_some(offset),
            zstd,
        });
        let outbox = &work.session.outbox;
        if let Some(smaller) = smaller {
            binary_frame(outbox.side(), &head, smaller, &mut work.frame);
        }
        let began = Instant::now();
        work.wait_for_pace(on_wire)?;
        work.session.agent.allow_bytes(length).map_err(Quit::Refused)?;
        self.sent.update(|sent| sent + length as u64); // some of it may have left, though it fails
        let message = match zstd {
            Some(_) => &work.frame,
            None => work.buffer.message(outbox.side(), &head, piece),
        };
        outbox.send(message).map_err(|_| Quit::Gone)?;
        work.packing.sent(on_wire, began);
        work.was_heard();
        Ok(())
    }

    /// A v2 server is told now and then that this transfer is alive while nothing is sent.
    fn give_sign(&self, work: &mut Work<'_>) {
        if work.session.dialect == Dialect::V2 && work.last_sign.elapsed() >= limits::SIGN_PAUSE {
            work.last_sign = Instant::now();
            work.session.say(&ToServer::Progress { request_id: self.id, attempt: self.attempt });
        }
    }

    fn stated_attempt(&self, session: &Session<'_>) -> Option<u32> {
        match session.dialect {
            Dialect::V1 => None,
            Dialect::V2 => Some(self.attempt),
        }
    }
}

impl Work<'_> {
    /// Sends a message that is part of the transfer, and may have to wait for the line like a chunk.
    fn tell(&mut self, message: &ToServer) -> Result<(), Quit> {
        self.check_stop()?;
        self.session.outbox.send_text(&to_text(message)).map_err(|_| Quit::Gone)?;
        self.was_heard();
        Ok(())
    }

    fn was_heard(&mut self) {
        self.last_sign = Instant::now();
        self.session.progressed();
    }

    fn wait_for_answer(&self) -> Result<Vec<BlockHash>, Quit> {
        select! {
            recv(self.answers) -> hashes => hashes.map_err(|_| self.stopped()),
            recv(self.stop) -> _ => Err(self.stopped()),
        }
    }

    /// A server that answers what was not asked can't be believed.
    fn give_up_line(&self, violation: &Violation) -> Quit {
        log::error!("the line is closed, the server broke the protocol: {violation}");
        self.session.is_broken();
        self.session.outbox.close(close::POLICY, &violation.to_string());
        self.session.outbox.shut(); // the reader would wait for the server's close
        Quit::Gone
    }

    fn read(&mut self, offset: u64, length: usize) -> Result<usize, Quit> {
        self.check_stop()?;
        let read = self.content.read_at(&mut self.buffer[..length], offset);
        read.map_err(|error| {
            Quit::Refused(Refusal::new(RefusalCode::ReadFailed, format!("can't read: {error}")))
        })
    }

    /// Waits until `bytes` more may go, by both rates; a stop ends the wait.
    fn wait_for_pace(&mut self, bytes: usize) -> Result<(), Quit> {
        let agent = self.session.agent;
        let own = self.pace.as_mut().map_or(Duration::ZERO, |pace| pace.book(agent.started.elapsed(), bytes));
        let wait = own.max(agent.book(bytes));
        if wait.is_zero() {
            return Ok(());
        }
        match self.stop.recv_timeout(wait) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(_) | Err(RecvTimeoutError::Disconnected) => Err(self.stopped()),
        }
    }

    fn check_stop(&self) -> Result<(), Quit> {
        match self.stop.try_recv() {
            Err(TryRecvError::Empty) => Ok(()),
            Ok(_) | Err(TryRecvError::Disconnected) => Err(self.stopped()),
        }
    }

    fn stopped(&self) -> Quit {
        if self.session.outbox.is_shut() {
            return Quit::Gone;
        }
        Quit::Refused(Refusal::new(RefusalCode::Cancelled, "cancelled by the server"))
    }
}

// The bound on what an agent holds for a transfer: a chunk as read, and one that became smaller.
const _: () = assert!(2 * limits::MAX_CHUNK_BYTES <= 8 << 20);
