//! The transfer object, lists of it, and cancelling.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::files::{random_bytes, sha256};
use crate::support::server::{Server, id};
use crate::support::v1_client::V1Client;

const FIELDS: [&str; 19] = [
    "requestId",
    "clientId",
    "fileKey",
    "batchId",
    "status",
    "filename",
    "outPath",
    "sourceName",
    "size",
    "bytes",
    "bytesOnWire",
    "sha256",
    "attempts",
    "requestedBy",
    "createdAt",
    "startedAt",
    "finishedAt",
    "expiresAt",
    "failure",
];

#[test]
fn a_transfer_has_every_field_from_the_first_answer_on() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");

    let first = server.pull("shop-001", &json!({}));

    assert_eq!(first["ok"], true);
    for field in FIELDS {
        assert!(first.get(field).is_some(), "no {field} in {first}");
    }
    for (field, value) in [
        ("clientId", json!("shop-001")),
        ("fileKey", json!(null)),
        ("batchId", json!(null)),
        ("sourceName", json!(null)),
        ("size", json!(null)),
        ("bytes", json!(0)),
        ("bytesOnWire", json!(0)),
        ("sha256", json!(null)),
        ("finishedAt", json!(null)),
        ("failure", json!(null)),
    ] {
        assert_eq!(first[field], value, "{field} in {first}");
    }
    assert!(first["status"] == "queued" || first["status"] == "requested", "{first}");
    assert!(is_uuid(first["requestId"].as_str().unwrap()), "{first}");
    assert!(first["requestedBy"].as_str().unwrap().contains("127.0.0.1"), "{first}");

    let asked = client.asked();
    let content = random_bytes(1, 100_000);
    client.upload(&asked, &content);
    let last = server.assert_verified(&asked.id, &content);

    for field in FIELDS {
        assert!(last.get(field).is_some(), "no {field} in {last}");
    }
    let time = |field: &str| last[field].as_u64().unwrap_or_else(|| panic!("no {field} in {last}"));
    assert!(1_600_000_000_000 < time("createdAt"), "milliseconds since the epoch: {last}");
    assert!(time("createdAt") <= time("startedAt") && time("startedAt") <= time("finishedAt"), "{last}");
    assert_eq!(first["createdAt"], last["createdAt"]);
    assert_eq!((&last["attempts"], &last["bytesOnWire"]), (&json!(1), &json!(100_000)), "{last}");
    assert_eq!(last["sourceName"], "pos.db");
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<usize> = text.split('-').map(str::len).collect();
    parts == [8, 4, 4, 4, 12] && text.chars().all(|c| c == '-' || c.is_ascii_hexdigit())
}

#[test]
fn a_transfer_is_followed_from_requested_to_completed() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let content = random_bytes(2, 100_000);
    let id = server.pull_id("shop-001");
    let asked = client.asked();
    assert_eq!(server.transfer(&id)["status"], "requested");
    assert_eq!(server.get("/clients/shop-001").expect(200)["activeTransfers"], 1);

    client.begin(&id, "pos.db", content.len());
    client.chunk(&id, 1, &content[..65536]);

    let receiving = server.has_bytes(&id);
    assert_eq!((&receiving["bytes"], &receiving["size"]), (&json!(65536), &json!(100_000)), "{receiving}");
    client.chunk(&id, 2, &content[65536..]);
    client.end(&id, &sha256(&content), content.len());
    server.assert_verified(&asked.id, &content);
    assert_eq!(server.get("/clients/shop-001").expect(200)["activeTransfers"], 0);
}

#[test]
fn an_unknown_transfer_is_404() {
    let server = Server::start(&[]);
    for path in [
        "/transfers/00000000-0000-4000-8000-000000000000",
        "/transfers/00000000-0000-4000-8000-000000000000/file",
    ] {
        assert_eq!(server.get(path).expect(404)["error"].as_str().map(str::is_empty), Some(false));
    }
    server.delete("/transfers/00000000-0000-4000-8000-000000000000").expect(404);
    let bad = server.get("/transfers/nonsense").status;
    assert!(bad == 400 || bad == 404, "{bad}");
    server.get("/clients/shop-001").expect(404);
}

#[test]
fn the_list_is_newest_first_and_can_be_filtered() {
    let server = Server::start(&[]);
    let _one = V1Client::connect(&server, "one").serve(b"1".to_vec());
    let _two = V1Client::connect(&server, "two").serve(b"2".to_vec());
    let mut silent = V1Client::connect(&server, "silent");
    let mut ids = Vec::new();
    for client in ["one", "two", "one", "two", "one"] {
        let id = server.pull_id(client);
        server.ended(&id);
        ids.push(id);
    }
    let waiting = server.pull_id("silent");
    silent.asked();
    ids.push(waiting.clone());
    ids.reverse();

    assert_eq!(listed(&server, ""), ids);
    assert_eq!(listed(&server, "?clientId=one"), [ids[1].clone(), ids[3].clone(), ids[5].clone()]);
    assert!(listed(&server, "?clientId=nobody").is_empty());
    assert_eq!(listed(&server, "?status=requested"), std::slice::from_ref(&waiting));
    assert_eq!(listed(&server, "?status=completed&clientId=two"), [ids[2].clone(), ids[4].clone()]);
    assert_eq!(listed(&server, "?limit=2"), ids[..2]);
    let status = server.get("/transfers?limit=0").status;
    assert!(status == 200 || status == 400, "{status}");
    for bad in ["?status=done", "?limit=many", "?limit=-1"] {
        server.get(&format!("/transfers{bad}")).expect_error(400, "bad request");
    }
}

#[test]
fn before_goes_on_where_the_last_page_ended() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "one").serve(b"1".to_vec());
    let mut all = Vec::new();
    for _ in 0..5 {
        let id = server.pull_id("one");
        server.ended(&id);
        all.insert(0, id);
    }
    let first = listed(&server, "?limit=2");

    let mut pages = first.clone();
    loop {
        let page = listed(&server, &format!("?limit=2&before={}", pages[pages.len() - 1]));
        if page.is_empty() {
            break;
        }
        pages.extend(page);
    }

    assert_eq!(pages, all, "each once, in order");
}

#[track_caller]
fn listed(server: &Server, query: &str) -> Vec<String> {
    let list = server.get(&format!("/transfers{query}")).expect(200);
    let list = list.as_array().unwrap_or_else(|| panic!("a list: {list}"));
    list.iter().map(id).collect()
}

#[test]
fn a_transfer_can_be_cancelled_in_mid_file_and_only_once() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let id = server.pull_id("shop-001");
    client.asked();
    client.begin(&id, "pos.db", 200_000);
    client.chunk(&id, 1, &random_bytes(3, 65536));
    server.has_bytes(&id);
    let path = format!("/transfers/{id}");

    let cancelled = server.delete(&path).expect(200);

    assert_eq!(cancelled["requestId"], id);
    let ended = server.ended(&id);
    assert_eq!(ended["status"], "cancelled");
    assert!(ended["finishedAt"].is_u64(), "{ended}");
    server.delete(&path).expect(409);
    server.assert_downloads(&[]);
    // A v1 client does not hear that: what it still sends is dropped in silence, and its line goes on.
    client.chunk(&id, 2, &random_bytes(3, 65536));
    client.end(&id, &sha256(b"whatever"), 200_000);
    let next = server.pull_id("shop-001");
    let asked = client.asked();
    client.upload(&asked, b"next");
    server.assert_verified(&next, b"next");
}

#[test]
fn a_queued_transfer_can_be_cancelled_and_its_client_is_never_asked() {
    let server = Server::start(&[("MAX_TRANSFERS_PER_CLIENT", "1")]);
    let mut client = V1Client::connect(&server, "shop-001");
    let running = server.pull_id("shop-001");
    let queued = server.pull_id("shop-001");
    let last = server.pull_id("shop-001");
    let asked = client.asked();
    assert_eq!(server.transfer(&queued)["status"], "queued");

    server.delete(&format!("/transfers/{queued}")).expect(200);

    assert_eq!(server.transfer(&queued)["status"], "cancelled");
    client.upload(&asked, b"x");
    server.assert_verified(&running, b"x");
    assert_eq!(client.asked().id, last, "the cancelled one was passed over");
}

#[test]
fn a_completed_transfer_cannot_be_cancelled() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let id = server.pull_id("shop-001");
    server.assert_verified(&id, b"x");

    server.delete(&format!("/transfers/{id}")).expect(409);

    server.assert_verified(&id, b"x");
}

#[test]
fn two_pulls_in_one_millisecond_get_two_names() {
    let server = Server::start(&[("MAX_TRANSFERS_PER_CLIENT", "50"), ("MAX_CONCURRENT_TRANSFERS", "50")]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let pulls: Vec<Value> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..20).map(|_| scope.spawn(|| server.pull("shop-001", &json!({})))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });

    for pull in &pulls {
        server.assert_verified(&id(pull), b"x");
    }

    let hash = sha256(b"x");
    let expected: Vec<_> =
        pulls.iter().map(|pull| (pull["filename"].as_str().unwrap(), hash.as_str())).collect();
    server.assert_downloads(&expected);
    let names: std::collections::HashSet<_> = expected.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 20);
}

#[test]
fn a_client_that_drops_interrupts_its_transfer_and_goes_on_when_it_is_back() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let content = random_bytes(4, 200_000);
    let id = server.pull_id("shop-001");
    client.asked();
    client.begin(&id, "pos.db", content.len());
    client.chunk(&id, 1, &content[..65536]);
    server.has_bytes(&id);

    client.cut();

    let interrupted = server.reaches(&id, "interrupted");
    assert_eq!(interrupted["failure"]["code"], "client_disconnected", "{interrupted}");
    server.lists_no_more("shop-001", Duration::from_secs(5));
    let mut client = V1Client::connect(&server, "shop-001");
    let asked = client.asked();
    assert_eq!(asked.id, id, "the same transfer");
    client.upload(&asked, &content);
    let completed = server.assert_verified(&id, &content);
    assert_eq!(completed["attempts"], 2, "{completed}");
}
