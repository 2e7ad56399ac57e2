//! A long random walk that checks the invariants after every step.

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A small generator (xorshift64*, Vigna 2016), so that a failing seed can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// A hub, who is connected to it, and what the walk has come across.
struct Walk {
    hub: Hub,
    dice: Dice,
    lines: [Option<u64>; 4],
    met: Met,
}

/// How often something happened: a walk that never meets what it is to check proves nothing.
#[derive(Debug, Default)]
struct Met {
    given_up: usize,
    with_part: usize,
    with_older: usize,
    mended: usize,
    restarts: usize,
    completed: usize,
}

impl Walk {
    /// One random event.
    fn disturb(&mut self, step: u64) {
        let which = self.dice.roll(4) as usize;
        let (name, now) = (NAMES[which], at(step));
        let actions = match self.dice.roll(16) {
            0 | 1 if self.lines[which].is_none() => {
                let dialect = if self.dice.roll(3) == 0 { Dialect::V1 } else { Dialect::V2 };
                let (generation, actions) = self.hub.join(name, dialect, now);
                self.lines[which] = Some(generation);
                actions
            }
            2 if self.dice.roll(3) == 0 => self.lines[which]
                .take()
                .map_or(vec![], |generation| self.hub.disconnect(&client(name), generation, 0, now)),
            3 | 4 => self.ask(step, name, now),
            5 if self.dice.roll(40) == 0 => self.restart(now),
            5 if self.dice.roll(2) == 0 => {
                let any = self.any();
                self.hub.cancel(any.0, now).unwrap_or_default()
            }
            6..=14 => self.attempt(now),
            _ => self.hub.tick(now),
        };
        self.note(&actions);
    }

    /// A new transfer.
    fn ask(&mut self, step: u64, name: &str, now: Now) -> Vec<Action> {
        let queue_for_ms = (self.dice.roll(2) == 0).then_some(20_000);
        let file_key = (self.dice.roll(2) == 0).then(|| "logs/x".parse().unwrap());
        let idempotency =
            (self.dice.roll(2) == 0).then(|| repeats::tests::made(self.dice.roll(3), self.dice.roll(2)));
        let order = Order { queue_for_ms, file_key, idempotency, ..order(step + 2, name) };
        let Ok(Admitted::New(_)) = self.hub.admit(order, now) else { return vec![] };
        self.hub.check();
        if self.dice.roll(20) == 0 {
            assert!(self.hub.retract(id(step + 2)));
            vec![]
        } else {
            self.hub.release(id(step + 2), now)
        }
    }

    /// Something that a session or a writer reports.
    fn attempt(&mut self, now: Now) -> Vec<Action> {
        let (id, attempt) = self.any();
        match self.dice.roll(8) {
            0..=2 => drop(self.hub.begin(id, attempt, String::new(), 400)),
            3 | 4 => {
                let bytes = self.dice.roll(400);
                self.hub.covered(id, attempt, bytes, bytes);
            }
            5 => {
                let verified = self.hub.verify(id, attempt, HASH);
                if verified == Begun::Wanted && self.hub.publish(id, attempt, now).is_some() {
                    self.met.completed += 1;
                    return self.hub.complete(id, now);
                }
            }
            _ => {
                let codes = [
                    FailureCode::ClientDisconnected,
                    FailureCode::FileChanged,
                    FailureCode::DiskFull,
                    FailureCode::Stalled,
                    FailureCode::ChecksumMismatch,
                    FailureCode::ChecksumMismatch,
                ];
                let code = codes[self.dice.roll(codes.len() as u64) as usize];
                return self.hub.attempt_failed(id, attempt, failure(code), now);
            }
        }
        vec![]
    }

    /// The server is another one, with what the disk of the first one has.
    fn restart(&mut self, now: Now) -> Vec<Action> {
        let mut hub = Hub::new(config());
        let mut actions = vec![];
        for seq in self.hub.lists.all.values() {
            let entry = &self.hub.transfers[seq];
            if entry.unsaved {
                continue;
            }
            let part =
                if entry.transfer.status.is_final() { 0 } else { entry.part.max(entry.transfer.bytes) };
            let why = failure(FailureCode::ServerRestarted);
            actions.extend(hub.restore(self.hub.record(*seq).expect("known"), part, why, now));
            hub.check();
        }
        self.hub = hub;
        self.lines = [None; 4];
        self.met.restarts += 1;
        actions
    }

    /// A transfer and its attempt: mostly one that goes on.
    fn any(&mut self) -> (RequestId, u32) {
        let known = self.hub.transfers.len() as u64;
        let living = self.hub.live.len() as u64;
        let picked = if living > 0 && self.dice.roll(8) > 0 {
            self.hub.live.values().nth(self.dice.roll(living) as usize).copied()
        } else if known > 0 {
            self.hub.lists.all.values().nth(self.dice.roll(known) as usize).copied()
        } else {
            None
        };
        let picked = picked.unwrap_or(id(0));
        (picked, self.hub.transfer(picked).map_or(1, |transfer| transfer.attempts))
    }

    fn note(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Discard(_) => self.met.given_up += 1,
                Action::Request { id, dialect, have, .. } => {
                    let entry = &self.hub.transfers[id];
                    if entry.transfer.status != Status::Requested {
                        continue; // it has ended since
                    }
                    assert_eq!(entry.held.bytes(), *have);
                    assert!(*have == 0 || *dialect == Dialect::V2);
                    assert!(*have >= entry.part || *have == 0);
                    match &entry.held {
                        Held::Nothing => {}
                        Held::Some { older: Some(_), .. } => {
                            assert_eq!(entry.mismatched_attempts, 0);
                            self.met.with_older += 1;
                        }
                        Held::Some { older: None, .. } => {
                            self.met.with_part += 1;
                            self.met.mended += usize::from(entry.mismatched_attempts == 1);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
fn a_random_walk_keeps_the_invariants() {
    let mut met = Met::default();
    for seed in 1..=300 {
        let mut walk = Walk { hub: Hub::new(config()), dice: Dice(seed), lines: [None; 4], met };
        for step in 0..400 {
            walk.disturb(step);
            walk.hub.check();
        }
        // Everybody goes for good: every transfer comes to an end.
        let (mut hub, lines) = (walk.hub, walk.lines);
        met = walk.met;
        for (name, line) in NAMES.into_iter().zip(lines) {
            if let Some(generation) = line {
                hub.disconnect(&client(name), generation, 0, at(500));
            }
        }
        let receiving: Vec<(RequestId, u32)> =
            hub.live.values().map(|id| (*id, hub.transfers[id].transfer.attempts)).collect();
        for (id, attempt) in receiving {
            hub.attempt_failed(id, attempt, failure(FailureCode::ClientDisconnected), at(500));
        }
        hub.tick(at(500 + 25 * 3600));
        hub.check();
        assert!(hub.live.is_empty(), "seed {seed}: {:?}", hub.live);
        assert_eq!((hub.waiting_bytes, hub.waiting_parts.len()), (0, 0), "seed {seed}");
    }
    let Met { given_up, with_part, with_older, mended, restarts, completed } = met;
    let least = [given_up, with_part, with_older, mended, restarts, completed].into_iter().min();
    assert!(least > Some(100), "{met:?}");
}
