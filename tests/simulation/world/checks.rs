//! What must hold of a server after each of its steps, and of a world that has come to rest.

use towline::names::ClientId;
use towline::transfer::Status;

use super::World;
use crate::scene::trace;

impl World {
    /// What the hub says of itself: slots within their bounds, nobody forgotten in a queue.
    pub(super) fn check_turns(&self) {
        let Some(server) = &self.server else { return };
        let (config, hub) = (&self.scene.plan.config, &server.hub);
        let mut slots = [0; 4];
        let number = |client: &ClientId| {
            self.clients.iter().position(|known| known.id == *client).expect("only known clients")
        };
        let live = || {
            let released = self.scene.ledger.known.iter().filter(|(_, known)| known.is_released);
            released.filter_map(|(id, _)| hub.transfer(*id))
        };
        for transfer in live() {
            if matches!(transfer.status, Status::Requested | Status::Receiving | Status::Verifying) {
                slots[number(&transfer.client_id)] += 1;
            }
        }
        let in_all: usize = slots.iter().sum();
        assert!(in_all <= config.max_concurrent, "{in_all} slots are held");
        for transfer in live() {
            let is_connected = hub.line_of(&transfer.client_id).is_some();
            let is_ready = hub.line_of(&transfer.client_id).is_some_and(|(_, dialect)| dialect.is_some());
            let held = slots[number(&transfer.client_id)];
            assert!(held <= config.max_per_client, "{} holds {held} slots", transfer.client_id);
            let id = transfer.request_id;
            match transfer.status {
                Status::Interrupted => assert!(!is_ready, "{id} waits for a client that is there"),
                Status::Queued if is_ready && !hub.is_stopping() => {
                    let may = in_all < config.max_concurrent && held < config.max_per_client;
                    assert!(!may, "{id} is queued, and there is room");
                }
                Status::Queued => {
                    // A server that stops leaves it to the next one, which gives it a time.
                    let has_time = is_connected || transfer.expires_at.is_some() || hub.is_stopping();
                    assert!(has_time, "{id} waits for ever for a client that is not there");
                }
                Status::Requested
                | Status::Receiving
                | Status::Verifying
                | Status::Completed
                | Status::Failed
                | Status::Cancelled
                | Status::Expired => {}
            }
        }
    }

    /// Nothing moves any more: everything must have come to its end.
    pub(super) fn check_rest(&mut self) {
        let server = self.server.as_mut().expect("it is never down for good");
        trace!(self.scene, "quiet");
        self.scene.ledger.check_all(&server.hub, &self.scene.disk);
        server.hub.stop();
        assert!(server.hub.is_stopped(), "a slot is held for nobody");
        assert!(server.writers.is_empty(), "a writer is left");
        assert!(server.stops.is_empty(), "a stop is left");
        for client in &self.clients {
            assert!(client.senders.is_empty() && client.running.is_empty(), "{} still sends", client.id);
        }
    }
}
