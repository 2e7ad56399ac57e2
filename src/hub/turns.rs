//! Whose turn it is: clients with something in their queue, in the order in which they were last served.

use std::collections::{BTreeMap, HashMap};

use crate::names::ClientId;

/// A ring of clients: each with its number, the lowest first.
#[derive(Debug, Default)]
pub(super) struct Turns {
    ring: BTreeMap<u64, ClientId>,
    members: HashMap<ClientId, u64>,
    next: u64,
}

impl Turns {
    /// Stands at the end, unless it already stands somewhere.
    pub(super) fn join(&mut self, client: &ClientId) {
        if !self.members.contains_key(client) {
            self.next += 1;
            self.members.insert(client.clone(), self.next);
            self.ring.insert(self.next, client.clone());
        }
    }

    /// Stands here no more.
    pub(super) fn leave(&mut self, client: &ClientId) {
        if let Some(number) = self.members.remove(client) {
            self.ring.remove(&number);
        }
    }

    /// Has had its turn: whoever else stands here goes before it.
    pub(super) fn step_back(&mut self, client: &ClientId) {
        if self.members.contains_key(client) {
            self.leave(client);
            self.join(client);
        }
    }

    /// Takes out the first that may be served; it must join again for another turn.
    pub(super) fn take(&mut self, may: impl Fn(&ClientId) -> bool) -> Option<ClientId> {
        let client = self.ring.values().find(|client| may(client))?.clone();
        self.leave(&client);
        Some(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_turn() {
        let ids: Vec<ClientId> = ["a", "b", "c"].map(|id| id.parse().unwrap()).into();
        let mut turns = Turns::default();
        ids.iter().chain(&ids).for_each(|id| turns.join(id));
        let mut served = String::new();
        for _ in 0..6 {
            let next = turns.take(|_| true).unwrap();
            served += next.as_str();
            turns.join(&next);
        }
        assert_eq!(served, "abcabc");
        assert_eq!(turns.take(|id| id.as_str() == "c").unwrap().as_str(), "c");
        assert_eq!(turns.take(|id| id.as_str() == "c"), None);
    }
}
