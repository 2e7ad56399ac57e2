//! Operators: what they ask for, as `server/orders.rs` does it, one step after the other.

use towline::clock::iso8601;
use towline::hub::{Denied, Order, Uncancellable};
use towline::names::{ClientId, FileKey, RequestId, download_name};
use towline::transfer::Status;

use crate::coverage::Seen;
use crate::scene::{Scene, trace};
use crate::server::{Effects, Server};

/// What is next for a caller.
enum Stage {
    Save,
    Release,
    Answer,
    Done,
}

/// A request to the API that is being served.
pub struct Operation {
    id: RequestId,
    stage: Stage,
    effects: Effects,
}

/// What somebody asks for.
pub struct Wish {
    pub client: ClientId,
    pub key: Option<FileKey>,
    pub queue_for_ms: Option<u64>,
    pub max_rate: Option<u64>,
}

impl Operation {
    /// Takes an order; `None` when it is denied.
    pub fn order(wish: Wish, server: &mut Server, scene: &mut Scene) -> Option<Operation> {
        let id = RequestId::from_random(std::array::from_fn(|_| scene.dice.next() as u8));
        let now = server.now(scene);
        let mut named_for = now.wall;
        loop {
            let filename = download_name(&wish.client, &iso8601(named_for), wish.key.as_ref());
            named_for += 1;
            if scene.disk.downloads.contains_key(&filename) {
                continue;
            }
            let order = Order {
                request_id: id,
                client_id: wish.client.clone(),
                file_key: wish.key.clone(),
                batch_id: None,
                out_path: filename.clone(),
                filename: filename.clone(),
                requested_by: String::new(),
                max_rate: wish.max_rate,
                queue_for_ms: wish.queue_for_ms,
                idempotency: None,
            };
            match server.hub.admit(order, now) {
                Err(Denied::NameTaken) => {}
                Err(denied) => {
                    trace!(scene, "operator: {} is denied: {denied:?}", wish.client);
                    return None;
                }
                Ok(_) => {
                    trace!(scene, "operator: wants {:?} of {} as {id}", wish.key, wish.client);
                    scene.ledger.of(id);
                    scene.ledger.names.insert(filename, id);
                    let is_offline = server.hub.line_of(&wish.client).is_none();
                    if is_offline {
                        scene.note(Seen::QueuedForOffline);
                    }
                    return Some(Operation { id, stage: Stage::Save, effects: Effects::new() });
                }
            }
        }
    }

    pub fn cancel(id: RequestId, server: &mut Server, scene: &mut Scene) -> Option<Operation> {
        let status = server.hub.transfer(id)?.status;
        let mut effects = Effects::new();
        let mut denied = None;
        effects.extend(server.act(scene, |hub, now| match hub.cancel(id, now) {
            Ok(actions) => actions,
            Err(why) => {
                denied = Some(why);
                Vec::new()
            }
        }));
        trace!(scene, "operator: cancels {id}, which was {status}: {denied:?}");
        match denied {
            Some(Uncancellable::TooLate(_)) if status == Status::Verifying => {
                scene.note(Seen::CancelledTooLate);
            }
            None if status == Status::Receiving => scene.note(Seen::CancelledInTransfer),
            _ => {}
        }
        Some(Operation { id, stage: Stage::Done, effects })
    }

    /// Does one thing; false when there is no more.
    pub fn step(&mut self, server: &mut Server, scene: &mut Scene) -> bool {
        if let Some(effect) = self.effects.pop_front() {
            server.perform(scene, effect);
            return true;
        }
        match self.stage {
            Stage::Save => match server.save(scene, self.id) {
                Ok(()) => self.stage = Stage::Release,
                Err(trouble) => {
                    trace!(scene, "operator: {} is not accepted: {trouble:?}", self.id);
                    scene.note(Seen::NotAccepted);
                    server.hub.retract(self.id);
                    scene.disk.forget(self.id);
                    return false;
                }
            },
            Stage::Release => {
                let id = self.id;
                scene.ledger.of(id).is_released = true;
                self.effects = server.act(scene, |hub, now| hub.release(id, now));
                self.stage = Stage::Answer;
            }
            Stage::Answer => {
                trace!(scene, "operator: {} is accepted", self.id);
                scene.note(Seen::Accepted);
                scene.ledger.of(self.id).is_accepted = true;
                self.stage = Stage::Done;
            }
            Stage::Done => return false,
        }
        true
    }
}
