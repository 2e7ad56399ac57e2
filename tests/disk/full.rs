//! A full disk.

use std::fs;

use serde_json::json;

use crate::mounted::{Ballast, Mounted};
use crate::support::agent::Agent;
use crate::support::files::{random_bytes, random_file, sha256};
use crate::support::server::Server;
use crate::support::temp::TempDir;
use crate::support::v1_client::V1Client;
use crate::support::wait::eventually;
use crate::{NO_RESERVE, record_says};

#[test]
fn a_file_that_does_not_fit_is_refused_before_a_byte_is_sent() {
    let Some((_mounted, home)) = Mounted::small(8) else { return };
    let server = Server::start_in(home, &[("MIN_FREE_BYTES", "2Mi")]);
    let home = TempDir::new();
    let small = random_file(&home.join("small"), 1, 5_000_000);
    random_file(&home.join("file"), 2, 7_000_000); // fits, but for what is to be left
    let shares = format!("small={}", home.join("small").display());
    let _agent = Agent::serving(&server, "shop-001", home, &[("SHARES", &shares)]);

    let refused = server.assert_failed(&server.pull_id("shop-001"), "disk_full");

    assert_eq!((&refused["bytes"], &refused["bytesOnWire"]), (&json!(0), &json!(0)), "{refused}");
    server.assert_downloads(&[]);
    let pulled = server.pull("shop-001", &json!({"fileKey": "small"}));
    let pulled = server.assert_verified(pulled["requestId"].as_str().unwrap(), &small);
    server.assert_downloads(&[(pulled["filename"].as_str().unwrap(), &sha256(&small))]);
}

#[test]
fn a_disk_that_somebody_else_fills_ends_one_transfer_and_no_other() {
    let Some((_mounted, home)) = Mounted::small(8) else { return };
    let disk = home.to_path_buf();
    let server = Server::start_in(home, &[NO_RESERVE]);
    let [mut large, mut other] = ["shop-001", "shop-002"].map(|id| V1Client::connect(&server, id));
    let content = random_bytes(1, 100_000);
    let [large_id, other_id] = ["shop-001", "shop-002"].map(|id| server.pull_id(id));
    for (client, id, size) in [(&mut large, &large_id, 3_000_000), (&mut other, &other_id, content.len())] {
        client.asked();
        client.begin(id, "pos.db", size);
        client.chunk(id, 1, &content[..65536]);
        server.has_bytes(id);
    }

    let ballast = Ballast::fill(&disk);
    large.chunk(&large_id, 2, &content[..65536]);
    let failed = server.assert_failed(&large_id, "disk_full");
    let told = failed["failure"]["message"].as_str().unwrap();
    assert!(told.starts_with("the server can't write the file to its disk: No space left"), "{told}");
    record_says(&server, &large_id, "failed");
    // The room of the first one's part is enough for the rest of the other.
    other.chunk(&other_id, 2, &content[65536..]);
    other.end(&other_id, &sha256(&content), content.len());
    let whole = server.assert_verified(&other_id, &content);

    ballast.remove();
    let again = server.pull_id("shop-001");
    large.serve_one(&content);
    let again = server.assert_verified(&again, &content);
    let hash = sha256(&content);
    let [whole, again] = [&whole, &again].map(|transfer| transfer["filename"].as_str().unwrap());
    server.assert_downloads(&[(whole, &hash), (again, &hash)]);
}

#[test]
fn a_full_disk_takes_no_pull_and_keeps_none_out_for_good() {
    let Some((_mounted, home)) = Mounted::small(8) else { return };
    let disk = home.to_path_buf();
    let server = Server::start_in(home, &[NO_RESERVE]);
    let mut client = V1Client::connect(&server, "shop-001");
    let content = random_bytes(2, 300_000);
    let cancelled = server.pull_id("shop-001");
    client.asked();
    server.get("/readyz").expect(200);

    let ballast = Ballast::fill(&disk);
    server.post("/download/shop-001", &json!({})).expect_error(507, "disk full");
    let listed = server.get("/transfers").expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1, "what was not accepted is not there: {listed}");
    // A transfer that ends now ends, though its record can't say so yet.
    assert_eq!(server.delete(&format!("/transfers/{cancelled}")).expect(200)["status"], "cancelled");
    server.program.wait_line("is out of date on disk until it can be saved");
    server.get("/readyz").expect_error(503, "disk full");

    ballast.remove();
    record_says(&server, &cancelled, "cancelled");
    server.program.wait_line("all records are on disk again");
    eventually("it is ready again", || (server.get("/readyz").status == 200).then_some(()));
    let id = server.pull_id("shop-001");
    client.serve_one(&content);
    server.assert_verified(&id, &content);
    // What was saved late is what the next run finds.
    let server = Server::start_in(server.kill(), &[NO_RESERVE]);
    assert_eq!(server.transfer(&cancelled)["status"], "cancelled");
    assert_eq!(server.transfer(&id)["status"], "completed");
}

#[test]
fn a_server_starts_on_a_full_disk_says_so_and_goes_on_when_there_is_room() {
    let Some((_mounted, home)) = Mounted::small(8) else { return };
    let disk = home.to_path_buf();
    let settings = [("MIN_FREE_BYTES", "1Mi")];
    let server = Server::start_in(home, &settings);
    let mut client = V1Client::connect(&server, "shop-001");
    let content = random_bytes(3, 300_000);
    let id = server.pull_id("shop-001");
    client.asked();
    client.begin(&id, "pos.db", content.len());
    record_says(&server, &id, "receiving");
    let home = server.kill();
    client.cut();
    let ballast = Ballast::fill(&disk);

    let server = Server::start_in(home, &settings);

    server.program.wait_line("less than MIN_FREE_BYTES=1048576");
    assert_eq!(server.transfer(&id)["status"], "interrupted");
    server.program.wait_line("is out of date on disk until it can be saved");
    server.get("/healthz").expect(200);
    server.get("/readyz").expect_error(503, "disk full");
    ballast.remove();
    record_says(&server, &id, "interrupted");
    eventually("it is ready", || (server.get("/readyz").status == 200).then_some(()));
    let _client = V1Client::connect(&server, "shop-001").serve(content.clone());
    let transfer = server.assert_verified(&id, &content);
    server.assert_downloads(&[(transfer["filename"].as_str().unwrap(), &sha256(&content))]);
}

#[test]
fn a_published_file_is_not_forgotten_by_a_start_on_a_full_disk() {
    let Some((_mounted, home)) = Mounted::small(8) else { return };
    let disk = home.to_path_buf();
    let server = Server::start_in(home, &[NO_RESERVE]);
    let content = random_bytes(4, 100_000);
    let _client = V1Client::connect(&server, "shop-001").serve(content.clone());
    let id = server.pull_id("shop-001");
    server.assert_verified(&id, &content);
    record_says(&server, &id, "completed");
    let record = server.uploads.join(".towline").join(&id).join("record.json");
    let home = server.kill();
    // As if it had been killed after it had published, before it said so.
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace("\"completed\"", "\"verifying\"")).unwrap();
    let ballast = Ballast::fill(&disk);

    let server = Server::start_in(home, &[NO_RESERVE]);

    server.assert_verified(&id, &content);
    record_says(&server, &id, "verifying");
    ballast.remove();
    record_says(&server, &id, "completed");
}
