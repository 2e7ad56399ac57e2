//! A disk that has become read-only, and is writable again later.

use serde_json::json;

use crate::mounted::Mounted;
use crate::record_says;
use crate::support::files::{parts, random_bytes, sha256};
use crate::support::server::Server;
use crate::support::temp::TempDir;
use crate::support::v1_client::V1Client;

#[test]
fn a_disk_that_is_read_only_for_a_while_ends_what_it_meets_and_nothing_else() {
    let server = Server::start_in(TempDir::new(), &[]);
    let [mut running, mut asked] = ["shop-001", "shop-002"].map(|id| V1Client::connect(&server, id));
    let content = random_bytes(1, 200_000);
    let [running_id, asked_id] = ["shop-001", "shop-002"].map(|id| server.pull_id(id));
    let running_asked = running.asked();
    asked.asked();
    running.begin(&running_id, "pos.db", content.len());
    running.chunk(&running_id, 1, &content[..65536]);
    server.has_bytes(&running_id);

    let Some(read_only) = Mounted::read_only(&server.uploads) else { return };
    for (payload, seq) in content[65536..].chunks(running_asked.chunk_size).zip(2..) {
        running.chunk(&running_id, seq, payload);
    }
    running.end(&running_id, &sha256(&content), content.len());
    asked.begin(&asked_id, "pos.db", content.len());
    for (id, what) in [(&running_id, "save the transfer's record on"), (&asked_id, "write the file to")] {
        let failed = server.assert_failed(id, "write_failed");
        let told = failed["failure"]["message"].as_str().unwrap();
        assert!(told.starts_with(&format!("the server can't {what} its disk: Read-only")), "{told}");
    }
    server.post("/download/shop-001", &json!({})).expect_error(507, "disk full");
    server.get("/readyz").expect_error(503, "disk full");
    assert_eq!(parts(&server.uploads).len(), 1, "what can't be removed is there still");

    drop(read_only);
    record_says(&server, &running_id, "failed");
    record_says(&server, &asked_id, "failed");
    server.assert_downloads(&[]);
    server.program.wait_line("all records are on disk again");
    server.get("/readyz").expect(200);
    let id = server.pull_id("shop-001");
    running.serve_one(&content);
    let transfer = server.assert_verified(&id, &content);
    server.assert_downloads(&[(transfer["filename"].as_str().unwrap(), &sha256(&content))]);
}
