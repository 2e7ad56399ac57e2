//! A server, an agent with one file, and the proxy that counts between them.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::files::{parts, random_bytes, sha256_of_file};
use crate::support::server::{Server, id, is_final};
use crate::support::temp::TempDir;
use crate::support::wait::within;

const PATIENCE: [(&str, &str); 1] = [("HEARTBEAT_SECONDS", "5")];
const LONGEST: Duration = Duration::from_secs(1800);

pub struct Site {
    pub proxy: FaultProxy,
    server: Option<Server>,
    agent: Option<Agent>,
    file: PathBuf,
}

/// A transfer that was asked for.
pub struct Begun {
    id: String,
    at: Instant,
    carried_before: u64,
}

/// What a transfer may cost.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Bytes in both directions.
    pub wire: u64,
}

impl Site {
    pub fn start(plan: impl Fn(usize) -> Vec<Fault> + Send + Sync + 'static) -> Site {
        let server = Server::start(&PATIENCE);
        let proxy = FaultProxy::start(server.port, plan);
        let home = TempDir::new();
        let file = home.join("file");
        let agent = start_agent(home, &proxy);
        server.lists_agent("shop-001");
        Site { proxy, server: Some(server), agent: Some(agent), file }
    }

    /// The agent's file.
    pub fn file(&self) -> &PathBuf {
        &self.file
    }

    /// Fills it with bytes that do not compress.
    pub fn fill(&self, size: u64) {
        let mut file = File::create(&self.file).expect("a file");
        let piece = 8 << 20;
        for number in 0..size.div_ceil(piece) {
            let length = piece.min(size - number * piece);
            file.write_all(&random_bytes(number, length as usize)).expect("room on the disk");
        }
    }

    pub fn begin(&self) -> Begun {
        let carried_before = self.proxy.carried();
        let transfer = self.server().pull("shop-001", &json!({}));
        Begun { id: id(&transfer), at: Instant::now(), carried_before }
    }

    pub fn restart_server(&mut self) {
        let folder = self.server.take().expect("it runs").kill();
        let server = Server::start_in(folder, &PATIENCE);
        self.proxy.point_at(server.port);
        self.server = Some(server);
    }

    pub fn restart_agent(&mut self) {
        let home = self.agent.take().expect("it runs").kill();
        self.agent = Some(start_agent(home, &self.proxy));
    }

    /// Waits for the end, and prints what it was and what it cost; whether the file is right and the bounds hold.
    pub fn end(&self, begun: Begun, what: &str, bounds: Bounds) -> bool {
        let transfer = within(LONGEST, what, || {
            let transfer = self.server().get(&format!("/transfers/{}?wait=30", begun.id)).expect(200);
            is_final(&transfer).then_some(transfer)
        });
        let seconds = begun.at.elapsed().as_secs_f64();
        let wire = self.proxy.carried() - begun.carried_before;
        let size = std::fs::metadata(&self.file).expect("the file is there").len();
        let download = self.server().uploads.join(transfer["filename"].as_str().expect("a name"));
        let is_right = transfer["status"] == "completed"
            && sha256_of_file(&download) == sha256_of_file(&self.file)
            && parts(&self.server().uploads).is_empty();
        let holds = is_right && wire <= bounds.wire;
        let peak = |program: &crate::support::program::Program| program.status("VmHWM") / 1024;
        println!(
            "  {what}: {} after {seconds:.1} s, {} attempts, {wire} bytes on the wire ({:.4} × the file; \
             {} of payload stated), peaks {} and {} MiB: {}",
            transfer["failure"]["code"].as_str().or(transfer["status"].as_str()).unwrap_or_default(),
            transfer["attempts"],
            wire as f64 / size as f64,
            transfer["bytesOnWire"],
            peak(&self.server().program),
            self.agent.as_ref().map_or(0, |agent| peak(&agent.program)),
            crate::verdict(holds)
        );
        holds
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs")
    }
}

fn start_agent(home: TempDir, proxy: &FaultProxy) -> Agent {
    let file = home.join("file");
    let settings = [("FILE_PATH", file.to_str().expect("a plain name"))];
    Agent::start_in(home, &proxy.url(), "shop-001", &settings)
}
