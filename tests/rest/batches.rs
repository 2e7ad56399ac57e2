//! `POST /downloads`: the same for many clients.

use serde_json::{Value, json};

use crate::support::server::{Server, id};
use crate::support::v1_client::{Serving, V1Client};

fn fleet(server: &Server) -> Vec<Serving> {
    ["shop-001", "shop-900", "shop-901", "till-1"]
        .map(|client| V1Client::connect(server, client).serve(client.as_bytes().to_vec()))
        .into()
}

#[track_caller]
fn pulled(server: &Server, answer: &Value) -> Vec<String> {
    let transfers = answer["transfers"].as_array().unwrap();
    let pulled = transfers.iter().map(|transfer| {
        assert_eq!(transfer["batchId"], answer["batchId"], "{transfer}");
        let client = transfer["clientId"].as_str().unwrap();
        server.assert_verified(&id(transfer), client.as_bytes());
        client.to_owned()
    });
    let mut pulled: Vec<_> = pulled.collect();
    pulled.sort();
    pulled
}

#[test]
fn clients_are_named_by_id_and_pattern() {
    let server = Server::start(&[("MAX_CONCURRENT_TRANSFERS", "2")]);
    let _fleet = fleet(&server);

    let answer =
        server.post("/downloads", &json!({"clients": ["shop-001", "shop-9*", "nobody"]})).expect(202);

    assert_eq!(pulled(&server, &answer), ["shop-001", "shop-900", "shop-901"]);
    assert_eq!(answer["refused"], json!([{"clientId": "nobody", "error": "not connected"}]));
    let batch = answer["batchId"].as_str().unwrap();
    let listed = server.get(&format!("/transfers?batchId={batch}")).expect(200);
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
}

#[test]
fn clients_are_named_by_their_labels() {
    let server = Server::start(&[]);
    let _fleet = fleet(&server);

    let answer = server.post("/downloads", &json!({"meta": {"label": "label of till-1"}})).expect(202);

    assert_eq!(pulled(&server, &answer), ["till-1"]);
}

#[test]
fn a_batch_that_names_nobody_or_nonsense_is_400() {
    let server = Server::start(&[]);
    let _fleet = fleet(&server);
    for body in [
        json!({}),
        json!([]),
        json!({"clients": "shop-001"}),
        json!({"clients": [5]}),
        json!({"clients": ["../x"]}),
        json!({"clients": ["shop-001"], "colour": "red"}),
        json!({"clients": ["shop-001"], "fileKey": 5}),
    ] {
        server.post("/downloads", &body).expect_error(400, "bad request");
    }
    assert_eq!(server.get("/transfers").expect(200), json!([]));
}
