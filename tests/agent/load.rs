//! Much to carry: no memory by the size of a file, nothing left behind by the number of pulls.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::files::{random_bytes, random_file, sha256_of_file};
use crate::support::server::{Server, is_final};
use crate::support::temp::TempDir;
use crate::support::wait::{eventually, within};

/// What the issue allows, in kB: the agent whatever the file, the server by transfers at once.
const AGENT_PEAK: u64 = 12 << 10;
fn server_peak(transfers: u64) -> u64 {
    (16 + 3 * transfers) << 10
}

/// `count` agents, each with `size` bytes.
fn agents(server: &Server, count: u64, size: usize) -> Vec<(Agent, Vec<u8>)> {
    let agent = |n| {
        let home = TempDir::new();
        let content = random_file(&home.join("file"), n, size);
        (Agent::serving(server, &format!("shop-{n}"), home, &[]), content)
    };
    (0..count).map(agent).collect()
}

/// Pulls from all of them at once, and asserts the peaks.
#[track_caller]
fn pull_at_once(server: &Server, agents: &[(Agent, Vec<u8>)]) {
    let ids: Vec<_> = (0..agents.len()).map(|n| server.pull_id(&format!("shop-{n}"))).collect();
    for (id, (agent, content)) in ids.iter().zip(agents) {
        server.assert_verified(id, content);
        let peak = agent.program.status("VmHWM");
        assert!(peak < AGENT_PEAK, "agent: {peak} kB");
    }
    let peak = server.program.status("VmHWM");
    assert!(peak < server_peak(agents.len() as u64), "server: {peak} kB");
}

#[test]
fn neither_side_holds_memory_by_the_size_of_the_file() {
    let server = Server::start(&[]);
    pull_at_once(&server, &agents(&server, 4, 50_000_000));
}

#[test]
#[ignore = "moves 1.6 GB: cargo test --test agent -- --ignored"]
fn sixteen_agents_are_pulled_from_at_once_in_little_memory() {
    let server = Server::start(&[("MAX_CONCURRENT_TRANSFERS", "16")]);
    pull_at_once(&server, &agents(&server, 16, 100_000_000));
}

#[test]
fn a_hundred_pulls_leave_no_thread_and_no_descriptor_on_either_side() {
    let server = Server::start(&[]);
    let agents = agents(&server, 1, 10_000);
    let (agent, content) = &agents[0];
    let pull = || server.assert_verified(&server.pull_id("shop-0"), content);
    pull();
    let rest =
        |program: &crate::support::program::Program| (program.status("Threads"), program.descriptors());
    let (server_rest, agent_rest) = (rest(&server.program), rest(&agent.program));

    for _ in 0..100 {
        pull();
    }

    let no_more = |now: (u64, usize), then: (u64, usize)| now.0 <= then.0 && now.1 <= then.1;
    eventually("the server has no more than before", || {
        no_more(rest(&server.program), server_rest).then_some(())
    });
    eventually("the agent has no more than before", || {
        no_more(rest(&agent.program), agent_rest).then_some(())
    });
    assert_eq!(
        server.get("/transfers?status=completed&limit=1000").expect(200).as_array().map(Vec::len),
        Some(101)
    );
}

#[test]
#[ignore = "moves 5 GiB: cargo test --test agent -- --ignored"]
fn a_file_over_four_gib_is_pulled_in_little_memory() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let size = 5_u64 << 30;
    let path = home.join("file");
    let file = File::create(&path).unwrap();
    file.set_len(size).unwrap();
    // Something beyond 4 GiB that a counter of 32 bits would put elsewhere.
    std::os::unix::fs::FileExt::write_all_at(&file, &random_bytes(5, 1000), size - 5000).unwrap();
    let agent = Agent::serving(&server, "shop-001", home, &[]);
    let id = server.pull_id("shop-001");

    let transfer = within(Duration::from_secs(300), "the pull ends", || {
        let transfer = server.get(&format!("/transfers/{id}?wait=20")).expect(200);
        is_final(&transfer).then_some(transfer)
    });

    assert_eq!((&transfer["status"], &transfer["size"]), (&json!("completed"), &json!(size)), "{transfer}");
    let published = Path::new(transfer["outPath"].as_str().unwrap()).to_owned();
    assert_eq!(transfer["sha256"], Value::from(sha256_of_file(&path)));
    assert_eq!(transfer["sha256"], Value::from(sha256_of_file(&published)));
    assert!(agent.program.status("VmHWM") < AGENT_PEAK, "agent: {} kB", agent.program.status("VmHWM"));
    assert!(server.program.status("VmHWM") < server_peak(1), "server: {} kB", server.program.status("VmHWM"));
}
