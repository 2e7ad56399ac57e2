//! The transfer: one pull of one file, as the API shows it and as its record on disk keeps it.
//!
//! Which status may follow which is decided in [`crate::hub`] alone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::names::{ClientId, FileKey, RequestId, Sha256Hash};

/// Where a transfer stands. The last four words end it for good.
///
/// ```text
/// queued -> requested -> receiving -> verifying -> completed
///    ^          |            |            |
///    +-- interrupted <-------+            +-> failed, cancelled (until it is published)
/// ```
/// `failed`, `cancelled` and (without a slot) `expired` may follow every word of the first line but `completed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for a slot, or for its client.
    Queued,
    /// The agent has been asked and has not answered yet.
    Requested,
    /// Bytes arrive.
    Receiving,
    /// All bytes are here; hash and size are compared, and the file is published.
    Verifying,
    /// Its client dropped; it goes on when the client is there again.
    Interrupted,
    /// Published and verified.
    Completed,
    /// Ended with a [`Failure`].
    Failed,
    /// Ended by an operator.
    Cancelled,
    /// Its client did not come in time.
    Expired,
}

impl Status {
    /// Every status, in the order of a transfer's life.
    pub const ALL: [Status; 9] = [
        Status::Queued,
        Status::Requested,
        Status::Receiving,
        Status::Verifying,
        Status::Interrupted,
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
        Status::Expired,
    ];

    /// Whether the transfer has ended for good.
    pub fn is_final(self) -> bool {
        match self {
            Status::Queued
            | Status::Requested
            | Status::Receiving
            | Status::Verifying
            | Status::Interrupted => false,
            Status::Completed | Status::Failed | Status::Cancelled | Status::Expired => true,
        }
    }

    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Requested => "requested",
            Status::Receiving => "receiving",
            Status::Verifying => "verifying",
            Status::Interrupted => "interrupted",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Expired => "expired",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an attempt, or the whole transfer, did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A word from a closed list: see [`FailureCode`]; an agent's own codes appear as they are.
    pub code: FailureCode,
    /// One sentence for a person.
    pub message: String,
}

/// The closed list of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// No such file on the client.
    FileNotFound,
    /// The file key names nothing that the agent shares, or leads out of a share.
    NotShared,
    /// A folder, a device, a pipe.
    NotAFile,
    /// The agent may not read it.
    PermissionDenied,
    /// The file changed while it was read.
    FileChanged,
    /// The agent runs as many transfers as it may.
    TooManyTransfers,
    /// The agent could not read the file.
    ReadFailed,
    /// The agent was told to cancel, or its own operator did.
    Cancelled,
    /// The agent did not accept the request.
    BadRequest,
    /// The client gives no more pulls an hour, or bytes a day.
    LimitReached,
    /// The agent gave a reason that is not on this list.
    AgentError,
    /// The hash of the bytes is not what the agent stated.
    ChecksumMismatch,
    /// Fewer or more bytes came than were stated.
    SizeMismatch,
    /// The agent broke the protocol's order.
    ProtocolViolation,
    /// The client did not answer, or went silent, for `STALL_SECONDS`.
    Stalled,
    /// The client's line went down.
    ClientDisconnected,
    /// The server was stopped or went down.
    ServerRestarted,
    /// The file is larger than `MAX_FILE_SIZE`.
    FileTooLarge,
    /// No room on the server's disk.
    DiskFull,
    /// The server could not write.
    WriteFailed,
    /// The client did not come in time.
    Expired,
}

impl FailureCode {
    /// The word in the API and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureCode::FileNotFound => "file_not_found",
            FailureCode::NotShared => "not_shared",
            FailureCode::NotAFile => "not_a_file",
            FailureCode::PermissionDenied => "permission_denied",
            FailureCode::FileChanged => "file_changed",
            FailureCode::TooManyTransfers => "too_many_transfers",
            FailureCode::ReadFailed => "read_failed",
            FailureCode::Cancelled => "cancelled",
            FailureCode::BadRequest => "bad_request",
            FailureCode::LimitReached => "limit_reached",
            FailureCode::AgentError => "agent_error",
            FailureCode::ChecksumMismatch => "checksum_mismatch",
            FailureCode::SizeMismatch => "size_mismatch",
            FailureCode::ProtocolViolation => "protocol_violation",
            FailureCode::Stalled => "stalled",
            FailureCode::ClientDisconnected => "client_disconnected",
            FailureCode::ServerRestarted => "server_restarted",
            FailureCode::FileTooLarge => "file_too_large",
            FailureCode::DiskFull => "disk_full",
            FailureCode::WriteFailed => "write_failed",
            FailureCode::Expired => "expired",
        }
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Failure {
    /// A failure with `code` and a sentence.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// One transfer. In JSON the keys are camelCase; sizes are bytes, times milliseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transfer {
    /// Its id.
    pub request_id: RequestId,
    /// Whose file.
    pub client_id: ClientId,
    /// Which file; `null` is the agent's `FILE_PATH`.
    pub file_key: Option<FileKey>,
    /// The `POST /downloads` that it came with.
    pub batch_id: Option<RequestId>,
    /// Where it stands.
    pub status: Status,
    /// The name of the download in `UPLOAD_DIR`, reserved from the start.
    pub filename: String,
    /// The path of the download, `UPLOAD_DIR` and `filename`.
    pub out_path: String,
    /// What the agent calls the file, without folders.
    pub source_name: Option<String>,
    /// The file's size, once the agent has stated it.
    pub size: Option<u64>,
    /// Bytes of the file that are here in this attempt.
    pub bytes: u64,
    /// Bytes of payload that came over the line, in all attempts.
    pub bytes_on_wire: u64,
    /// The verified hash, from `verifying` on.
    pub sha256: Option<Sha256Hash>,
    /// How often the agent has been asked.
    pub attempts: u32,
    /// Who asked: the key's name and the address.
    pub requested_by: String,
    /// The most bytes a second that the operator allows.
    pub max_rate: Option<u64>,
    /// When it was asked for.
    pub created_at: u64,
    /// When the agent was first asked.
    pub started_at: Option<u64>,
    /// When it ended; one that is completed, when it was verified and began to be given its name.
    pub finished_at: Option<u64>,
    /// When it expires if its client does not come.
    pub expires_at: Option<u64>,
    /// Why it failed, or why it was last interrupted.
    pub failure: Option<Failure>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_json_are_the_words_in_text() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        for code in [FailureCode::NotAFile, FailureCode::ChecksumMismatch, FailureCode::TooManyTransfers] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
