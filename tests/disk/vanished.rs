//! Folders that somebody removes while the server runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use crate::record_says;
use crate::support::files::{random_bytes, sha256};
use crate::support::program::Program;
use crate::support::server::{SECRET, Server};
use crate::support::temp::TempDir;
use crate::support::v1_client::V1Client;

/// A transfer meets a folder that is removed in the middle of it.
struct Met {
    server: Server,
    client: V1Client,
    content: Vec<u8>,
    id: String,
}

impl Met {
    /// Begins a transfer, and removes what `gone` names.
    fn begin(gone: impl FnOnce(&Server, &str) -> PathBuf) -> Met {
        let server = Server::start(&[]);
        let mut client = V1Client::connect(&server, "shop-001");
        let content = random_bytes(1, 200_000);
        let id = server.pull_id("shop-001");
        client.asked();
        client.begin(&id, "pos.db", content.len());
        client.chunk(&id, 1, &content[..65536]);
        server.has_bytes(&id);
        record_says(&server, &id, "receiving");
        fs::remove_dir_all(gone(&server, &id)).unwrap();
        Met { server, client, content, id }
    }

    /// The rest of the file comes: the transfer fails, its record is there again, and the next one completes.
    fn ends(mut self) -> Server {
        let (server, content, id) = (self.server, &self.content, &self.id);
        for (payload, seq) in content[65536..].chunks(65536).zip(2..) {
            self.client.chunk(id, seq, payload);
        }
        self.client.end(id, &sha256(content), content.len());
        let failed = server.assert_failed(id, "write_failed");
        assert_eq!(
            failed["failure"]["message"],
            "the server can't publish the file under its name: what had arrived has gone from its disk"
        );
        record_says(&server, id, "failed");
        server.assert_downloads(&[]);
        let next = server.pull_id("shop-001");
        self.client.serve_one(content);
        let next = server.assert_verified(&next, content);
        server.assert_downloads(&[(next["filename"].as_str().unwrap(), &sha256(content))]);
        server
    }
}

/// The state folder is as private as it was, locked against a second server, and its loss was said once.
fn is_made_anew(server: &Server) {
    let state = fs::metadata(server.uploads.join(".towline")).unwrap();
    assert_eq!(state.permissions().mode() & 0o777, 0o700);
    assert_eq!(server.program.output().matches("is made anew").count(), 1, "{}", server.program.output());
    let home = TempDir::new();
    let dir = server.uploads.to_str().unwrap();
    let settings = [("HOST", "127.0.0.1"), ("PORT", "0"), ("AUTH_SECRET", SECRET), ("UPLOAD_DIR", dir)];
    let exe = env!("CARGO_BIN_EXE_towline-server");
    let mut second = Program::start("second server", exe, &[], &settings, &home);
    assert_eq!(second.wait_exit(), 2);
    assert!(second.output().contains("another towline-server runs there"), "{}", second.output());
}

#[test]
fn a_transfer_whose_folder_is_removed_fails_alone() {
    let server = Met::begin(|server, id| server.uploads.join(".towline").join(id)).ends();
    assert!(!server.program.output().contains("is made anew"), "{}", server.program.output());
}

#[test]
fn a_state_folder_that_is_removed_is_made_anew() {
    is_made_anew(&Met::begin(|server, _| server.uploads.join(".towline")).ends());
}

#[test]
fn an_upload_dir_that_is_removed_is_made_anew() {
    is_made_anew(&Met::begin(|server, _| server.uploads.clone()).ends());
}

#[test]
fn records_of_what_waits_are_written_again_when_they_have_gone() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let asked = server.pull_id("shop-001");
    client.asked();
    drop(V1Client::connect(&server, "shop-002"));
    server.lists_no_more("shop-002", crate::support::wait::SOON);
    let waiting = server.pull("shop-002", &json!({"queueFor": "1h"}));
    let waiting = waiting["requestId"].as_str().unwrap();

    fs::remove_dir_all(&server.uploads).unwrap();
    // Any save finds out, and sees to the others.
    server.delete(&format!("/transfers/{asked}")).expect(200);

    record_says(&server, &asked, "cancelled");
    record_says(&server, waiting, "queued");
    is_made_anew(&server);
    let server = Server::start_in(server.kill(), &[]);
    let content = random_bytes(2, 1000);
    let _client = V1Client::connect(&server, "shop-002").serve(content.clone());
    server.assert_verified(waiting, &content);
}
