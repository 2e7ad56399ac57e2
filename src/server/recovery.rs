//! What an earlier run has left, taken up before anybody is let in.

use std::collections::BTreeSet;

use super::Server;
use crate::audit::Event;
use crate::hub::Action;
use crate::limits;
use crate::names::RequestId;
use crate::spool::Recovered;
use crate::transfer::{Failure, FailureCode, Status};

impl Server {
    /// Takes up what an earlier run left.
    pub(super) fn recover(&self) {
        let found = self.spool.recover();
        if found.is_empty() {
            return;
        }
        let count = |wanted: fn(Status) -> bool| {
            found.iter().filter(|found| wanted(found.record.transfer.status)).count()
        };
        let ended = count(Status::is_final);
        let queued = count(|status| status == Status::Queued);
        log::info!(
            "found {} transfers in the spool: {ended} ended, {queued} queued, {} interrupted",
            found.len(),
            found.len() - ended - queued
        );
        let mut outdated = BTreeSet::new();
        for Recovered { record, part, is_saved } in found {
            let id = record.transfer.request_id;
            let why = Failure::new(FailureCode::ServerRestarted, "the server was restarted");
            self.act(|hub, now| {
                let (saves, others): (Vec<Action>, _) = hub
                    .restore(record, part, why, now)
                    .into_iter()
                    .partition(|action| matches!(action, Action::Save(_)));
                outdated.extend((!saves.is_empty()).then_some(id));
                others
            });
            if !is_saved {
                // It was published and not told of when the last run ended.
                if let Some(transfer) = self.ask(|hub| hub.transfer(id).cloned()) {
                    self.audit(&Event::ended(&transfer));
                }
                outdated.insert(id);
            }
        }
        let outdated: Vec<RequestId> = outdated.into_iter().collect();
        outdated.chunks(limits::SAVES_TOGETHER).for_each(|ids| self.keep_all_saved(ids));
    }
}
