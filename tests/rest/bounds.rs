//! Settings that bound what is taken and kept.

use serde_json::json;

use crate::support::files::{random_bytes, sha256};
use crate::support::server::Server;
use crate::support::v1_client::V1Client;

#[test]
fn a_file_over_max_file_size_is_refused_when_it_says_so_and_when_it_grows_there() {
    let server = Server::start(&[("MAX_FILE_SIZE", "100k")]);
    let mut client = V1Client::connect(&server, "shop-001");
    let content = random_bytes(1, 100_001);
    for stated in [100_001, 50_000] {
        let id = server.pull_id("shop-001");
        let asked = client.asked();
        client.begin(&id, "pos.db", stated);
        client.chunks(&asked, &content);
        client.end(&id, &sha256(&content), stated);
        server.assert_failed(&id, "file_too_large");
        server.assert_downloads(&[]);
    }
    let id = server.pull_id("shop-001");
    let asked = client.asked();
    client.upload(&asked, &content[..100_000]);
    server.assert_verified(&id, &content[..100_000]);
}

#[test]
fn a_file_that_the_disk_has_no_room_for_is_refused() {
    let server = Server::start(&[("MIN_FREE_BYTES", "1000000G")]);
    let mut client = V1Client::connect(&server, "shop-001");
    let id = server.pull_id("shop-001");
    client.asked();

    client.begin(&id, "pos.db", 1000);

    server.assert_failed(&id, "disk_full");
    server.assert_downloads(&[]);
}

#[test]
fn no_more_transfers_are_remembered_than_keep_transfers_says_and_downloads_stay() {
    let server = Server::start(&[("KEEP_TRANSFERS", "2")]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let mut names = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..4 {
        let id = server.pull_id("shop-001");
        let transfer = server.ended(&id);
        assert_eq!(transfer["status"], "completed");
        names.push(transfer["filename"].as_str().unwrap().to_owned());
        ids.insert(0, id);
    }

    let kept = server.get("/transfers").expect(200);

    let kept: Vec<_> =
        kept.as_array().unwrap().iter().map(|transfer| transfer["requestId"].clone()).collect();
    assert_eq!(kept, [json!(ids[0]), json!(ids[1])]);
    server.get(&format!("/transfers/{}", ids[3])).expect(404);
    let hash = sha256(b"x");
    let expected: Vec<_> = names.iter().map(|name| (name.as_str(), hash.as_str())).collect();
    server.assert_downloads(&expected);
}
