//! What an agent answers to `list`: each in a thread of its own, a few at once.

use std::thread::Scope;

use super::session::Session;
use crate::limits;
use crate::names::RequestId;
use crate::protocol::{ToServer, to_text};
use crate::refusal::{Refusal, RefusalCode};
use crate::shares::listing::Listing;
use crate::threads;

impl Session<'_> {
    /// Lists in a thread: a folder may be large, its disk slow, and the answer long.
    pub(super) fn list<'scope>(
        &'scope self,
        id: RequestId,
        path: Option<String>,
        by: Option<String>,
        scope: &'scope Scope<'scope, '_>,
    ) {
        if self.agent.stopping.is_told() {
            return self.refuse(id, None, &Refusal::new(RefusalCode::TooManyTransfers, "this agent stops"));
        }
        if let Err(refusal) = self.agent.taken.listing_asked(id, path.as_deref(), by.as_deref()) {
            return self.refuse(id, None, &refusal);
        }
        {
            let mut transfers = self.lock();
            if transfers.listings == limits::MAX_LISTINGS {
                drop(transfers);
                let busy = Refusal::new(RefusalCode::TooManyTransfers, "other folders are being listed");
                self.agent.taken.listing_refused(path.as_deref(), by.as_deref(), &busy);
                return self.refuse(id, None, &busy);
            }
            transfers.listings += 1;
        }
        let list = move || {
            match self.agent.files.list(path.as_deref()) {
                Ok(Listing { entries, truncated }) => {
                    let answer = ToServer::Listing { request_id: id, entries, truncated };
                    // A line that is gone ends its reader, which says so.
                    let _gone = self.outbox.send_text(&to_text(&answer));
                }
                Err(refusal) => {
                    self.agent.taken.listing_refused(path.as_deref(), by.as_deref(), &refusal);
                    self.refuse(id, None, &refusal);
                }
            }
            self.lock().listings -= 1;
        };
        if let Err(error) = threads::spawn_scoped(scope, "list", limits::SMALL_STACK, list) {
            self.lock().listings -= 1;
            let none = format!("no thread for it: {error}");
            self.refuse(id, None, &Refusal::new(RefusalCode::TooManyTransfers, none));
        }
    }
}
