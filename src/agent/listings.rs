//! What an agent answers to `list`: each in a thread of its own, a few at once.

use std::thread::{self, Scope};

use super::session::Session;
use crate::limits;
use crate::names::RequestId;
use crate::protocol::{ToServer, to_text};
use crate::refusal::{Refusal, RefusalCode};
use crate::shares::listing::Listing;

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
        let builder = thread::Builder::new().name("list".to_owned()).stack_size(limits::SMALL_STACK);
        if let Err(error) = builder.spawn_scoped(scope, list) {
            self.lock().listings -= 1;
            let none = format!("no thread for it: {error}");
            self.refuse(id, None, &Refusal::new(RefusalCode::TooManyTransfers, none));
        }
    }
}
