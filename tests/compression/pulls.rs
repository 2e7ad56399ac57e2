//! What a pull of a log costs on the line, and that it is the right file, after cuts, edits and damage too.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::fault_proxy::Fault::{Cut, FlipBit, Throttle};
use crate::support::fault_proxy::Toward::Server as TowardServer;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::files::{log_lines, random_bytes};
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;

const SIZE: usize = 8 << 20;
const PAGE: usize = 4 << 10;

/// A server, and an agent with a file behind a proxy.
struct Scene {
    server: Server,
    proxy: FaultProxy,
    agent: Agent,
    content: Vec<u8>,
}

impl Scene {
    #[track_caller]
    fn set(
        content: Vec<u8>,
        settings: &[(&str, &str)],
        plan: impl Fn(usize) -> Vec<Fault> + Send + Sync + 'static,
    ) -> Scene {
        let server = Server::start(&[]);
        let proxy = FaultProxy::start(server.port, plan);
        let home = TempDir::new();
        let path = home.join("file");
        fs::write(&path, &content).unwrap();
        let mut all = vec![("FILE_PATH", path.to_str().unwrap())];
        all.extend_from_slice(settings);
        let agent = Agent::start_in(home, &proxy.url(), "shop-001", &all);
        server.lists_agent("shop-001");
        Scene { server, proxy, agent, content }
    }

    /// Pulls the file, and returns the transfer and the bytes that the line carried toward the server.
    #[track_caller]
    fn pull(&self, body: &Value) -> (Value, usize) {
        let before = self.proxy.carried_toward(TowardServer);
        let transfer = id(&self.server.pull("shop-001", body));
        let transfer = self.server.assert_verified(&transfer, &self.content);
        (transfer, (self.proxy.carried_toward(TowardServer) - before) as usize)
    }
}

const ALWAYS: [(&str, &str); 1] = [("COMPRESS", "always")];

#[track_caller]
fn wire(transfer: &Value) -> usize {
    transfer["bytesOnWire"].as_u64().unwrap() as usize
}

#[test]
fn a_log_takes_less_of_the_line_and_what_it_takes_is_stated() {
    let scene = Scene::set(log_lines(1, SIZE), &ALWAYS, |_| vec![]);
    let (transfer, carried) = scene.pull(&json!({}));
    assert!(carried < SIZE / 2, "{carried} bytes of {SIZE}: {transfer}");
    let headers = SIZE / (64 << 10) * 250 + 2000;
    assert!((carried - headers..=carried).contains(&wire(&transfer)), "{carried} bytes carried: {transfer}");
}

#[test]
fn without_a_word_a_thin_line_gets_it_and_so_does_a_slow_rate() {
    let thin = Scene::set(log_lines(1, SIZE), &[], |_| vec![Throttle(TowardServer, 4_000_000)]);
    let (transfer, _) = thin.pull(&json!({}));
    assert!(wire(&transfer) < SIZE / 2, "{transfer}");
    let slow = Scene::set(log_lines(1, SIZE / 4), &[], |_| vec![]);
    let (transfer, _) = slow.pull(&json!({"maxRate": "1M"}));
    assert!(wire(&transfer) < SIZE / 8, "{transfer}");
}

#[test]
fn a_pull_that_is_cut_goes_on_where_it_was() {
    let content = log_lines(1, SIZE);
    let whole = wire(&Scene::set(content.clone(), &ALWAYS, |_| vec![]).pull(&json!({})).0);
    let half = (whole / 2) as u64;
    let cut = move |number| if number == 0 { vec![Cut(TowardServer, half)] } else { vec![] };
    let (transfer, carried) = Scene::set(content, &ALWAYS, cut).pull(&json!({}));
    assert_eq!(transfer["attempts"], 2, "{transfer}");
    assert!(carried < whole * 5 / 4, "{carried} bytes, uncut {whole}: {transfer}");
}

#[test]
fn the_next_pull_of_an_edited_log_compresses_what_differs() {
    let mut scene = Scene::set(log_lines(1, SIZE), &ALWAYS, |_| vec![]);
    scene.pull(&json!({}));
    let other = log_lines(1 << 30, SIZE);
    let file = OpenOptions::new().write(true).open(scene.agent.home.join("file")).unwrap();
    let mut edited = 0;
    for page in (0..SIZE / PAGE).step_by(37) {
        let at = page * PAGE..(page + 1) * PAGE;
        file.write_all_at(&other[at.clone()], at.start as u64).unwrap();
        scene.content[at.clone()].copy_from_slice(&other[at]);
        edited += PAGE;
    }
    file.sync_all().unwrap();
    let (transfer, _) = scene.pull(&json!({}));
    // 8 bytes for each block, and for each page of those that differ, which all do.
    let hashes = 8 * (SIZE / (64 << 10) + SIZE / PAGE);
    assert!(wire(&transfer) < edited * 6 / 10 + hashes, "{edited} bytes differ: {transfer}");
}

#[test]
fn noise_goes_as_it_is() {
    let (transfer, _) = Scene::set(random_bytes(1, SIZE), &ALWAYS, |_| vec![]).pull(&json!({}));
    assert_eq!(wire(&transfer), SIZE, "{transfer}");
}

#[test]
fn a_file_of_all_kinds_arrives() {
    let (noise, log) = (random_bytes(1, SIZE), log_lines(1, SIZE));
    let pieces = noise.chunks(150_001).zip(log.chunks(70_003)).flat_map(|(one, other)| [one, other].concat());
    let (transfer, _) = Scene::set(pieces.collect(), &ALWAYS, |_| vec![]).pull(&json!({}));
    assert!(wire(&transfer) < transfer["size"].as_u64().unwrap() as usize, "{transfer}");
}

#[test]
fn damage_on_the_way_is_mended_or_told() {
    for at in [2000, 100_000, 700_000] {
        let flip = move |number| if number == 0 { vec![FlipBit(TowardServer, at)] } else { vec![] };
        let scene = Scene::set(log_lines(1, SIZE), &ALWAYS, flip);
        let transfer = scene.server.ended(&scene.server.pull_id("shop-001"));
        if transfer["status"] == "completed" {
            scene.server.assert_verified(&id(&transfer), &scene.content);
            assert!(transfer["attempts"].as_u64() > Some(1), "the bit was not noticed: {transfer}");
        } else {
            scene.server.assert_downloads(&[]);
        }
    }
}
