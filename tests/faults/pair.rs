//! A server, an agent behind a fault proxy, and a bystander that must not notice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::audit::{Audit, Pull};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::files::{random_file, sha256};
use crate::support::program::Holds;
use crate::support::proxy::Proxy;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;

pub const MIB: usize = 1 << 20;
/// Lines whose end nobody tells are noticed soon, and so are clients that say nothing.
const PATIENCE: [(&str, &str); 2] = [("HEARTBEAT_SECONDS", "1"), ("STALL_SECONDS", "4")];

/// A server, two agents, and what they hold at rest.
pub struct Pair {
    pub server: Server,
    pub proxy: FaultProxy,
    pub agent: Agent,
    pub content: Vec<u8>,
    bystander: Agent,
    bystanders_way: Proxy,
    bystanders_content: Vec<u8>,
    /// What server, agent and bystander hold at rest.
    rest: [Holds; 3],
}

impl Pair {
    /// An agent `shop-001` with a file of `size` bytes. Faults of the first few hundred bytes would meet its handshake.
    #[track_caller]
    pub fn start(size: usize, plan: impl Fn(usize) -> Vec<Fault> + Send + Sync + 'static) -> Pair {
        Pair::start_with(size, &[], plan)
    }

    /// The same with further settings of the agent.
    #[track_caller]
    pub fn start_with(
        size: usize,
        agent_settings: &[(&str, &str)],
        plan: impl Fn(usize) -> Vec<Fault> + Send + Sync + 'static,
    ) -> Pair {
        let server = Server::start(&PATIENCE);
        let proxy = FaultProxy::start(server.port, plan);
        let home = TempDir::new();
        let path = home.join("file");
        let content = random_file(&path, 1, size);
        let mut settings = vec![("FILE_PATH", path.to_str().unwrap())];
        settings.extend_from_slice(agent_settings);
        let agent = Agent::start_in(home, &proxy.url(), "shop-001", &settings);
        let home = TempDir::new();
        let bystanders_content = random_file(&home.join("file"), 2, 1_500_000);
        let path = home.join("file");
        let settings = [("FILE_PATH", path.to_str().unwrap()), ("MAX_RATE", "1M")];
        let bystanders_way = Proxy::start(server.port);
        let bystander = Agent::start_in(home, &bystanders_way.url(), "bystander", &settings);
        server.lists_agent("bystander");
        server.lists_agent("shop-001");
        let rest = [server.program.holds(), agent.program.holds(), bystander.program.holds()];
        Pair { server, proxy, agent, content, bystander, bystanders_way, bystanders_content, rest }
    }

    /// The same with faults for single connections, each given beforehand.
    #[track_caller]
    pub fn start_armed(size: usize) -> (Pair, Next) {
        let next = Next::default();
        let armed = next.clone();
        (Pair::start(size, move |_| armed.take()), next)
    }

    /// Pulls through the faults beside the bystander, asserts that all is well after them, pulls once more, and asserts
    /// it again. The transfer as it ended.
    #[track_caller]
    pub fn pull(&self) -> Value {
        let other = self.server.pull("bystander", &json!({}));
        let transfer = self.ended(&self.server.pull("shop-001", &json!({})));
        let other = self.server.assert_verified(&id(&other), &self.bystanders_content);
        assert_eq!(other["attempts"], 1, "the bystander noticed: {other}");
        self.server.lists_agent("shop-001");
        let again = self.server.pull("shop-001", &json!({}));
        self.assert_sound(&[&transfer, &other, &again]);
        transfer
    }

    /// Asks for the file, whether the agent is there or not.
    #[track_caller]
    pub fn pull_waiting(&self) -> Value {
        self.server.pull("shop-001", &json!({"queueFor": "1h"}))
    }

    /// The transfer as it ended, with its file verified or with a reason and none.
    #[track_caller]
    pub fn ended(&self, transfer: &Value) -> Value {
        let transfer = self.server.ended(&id(transfer));
        match transfer["status"].as_str() {
            Some("completed") => self.server.assert_verified(&id(&transfer), &self.content),
            Some("failed") if transfer["failure"]["code"].is_string() => transfer,
            _ => panic!("neither completed nor failed with a reason: {transfer}"),
        }
    }

    /// The agent's file.
    pub fn file(&self) -> PathBuf {
        self.agent.home.join("file")
    }

    /// Kills the server, does something to its UPLOAD_DIR, and starts it again; both agents find it where it was.
    #[track_caller]
    pub fn restart_server(self, meanwhile: impl FnOnce(&Path)) -> Pair {
        let uploads = self.server.uploads.clone();
        let folder = self.server.kill();
        self.proxy.cut(); // a line that is silent does not tell
        meanwhile(&uploads);
        let server = Server::start_in(folder, &PATIENCE);
        self.proxy.point_at(server.port);
        self.bystanders_way.point_at(server.port);
        for client in ["shop-001", "bystander"] {
            server.lists_agent(client);
        }
        Pair { server, ..self }
    }

    /// Kills the agent, does something to its file, and starts it again.
    #[track_caller]
    pub fn restart_agent(self, meanwhile: impl FnOnce(&Path)) -> Pair {
        let file = self.file();
        let home = self.agent.kill();
        self.proxy.cut(); // a line that is silent does not tell
        meanwhile(&file);
        let settings = [("FILE_PATH", file.to_str().unwrap())];
        let agent = Agent::start_in(home, &self.proxy.url(), "shop-001", &settings);
        Pair { agent, ..self }
    }

    /// Whatever happened before: all of these transfers have ended, every file is verified, no part is left, and no
    /// program holds more than at rest.
    #[track_caller]
    pub fn assert_sound(&self, transfers: &[&Value]) {
        self.assert_sound_with(&self.content, transfers);
    }

    /// The same where the file has had another content before.
    #[track_caller]
    pub fn assert_sound_with(&self, before: &[u8], transfers: &[&Value]) {
        let contents = [before, &self.content, &self.bystanders_content];
        let may_be = BTreeSet::from(contents.map(sha256));
        let pulls: Vec<_> =
            transfers.iter().map(|transfer| Pull { id: id(transfer), may_be: may_be.clone() }).collect();
        Audit::of(&self.server, &pulls).assert_sound();
        self.server.lists_agent("shop-001");
        for (program, rest) in
            [&self.server.program, &self.agent.program, &self.bystander.program].into_iter().zip(self.rest)
        {
            program.holds_no_more_than(rest);
        }
    }
}

#[track_caller]
pub fn assert_completed(transfer: &Value, attempts: u64) {
    assert_eq!(
        (&transfer["status"], &transfer["attempts"]),
        (&json!("completed"), &json!(attempts)),
        "{transfer}"
    );
}

/// The faults of the next connection.
#[derive(Clone, Default)]
pub struct Next(Arc<Mutex<Vec<Fault>>>);

impl Next {
    pub fn arm(&self, fault: Fault) {
        self.0.lock().unwrap().push(fault);
    }

    fn take(&self) -> Vec<Fault> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
