//! A long random walk that checks the invariants after every step.

use super::*;

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

/// One random event.
fn disturb(hub: &mut Hub, dice: &mut Dice, step: u64, lines: &mut [Option<u64>; 4]) {
    let names = ["a", "b", "c", "d"];
    let which = dice.roll(4) as usize;
    let (name, now) = (names[which], at(step));
    let number = 1 + dice.roll(step.min(1000) + 1);
    let attempt = hub.transfer(id(number)).map_or(1, |transfer| transfer.attempts);
    match dice.roll(12) {
        0 | 1 if lines[which].is_none() => {
            let dialect = if dice.roll(2) == 0 { Dialect::V1 } else { Dialect::V2 };
            lines[which] = Some(hub.join(name, dialect, now).0);
        }
        2 if dice.roll(4) == 0 => {
            if let Some(generation) = lines[which].take() {
                hub.disconnect(&client(name), generation, 0, now);
            }
        }
        3..=5 => {
            let queue_for_ms = (dice.roll(2) == 0).then_some(20_000);
            if hub.admit(Order { queue_for_ms, ..order(step + 2, name) }, now).is_ok() {
                hub.check();
                if dice.roll(20) == 0 {
                    hub.retract(id(step + 2))
                } else {
                    drop(hub.release(id(step + 2), now))
                }
            }
        }
        6 => drop(hub.cancel(id(number), now)),
        7 | 8 => drop(hub.begin(id(number), attempt, String::new(), 5)),
        9 => {
            let bytes = dice.roll(3);
            hub.covered(id(number), attempt, bytes, bytes);
            if hub.verify(id(number), attempt, HASH) == Begun::Wanted
                && hub.publish(id(number), attempt) == Begun::Wanted
            {
                hub.complete(id(number), now);
            }
        }
        10 => {
            let codes = [FailureCode::ClientDisconnected, FailureCode::FileChanged, FailureCode::DiskFull];
            hub.attempt_failed(id(number), attempt, failure(codes[dice.roll(3) as usize]), now);
        }
        _ => drop(hub.tick(now)),
    }
}

#[test]
fn a_random_walk_keeps_the_invariants() {
    for seed in 1..=300 {
        let (mut hub, mut dice, mut lines) = (Hub::new(config()), Dice(seed), [None; 4]);
        for step in 0..400 {
            disturb(&mut hub, &mut dice, step, &mut lines);
            hub.check();
        }
        // Everybody goes for good: every transfer comes to an end.
        for (which, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            if let Some(generation) = lines[which] {
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
    }
}
