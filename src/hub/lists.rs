//! Which transfers there are, by what lists are filtered for: a list that few are in is found without a look at all others.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Filter, Hub};
use crate::names::{ClientId, RequestId};
use crate::transfer::{Status, Transfer};

/// Where a transfer stands in a list: when it was asked for, in milliseconds since the epoch, and after which others.
pub(super) type Place = (u64, u64);

/// All transfers, oldest first.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) all: BTreeMap<Place, RequestId>,
    by_status: HashMap<Status, BTreeSet<Place>>,
    by_client: HashMap<ClientId, BTreeSet<Place>>,
    by_batch: HashMap<RequestId, BTreeSet<Place>>,
}

impl Lists {
    pub(super) fn add(&mut self, transfer: &Transfer, seq: u64) {
        let place = (transfer.created_at, seq);
        self.all.insert(place, transfer.request_id);
        self.by_status.entry(transfer.status).or_default().insert(place);
        self.by_client.entry(transfer.client_id.clone()).or_default().insert(place);
        if let Some(batch) = transfer.batch_id {
            self.by_batch.entry(batch).or_default().insert(place);
        }
    }

    pub(super) fn remove(&mut self, transfer: &Transfer, seq: u64) {
        let place = (transfer.created_at, seq);
        self.all.remove(&place);
        self.take_out_of_status(transfer.status, place);
        if let Some(places) = self.by_client.get_mut(&transfer.client_id) {
            places.remove(&place);
            if places.is_empty() {
                self.by_client.remove(&transfer.client_id);
            }
        }
        if let Some(batch) = transfer.batch_id
            && let Some(places) = self.by_batch.get_mut(&batch)
        {
            places.remove(&place);
            if places.is_empty() {
                self.by_batch.remove(&batch);
            }
        }
    }

    /// How many have this status.
    pub(super) fn count(&self, status: Status) -> usize {
        self.by_status.get(&status).map_or(0, BTreeSet::len)
    }

    /// Those before `end`, newest first: all that `filter` wants are among them, and not many others if there are few.
    fn newest_first(&self, filter: &Filter, end: Place) -> Box<dyn Iterator<Item = RequestId> + '_> {
        let wanted = [
            filter.client_id.as_ref().map(|client| self.by_client.get(client)),
            filter.status.map(|status| self.by_status.get(&status)),
            filter.batch_id.map(|batch| self.by_batch.get(&batch)),
        ];
        // One that has no list has none.
        let narrowest = wanted.into_iter().flatten().min_by_key(|places| places.map_or(0, BTreeSet::len));
        match narrowest {
            None => Box::new(self.all.range(..end).rev().map(|(_, id)| *id)),
            Some(None) => Box::new(std::iter::empty()),
            Some(Some(places)) => Box::new(places.range(..end).rev().map(|place| self.all[place])),
        }
    }

    fn take_out_of_status(&mut self, status: Status, place: Place) {
        if let Some(places) = self.by_status.get_mut(&status) {
            places.remove(&place);
        }
    }
}

impl Hub {
    /// The only way from one status into another.
    pub(super) fn set_status(&mut self, id: RequestId, status: Status) {
        let entry = self.transfers.get_mut(&id).expect("only known transfers move");
        let from = std::mem::replace(&mut entry.transfer.status, status);
        let place = (entry.transfer.created_at, entry.seq);
        self.lists.take_out_of_status(from, place);
        self.lists.by_status.entry(status).or_default().insert(place);
    }

    /// Transfers that the caller `sees`, newest first, at most `limit`.
    pub fn list(&self, filter: &Filter, sees: impl Fn(&Transfer) -> bool, limit: usize) -> Vec<Transfer> {
        let end = match filter.before {
            // One that the caller may not see is as if there were none.
            Some(super::Cursor::Transfer(id)) => {
                let known = self.transfers.get(&id).filter(|entry| sees(&entry.transfer));
                known.map_or((0, 0), |entry| (entry.transfer.created_at, entry.seq))
            }
            Some(super::Cursor::Time(time)) => (time, 0),
            None => (u64::MAX, u64::MAX),
        };
        let wanted = |transfer: &&Transfer| {
            filter.client_id.as_ref().is_none_or(|client| *client == transfer.client_id)
                && filter.status.is_none_or(|status| status == transfer.status)
                && filter.batch_id.is_none_or(|batch| Some(batch) == transfer.batch_id)
                && sees(transfer)
        };
        let newest_first = self.lists.newest_first(filter, end).map(|id| &self.transfers[&id].transfer);
        newest_first.filter(wanted).take(limit).cloned().collect()
    }
}

#[cfg(test)]
impl Hub {
    /// Each transfer stands where it belongs, and nowhere else.
    pub(super) fn check_lists(&self) {
        let mut expected = Lists::default();
        self.transfers.values().for_each(|entry| expected.add(&entry.transfer, entry.seq));
        assert_eq!(self.lists.all, expected.all);
        assert_eq!(self.lists.by_client, expected.by_client);
        assert_eq!(self.lists.by_batch, expected.by_batch);
        for status in Status::ALL {
            let places = |lists: &Lists| lists.by_status.get(&status).cloned().unwrap_or_default();
            assert_eq!(places(&self.lists), places(&expected), "{status}");
        }
    }
}
