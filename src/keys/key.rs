//! The text of a key, its public id, and the name of an operator.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::encoding::hex;
use crate::hash;
use crate::names::{Sha256Hash, checked_text, is_label};

/// What every key begins with, so that it is recognised wherever it has been left lying about.
const PREFIX: &str = "twl_";
/// Random bytes of an id.
const ID_BYTES: usize = 6;
/// Random bytes of a secret: 256 bits.
const SECRET_BYTES: usize = 32;
/// Characters of an id, which a person may have chosen.
const MAX_ID_CHARS: usize = 32;

/// The public part of a key: 1 to 32 of `a-z 0-9`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId(String);

/// Names an operator, by the same rule as a client id: it stands in front of the `@` of `requestedBy`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

checked_text!(
    KeyId,
    |text: &str| (1..=MAX_ID_CHARS).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()),
    "the id of a key is 1 to 32 characters of a-z 0-9"
);
checked_text!(
    KeyName,
    is_label,
    "an operator's name is 1 to 64 characters of A-Z a-z 0-9 . _ - and does not start with . or -"
);

/// A key that has just been made. Its text is nowhere else.
pub struct NewKey {
    /// Its public part.
    pub id: KeyId,
    /// What is kept of it.
    pub hash: Sha256Hash,
    /// All of it, to be shown once.
    pub text: String,
}

impl NewKey {
    /// Makes a key of random bytes.
    pub fn from_random(id: [u8; ID_BYTES], secret: [u8; SECRET_BYTES]) -> NewKey {
        let id = KeyId(hex(&id));
        let text = format!("{PREFIX}{id}_{}", hex(&secret));
        NewKey { id, hash: hash::of(text.as_bytes()), text }
    }
}

impl KeyId {
    /// The id in a text that looks like a key.
    pub fn of(candidate: &str) -> Option<KeyId> {
        let (id, _) = candidate.strip_prefix(PREFIX)?.split_once('_')?;
        id.parse().ok()
    }
}

/// `text` with whatever looks like a key cut off behind its prefix: for messages about what somebody else wrote.
pub fn without_keys(text: &str) -> String {
    let mut pieces = text.split(PREFIX);
    let mut kept = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        kept.push_str(PREFIX);
        kept.push('…');
        kept.push_str(piece.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'));
    }
    kept
}

/// Whether `text` holds what looks like a key.
pub fn holds_key(text: &str) -> bool {
    text.contains(PREFIX)
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).finish_non_exhaustive()
    }
}
