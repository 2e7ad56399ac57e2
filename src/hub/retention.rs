//! What is remembered of transfers that have ended. Downloads are never touched.

use super::{Action, Due, Hub, Now};

impl Hub {
    /// Forgets those that ended first, beyond `keep_transfers` and before `keep_ms`, and says when to look again.
    pub(super) fn forget_old_transfers(&mut self, now: Now, actions: &mut Vec<Action>) {
        while let Some(id) = self.ended.front().copied() {
            let over = self.ended.len() > self.config.keep_transfers;
            let left = self.time_left(id, now);
            if !over && left != Some(0) {
                self.look_again(left, now);
                return;
            }
            self.ended.pop_front();
            self.note_forgotten(id);
            if let Some(entry) = self.transfers.remove(&id) {
                self.lists.remove(&entry.transfer, entry.seq);
                if let Some(made) = &entry.idempotency {
                    self.repeats.forget(made, &entry.transfer);
                }
            }
            actions.push(Action::Forget(id));
        }
    }

    /// How long this transfer is still remembered; `None` is for ever.
    fn time_left(&self, id: crate::names::RequestId, now: Now) -> Option<u64> {
        let ended = self.transfers.get(&id)?.transfer.finished_at?;
        Some((ended + self.config.keep_ms?).saturating_sub(now.wall))
    }

    fn look_again(&mut self, left: Option<u64>, now: Now) {
        let at = left.map(|left| now.mono + left);
        if let Some(old) = std::mem::replace(&mut self.retention_due, at) {
            self.due.remove(&(old, Due::Retention));
        }
        if let Some(at) = at {
            self.due.insert((at, Due::Retention));
        }
    }
}
