//! A session: reads one line until it ends. It never blocks on a write: what it answers is posted.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::Agent;
use super::answers::Answers;
use super::ending::{SessionEnd, Stop, ended, finish, spread};
use super::journal::by_server;
use super::sender::Sending;
use super::transfers::Transfers;
use crate::audit::clean_name;
use crate::blocks::read_hashes;
use crate::clock;
use crate::compression;
use crate::gain::{Speed, Wish};
use crate::limits;
use crate::line::{Incoming, Line, Outbox, Rate};
use crate::lock::lock;
use crate::names::{CongestionControl, RequestId, Sha256Hash};
use crate::outbound::Question;
use crate::protocol::{
    Dialect, HashesHeader, ToAgent, ToServer, Violation, ZSTD, parse_text, to_text, unpack,
};
use crate::refusal::{Refusal, RefusalCode};
use crate::threads;

/// One line's session, as its reader and its transfers share it.
pub(super) struct Session<'a> {
    pub(super) agent: &'a Agent,
    pub(super) outbox: Arc<Outbox>,
    pub(super) dialect: Dialect,
    transfers: Mutex<Transfers>,
    /// Bytes of a file were sent. Beside the mutex: it is noted with each chunk.
    progressed: AtomicBool,
    /// A transfer has found that the server broke the rules.
    broken: AtomicBool,
}

impl<'a> Session<'a> {
    /// Registers, serves until the line ends, and joins all transfers.
    pub(super) fn run(agent: &'a Agent, mut line: Line) -> SessionEnd {
        let (dialect, first) = match open(&mut line) {
            Ok(opened) => opened,
            Err(stop) => {
                finish(&mut line, &stop);
                return ended(&stop, false, None);
            }
        };
        let outbox = line.outbox().clone();
        let session = Session {
            agent,
            outbox,
            dialect,
            transfers: Mutex::default(),
            progressed: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        };
        let mut come_back_after = None;
        let mut next_heartbeat = Instant::now() + limits::V1_HEARTBEAT;
        let mut messages = Rate::new();
        if dialect == Dialect::V1 {
            line.count_writes();
        }
        session.register(line.congestion_control());
        let stop = thread::scope(|scope| {
            let mut next = first;
            let stop = loop {
                let message = match next
                    .take()
                    .map_or_else(|| session.next(&mut line, &mut next_heartbeat, &mut messages), Ok)
                {
                    Ok(message) => message,
                    Err(stop) => break stop,
                };
                if let ToAgent::Closing { come_back_after_ms } = message {
                    come_back_after = Some(spread(come_back_after_ms));
                } else {
                    session.take(message, scope);
                }
            };
            // Whoever sends wakes up, and the scope can end. The whole close happens before it: from here on nobody reads.
            finish(&mut line, &stop);
            session.lock().stop_all();
            stop
        });
        // Whoever breaks the rules each time would otherwise be dialled again at once each time.
        let kept_the_rules = stop.is_within_the_rules() && !session.broken.load(Relaxed);
        let progressed = kept_the_rules && session.progressed.load(Relaxed);
        ended(&stop, progressed, come_back_after)
    }

    fn register(&self, congestion_control: Option<CongestionControl>) {
        let v2 = self.dialect == Dialect::V2;
        let agent = self.agent;
        self.say(&ToServer::RegisterMeta {
            meta: agent.settings.meta.clone(),
            protocol: v2.then_some(2),
            agent_version: v2.then(|| env!("CARGO_PKG_VERSION").to_owned()),
            shares: v2.then(|| agent.files.names()),
            congestion_control: congestion_control.filter(|_| v2).map(String::from),
            compress: (v2 && self.can_compress()).then(|| vec![ZSTD.to_owned()]),
        });
    }

    fn can_compress(&self) -> bool {
        compression::IS_BUILT_IN && self.agent.settings.compress != Wish::Off
    }

    /// The next message; for a v1 server, a heartbeat whenever one is due.
    fn next(
        &self,
        line: &mut Line,
        next_heartbeat: &mut Instant,
        messages: &mut Rate,
    ) -> Result<ToAgent, Stop> {
        loop {
            let incoming = match self.dialect {
                Dialect::V2 => line.read().map(Some),
                Dialect::V1 => line.read_until(*next_heartbeat),
            };
            let incoming = incoming.map_err(Stop::Line)?;
            let most = limits::MAX_SERVER_MESSAGES_A_SECOND;
            if incoming.is_some() && messages.exceeds(most, Duration::from_secs(1)) {
                return Err(Stop::Violation(Violation::TooManyMessages { most }));
            }
            match incoming {
                Some(Incoming::Text(text)) => return parse_text(&text).map_err(Stop::Violation),
                Some(Incoming::Binary(message)) => self.hashes(&message).map_err(Stop::Violation)?,
                None => {
                    *next_heartbeat = Instant::now() + limits::V1_HEARTBEAT;
                    self.say(&ToServer::Heartbeat { ts: clock::now_ms().into() });
                }
            }
        }
    }

    /// Hands the server's hashes to the transfer that has asked for them.
    fn hashes(&self, message: &[u8]) -> Result<(), Violation> {
        let (header, start) = unpack::<HashesHeader>(message)?;
        let hashes = read_hashes(&message[start..]).ok_or(Violation::BadAnswer)?;
        match self.lock().answers(header.request_id, header.attempt) {
            Some(answers) => answers.take(&header, hashes),
            None => Ok(()), // late
        }
    }

    /// Notes what a transfer asks, before the server hears it.
    pub(super) fn asks(&self, id: RequestId, attempt: u32, question: &Question) {
        if let Some(answers) = self.lock().answers(id, attempt) {
            answers.asked(question);
        }
    }

    fn take<'scope>(&'scope self, message: ToAgent, scope: &'scope Scope<'scope, '_>) {
        match message {
            ToAgent::DownloadRequest {
                request_id: id,
                file_key,
                chunk_size,
                attempt,
                max_rate,
                have,
                requested_by,
                compress,
            } => {
                let own = self.agent.settings.chunk_size.unwrap_or(limits::MAX_CHUNK_BYTES);
                let asked =
                    chunk_size.map_or(limits::CHUNK_BYTES, |size| size.try_into().unwrap_or(usize::MAX));
                let chunk = asked.min(own).clamp(limits::MIN_CHUNK_BYTES, limits::MAX_CHUNK_BYTES);
                let (attempt, have) = (attempt.unwrap_or(1), have.unwrap_or(0));
                let (by, sent) = (requested_by.as_deref().map(clean_name), Cell::default());
                let compress = self.can_compress() && compress.as_deref() == Some(ZSTD);
                self.start(
                    Sending { id, attempt, file_key, chunk, max_rate, have, compress, by, sent },
                    scope,
                );
            }
            ToAgent::Cancel { request_id, attempt } => self.cancel(request_id, attempt),
            ToAgent::UploadReceived { request_id, computed, ok } => self.compare(request_id, computed, ok),
            ToAgent::List { request_id, path, requested_by } => {
                self.list(request_id, path, requested_by.as_deref().map(clean_name), scope);
            }
            ToAgent::Hello { .. } | ToAgent::Closing { .. } => {}
            ToAgent::Unknown => {
                by_server!(self.agent, info, "the server sent a message of a type that is unknown here");
            }
        }
    }

    /// A transfer that runs answers by itself when it has stopped.
    fn cancel(&self, id: RequestId, attempt: Option<u32>) {
        let was_running = self.lock().stop(id, attempt);
        if !was_running {
            self.refuse(id, attempt, &Refusal::new(RefusalCode::Cancelled, "not running"));
        }
    }

    fn start<'scope>(&'scope self, sending: Sending, scope: &'scope Scope<'scope, '_>) {
        let (id, attempt) = (sending.id, sending.attempt);
        let Some(turn) = self.agent.stopping.begin() else {
            // Without an answer the server takes it up when we are back.
            return log::info!("transfer {id} is not begun: this agent stops");
        };
        let (stop_in, stop) = bounded::<Infallible>(0);
        let (answers_in, answers) = Answers::new();
        let begun = self.lock().begin(id, attempt, stop_in, answers_in);
        let Some(serial) = begun else {
            let many = format!("{} transfers are running", limits::MAX_AGENT_TRANSFERS);
            return self.refuse_file(&sending, &Refusal::new(RefusalCode::TooManyTransfers, many));
        };
        let send = move || {
            sending.run(self, &stop, &answers);
            self.lock().over(id, serial);
            drop(turn);
        };
        if let Err(error) = threads::spawn_scoped(scope, format!("send {id}"), limits::SMALL_STACK, send) {
            self.lock().over(id, serial);
            let none = format!("no thread for it: {error}");
            self.refuse(id, Some(attempt), &Refusal::new(RefusalCode::TooManyTransfers, none));
        }
    }

    /// What the server computed must be what we sent; a v1 server says `ok` whatever it is.
    fn compare(&self, id: RequestId, computed: Sha256Hash, ok: bool) {
        let sent = self.lock().hash_sent(id);
        if !self.agent.journal.has_room() {
            return;
        }
        match sent {
            Some(hash) if hash != computed => {
                log::error!(
                    "transfer {id} arrived damaged: sent {hash}, the server computed {computed} and says ok={ok}"
                );
            }
            Some(_) if ok => log::info!("transfer {id} arrived, verified sha256={computed}"),
            Some(_) => log::error!("transfer {id}: the server has the right bytes and did not take them"),
            None => log::debug!("the server has received {id}, which was not sent lately on this line"),
        }
    }

    /// Notes what was sent, before the server is told.
    pub(super) fn sent(&self, id: RequestId, hash: Sha256Hash) {
        self.lock().note_sent(id, hash);
    }

    /// Notes that bytes of a file were sent.
    pub(super) fn progressed(&self) {
        self.progressed.store(true, Relaxed);
    }

    /// How fast the line was a while ago.
    pub(super) fn line_speed(&self) -> Speed {
        self.lock().line_speed
    }

    /// Notes how fast the line is.
    pub(super) fn note_line_speed(&self, speed: Speed) {
        self.lock().line_speed = speed;
    }

    /// Notes that the server broke the rules.
    pub(super) fn is_broken(&self) {
        self.broken.store(true, Relaxed);
    }

    /// Posts a message. A line that is gone ends its reader, which says so.
    pub(super) fn say(&self, message: &ToServer) {
        let _gone = self.outbox.text(&to_text(message));
    }

    /// Says no, as the server's dialect has it.
    pub(super) fn refuse(&self, id: RequestId, attempt: Option<u32>, refusal: &Refusal) {
        by_server!(self.agent, warn, "transfer {id}: {refusal}");
        let word = refusal.code.as_str().to_owned();
        let (code, message, attempt) = match self.dialect {
            Dialect::V1 => (None, word, None),
            Dialect::V2 => (Some(word), refusal.message.clone(), attempt),
        };
        self.say(&ToServer::Error { request_id: Some(id), code, message, attempt });
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Transfers> {
        lock(&self.transfers)
    }
}

/// Waits for the server's hello. A server that says something else first, or nothing for a while, speaks v1; what it
/// said comes along.
fn open(line: &mut Line) -> Result<(Dialect, Option<ToAgent>), Stop> {
    let deadline = Instant::now() + limits::HELLO_TIME;
    match line.read_until(deadline).map_err(Stop::Line)? {
        Some(Incoming::Text(text)) => match parse_text(&text).map_err(Stop::Violation)? {
            ToAgent::Hello { protocol, heartbeat_seconds, .. } => {
                if let Some(seconds) = heartbeat_seconds {
                    line.set_beat(Duration::from_secs(seconds.clamp(1, 3600)));
                }
                Ok((Dialect::from_number(protocol), None))
            }
            other => Ok((Dialect::V1, Some(other))),
        },
        Some(Incoming::Binary(_)) | None => Ok((Dialect::V1, None)),
    }
}
