//! All keys, as `KEYS_FILE` holds them: read, checked, found, written. Pure.
//!
//! Invariants of a [`Ring`]: ids are unique; what is not understood is refused, never passed over, since a field that a
//! later version adds may limit a key.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::key::{KeyId, KeyName, NewKey, without_keys};
use super::rights::{Operator, Pattern, Scope};
use crate::hash;
use crate::limits;
use crate::names::{ClientId, Sha256Hash, printable};

/// The version of the file's form that is read and written here.
const VERSION: u64 = 1;

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A client: it may dial in under this id.
    Client(ClientId),
    /// An operator, with its rights.
    Operator(Arc<Operator>),
}

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its public part.
    pub id: KeyId,
    /// Whose it is.
    pub owner: Owner,
    /// The hash of its text.
    pub hash: Sha256Hash,
    /// When it was made, in milliseconds since the epoch.
    pub created_at: u64,
}

/// All keys, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ring {
    keys: Vec<Key>,
    by_id: HashMap<KeyId, usize>,
}

/// Why a file is no ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRing {
    /// It is not the JSON that it must be; the text says where.
    Form(String),
    /// It is of another version.
    Version(u64),
    /// A key is not as it must be.
    Key {
        /// Its place, from 1.
        number: usize,
        /// Its id.
        id: KeyId,
        /// What is wrong.
        why: &'static str,
    },
}

impl fmt::Display for BadRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRing::Form(why) => f.write_str(why),
            BadRing::Version(version) => {
                write!(f, "it is of version {version}, and this program reads version {VERSION}")
            }
            BadRing::Key { number, id, why } => write!(f, "key {number} (id {id}): {why}"),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Form {
    version: u64,
    keys: Vec<Entry>,
}

/// Read first, so that another version is called that, and not a wrong field.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Client,
    Operator,
}

/// A key as it stands in the file. Flat, because serde then names line and column of what is wrong.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    id: KeyId,
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<ClientId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<KeyName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<Scope>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clients: Option<Vec<Pattern>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files: Option<Vec<Pattern>>,
    sha256: Sha256Hash,
    created_at: u64,
}

impl Ring {
    /// Reads a file's text.
    ///
    /// # Errors
    /// On the first thing that is wrong, and where.
    pub fn parse(text: &str) -> Result<Ring, BadRing> {
        // serde quotes what it met, which may be a key in a wrong place.
        let form = |error: serde_json::Error| {
            BadRing::Form(printable(&without_keys(&error.to_string())).to_string())
        };
        let Version { version } = serde_json::from_str(text).map_err(form)?;
        if version != VERSION {
            return Err(BadRing::Version(version));
        }
        let Form { keys, .. } = serde_json::from_str(text).map_err(form)?;
        let mut ring = Ring::default();
        for (index, entry) in keys.into_iter().enumerate() {
            let bad = |id: &KeyId, why| BadRing::Key { number: index + 1, id: id.clone(), why };
            let id = entry.id.clone();
            let key = entry.check().map_err(|why| bad(&id, why))?;
            if !ring.insert(key) {
                return Err(bad(&id, "another key has this id"));
            }
        }
        Ok(ring)
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        let keys = self.keys.iter().map(Entry::of).collect();
        let text = serde_json::to_string_pretty(&Form { version: VERSION, keys });
        text.expect("strings and numbers only") + "\n"
    }

    /// All keys, in the order of the file.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key with this id.
    pub fn key(&self, id: &KeyId) -> Option<&Key> {
        self.by_id.get(id).map(|index| &self.keys[*index])
    }

    /// The key that `candidate` is.
    pub fn find(&self, candidate: &str) -> Option<&Key> {
        let key = self.key(&KeyId::of(candidate)?)?;
        hash::is_same(&key.hash, &hash::of(candidate.as_bytes())).then_some(key)
    }

    /// The key that `candidate` is, when it is one of this client's.
    pub fn find_of_client(&self, candidate: &str, client: &ClientId) -> Option<&Key> {
        self.find(candidate).filter(|key| matches!(&key.owner, Owner::Client(owner) if owner == client))
    }

    /// The operator that `id` is a key of.
    pub fn operator(&self, id: &KeyId) -> Option<Arc<Operator>> {
        match &self.key(id)?.owner {
            Owner::Operator(operator) => Some(operator.clone()),
            Owner::Client(_) => None,
        }
    }

    /// Whether `id` is a key of this client.
    pub fn is_of_client(&self, id: &KeyId, client: &ClientId) -> bool {
        self.key(id).is_some_and(|key| matches!(&key.owner, Owner::Client(owner) if owner == client))
    }

    /// Adds a key; false, with nothing changed, when its id is taken.
    pub fn add(&mut self, new: &NewKey, owner: Owner, created_at: u64) -> bool {
        self.insert(Key { id: new.id.clone(), owner, hash: new.hash, created_at })
    }

    /// Takes a key out.
    pub fn remove(&mut self, id: &KeyId) -> Option<Key> {
        let removed = self.keys.remove(self.by_id.remove(id)?);
        self.by_id = self.keys.iter().enumerate().map(|(index, key)| (key.id.clone(), index)).collect();
        Some(removed)
    }

    fn insert(&mut self, key: Key) -> bool {
        if self.by_id.contains_key(&key.id) {
            return false;
        }
        self.by_id.insert(key.id.clone(), self.keys.len());
        self.keys.push(key);
        true
    }
}

impl Owner {
    /// The client's id or the operator's name.
    pub fn name(&self) -> &str {
        match self {
            Owner::Client(client) => client.as_str(),
            Owner::Operator(operator) => operator.name.as_str(),
        }
    }
}

impl Entry {
    fn of(key: &Key) -> Entry {
        let Key { id, owner, hash, created_at } = key;
        let empty = Entry {
            id: id.clone(),
            kind: Kind::Client,
            client_id: None,
            name: None,
            scopes: None,
            clients: None,
            files: None,
            sha256: *hash,
            created_at: *created_at,
        };
        match owner {
            Owner::Client(client) => Entry { client_id: Some(client.clone()), ..empty },
            Owner::Operator(operator) => {
                let Operator { name, scopes, clients, files } = (**operator).clone();
                let (name, scopes) = (Some(name), Some(scopes));
                Entry {
                    kind: Kind::Operator,
                    name,
                    scopes,
                    clients: Some(clients),
                    files: Some(files),
                    ..empty
                }
            }
        }
    }

    fn check(self) -> Result<Key, &'static str> {
        let Entry { id, kind, client_id, name, scopes, clients, files, sha256, created_at } = self;
        let owner = match (kind, client_id, name, scopes, clients, files) {
            (Kind::Client, Some(client), None, None, None, None) => Owner::Client(client),
            (Kind::Client, _, _, _, _, _) => {
                return Err("a key of a client has id, kind, clientId, sha256 and createdAt");
            }
            (Kind::Operator, None, Some(name), Some(scopes), Some(clients), Some(files)) => {
                if scopes.is_empty() || clients.is_empty() || files.is_empty() {
                    return Err("scopes, clients and files each have one entry or more");
                }
                if clients.len().max(files.len()).max(scopes.len()) > limits::MAX_KEY_PATTERNS {
                    return Err("a key has at most 256 patterns of each kind");
                }
                Owner::Operator(Arc::new(Operator { name, scopes, clients, files }))
            }
            (Kind::Operator, _, _, _, _, _) => {
                return Err(
                    "a key of an operator has id, kind, name, scopes, clients, files, sha256 and createdAt",
                );
            }
        };
        Ok(Key { id, owner, hash: sha256, created_at })
    }
}
