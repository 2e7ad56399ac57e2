//! Faults that end something for good, and leave the rest alone.

use std::fs;

use serde_json::json;

use crate::support::server::Server;
use crate::support::v1_client::V1Client;

#[test]
fn five_attempts_that_get_no_further_are_enough() {
    let server = Server::start(&[]);
    let mut id = None;
    for life in 1..=6 {
        let mut client = V1Client::connect(&server, "shop-001");
        if life == 1 {
            id = Some(server.pull_id("shop-001"));
        }
        let asked = client.asked();
        assert_eq!(Some(&asked.id), id.as_ref());
        client.begin(&asked.id, "f", 1000);
        if life == 1 {
            client.chunk(&asked.id, 1, &[1; 10]); // the only one that brings anything
            server.has_bytes(&asked.id);
        }
        client.cut();
        server.lists_no_more("shop-001", std::time::Duration::from_secs(5));
        if life < 6 {
            server.reaches(&asked.id, "interrupted");
        }
    }
    let transfer = server.assert_failed(&id.unwrap(), "client_disconnected");
    assert_eq!(transfer["attempts"], 6, "{transfer}");
    server.assert_downloads(&[]);
}

#[test]
fn a_record_that_cannot_be_read_is_set_aside() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let (damaged, other) = (server.pull_id("shop-001"), server.pull_id("shop-001"));
    for _ in 0..2 {
        client.asked();
    }
    let uploads = server.uploads.clone();
    let home = server.kill();
    let record = uploads.join(".towline").join(&damaged).join("record.json");
    let text = fs::read(&record).unwrap();
    fs::write(&record, &text[..text.len() / 2]).unwrap();

    let server = Server::start_in(home, &[]);

    server.program.wait_line(&format!("damaged-{damaged}"));
    server.get(&format!("/transfers/{damaged}")).expect(404);
    assert_eq!(server.transfer(&other)["status"], json!("queued"));
    let aside = uploads.join(".towline").join(format!("damaged-{damaged}")).join("record.json");
    assert_eq!(fs::read(aside).unwrap(), text[..text.len() / 2], "for whoever wants to look");
}
