//! What the owner of this machine lets leave: the allowance, as the agent's transfers meet it, and as the server hears it.

use std::time::Duration;

use super::Agent;
use crate::allowance::{Allowance, Pull, Spent};
use crate::clock;
use crate::lock::lock;
use crate::refusal::{Refusal, RefusalCode};

impl Agent {
    /// A pull begins, of which `bytes` will surely leave.
    pub(super) fn allow_pull(&self, pull: Pull, bytes: u64) -> Result<(), Refusal> {
        self.of_allowance(|all, now| all.begin(now, pull, bytes))
    }

    /// So many bytes of a file are about to leave.
    pub(super) fn allow_bytes(&self, bytes: usize) -> Result<(), Refusal> {
        self.of_allowance(|all, now| all.leave(now, bytes as u64))
    }

    /// The file of this pull has been sent whole.
    pub(super) fn sent_whole(&self, pull: Pull) {
        // There is no no to that.
        let _ = self.of_allowance(|all, _| {
            all.sent_whole(pull);
            Ok(())
        });
    }

    fn of_allowance(
        &self,
        ask: impl FnOnce(&mut Allowance, Duration) -> Result<(), Spent>,
    ) -> Result<(), Refusal> {
        let Some(allowance) = &self.allowance else { return Ok(()) };
        let asked = ask(&mut lock(allowance), self.started.elapsed());
        asked.map_err(|spent| refusal(spent, clock::now_ms()))
    }
}

/// What the server and its operator are told. The time is the next whole minute, in UTC.
fn refusal(spent: Spent, now_ms: u64) -> Refusal {
    let after = |wait: Duration| {
        let at = now_ms.saturating_add(wait.as_millis() as u64).saturating_add(59_999);
        let minute = clock::iso8601(at);
        format!("ask again after {}Z", minute.get(..16).unwrap_or(&minute))
    };
    let why = match spent {
        Spent::Pulls { most, wait } => {
            format!("this client gives at most {most} pulls an hour: {}", after(wait))
        }
        Spent::Bytes { most, wait: Some(wait) } => {
            format!("this client gives at most {most} bytes a day: {}", after(wait))
        }
        Spent::Bytes { most, wait: None } => {
            format!("this client gives at most {most} bytes a day, and this file alone has more")
        }
    };
    Refusal::new(RefusalCode::LimitReached, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let now = 1_761_924_600_123; // 2025-10-31T15:30:00.123Z
        let wait = Duration::from_secs(600);
        for (spent, words) in [
            (Spent::Pulls { most: 20, wait }, "at most 20 pulls an hour: ask again after 2025-10-31T15:41Z"),
            (
                Spent::Bytes { most: 5, wait: Some(wait) },
                "at most 5 bytes a day: ask again after 2025-10-31T15:41Z",
            ),
            (Spent::Bytes { most: 5, wait: None }, "at most 5 bytes a day, and this file alone has more"),
        ] {
            assert_eq!(refusal(spent, now).message, format!("this client gives {words}"));
        }
    }
}
