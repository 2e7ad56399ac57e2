//! A line that one pull fills: what else goes over it waits for its turn, not for megabytes that are in the socket already.

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::fault_proxy::{FaultProxy, Toward};
use crate::support::files::random_file;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;
use crate::support::wait::Deadline;

/// Bytes a second.
const RATE: u64 = 1_000_000;
/// Bytes that may go before a small file is there: those that wait unsent in the agent's socket, those in the proxy's, a turn
/// for each of its three messages come to 300 to 500 kB, and a machine under load may look a second late. Without a bound it was 4 MB.
const AHEAD: u64 = 1_500_000;

#[test]
fn a_small_pull_and_a_cancel_do_not_wait_for_what_a_large_pull_has_written() {
    let server = Server::start(&[]);
    let proxy = FaultProxy::thin(server.port, RATE);
    let home = TempDir::new();
    random_file(&home.join("file"), 1, 60_000_000);
    let content = random_file(&home.join("small"), 2, 20_000);
    let (large, small) = (home.join("file"), format!("small={}", home.join("small").display()));
    let settings = [("FILE_PATH", large.to_str().unwrap()), ("SHARES", &small)];
    let _agent = Agent::start_in(home, &proxy.url(), "shop-001", &settings);
    server.lists_agent("shop-001");
    let large = server.pull_id("shop-001");
    // By now whatever can fill is full.
    assert!(proxy.wait_carried(3 * RATE, Deadline::soon()), "the line moves");

    for _ in 0..3 {
        let before = proxy.carried_toward(Toward::Server);
        let pulled = server.pull("shop-001", &json!({"fileKey": "small"}));
        server.assert_verified(&id(&pulled), &content);
        let ahead = proxy.carried_toward(Toward::Server) - before;
        assert!(ahead < AHEAD, "{ahead} bytes went before it was there");
    }

    let before = proxy.carried_toward(Toward::Server);
    let cancelled = server.delete(&format!("/transfers/{large}")).expect(200);
    assert_eq!(cancelled["status"], "cancelled");
    let pulled = server.pull("shop-001", &json!({"fileKey": "small"}));
    server.assert_verified(&id(&pulled), &content);
    let ahead = proxy.carried_toward(Toward::Server) - before;
    assert!(ahead < AHEAD, "{ahead} bytes went before the line was free");
    assert!(proxy.carried_toward(Toward::Server) < 20 * RATE, "and the large one has stopped");
}
