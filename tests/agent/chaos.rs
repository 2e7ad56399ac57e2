//! Lines cut again and again at moments that nobody chose: whatever happens, a transfer ends, verified or absent.

use std::time::Duration;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::files::{random_bytes, random_file, sha256};
use crate::support::proxy::Proxy;
use crate::support::server::{Server, id, is_final};
use crate::support::temp::TempDir;
use crate::support::wait::{pause, within};

const AGENTS: usize = 4;
const PULLS: usize = 4;

#[test]
fn under_cuts_and_cancels_every_pull_ends_verified_or_absent() {
    let server = Server::start(&[("MAX_CONCURRENT_TRANSFERS", "6"), ("HEARTBEAT_SECONDS", "1")]);
    server.get("/clients").expect(200);
    let threads = server.program.status("Threads");
    let fleet: Vec<_> = (0..AGENTS).map(|number| connected(&server, number)).collect();
    let pulls: Vec<(usize, String)> = (0..AGENTS * PULLS)
        .map(|pull| (pull % AGENTS, id(&server.pull(&format!("shop-{}", pull % AGENTS), &json!({})))))
        .collect();

    // Eight seconds of cuts, a fifth of a second apart; each agent is hit about every second. Some pulls are cancelled.
    let seed = std::process::id().into();
    eprintln!("seed {seed}"); // shown when the test fails
    let dice = random_bytes(seed, 64);
    for roll in dice.iter().take(40) {
        fleet[usize::from(*roll) % AGENTS].1.cut();
        if roll % 16 == 0 {
            let answer = server.delete(&format!("/transfers/{}", pulls[usize::from(*roll) / 16].1));
            assert!([200, 409].contains(&answer.status), "{}", answer.status);
        }
        pause(Duration::from_millis(200));
    }

    let mut published = Vec::new();
    for (number, id) in &pulls {
        let transfer = within(Duration::from_secs(60), "the pull ends", || {
            let transfer = server.get(&format!("/transfers/{id}?wait=10")).expect(200);
            is_final(&transfer).then_some(transfer)
        });
        match transfer["status"].as_str() {
            Some("completed") => {
                server.assert_verified(id, &fleet[*number].2);
                published
                    .push((transfer["filename"].as_str().unwrap().to_owned(), sha256(&fleet[*number].2)));
            }
            Some("cancelled") => {}
            // Five attempts in a row that came no further than one before.
            Some("failed") => assert_eq!(transfer["failure"]["code"], "client_disconnected", "{transfer}"),
            _ => panic!("{transfer}"),
        }
    }
    let expected: Vec<_> = published.iter().map(|(name, hash)| (name.as_str(), hash.as_str())).collect();
    server.assert_downloads(&expected);
    // All of it is over: the next pull of each runs through, and with the agents gone no thread is left.
    for (number, (agent, _, content)) in fleet.into_iter().enumerate() {
        let client = format!("shop-{number}");
        server.lists_agent(&client);
        server.assert_verified(&server.pull_id(&client), &content);
        drop(agent);
    }
    server.has_threads_again(threads);
}

/// An agent with a file of a third of a second, behind a proxy of its own.
fn connected(server: &Server, number: usize) -> (Agent, Proxy, Vec<u8>) {
    let proxy = Proxy::start(server.port);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), number as u64, 1_000_000);
    let path = home.join("file");
    let settings = [("FILE_PATH", path.to_str().unwrap()), ("MAX_RATE", "3M")];
    let client = format!("shop-{number}");
    let agent = Agent::start_in(home, &proxy.url(), &client, &settings);
    server.lists_agent(&client);
    (agent, proxy, content)
}
