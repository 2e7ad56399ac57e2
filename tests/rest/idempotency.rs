//! `Idempotency-Key`: a POST that is repeated, by a caller that does not know what became of the first, begins nothing
//! twice and loses nothing.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::server::{Server, id};
use crate::support::v1_client::V1Client;

pub const KEY: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
const PATH: &str = "/download/shop-001";

pub fn post(server: &Server, path: &str, key: &str, body: &str) -> Answer {
    server.request("POST", path, &[("Idempotency-Key", key)], Some(body.as_bytes()))
}

/// Whether an answer is one to a repeat.
pub fn is_replayed(answer: &Answer) -> bool {
    match answer.header("idempotency-replayed") {
        None => false,
        value => {
            assert_eq!(value, Some("true"));
            true
        }
    }
}

#[track_caller]
pub fn transfers(server: &Server) -> Vec<Value> {
    server.get("/transfers").expect(200).as_array().unwrap().clone()
}

/// The ids of a batch's transfers by client.
pub fn batch(answer: &Answer) -> Vec<(String, String)> {
    let body = answer.expect(202);
    let of = |transfer: &Value| {
        assert_eq!(transfer["batchId"], body["batchId"]);
        (transfer["clientId"].as_str().unwrap().to_owned(), id(transfer))
    };
    body["transfers"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn a_repeat_answers_with_the_first_ones_transfer_as_it_stands() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let first = post(&server, PATH, KEY, "{\"maxRate\": null}");
    assert!(!is_replayed(&first));
    let first = first.expect(202);
    assert!(!first.to_string().contains(KEY), "the key is the caller's own: {first}");

    let running = post(&server, PATH, KEY, "");

    assert!(is_replayed(&running), "the same in other words");
    assert_eq!((id(&running.expect(202)), &running.json()["ok"]), (id(&first), &json!(true)));
    let asked = client.asked();
    assert_eq!(asked.id, id(&first));
    client.upload(&asked, b"x");
    let done = server.assert_verified(&asked.id, b"x");
    let repeat = post(&server, PATH, KEY, "").expect(202);
    assert_eq!(
        (&repeat["status"], &repeat["sha256"], &repeat["ok"]),
        (&json!("completed"), &done["sha256"], &json!(true))
    );
    assert_eq!(transfers(&server).len(), 1);
    // Another key, or none, is another request; one on a GET means nothing.
    let other = post(&server, PATH, "another", "");
    assert!(!is_replayed(&other) && id(&other.expect(202)) != id(&first));
    assert_ne!(server.pull_id("shop-001"), id(&first));
    server.request("GET", "/clients", &[("Idempotency-Key", KEY)], None).expect(200);
}

#[test]
fn a_repeat_that_waits_is_told_the_end() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let path = "/download/shop-001?wait=60";
    let mut waiting: Vec<_> =
        (0..3).map(|_| server.send("POST", path, &[("Idempotency-Key", KEY)], Some(b"{}"))).collect();
    let asked = client.asked();
    let listed = transfers(&server);
    assert_eq!(listed.len(), 1);

    client.upload(&asked, b"x");

    let answers: Vec<Answer> = waiting.iter_mut().map(crate::support::http::Wire::answer).collect();
    answers.iter().for_each(|answer| assert_eq!(id(&answer.expect(200)), asked.id));
    assert_eq!(answers.iter().filter(|answer| is_replayed(answer)).count(), 2);
    let asked_at = Instant::now();
    let late = post(&server, path, KEY, "");
    assert!(
        is_replayed(&late) && asked_at.elapsed() < Duration::from_secs(10),
        "ended, so there is nothing to wait for"
    );
    assert_eq!(id(&late.expect(200)), asked.id);
}

#[test]
fn a_repeat_of_what_failed_tells_that_it_failed() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let first = post(&server, PATH, KEY, "").expect(202);
    client.asked();
    client.say(&json!({"type": "error", "message": "file_not_found", "requestId": id(&first)}));
    server.assert_failed(&id(&first), "file_not_found");

    let repeat = post(&server, PATH, KEY, "").expect(202);
    assert_eq!((id(&repeat), &repeat["ok"]), (id(&first), &json!(false)));
    assert_eq!(id(&post(&server, "/download/shop-001?wait=9", KEY, "").expect(502)), id(&first));
    assert_eq!(transfers(&server).len(), 1);
}

#[test]
fn the_same_key_for_something_else_is_422_and_starts_nothing() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let _other = V1Client::connect(&server, "shop-002").serve(b"x".to_vec());
    let first = id(&post(&server, PATH, KEY, r#"{"fileKey":"a"}"#).expect(202));
    for (path, body) in [
        (PATH, r#"{"fileKey":"b"}"#),
        (PATH, "{}"),
        (PATH, r#"{"fileKey":"a","queueFor":"1h"}"#),
        ("/download/shop-002", r#"{"fileKey":"a"}"#),
        ("/downloads", r#"{"clients":["shop-001"],"fileKey":"a"}"#),
    ] {
        post(&server, path, KEY, body).expect_error(422, "unprocessable content");
    }
    let all = r#"{"clients":["*"]}"#;
    assert_eq!(batch(&post(&server, "/downloads", "k2", all)).len(), 2);
    post(&server, PATH, "k2", "{}").expect_error(422, "unprocessable content");
    post(&server, "/downloads", "k2", r#"{"clients":["shop-*"]}"#).expect_error(422, "unprocessable content");
    assert_eq!(transfers(&server).len(), 3);
    assert_eq!(id(&post(&server, PATH, KEY, r#"{"fileKey":"a"}"#).expect(202)), first, "it still stands");
}

#[test]
fn a_key_that_is_none_is_400_and_starts_nothing() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let long = "k".repeat(256);
    for key in ["", "   ", &long, "schlüssel"] {
        post(&server, PATH, key, "{}").expect_error(400, "bad request");
        post(&server, "/downloads", key, r#"{"clients":["*"]}"#).expect_error(400, "bad request");
    }
    let two = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    server.request("POST", PATH, &two, Some(b"{}")).expect_error(400, "bad request");
    assert_eq!(transfers(&server).len(), 0);
    let long = "k".repeat(255);
    for key in ["a", "with space, and \"quotes\"", &long] {
        let first = id(&post(&server, PATH, key, "{}").expect(202));
        assert_eq!(id(&post(&server, PATH, key, "{}").expect(202)), first, "{key}");
    }
}

#[test]
fn what_was_refused_may_be_asked_for_again_with_its_key() {
    let server = Server::start(&[]);
    post(&server, PATH, KEY, "{}").expect_error(404, "not connected");
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let now = post(&server, PATH, KEY, "{}");
    assert!(!is_replayed(&now));
    server.assert_verified(&id(&now.expect(202)), b"x");
}

#[test]
fn a_transfer_that_cannot_be_saved_leaves_its_key_free() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let (state, away) = (server.uploads.join(".towline"), server.uploads.join("away"));
    fs::rename(&state, &away).unwrap();
    fs::write(&state, "not a folder").unwrap();
    let refused = post(&server, PATH, KEY, "{}");
    fs::remove_file(&state).unwrap();
    fs::rename(&away, &state).unwrap();
    refused.expect_error(507, "disk full");

    let now = post(&server, PATH, KEY, "{}");

    assert!(!is_replayed(&now));
    server.assert_verified(&id(&now.expect(202)), b"x");
    assert_eq!(transfers(&server).len(), 1);
}

#[test]
fn keys_survive_a_kill() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let done = id(&post(&server, PATH, "done", "{}").expect(202));
    let asked = client.asked();
    client.upload(&asked, b"x");
    server.assert_verified(&done, b"x");
    let running = id(&post(&server, PATH, "running", "{}").expect(202));
    client.asked();
    let record =
        fs::read_to_string(server.uploads.join(".towline").join(&running).join("record.json")).unwrap();
    assert!(
        record.contains("\n  \"idempotency\": {\n    \"caller\": \"operator\",\n    \"key\": \"running\","),
        "{record}"
    );

    let server = Server::start_in(server.kill(), &[]);

    for (key, first) in [("done", &done), ("running", &running)] {
        // The client is not there: nothing new could begin.
        let repeat = post(&server, PATH, key, "{}");
        assert!(is_replayed(&repeat));
        assert_eq!(id(&repeat.expect(202)), *first);
        post(&server, PATH, key, r#"{"fileKey":"other"}"#).expect_error(422, "unprocessable content");
    }
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    assert!(!server.assert_verified(&running, b"x").to_string().contains("idempotency"));
    assert_eq!(transfers(&server).len(), 2);
}

#[test]
fn a_key_older_than_a_day_is_a_new_one() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let first = id(&post(&server, PATH, KEY, "{}").expect(202));
    server.assert_verified(&first, b"x");
    let path = server.uploads.join(".towline").join(&first).join("record.json");
    let home = server.kill();
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["createdAt"] = json!(record["createdAt"].as_u64().unwrap() - 24 * 3_600_000);
    fs::write(&path, record.to_string()).unwrap();

    let server = Server::start_in(home, &[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());

    let second = post(&server, PATH, KEY, r#"{"fileKey":"other"}"#);
    assert!(!is_replayed(&second));
    assert_ne!(id(&second.expect(202)), first);
    assert!(is_replayed(&post(&server, PATH, KEY, r#"{"fileKey":"other"}"#)));
}

#[test]
fn a_key_goes_with_its_transfer() {
    let server = Server::start(&[("KEEP_TRANSFERS", "1")]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let first = id(&post(&server, PATH, KEY, "{}").expect(202));
    server.assert_verified(&first, b"x");
    server.assert_verified(&server.pull_id("shop-001"), b"x");
    assert_eq!(server.get(&format!("/transfers/{first}")).status, 404, "forgotten");

    let second = post(&server, PATH, KEY, "{}");

    assert!(!is_replayed(&second));
    server.assert_verified(&id(&second.expect(202)), b"x");
}

#[test]
fn a_repeat_while_the_server_stops_is_answered() {
    let mut server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let first = id(&post(&server, PATH, KEY, "{}").expect(202));
    let asked = client.asked();
    server.program.signal(Signal::TERM);
    server.program.wait_line("stopping");

    assert_eq!(id(&post(&server, PATH, KEY, "{}").expect(202)), first);
    post(&server, PATH, "new", "{}").expect_error(503, "stopping");

    client.upload(&asked, b"x");
    assert_eq!(server.program.wait_exit(), 0);
}

/// Sends 50 requests at one moment, `path` and `body` by number.
pub fn at_once(
    server: &Server,
    request: impl Fn(usize) -> (&'static str, &'static str) + Sync,
) -> Vec<Answer> {
    let ready = Barrier::new(50);
    thread::scope(|scope| {
        let send = |number: usize| {
            let (path, body) = request(number);
            ready.wait();
            post(server, path, KEY, body)
        };
        let callers: Vec<_> = (0..50).map(|number| scope.spawn(move || send(number))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    })
}

#[test]
fn fifty_at_once_begin_one_transfer() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());

    let answers = at_once(&server, |_| (PATH, "{}"));

    let ids: BTreeSet<String> = answers.iter().map(|answer| id(&answer.expect(202))).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    server.assert_verified(ids.first().unwrap(), b"x");
    assert_eq!(transfers(&server).len(), 1);
}
