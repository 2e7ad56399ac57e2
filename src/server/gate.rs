//! Who is let in: by `AUTH_SECRET` as in v1, or by the keys of `KEYS_FILE`.
//!
//! The ring is replaced whole when the file has changed; whoever asks has the one that is valid at that moment. A file
//! that becomes bad changes nothing: the keys of before stay valid until it is good again. A wrong key looks at the file
//! once more first, for file systems that do not tell of changes.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::{Link, Server};
use crate::keys::failures::Failures;
use crate::keys::file::{self, KeysError, Stamp};
use crate::keys::{KeyId, Operator, Ring};
use crate::limits;
use crate::line::close;
use crate::lock::lock;
use crate::names::ClientId;
use crate::settings::{Access, Secret};

/// What stands for `AUTH_SECRET` where a key's id would stand.
const THE_SECRET: &str = "secret";
/// The name of everybody who has `AUTH_SECRET`.
const EVERYBODY: &str = "operator";

/// Who is let in.
pub(super) struct Gate {
    doors: Doors,
    failures: Mutex<Failures>,
    /// Clients that have been told of for a secret in the URL.
    in_url: Mutex<HashSet<ClientId>>,
}

enum Doors {
    Secret { secret: Secret, operator: Arc<Operator> },
    Keys { path: PathBuf, ring: Mutex<Arc<Ring>>, seen: Mutex<Seen> },
}

/// What was last seen of the file. Its mutex is held while the file is read.
struct Seen {
    stamp: Option<Stamp>,
    /// A later change would have another stamp.
    is_settled: bool,
    trouble: Option<String>,
    /// The trouble is not with the file: nothing will tell that it is over.
    may_pass: bool,
}

/// The key that a client dialled in with; nothing when that is `AUTH_SECRET`.
pub(super) type LineKey = Option<KeyId>;

impl Gate {
    /// # Errors
    /// When the file of keys can't be read, or is not understood.
    pub(super) fn new(access: &Access) -> Result<Gate, String> {
        let doors = match access {
            Access::Secret(secret) => {
                let name = EVERYBODY.parse().expect("the name is a name");
                Doors::Secret { secret: secret.clone(), operator: Operator::with_all_rights(name).into() }
            }
            Access::Keys { path, beside_secret } => {
                if *beside_secret {
                    log::warn!("KEYS_FILE is set, so AUTH_SECRET is off: take it out of the settings");
                }
                let stamp = Stamp::of(path);
                let ring = file::load(path).map_err(|error| {
                    let missing = "; `towline-server keys add` makes it";
                    format!("KEYS_FILE: {error}{}", if error.is_missing() { missing } else { "" })
                })?;
                log::info!("{} keys in {}", ring.keys().len(), path.display());
                let seen = Mutex::new(Seen { stamp, is_settled: false, trouble: None, may_pass: false });
                Doors::Keys { path: path.clone(), ring: Mutex::new(ring.into()), seen }
            }
        };
        Ok(Gate { doors, failures: Mutex::new(Failures::new(Instant::now())), in_url: Mutex::default() })
    }

    /// The file to watch.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.doors {
            Doors::Secret { .. } => None,
            Doors::Keys { path, .. } => Some(path),
        }
    }

    /// What stands for the operator whose key this is, for [`Gate::operator`] to find later.
    fn check_operator(&self, candidate: &str) -> Option<String> {
        match &self.doors {
            Doors::Secret { secret, .. } => secret.matches(candidate).then(|| THE_SECRET.to_owned()),
            Doors::Keys { ring, .. } => {
                let ring = lock(ring).clone();
                let key = ring.find(candidate)?;
                ring.operator(&key.id).map(|_| key.id.to_string())
            }
        }
    }

    fn check_client(&self, candidate: &str, client: &ClientId) -> Option<LineKey> {
        match &self.doors {
            Doors::Secret { secret, .. } => secret.matches(candidate).then_some(None),
            Doors::Keys { ring, .. } => {
                let ring = lock(ring).clone();
                ring.find_of_client(candidate, client).map(|key| Some(key.id.clone()))
            }
        }
    }

    /// The operator, with the rights of this moment; nothing when its key has been revoked meanwhile.
    pub(super) fn operator(&self, found: &str) -> Option<Arc<Operator>> {
        match &self.doors {
            Doors::Secret { operator, .. } => (found == THE_SECRET).then(|| operator.clone()),
            Doors::Keys { ring, .. } => lock(ring).operator(&found.parse().ok()?),
        }
    }

    /// Whether a line that came in with this key may stay.
    pub(super) fn lets_stay(&self, client: &ClientId, key: &LineKey) -> bool {
        match (&self.doors, key) {
            (Doors::Secret { .. }, None) => true,
            (Doors::Keys { ring, .. }, Some(key)) => lock(ring).is_of_client(key, client),
            (Doors::Secret { .. }, Some(_)) | (Doors::Keys { .. }, None) => false,
        }
    }

    /// Reads the file again when it has been touched; returns whether that has changed the keys.
    fn look(&self) -> bool {
        let Doors::Keys { path, ring, seen } = &self.doors else { return false };
        let mut seen = lock(seen);
        // Before it is read: what changes in between is seen the next time.
        let stamp = Stamp::of(path);
        let is_touched = stamp != seen.stamp;
        if !is_touched && seen.is_settled && !seen.may_pass {
            return false;
        }
        seen.stamp = stamp;
        seen.is_settled = stamp.is_none_or(|stamp| stamp.is_settled(SystemTime::now()));
        let loaded = file::load(path);
        seen.may_pass = loaded.as_ref().is_err_and(KeysError::may_pass);
        match loaded {
            Ok(new) => {
                if seen.trouble.take().is_some() {
                    log::info!("{} is good again", path.display());
                }
                if **lock(ring) == new {
                    return false;
                }
                log::info!("{} has changed: {} keys", path.display(), new.keys().len());
                *lock(ring) = new.into();
                true
            }
            Err(error) => {
                let trouble = Some(error.to_string());
                if is_touched || seen.trouble != trouble {
                    log::error!("KEYS_FILE: {error}; the keys of before stay valid");
                }
                seen.trouble = trouble;
                false
            }
        }
    }

    /// Whether the file could not be read for a reason that may pass without any change to it.
    fn must_look_again(&self) -> bool {
        matches!(&self.doors, Doors::Keys { seen, .. } if lock(seen).may_pass)
    }

    /// A key was wrong: how long the answer is to be held back.
    pub(super) fn hold_for(&self, peer: SocketAddr) -> Duration {
        lock(&self.failures).note(peer.ip(), Instant::now())
    }

    /// Whether this is the first time that the client's secret was in the URL.
    pub(super) fn is_first_in_url(&self, client: &ClientId) -> bool {
        let mut told = lock(&self.in_url);
        if told.len() >= limits::MAX_KNOWN_CLIENTS {
            told.clear(); // with AUTH_SECRET a client may have any name
        }
        told.insert(client.clone())
    }
}

impl Server {
    /// What stands for the operator whose key this is.
    pub(super) fn admit_operator(&self, candidate: &str) -> Option<String> {
        self.gate.check_operator(candidate).or_else(|| {
            self.look_at_keys();
            // Also when it was another thread that has seen the change.
            self.gate.check_operator(candidate)
        })
    }

    /// The key, when it is one of this client's.
    pub(super) fn admit_client(&self, candidate: &str, client: &ClientId) -> Option<LineKey> {
        self.gate.check_client(candidate, client).or_else(|| {
            self.look_at_keys();
            self.gate.check_client(candidate, client)
        })
    }

    /// Follows the file of keys, whenever something may have happened to it.
    pub(super) fn follow_keys(&self) {
        self.look_at_keys();
        while self.gate.must_look_again() {
            thread::sleep(limits::LOOK_PAUSE);
            self.look_at_keys();
        }
    }

    /// Reads the keys again when their file has been touched, and ends the lines of those that are no more.
    fn look_at_keys(&self) {
        if self.gate.look() {
            let is_over = |(client, link): &(&ClientId, &Link)| !self.gate.lets_stay(client, &link.key);
            let over: Vec<(ClientId, Link)> = {
                let state = self.lock();
                let over = state.links.iter().filter(is_over);
                over.map(|(client, link)| (client.clone(), link.clone())).collect()
            };
            over.into_iter().for_each(|(client, link)| end_revoked(&client, &link));
        }
    }

    /// Whether the line of a client that has just been let in may stay: its key may have been revoked before the line was
    /// where [`Server::look_at_keys`] finds it.
    pub(super) fn end_if_revoked(&self, client: &ClientId, link: &Link) {
        if !self.gate.lets_stay(client, &link.key) {
            end_revoked(client, link);
        }
    }
}

fn end_revoked(client: &ClientId, link: &Link) {
    log::warn!("the key of {client} was revoked: its line is closed");
    link.outbox.close(close::POLICY, "its key was revoked");
    link.outbox.shut();
}
