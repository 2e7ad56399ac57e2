//! Faults that end something for good, and leave the rest alone.

use std::fs;

use serde_json::json;

use crate::support::files::{random_bytes, sha256};
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

/// A v1 client has sent half of its file; then something happens to the part; then comes the rest.
#[track_caller]
fn is_not_published_after(tamper: fn(&std::path::Path)) {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let id = server.pull_id("shop-001");
    let asked = client.asked();
    let content = random_bytes(1, 2000);
    client.begin(&asked.id, "f", content.len());
    client.chunk(&asked.id, 1, &content[..1000]);
    server.has_bytes(&id);
    tamper(&server.uploads.join(".towline").join(&id).join("part"));
    client.chunk(&asked.id, 2, &content[1000..]);
    client.end(&asked.id, &sha256(&content), content.len());
    server.assert_failed(&id, "write_failed");
    server.assert_downloads(&[]);
}

#[test]
fn a_part_that_is_another_file_at_its_end_is_not_published() {
    is_not_published_after(|part| {
        fs::remove_file(part).unwrap();
        fs::write(part, "x").unwrap();
    });
    is_not_published_after(|part| {
        fs::remove_file(part).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", part).unwrap();
    });
    is_not_published_after(|part| {
        let file = fs::File::options().append(true).open(part).unwrap();
        file.set_len(1_000_000).unwrap();
    });
}

#[test]
fn what_is_no_file_in_the_spool_keeps_no_server_from_starting() {
    let server = Server::start(&[]);
    let uploads = server.uploads.clone();
    let home = server.kill();
    let pipe = |id: &str| {
        let folder = uploads.join(".towline").join(id);
        fs::create_dir(&folder).unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.join("record.json")).status().unwrap();
        assert!(made.success());
    };
    let link = |id: &str, to: &str| {
        let folder = uploads.join(".towline").join(id);
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink(to, folder.join("record.json")).unwrap();
    };
    let ids = ["1", "2", "3"].map(|n| format!("{n}b4e28ba-2fa1-41d2-883f-0016d3cca427"));
    pipe(&ids[0]);
    link(&ids[1], "/dev/zero");
    link(&ids[2], "/etc/hostname");

    let server = Server::start_in(home, &[]);

    for id in ids {
        server.program.wait_line(&format!("damaged-{id}"));
    }
}
