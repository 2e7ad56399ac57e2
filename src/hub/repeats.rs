//! Which requests were made before, by their Idempotency-Key: each with the transfers that it began.
//!
//! A key lives with its transfers: it is in their records, and is forgotten with the last of them. So this grows no
//! further than the transfers do, and nothing has to wake up for it. A key that is older than a day is as good as none;
//! whoever uses it again makes it a new one.

use std::collections::{BTreeMap, HashMap};

use super::{Denied, Hub, Now};
use crate::limits;
use crate::names::{ClientId, RequestId, Sha256Hash};
use crate::record::{Idempotency, IdempotencyKey};
use crate::transfer::Transfer;

/// All requests with a key, by caller and key.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    requests: HashMap<(String, IdempotencyKey), Request>,
}

/// One request, however often it was made.
#[derive(Debug)]
pub(super) struct Request {
    fingerprint: Sha256Hash,
    /// When its first transfer was begun, in milliseconds since the epoch.
    since: u64,
    /// The batch of its transfers.
    pub(super) batch_id: Option<RequestId>,
    /// Its transfers; one for each client.
    pub(super) transfers: BTreeMap<ClientId, RequestId>,
}

/// The key stands for a request that asks for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OtherRequest;

impl Hub {
    /// The clients for which a request has begun a transfer already.
    ///
    /// # Errors
    /// When its key stands for another request.
    pub fn begun(&self, made: Option<&Idempotency>, now: Now) -> Result<Vec<ClientId>, Denied> {
        let request = self.earlier(made, now)?;
        Ok(request.map_or(Vec::new(), |request| request.transfers.keys().cloned().collect()))
    }

    /// The request as it was made before.
    pub(super) fn earlier(&self, made: Option<&Idempotency>, now: Now) -> Result<Option<&Request>, Denied> {
        let Some(made) = made else { return Ok(None) };
        self.repeats.find(made, now.wall).map_err(|OtherRequest| Denied::KeyTaken)
    }
}

impl Repeats {
    /// The request as it was made before.
    pub(super) fn find(&self, wanted: &Idempotency, wall: u64) -> Result<Option<&Request>, OtherRequest> {
        match self.requests.get(&place(wanted)).filter(|request| !request.is_old(wall)) {
            Some(request) if request.fingerprint != wanted.request => Err(OtherRequest),
            found => Ok(found),
        }
    }

    /// The request has begun this transfer.
    pub(super) fn note(&mut self, made: &Idempotency, transfer: &Transfer) {
        let fresh = || Request {
            fingerprint: made.request,
            since: transfer.created_at,
            batch_id: transfer.batch_id,
            transfers: BTreeMap::new(),
        };
        let request = self.requests.entry(place(made)).or_insert_with(fresh);
        if request.fingerprint != made.request || request.is_old(transfer.created_at) {
            *request = fresh();
        }
        request.transfers.insert(transfer.client_id.clone(), transfer.request_id);
    }

    /// The transfer is remembered no more, or never was.
    pub(super) fn forget(&mut self, made: &Idempotency, transfer: &Transfer) {
        let place = place(made);
        let Some(request) = self.requests.get_mut(&place) else { return };
        // The key may stand for a later request by now.
        if request.transfers.get(&transfer.client_id) == Some(&transfer.request_id) {
            request.transfers.remove(&transfer.client_id);
        }
        if request.transfers.is_empty() {
            self.requests.remove(&place);
        }
    }
}

impl Request {
    fn is_old(&self, wall: u64) -> bool {
        wall.saturating_sub(self.since) >= limits::IDEMPOTENCY_TIME.as_millis() as u64
    }
}

fn place(of: &Idempotency) -> (String, IdempotencyKey) {
    (of.caller.clone(), of.key.clone())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::tests::{at, client, config, failure, id, order};
    use super::super::{Admitted, Config, Order};
    use super::*;
    use crate::protocol::Dialect;
    use crate::transfer::FailureCode;

    /// A request with this key that asks for this.
    pub fn made(key: u64, what: u64) -> Idempotency {
        let key = format!("key {key}").try_into().unwrap();
        Idempotency { caller: "operator".into(), key, request: Sha256Hash([what as u8; 32]) }
    }

    fn keyed(number: u64, name: &str, made: Idempotency) -> Order {
        Order { idempotency: Some(made), ..order(number, name) }
    }

    fn hub() -> Hub {
        let mut hub = Hub::new(config());
        hub.join("a", Dialect::V2, at(0));
        hub.join("b", Dialect::V2, at(0));
        hub
    }

    /// Whether the order has begun a transfer, and which one it has.
    #[track_caller]
    fn begin(hub: &mut Hub, order: Order, seconds: u64) -> (bool, RequestId) {
        let admitted = hub.admit(order, at(seconds)).unwrap();
        if let Admitted::New(transfer) = &admitted {
            hub.release(transfer.request_id, at(seconds));
        }
        hub.check();
        match admitted {
            Admitted::New(transfer) => (true, transfer.request_id),
            Admitted::Again(transfer) => (false, transfer.request_id),
            Admitted::Pending(id) => panic!("{id} was released"),
        }
    }

    impl Hub {
        /// What is found by a key is a transfer that has it.
        pub(in super::super) fn check_repeats(&self) {
            for ((caller, key), request) in &self.repeats.requests {
                assert!(!request.transfers.is_empty());
                for (client, id) in &request.transfers {
                    let entry = &self.transfers[id];
                    assert_eq!(entry.transfer.client_id, *client);
                    let wanted = (caller.clone(), key.clone(), request.fingerprint);
                    let made = entry.idempotency.clone().unwrap();
                    assert_eq!((made.caller, made.key, made.request), wanted);
                }
            }
        }
    }

    #[test]
    fn a_repeat_has_the_first_ones_transfer() {
        let mut hub = hub();
        assert_eq!(begin(&mut hub, keyed(1, "a", made(1, 1)), 0), (true, id(1)));
        assert_eq!(begin(&mut hub, keyed(2, "a", made(1, 1)), 1), (false, id(1)));
        assert_eq!(hub.admit(keyed(2, "a", made(1, 2)), at(1)), Err(Denied::KeyTaken));
        assert_eq!(hub.admit(keyed(2, "b", made(1, 2)), at(1)), Err(Denied::KeyTaken));
        let other_caller = Idempotency { caller: "other".into(), ..made(1, 2) };
        assert_eq!(begin(&mut hub, keyed(2, "a", other_caller), 1), (true, id(2)));
        assert_eq!(begin(&mut hub, keyed(3, "a", made(2, 1)), 1), (true, id(3)));
        assert_eq!(begin(&mut hub, order(4, "a"), 1), (true, id(4)), "without a key each is new");
    }

    #[test]
    fn a_repeat_is_answered_where_nothing_new_is_accepted() {
        let mut hub = Hub::new(Config { max_queued: 0, max_concurrent: 1, ..config() });
        let (line, _) = hub.join("a", Dialect::V2, at(0));
        begin(&mut hub, keyed(1, "a", made(1, 1)), 0);
        assert_eq!(hub.admit(order(2, "a"), at(0)), Err(Denied::TooMany));
        assert_eq!(begin(&mut hub, keyed(2, "a", made(1, 1)), 0), (false, id(1)));
        hub.cancel(id(1), at(1)).unwrap();
        assert_eq!(begin(&mut hub, keyed(2, "a", made(1, 1)), 1), (false, id(1)), "ended");
        hub.disconnect(&client("a"), line, 0, at(2));
        assert_eq!(begin(&mut hub, keyed(2, "a", made(1, 1)), 2), (false, id(1)), "its client is gone");
        hub.stop();
        assert_eq!(begin(&mut hub, keyed(2, "a", made(1, 1)), 3), (false, id(1)), "the server stops");
    }

    #[test]
    fn what_was_denied_is_not_remembered() {
        let mut hub = hub();
        assert_eq!(hub.admit(keyed(1, "c", made(1, 1)), at(0)), Err(Denied::NotConnected));
        assert_eq!(begin(&mut hub, keyed(2, "a", made(1, 2)), 0), (true, id(2)));
    }

    #[test]
    fn until_its_record_is_saved_a_transfer_is_pending() {
        let mut hub = hub();
        hub.admit(keyed(1, "a", made(1, 1)), at(0)).unwrap();
        let again = |hub: &mut Hub| hub.admit(keyed(2, "a", made(1, 1)), at(0));
        assert_eq!(again(&mut hub), Ok(Admitted::Pending(id(1))));
        // It can't be saved: the key is free.
        assert!(hub.retract(id(1)));
        hub.check();
        assert!(matches!(again(&mut hub), Ok(Admitted::New(_))));
        // The repeat has saved it: whoever was first takes nothing back.
        hub.release(id(2), at(0));
        assert!(!hub.retract(id(2)));
        hub.check();
        assert!(matches!(again(&mut hub), Ok(Admitted::Again(_))));
    }

    #[test]
    fn a_batch_is_topped_up() {
        let mut hub = hub();
        let batch = |number, name, batch| Order { batch_id: Some(batch), ..keyed(number, name, made(1, 1)) };
        assert_eq!(hub.begun(Some(&made(1, 1)), at(0)), Ok(vec![]));
        begin(&mut hub, batch(1, "a", id(50)), 0);
        assert_eq!(hub.begun(Some(&made(1, 1)), at(0)), Ok(vec![client("a")]));
        assert_eq!(hub.begun(Some(&made(1, 2)), at(0)), Err(Denied::KeyTaken));
        assert_eq!(hub.begun(None, at(0)), Ok(vec![]));

        assert_eq!(begin(&mut hub, batch(2, "a", id(51)), 1), (false, id(1)));
        assert_eq!(begin(&mut hub, batch(3, "b", id(51)), 1), (true, id(3)));

        assert_eq!(hub.transfer(id(3)).unwrap().batch_id, Some(id(50)), "the first one's");
    }

    #[test]
    fn a_key_is_free_after_a_day() {
        let mut hub = hub();
        let day = 24 * 3600;
        begin(&mut hub, keyed(1, "a", made(1, 1)), 0);
        begin(&mut hub, keyed(2, "b", made(1, 1)), day - 1);
        assert_eq!(begin(&mut hub, keyed(3, "a", made(1, 1)), day - 1), (false, id(1)));
        // Counted from the first, for all of them.
        assert_eq!(hub.begun(Some(&made(1, 2)), at(day)), Ok(vec![]));
        assert_eq!(begin(&mut hub, keyed(3, "b", made(1, 2)), day), (true, id(3)));
        assert_eq!(hub.admit(keyed(4, "a", made(1, 1)), at(day)), Err(Denied::KeyTaken));
        // The old one's end does not touch the new one.
        hub.cancel(id(2), at(day)).unwrap();
        assert_eq!(begin(&mut hub, keyed(4, "b", made(1, 2)), day + 1), (false, id(3)));
    }

    #[test]
    fn a_key_is_forgotten_with_its_transfer() {
        let mut hub = Hub::new(Config { keep_transfers: 1, ..config() });
        hub.join("a", Dialect::V2, at(0));
        for number in [1, 2] {
            begin(&mut hub, keyed(number, "a", made(number, 1)), 0);
            hub.cancel(id(number), at(1)).unwrap();
        }
        assert_eq!(begin(&mut hub, keyed(3, "a", made(2, 1)), 1), (false, id(2)));
        assert_eq!(begin(&mut hub, keyed(3, "a", made(1, 1)), 1), (true, id(3)));
    }

    #[test]
    fn records_bring_the_keys_back() {
        let mut before = hub();
        let batch = |number, name| Order { batch_id: Some(id(50)), ..keyed(number, name, made(1, 1)) };
        begin(&mut before, batch(1, "a"), 0);
        begin(&mut before, keyed(2, "a", made(2, 1)), 1);
        before.cancel(id(2), at(1)).unwrap();
        let day = 24 * 3600;
        begin(&mut before, batch(3, "a"), day);

        let mut hub = Hub::new(config());
        for number in 1..=3 {
            let record = before.record(id(number)).unwrap();
            hub.restore(record, 0, failure(FailureCode::ServerRestarted), at(day + 1));
        }

        assert_eq!(begin(&mut hub, batch(4, "a"), day + 2), (false, id(3)), "the later one has the key");
        assert_eq!(hub.record(id(2)).unwrap().idempotency, Some(made(2, 1)));
        hub.join("b", Dialect::V2, at(day + 2));
        assert_eq!(begin(&mut hub, batch(4, "b"), day + 2), (true, id(4)));
        assert_eq!(hub.admit(batch(5, "b"), at(day + 2)).map(|_| ()), Ok(()));
        assert_eq!(hub.admit(keyed(6, "b", made(1, 2)), at(day + 2)), Err(Denied::KeyTaken));
    }
}
