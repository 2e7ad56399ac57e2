//! A line: two queues that keep their order, and who has noticed that it is gone.

use std::collections::VecDeque;

use towline::protocol::{
    ChunkHeader, HashesHeader, ToAgent, ToServer, pack_head, parse_text, to_text, unpack,
};

use crate::dice::Dice;

/// What an agent sends.
pub enum Up {
    Text(ToServer),
    Chunk(ChunkHeader, Vec<u8>),
}

/// What a server sends.
pub enum Down {
    Text(ToAgent),
    Hashes(HashesHeader, Vec<u8>),
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// Both sides notice at once.
    Both,
    /// The server notices much later.
    AgentOnly,
    /// The agent notices much later.
    ServerOnly,
}

/// Silent beats after which a side takes the other for dead.
const DEAD_MS: u64 = 45_000;

pub struct Line {
    pub to_agent: VecDeque<Down>,
    pub to_server: VecDeque<Up>,
    /// Messages that fit on their way to the server before a sender waits.
    room: usize,
    /// Whether messages go through JSON, as they do in truth.
    as_text: bool,
    /// What is put in from now on gets lost.
    is_cut: bool,
    /// When each side notices, once it has read what still came.
    agent_notices: Option<u64>,
    server_notices: Option<u64>,
    /// Bytes that the session has read.
    pub bytes_read: u64,
    /// The session waits for a writer, and does not read.
    pub is_waiting: bool,
}

impl Line {
    pub fn new(room: usize, as_text: bool) -> Line {
        Line {
            to_agent: VecDeque::new(),
            to_server: VecDeque::new(),
            room,
            as_text,
            is_cut: false,
            agent_notices: None,
            server_notices: None,
            bytes_read: 0,
            is_waiting: false,
        }
    }

    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Whether a sender that waits for the line may go on.
    pub fn has_room(&self) -> bool {
        self.is_cut || self.to_server.len() < self.room
    }

    pub fn say(&mut self, message: ToServer) {
        let message = if self.as_text { parse_text(&to_text(&message)).expect("our own") } else { message };
        if !self.is_cut {
            self.to_server.push_back(Up::Text(message));
        }
    }

    pub fn chunk(&mut self, header: ChunkHeader, payload: Vec<u8>) {
        let header = if self.as_text { unpack(&pack_head(&header)).expect("our own").0 } else { header };
        if !self.is_cut {
            self.to_server.push_back(Up::Chunk(header, payload));
        }
    }

    pub fn tell(&mut self, message: ToAgent) {
        let message = if self.as_text { parse_text(&to_text(&message)).expect("our own") } else { message };
        if !self.is_cut {
            self.to_agent.push_back(Down::Text(message));
        }
    }

    pub fn hashes(&mut self, header: HashesHeader, payload: Vec<u8>) {
        let header = if self.as_text { unpack(&pack_head(&header)).expect("our own").0 } else { header };
        if !self.is_cut {
            self.to_agent.push_back(Down::Hashes(header, payload));
        }
    }

    /// The line breaks. What is on its way arrives up to some message.
    pub fn cut(&mut self, dice: &mut Dice, now: u64, how: Cut) {
        self.is_cut = true;
        let keep = |queue: usize, dice: &mut Dice| if dice.one_in(2) { 0 } else { dice.index(queue + 1) };
        self.to_server.truncate(keep(self.to_server.len(), dice));
        self.to_agent.truncate(keep(self.to_agent.len(), dice));
        let late = now + DEAD_MS;
        let (agent, server) = match how {
            Cut::Both => (now, now),
            Cut::AgentOnly => (now, late),
            Cut::ServerOnly => (late, now),
        };
        self.noticed(Some(agent), Some(server));
    }

    /// One side has closed it; what that one sent before still arrives.
    pub fn close(&mut self, now: u64) {
        self.is_cut = true;
        self.noticed(Some(now), Some(now));
    }

    fn noticed(&mut self, agent: Option<u64>, server: Option<u64>) {
        let earlier = |old: Option<u64>, new: Option<u64>| [old, new].into_iter().flatten().min();
        self.agent_notices = earlier(self.agent_notices, agent);
        self.server_notices = earlier(self.server_notices, server);
    }

    /// The server gives the line up.
    pub fn give_up(&mut self, now: u64) {
        self.is_cut = true;
        self.to_server.clear();
        self.noticed(Some(now), Some(now));
    }

    pub fn agent_reads(&self, now: u64) -> bool {
        !self.to_agent.is_empty() || self.agent_notices.is_some_and(|at| at <= now)
    }

    pub fn server_reads(&self, now: u64) -> bool {
        !self.to_server.is_empty() || self.server_notices.is_some_and(|at| at <= now)
    }

    /// When somebody will notice the end.
    pub fn next_due(&self, now: u64) -> Option<u64> {
        [self.agent_notices, self.server_notices].into_iter().flatten().filter(|at| *at > now).min()
    }
}
