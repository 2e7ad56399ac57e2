//! Two machines with one client id, as after a disk was cloned: who else comes with it, for how long, how often.
//!
//! The one that is in stays in; the other is refused while that answers, and told to wait longer each time. When the
//! first goes, whoever comes first is in. Two that take turns so are noticed by the hosts that their lines come from;
//! behind one address they are noticed when they meet. All of it is forgotten some time after the last sign.

use serde::{Deserialize, Serialize};

use super::{Hub, Now};
use crate::limits;
use crate::names::ClientId;

/// Another machine with a client's id, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contested {
    /// Where it came from last.
    pub address: String,
    /// When it was first noticed.
    pub since: u64,
    /// When it was noticed last.
    pub last: u64,
    /// How often it was refused, or took turns.
    pub times: u32,
}

impl Contested {
    /// Whether this is to be logged: the first time, and each time that it has become twice as often.
    pub fn is_news(&self) -> bool {
        self.times.is_power_of_two()
    }

    /// How long the other machine is told to stay away, in seconds: twice as long each time.
    pub fn retry_after(&self) -> u64 {
        let doubled = limits::CONTESTED_RETRY_SECONDS << (self.times - 1).min(8);
        doubled.min(limits::BACKOFF_MOST.as_secs())
    }
}

/// What is known of one client's id in this respect.
#[derive(Debug, Clone, Default)]
pub(super) struct Rivalry {
    contested: Option<Contested>,
    /// When it was noticed last, by the monotonic clock.
    noticed: u64,
    /// Where lines came from before the host changed, and when it did.
    moved: Option<(String, u64)>,
}

impl Rivalry {
    /// What there is to show of it.
    pub(super) fn now(&self, now: Now) -> Option<&Contested> {
        let passed = now.mono.saturating_sub(self.noticed);
        self.contested.as_ref().filter(|_| passed < limits::CONTESTED_TIME.as_millis() as u64)
    }

    fn notice(&mut self, address: &str, now: Now) -> &Contested {
        let before = self.now(now).map(|contested| (contested.since, contested.times));
        let (since, times) = before.unwrap_or((now.wall, 0));
        self.noticed = now.mono;
        let times = times.saturating_add(1);
        self.contested.insert(Contested { address: address.to_owned(), since, last: now.wall, times })
    }

    /// A line from `address` has followed one from `before`: two machines may be taking turns.
    pub(super) fn line_follows(&mut self, before: &str, address: &str, now: Now) {
        if host(before) == host(address) {
            return;
        }
        let was_refused = self.now(now).is_some_and(|other| host(&other.address) == host(address));
        let is_back = self.moved.as_ref().is_some_and(|(from, at)| {
            from == host(address) && now.mono.saturating_sub(*at) < limits::CONTESTED_TIME.as_millis() as u64
        });
        self.moved = Some((host(before).to_owned(), now.mono));
        if was_refused || is_back {
            self.notice(before, now);
        }
    }
}

impl Hub {
    /// Another machine came with this client's id, and was refused because the one that is connected answers.
    pub fn contest(&mut self, client: &ClientId, address: &str, now: Now) -> Option<Contested> {
        let known = self.clients.get_mut(client)?;
        Some(known.rivalry.notice(address, now).clone())
    }

    /// The other machine that has this client's id too.
    pub fn contested(&self, client: &ClientId, now: Now) -> Option<&Contested> {
        self.clients.get(client)?.rivalry.now(now)
    }
}

/// An address without its port.
fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}
