//! `queueFor`: a pull that waits for a client that is not there.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::server::{Server, id};
use crate::support::v1_client::V1Client;
use crate::support::wait::SOON;

/// A server that has seen `shop-001`, which has gone.
fn seen_and_gone() -> Server {
    let server = Server::start(&[]);
    V1Client::connect(&server, "shop-001").cut();
    server.lists_no_more("shop-001", SOON);
    server
}

#[test]
fn without_it_a_client_that_is_gone_is_404() {
    seen_and_gone().post("/download/shop-001", &json!({})).expect_error(404, "not connected");
}

#[test]
fn a_client_that_was_never_seen_is_404_even_with_it() {
    let server = seen_and_gone();
    server.post("/download/shop-002", &json!({"queueFor": "24h"})).expect_error(404, "not connected");
}

#[test]
fn it_waits_for_the_client_and_is_pulled_when_it_comes() {
    let server = seen_and_gone();
    let transfer = server.pull("shop-001", &json!({"queueFor": "24h"}));
    assert_eq!(transfer["status"], "queued");
    let waits = transfer["expiresAt"].as_u64().unwrap() - transfer["createdAt"].as_u64().unwrap();
    assert_eq!(waits, 24 * 3_600_000);

    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());

    let done = server.assert_verified(&id(&transfer), b"x");
    assert_eq!(done["expiresAt"], json!(null), "{done}");
}

#[test]
fn it_expires_when_the_client_does_not_come() {
    let server = seen_and_gone();
    let asked_at = Instant::now();

    let expired = server.post("/download/shop-001?wait=30", &json!({"queueFor": "1s"})).expect(504);

    assert_eq!(expired["status"], "expired");
    let took = asked_at.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(8)).contains(&took), "{took:?}");
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    assert_eq!(server.ended(&id(&expired))["status"], "expired", "for good");
}
