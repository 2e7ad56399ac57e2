//! `Idempotency-Key` on `POST /downloads`: the key holds for each client of the batch.

use std::collections::BTreeSet;

use serde_json::json;

use crate::idempotency::{KEY, at_once, batch, is_replayed, post, transfers};
use crate::support::server::{Server, id};
use crate::support::v1_client::V1Client;
use crate::support::wait::SOON;

#[test]
fn fifty_batches_at_once_begin_one_transfer_a_client() {
    let server = Server::start(&[]);
    let fleet: Vec<_> = (0..8).map(|n| V1Client::connect(&server, &format!("shop-{n}"))).collect();
    let _fleet: Vec<_> = fleet.into_iter().map(|client| client.serve(b"x".to_vec())).collect();

    let answers = at_once(&server, |_| ("/downloads", r#"{"clients":["shop-*"]}"#));

    let all: BTreeSet<_> = answers.iter().map(batch).collect();
    assert_eq!((all.len(), all.first().unwrap().len()), (1, 8), "{all:?}");
    for (_, id) in all.first().unwrap() {
        server.assert_verified(id, b"x");
    }
    assert_eq!(transfers(&server).len(), 8);
}

#[test]
fn of_two_requests_with_one_key_at_once_one_is_422() {
    let server = Server::start(&[]);
    let fleet: Vec<_> = (0..4).map(|n| V1Client::connect(&server, &format!("shop-{n}"))).collect();
    let bodies = [r#"{"clients":["shop-*"]}"#, r#"{"clients":["shop-*"],"fileKey":"other"}"#];

    let answers = at_once(&server, |number| ("/downloads", bodies[number % 2]));

    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 202);
    assert_eq!((won.len(), lost.len()), (25, 25));
    let all: BTreeSet<_> = won.into_iter().map(batch).collect();
    assert_eq!((all.len(), all.first().unwrap().len()), (1, 4), "{all:?}");
    lost.into_iter().for_each(|answer| answer.expect_error(422, "unprocessable content"));
    assert_eq!(transfers(&server).len(), 4);
    drop(fleet);
}

#[test]
fn a_batch_that_is_repeated_has_its_transfers_and_gets_those_that_it_lacks() {
    let server = Server::start(&[]);
    let one = V1Client::connect(&server, "shop-001");
    let body = r#"{"clients":["shop-001","shop-002"],"meta":{}}"#;
    let first = post(&server, "/downloads", KEY, body);
    assert!(!is_replayed(&first));
    let begun = batch(&first);
    assert_eq!(begun.len(), 1);
    assert_eq!(first.json()["refused"], json!([{"clientId": "shop-002", "error": "not connected"}]));

    // The first's client has gone by now, the other one has come.
    one.cut();
    server.lists_no_more("shop-001", SOON);
    let _two = V1Client::connect(&server, "shop-002").serve(b"x".to_vec());
    let second = post(&server, "/downloads", KEY, body);

    assert!(is_replayed(&second));
    let all = batch(&second);
    assert_eq!((all.len(), &all[0]), (2, &begun[0]));
    assert_eq!(
        (&second.json()["batchId"], &second.json()["refused"]),
        (&first.json()["batchId"], &json!([]))
    );
    server.assert_verified(&all[1].1, b"x");
    assert_eq!(batch(&post(&server, "/downloads", KEY, body)), all);
    assert_eq!(transfers(&server).len(), 2);
}

#[test]
fn a_server_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing() {
    let server = Server::start(&[("MAX_CONCURRENT_TRANSFERS", "1")]);
    let connect = |server: &Server| -> Vec<V1Client> {
        (0..40).map(|n| V1Client::connect(server, &format!("shop-{n:02}"))).collect()
    };
    let fleet = connect(&server);
    let body = r#"{"clients":["shop-*"]}"#;
    let unanswered = server.send("POST", "/downloads", &[("Idempotency-Key", KEY)], Some(body.as_bytes()));
    server.program.wait_nth_line(" accepted clientId=", 5);
    let home = server.kill();
    drop((unanswered, fleet));

    let server = Server::start_in(home, &[("MAX_CONCURRENT_TRANSFERS", "1")]);
    let before: BTreeSet<String> = transfers(&server).iter().map(id).collect();
    assert!(before.len() >= 5, "{before:?}");
    let _fleet: Vec<_> = connect(&server).into_iter().map(|client| client.serve(b"x".to_vec())).collect();
    let answer = post(&server, "/downloads", KEY, body);

    assert!(is_replayed(&answer));
    let all = batch(&answer);
    assert_eq!(all.len(), 40);
    let ids: BTreeSet<String> = all.into_iter().map(|(_, id)| id).collect();
    assert!(before.is_subset(&ids) && ids.len() == 40);
    ids.iter().for_each(|id| drop(server.assert_verified(id, b"x")));
    assert_eq!(transfers(&server).len(), 40);
}
