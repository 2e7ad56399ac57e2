//! What is remembered of transfers that have ended. Downloads are never touched.

use super::{Action, Hub};

impl Hub {
    /// Forgets those that ended first, beyond `keep_transfers`.
    pub(super) fn forget_old_transfers(&mut self, actions: &mut Vec<Action>) {
        while self.ended.len() > self.config.keep_transfers {
            let Some(id) = self.ended.pop_front() else { return };
            if let Some(entry) = self.transfers.remove(&id) {
                self.order.remove(&entry.seq);
            }
            actions.push(Action::Forget(id));
        }
    }
}
