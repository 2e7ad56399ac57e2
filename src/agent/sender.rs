//! A running transfer on the agent's side: reads, hashes, sends, in the order that [`Outbound`] gives.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::files::Content;
use super::session::Session;
use crate::clock;
use crate::hash::Hasher;
use crate::limits;
use crate::line::binary_frame;
use crate::names::{FileKey, RequestId};
use crate::outbound::{Found, Outbound, Step};
use crate::pace::{Pace, chunk_for};
use crate::protocol::{ChunkHeader, Dialect, ToServer, pack_head};
use crate::refusal::{Refusal, RefusalCode};

/// What was asked for.
pub(super) struct Sending {
    pub(super) id: RequestId,
    pub(super) attempt: u32,
    pub(super) file_key: Option<FileKey>,
    /// Payload of a chunk, in bytes.
    pub(super) chunk: usize,
    /// Bytes a second.
    pub(super) max_rate: Option<u64>,
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
    content: Content,
    buffer: Vec<u8>,
    frame: Vec<u8>,
    sent: Hasher,
    pace: Option<Pace>,
}

impl Sending {
    /// Runs the attempt to its end, and says how it ended.
    pub(super) fn run(self, session: &Session<'_>, stop: &Receiver<Infallible>) {
        match self.send(session, stop) {
            Ok(()) | Err(Quit::Gone) => {}
            Err(Quit::Refused(refusal)) => session.refuse(self.id, Some(self.attempt), &refusal),
        }
    }

    fn send(&self, session: &Session<'_>, stop: &Receiver<Infallible>) -> Result<(), Quit> {
        let content = session.agent.files.open(self.file_key.as_ref()).map_err(Quit::Refused)?;
        let size = content.size();
        let rates = [self.max_rate, session.agent.settings.max_rate];
        let chunk = chunk_for(rates.into_iter().flatten().min(), self.chunk);
        let attempt = self.stated_attempt(session);
        let filename = content.name().to_owned();
        log::info!("upload_start for {} filename={filename} size={size} attempt={}", self.id, self.attempt);
        session.say(&ToServer::UploadStart { request_id: self.id, filename, filesize: size, attempt });
        let buffer = vec![0; chunk.min(usize::try_from(size).unwrap_or(usize::MAX)).max(1)];
        let pace = self.max_rate.map(Pace::new);
        let mut work =
            Work { session, stop, content, buffer, frame: Vec::new(), sent: Hasher::default(), pace };
        self.follow(Outbound::new(size, work.buffer.len()), &mut work)?;
        let checksum = work.sent.hash();
        session.sent(self.id, checksum);
        log::info!("upload_end {} computed={checksum} bytes={size}", self.id);
        session.say(&ToServer::UploadEnd { request_id: self.id, checksum, filesize: Some(size), attempt });
        Ok(())
    }

    /// Does what the machine says until the end may be sent.
    fn follow(&self, mut outbound: Outbound, work: &mut Work<'_>) -> Result<(), Quit> {
        let mut again = Hasher::default();
        let mut last_sign = Instant::now();
        loop {
            match outbound.next() {
                Step::Send { offset, length, seq } => {
                    let read = work.read(offset, length)?;
                    if read > 0 {
                        work.sent.update(&work.buffer[..read]);
                        work.wait_for_pace(read)?;
                        self.send_chunk(work, seq, offset, read)?;
                    }
                    outbound.sent(read);
                }
                Step::Check => outbound.checked(work.content.look_again().map_err(Quit::Refused)?),
                Step::Reread { offset, length } => {
                    let read = work.read(offset, length)?;
                    again.update(&work.buffer[..read]);
                    outbound.reread(read);
                    if last_sign.elapsed() >= Duration::from_secs(1) {
                        last_sign = Instant::now();
                        self.give_sign(work.session);
                    }
                }
                Step::Compare => {
                    let same = again.hash() == work.sent.hash();
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

    fn send_chunk(&self, work: &mut Work<'_>, seq: u64, offset: u64, length: usize) -> Result<(), Quit> {
        let v2 = work.session.dialect == Dialect::V2;
        let head = pack_head(&ChunkHeader {
            request_id: self.id,
            seq,
            timestamp: clock::now_ms().into(),
            attempt: self.stated_attempt(work.session),
            offset: v2.then_some(offset),
        });
        let outbox = &work.session.outbox;
        binary_frame(outbox.side(), &head, &work.buffer[..length], &mut work.frame);
        outbox.send(&work.frame).map_err(|_| Quit::Gone)?;
        if seq == 1 {
            work.session.progressed();
        }
        Ok(())
    }

    /// A v2 server is told that this transfer is alive while nothing is sent.
    fn give_sign(&self, session: &Session<'_>) {
        match session.dialect {
            Dialect::V1 => {}
            Dialect::V2 => session.say(&ToServer::Progress { request_id: self.id, attempt: self.attempt }),
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

// The bound on what an agent holds for a transfer: a chunk as read, and a chunk as a frame.
const _: () = assert!(2 * limits::MAX_CHUNK_BYTES <= 8 << 20);
