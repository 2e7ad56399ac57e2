//! What was taken from this machine, by whom and when: on record where its owner has set `AUDIT_FILE`.
//!
//! Who has asked for a record gets one of everything: before a file is opened or a folder listed, the line is in the file.
//! What can't be put on record is refused.

use std::io;
use std::path::Path;

use super::sender::Sending;
use super::session::Session;
use crate::audit::{AgentEvent, Log, Noted};
use crate::limits;
use crate::names::{FileKey, RequestId, Sha256Hash, SharedPath, printable};
use crate::refusal::{Refusal, RefusalCode};

/// The record, where there is one.
#[derive(Debug, Default)]
pub(super) struct Taken {
    log: Option<Log>,
}

impl Taken {
    /// Begins, or goes on with, the record in `path`.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn open(path: &Path, started: &AgentEvent<'_>) -> io::Result<Taken> {
        let log = Log::new(path, limits::AUDIT_ROTATE_BYTES)?;
        log.note(started)?;
        log.log_head();
        Ok(Taken { log: Some(log) })
    }

    /// Puts what is no answer to a question on record; the log complains when that fails.
    pub(super) fn note(&self, event: &AgentEvent<'_>) {
        let _refused_from_now_on = self.log.as_ref().map(|log| log.note(event));
    }

    /// Puts a question on record, before it is followed.
    ///
    /// # Errors
    /// When that fails: then it is not followed.
    fn asked(&self, event: &AgentEvent<'_>) -> Result<(), Refusal> {
        let Some(log) = &self.log else { return Ok(()) };
        match log.note(event) {
            Ok(Noted::Written) => Ok(()),
            Ok(Noted::LeftOut) => {
                let message = "more is asked for than this agent keeps a record of; ask again later";
                Err(Refusal::new(RefusalCode::TooManyTransfers, message))
            }
            Err(_) => {
                let message = "this agent serves only what it can keep a record of, and its AUDIT_FILE can't be written; its log says why";
                Err(Refusal::new(RefusalCode::ReadFailed, message))
            }
        }
    }

    /// A file is asked for.
    ///
    /// # Errors
    /// When it is not to be served.
    pub(super) fn file_asked(&self, sending: &Sending) -> Result<(), Refusal> {
        let Sending { id, attempt, file_key, by, .. } = sending;
        let key = file_key.as_ref().map_or("null", FileKey::as_str);
        log::info!(
            "transfer {id} asked fileKey={} attempt={attempt} by={}",
            printable(key),
            shown(by.as_deref())
        );
        let share = file_key.as_ref().and_then(|key| SharedPath::parse(key).ok());
        self.asked(&AgentEvent::FileAsked {
            by: by.as_deref(),
            file_key: file_key.as_ref(),
            share: share.as_ref().map(|path| path.share.as_str()),
            request_id: *id,
            attempt: *attempt,
        })
    }

    /// What came of it, before the server is told. `bytes` left this machine.
    pub(super) fn file_ended(
        &self,
        sending: &Sending,
        outcome: &str,
        bytes: u64,
        sha256: Option<Sha256Hash>,
    ) {
        self.note(&AgentEvent::FileEnded {
            by: sending.by.as_deref(),
            file_key: sending.file_key.as_ref(),
            request_id: sending.id,
            attempt: sending.attempt,
            outcome,
            bytes,
            sha256,
        });
    }

    /// A listing is asked for.
    ///
    /// # Errors
    /// When it is not to be given.
    pub(super) fn listing_asked(
        &self,
        id: RequestId,
        path: Option<&str>,
        by: Option<&str>,
    ) -> Result<(), Refusal> {
        log::info!("listing {id} asked path={} by={}", printable(path.unwrap_or("null")), shown(by));
        self.asked(&AgentEvent::ListingAsked { by, path: path.map(within_bound) })
    }

    /// It was refused.
    pub(super) fn listing_refused(&self, path: Option<&str>, by: Option<&str>, refusal: &Refusal) {
        let code = refusal.code.as_str();
        self.note(&AgentEvent::ListingRefused { by, path: path.map(within_bound), code });
    }
}

impl Session<'_> {
    /// Says no to a file before anything of it is looked at.
    pub(super) fn refuse_file(&self, sending: &Sending, refusal: &Refusal) {
        let taken = &self.agent.taken;
        if taken.file_asked(sending).is_ok() {
            taken.file_ended(sending, refusal.code.as_str(), 0, None);
        }
        self.refuse(sending.id, Some(sending.attempt), refusal);
    }
}

fn shown(by: Option<&str>) -> &str {
    by.unwrap_or("unknown")
}

/// A path that a server asks for has no bound of its own: what is longer than any file key is cut.
fn within_bound(path: &str) -> &str {
    &path[..path.floor_char_boundary(limits::MAX_FILE_KEY_BYTES)]
}
