//! The honest no of an agent: a code of WIRE.md's list and a sentence, as both travel on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::transfer::FailureCode;

/// Why an agent does not serve what it was asked for. The closed list of WIRE.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// No such file.
    FileNotFound,
    /// The key names nothing that is shared, or leads out of its share.
    NotShared,
    /// A folder, a device, a pipe, a socket.
    NotAFile,
    /// The agent may not read it.
    PermissionDenied,
    /// The file changed while it was read.
    FileChanged,
    /// The agent runs as many transfers as it may.
    TooManyTransfers,
    /// The file is there and could not be read.
    ReadFailed,
    /// The transfer was cancelled.
    Cancelled,
    /// The request itself is malformed.
    BadRequest,
    /// As many pulls or bytes as the agent's owner allows have left.
    LimitReached,
}

impl RefusalCode {
    /// Every code.
    pub const ALL: [RefusalCode; 10] = [
        RefusalCode::FileNotFound,
        RefusalCode::NotShared,
        RefusalCode::NotAFile,
        RefusalCode::PermissionDenied,
        RefusalCode::FileChanged,
        RefusalCode::TooManyTransfers,
        RefusalCode::ReadFailed,
        RefusalCode::Cancelled,
        RefusalCode::BadRequest,
        RefusalCode::LimitReached,
    ];

    /// The word on the wire; v1's `message`, v2's `code`.
    pub fn as_str(self) -> &'static str {
        FailureCode::from(self).as_str()
    }
}

impl From<RefusalCode> for FailureCode {
    fn from(code: RefusalCode) -> FailureCode {
        match code {
            RefusalCode::FileNotFound => FailureCode::FileNotFound,
            RefusalCode::NotShared => FailureCode::NotShared,
            RefusalCode::NotAFile => FailureCode::NotAFile,
            RefusalCode::PermissionDenied => FailureCode::PermissionDenied,
            RefusalCode::FileChanged => FailureCode::FileChanged,
            RefusalCode::TooManyTransfers => FailureCode::TooManyTransfers,
            RefusalCode::ReadFailed => FailureCode::ReadFailed,
            RefusalCode::Cancelled => FailureCode::Cancelled,
            RefusalCode::BadRequest => FailureCode::BadRequest,
            RefusalCode::LimitReached => FailureCode::LimitReached,
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A coded no with one short sentence, which never names an absolute path of the agent's machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: RefusalCode,
    /// One sentence for a person.
    pub message: String,
}

impl Refusal {
    /// A refusal with `code` and a sentence.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_on_the_wire_are_their_words() {
        for code in RefusalCode::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
            assert_eq!(serde_json::from_value::<RefusalCode>(code.as_str().into()).unwrap(), code);
        }
    }
}
