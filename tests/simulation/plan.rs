//! What a world is like: drawn once, from its seed. Most faults are absent from most worlds, so that each also happens
//! in a world that is otherwise in order.

use towline::hub::Config;

use crate::dice::Dice;

/// What a client is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A Towline agent.
    Towline,
    /// A Towline agent that takes the server for v1.
    Cautious,
    /// An installed v1 client.
    Node,
}

/// Each happens once in so many steps; 0 is never.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    pub line_cut: u64,
    pub server_crash: u64,
    pub server_stop: u64,
    pub agent_restart: u64,
    pub agent_away: u64,
    pub agent_stall: u64,
    pub order: u64,
    pub cancel: u64,
    pub payload_damage: u64,
    pub part_damage: u64,
    pub download_damage: u64,
    pub file_change: u64,
    pub file_change_in_transfer: u64,
    pub disk_trouble: u64,
    pub no_room: u64,
}

#[derive(Debug, Clone)]
pub struct Plan {
    pub clients: Vec<Kind>,
    pub config: Config,
    pub rates: Rates,
    /// Payload of a chunk, in bytes.
    pub chunk: u64,
    /// Messages on their way to the server.
    pub line_room: usize,
    /// Whether messages go through JSON.
    pub as_text: bool,
    /// The most time that one step takes, in milliseconds.
    pub step_ms: u64,
    /// Steps with faults.
    pub steps: u64,
    /// Files hold text, which becomes smaller; agents compress some of it.
    pub has_text: bool,
    /// A file of several windows.
    pub has_large_file: bool,
    /// Clients register late.
    pub registers_late: bool,
    /// The server's clock is set to another time, in milliseconds, when it starts again.
    pub clock_jumps: u64,
}

/// One world in so many has a large file.
const LARGE_IN: u64 = 200;

impl Plan {
    pub fn new(seed: u64, dice: &mut Dice) -> Plan {
        let has_large_file = seed % LARGE_IN == 7;
        let kinds = [Kind::Towline, Kind::Towline, Kind::Towline, Kind::Towline, Kind::Cautious, Kind::Node];
        let count = if has_large_file { 1 } else { dice.between(1, 3) };
        let clients = (0..count).map(|_| if has_large_file { Kind::Towline } else { dice.pick(&kinds) });
        let clients: Vec<Kind> = clients.collect();
        let chunk = if has_large_file { 65_536 } else { dice.pick(&[4096, 5000, 16_384, 65_536, 65_536]) };
        Plan {
            clients,
            config: config(dice),
            rates: rates(dice, if has_large_file { 12 } else { 1 }),
            chunk,
            line_room: dice.between(1, 12) as usize,
            as_text: dice.one_in(8),
            step_ms: dice.pick(&[2, 20, 20, 200, 2000]),
            steps: if has_large_file { 3000 } else { dice.between(150, 700) },
            has_text: seed % 2 == 1, // beside the dice, which the other worlds have
            has_large_file,
            registers_late: dice.one_in(12),
            clock_jumps: dice.pick(&[0, 0, 0, 0, 0, 5000, 3_600_000]),
        }
    }
}

fn config(dice: &mut Dice) -> Config {
    Config {
        max_concurrent: dice.between(1, 4) as usize,
        max_per_client: dice.between(1, 2) as usize,
        max_queued: dice.pick(&[0, 2, 100]),
        max_clients: 10,
        stall_ms: 60_000,
        max_spool_bytes: dice.pick(&[50_000, 200_000, u64::MAX, u64::MAX]),
        keep_transfers: dice.pick(&[1, 4, 1000, 1000]),
        keep_ms: dice.pick(&[None, None, Some(100_000)]),
    }
}

/// A world with a large file has more steps, and so more between faults.
fn rates(dice: &mut Dice, stretch: u64) -> Rates {
    let mut sometimes = |one_world_in: u64, often: u64, seldom: u64| {
        if dice.one_in(one_world_in) { stretch * if dice.one_in(3) { often } else { seldom } } else { 0 }
    };
    Rates {
        line_cut: sometimes(2, 20, 80),
        server_crash: sometimes(2, 40, 120),
        server_stop: sometimes(8, 60, 150),
        agent_restart: sometimes(4, 40, 120),
        agent_away: sometimes(6, 60, 150),
        agent_stall: sometimes(4, 30, 100),
        order: sometimes(1, 15, 40),
        cancel: sometimes(3, 25, 100),
        payload_damage: sometimes(6, 5, 80),
        part_damage: sometimes(6, 20, 80),
        download_damage: sometimes(6, 5, 80),
        file_change: sometimes(2, 20, 80),
        file_change_in_transfer: sometimes(3, 4, 60),
        disk_trouble: sometimes(6, 10, 60),
        no_room: sometimes(10, 20, 100),
    }
}
