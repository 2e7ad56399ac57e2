//! The text of a key, its public id, and the name of an operator.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::hash;
use crate::names::{BadName, Sha256Hash, is_label};

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

    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyName {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl FromStr for KeyId {
    type Err = BadName;
    fn from_str(text: &str) -> Result<KeyId, BadName> {
        KeyId::try_from(text.to_owned())
    }
}

impl TryFrom<String> for KeyId {
    type Error = BadName;
    fn try_from(text: String) -> Result<KeyId, BadName> {
        let fits = (1..=MAX_ID_CHARS).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        if fits { Ok(KeyId(text)) } else { Err(BadName("the id of a key is 1 to 32 characters of a-z 0-9")) }
    }
}

impl FromStr for KeyName {
    type Err = BadName;
    fn from_str(text: &str) -> Result<KeyName, BadName> {
        KeyName::try_from(text.to_owned())
    }
}

impl TryFrom<String> for KeyName {
    type Error = BadName;
    fn try_from(text: String) -> Result<KeyName, BadName> {
        let wanted = BadName(
            "an operator's name is 1 to 64 characters of A-Z a-z 0-9 . _ - and does not start with . or -",
        );
        if is_label(&text) { Ok(KeyName(text)) } else { Err(wanted) }
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> String {
        id.0
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> String {
        name.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).finish_non_exhaustive()
    }
}
