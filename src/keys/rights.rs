//! What an operator's key may: scopes, and patterns for clients and for file keys. Pure.
//!
//! A scope says what may be done, the patterns to whom: both must allow it. `admin` is all scopes; the patterns of an
//! admin's key limit it all the same.
//!
//! A file key of `null` (the agent's `FILE_PATH`) has no name that a pattern could look at: what it is, the shop
//! decides, and may be anything. So it is reached by the pattern `*` alone, which means no limit. The same holds for a key
//! with a part of `..`: a Towline agent refuses it, but a v1 client opens any path, and `logs/../db` is not in `logs`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::key::KeyName;
use crate::glob;
use crate::limits;
use crate::names::{ClientId, FileKey, checked_text, printable};
use crate::protocol::Kind;
use crate::transfer::Transfer;

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Lists, clients, transfers, what an agent offers.
    Read,
    /// Asking for files, and taking them.
    Pull,
    /// Cancelling transfers.
    Cancel,
    /// All of it.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 4] = [Scope::Read, Scope::Pull, Scope::Cancel, Scope::Admin];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Pull => "pull",
            Scope::Cancel => "cancel",
            Scope::Admin => "admin",
        }
    }
}

/// Text in which `*` stands for any characters, `/` too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(String);

impl Pattern {
    /// The pattern that matches everything.
    pub fn everything() -> Pattern {
        Pattern("*".to_owned())
    }

    fn is_everything(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }
}

checked_text!(
    Pattern,
    |text: &str| (1..=limits::MAX_FILE_KEY_BYTES).contains(&text.len()) && !text.contains(char::is_control),
    "a pattern is 1 to 4096 bytes without control characters; * stands for any characters"
);

/// An operator, as one of its keys says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Its name, which several keys may share.
    pub name: KeyName,
    /// What it may do; at least one.
    pub scopes: Vec<Scope>,
    /// Which clients it reaches.
    pub clients: Vec<Pattern>,
    /// Which file keys it reaches.
    pub files: Vec<Pattern>,
}

/// What an operator's key lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    name: KeyName,
    what: What,
    /// What it has instead.
    has: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Scope(Scope),
    Client(String),
    File(Option<String>),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lack { name, what, has } = self;
        let has = printable(has);
        match what {
            What::Scope(scope) => {
                write!(f, "the key of {name} lacks the scope {}; it has {has}", scope.as_str())
            }
            What::Client(client) => {
                write!(
                    f,
                    "the key of {name} does not reach the client {}; it reaches {has}",
                    printable(client)
                )
            }
            What::File(Some(file)) => {
                write!(f, "the key of {name} does not reach the file {}; it reaches {has}", printable(file))
            }
            What::File(None) => write!(
                f,
                "the key of {name} does not reach the file null, the client's FILE_PATH, which takes the pattern *; it reaches {has}"
            ),
        }
    }
}

impl Operator {
    /// One that may do everything.
    pub fn with_all_rights(name: KeyName) -> Operator {
        let everything = vec![Pattern::everything()];
        Operator { name, scopes: vec![Scope::Admin], clients: everything.clone(), files: everything }
    }

    /// # Errors
    /// When it has not this scope.
    pub fn may(&self, scope: Scope) -> Result<(), Lack> {
        if self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin) {
            return Ok(());
        }
        let has: Vec<&str> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        Err(self.lacks(What::Scope(scope), has.join(", ")))
    }

    /// # Errors
    /// When none of its patterns is the client's.
    pub fn reach_client(&self, client: &str) -> Result<(), Lack> {
        match self.clients.iter().any(|pattern| glob::matches(&pattern.0, client)) {
            true => Ok(()),
            false => Err(self.lacks(What::Client(client.to_owned()), join(&self.clients))),
        }
    }

    /// # Errors
    /// When none of its patterns is the file key's.
    pub fn reach_file(&self, key: Option<&FileKey>) -> Result<(), Lack> {
        let key = key.map(FileKey::as_str);
        match self.reaches(key) {
            true => Ok(()),
            false => Err(self.lacks(What::File(key.map(str::to_owned)), join(&self.files))),
        }
    }

    /// # Errors
    /// When no file in this folder, nor beneath it, is reached. Nothing is all shares.
    pub fn reach_into(&self, folder: Option<&str>) -> Result<(), Lack> {
        match folder.is_none_or(|folder| self.reaches_beneath(folder)) {
            true => Ok(()),
            false => Err(self.lacks(What::File(folder.map(str::to_owned)), join(&self.files))),
        }
    }

    /// Whether it may know that an agent offers this. A link may lead to a file or to a folder.
    pub fn sees_entry(&self, key: &str, kind: Kind) -> bool {
        match kind {
            Kind::File => self.reaches(Some(key)),
            Kind::Folder => self.reaches_beneath(key),
            Kind::Link | Kind::Other => self.reaches(Some(key)) || self.reaches_beneath(key),
        }
    }

    /// Whether it may know of the client.
    pub fn sees_client(&self, client: &ClientId) -> bool {
        self.reach_client(client.as_str()).is_ok()
    }

    /// Whether it may know of the transfer.
    pub fn sees(&self, transfer: &Transfer) -> bool {
        let key = transfer.file_key.as_ref().map(FileKey::as_str);
        self.sees_client(&transfer.client_id) && self.reaches(key)
    }

    fn reaches(&self, key: Option<&str>) -> bool {
        let plain = key.filter(|key| !leads_up(key));
        let fits = |pattern: &Pattern| plain.is_some_and(|key| glob::matches(&pattern.0, key));
        self.files.iter().any(|pattern| pattern.is_everything() || fits(pattern))
    }

    fn reaches_beneath(&self, folder: &str) -> bool {
        let start = (!leads_up(folder)).then(|| format!("{folder}/"));
        let fits = |pattern: &Pattern| start.as_ref().is_some_and(|start| glob::reaches(&pattern.0, start));
        self.files.iter().any(|pattern| pattern.is_everything() || fits(pattern))
    }

    fn lacks(&self, what: What, has: String) -> Lack {
        Lack { name: self.name.clone(), what, has }
    }
}

/// Whether a part of the path may lead out of what it stands in. Windows, where a v1 client may run, drops
/// spaces and dots at the end of a part.
fn leads_up(key: &str) -> bool {
    key.split(['/', '\\']).any(|part| {
        let dots = part.bytes().filter(|byte| *byte != b' ').collect::<Vec<_>>();
        dots.len() > 1 && dots.iter().all(|byte| *byte == b'.')
    })
}

fn join(patterns: &[Pattern]) -> String {
    patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", ")
}
