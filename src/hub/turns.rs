//! Whose turn it is: clients with something in their queue, in the order in which they were last served.

use std::collections::{HashSet, VecDeque};

use crate::names::ClientId;

/// A ring of clients.
#[derive(Debug, Default)]
pub(super) struct Turns {
    ring: VecDeque<ClientId>,
    members: HashSet<ClientId>,
}

impl Turns {
    /// Stands at the end, unless it already stands somewhere.
    pub(super) fn join(&mut self, client: &ClientId) {
        if self.members.insert(client.clone()) {
            self.ring.push_back(client.clone());
        }
    }

    /// Has had its turn: whoever else stands here goes before it.
    pub(super) fn step_back(&mut self, client: &ClientId) {
        if let Some(at) = self.ring.iter().position(|other| other == client) {
            self.ring.remove(at);
            self.ring.push_back(client.clone());
        }
    }

    /// Takes out the first that may be served; it must join again for another turn.
    pub(super) fn take(&mut self, may: impl Fn(&ClientId) -> bool) -> Option<ClientId> {
        let at = self.ring.iter().position(may)?;
        let client = self.ring.remove(at)?;
        self.members.remove(&client);
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
