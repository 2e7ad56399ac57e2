//! Callers that wait for a transfer's end: they sleep, they are told at once, and nobody else notices them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http::Answer;
use crate::support::server::{Server, id};
use crate::support::v1_client::V1Client;

const PROMPT: Duration = Duration::from_secs(5);

#[test]
fn a_post_that_waits_answers_200_with_the_completed_transfer() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());

    let transfer = server.post("/download/shop-001?wait=30", &json!({})).expect(200);

    assert_eq!(transfer["status"], "completed");
    server.assert_verified(&id(&transfer), b"x");
}

#[test]
fn a_post_that_waits_answers_502_when_the_transfer_fails() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let mut waiting = server.send("POST", "/download/shop-001?wait=30", &[], Some(b"{}"));
    let asked = client.asked();

    client.say(&json!({"type": "error", "message": "file_not_found", "requestId": asked.id}));

    let transfer = waiting.answer().expect(502);
    assert_eq!(
        (&transfer["status"], &transfer["failure"]["code"]),
        (&json!("failed"), &json!("file_not_found"))
    );
}

#[test]
fn a_post_that_waits_answers_409_when_the_transfer_is_cancelled() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let mut waiting = server.send("POST", "/download/shop-001?wait=30", &[], Some(b"{}"));
    let asked = client.asked();

    server.delete(&format!("/transfers/{}", asked.id)).expect(200);

    assert_eq!(waiting.answer().expect(409)["status"], "cancelled");
}

#[test]
fn a_post_that_has_waited_long_enough_answers_202() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let asked_at = Instant::now();
    let mut waiting = server.send("POST", "/download/shop-001?wait=1", &[], Some(b"{}"));
    client.asked();

    let transfer = waiting.answer().expect(202);

    assert!((Duration::from_millis(900)..PROMPT).contains(&asked_at.elapsed()), "{:?}", asked_at.elapsed());
    assert_eq!(transfer["status"], "requested");
}

#[test]
fn a_get_that_waits_answers_at_the_end_or_when_its_time_is_over() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let id = server.pull_id("shop-001");
    let asked = client.asked();
    let asked_at = Instant::now();
    let running = server.get(&format!("/transfers/{id}?wait=1")).expect(200);
    assert_eq!(running["status"], "requested");
    assert!(asked_at.elapsed() > Duration::from_millis(900), "{:?}", asked_at.elapsed());
    let now = server.get(&format!("/transfers/{id}?wait=0")).expect(200);
    assert_eq!(now["status"], "requested");

    let mut waiting = server.send("GET", &format!("/transfers/{id}?wait=60"), &[], None);
    client.upload(&asked, b"x");

    let told_at = Instant::now();
    assert_eq!(waiting.answer().expect(200)["status"], "completed");
    assert!(told_at.elapsed() < PROMPT, "{:?}", told_at.elapsed());
    let again = Instant::now();
    assert_eq!(server.get(&format!("/transfers/{id}?wait=60")).expect(200)["status"], "completed");
    assert!(again.elapsed() < PROMPT, "an ended transfer is not waited for");
}

#[test]
fn a_wait_that_is_none_is_400() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001").serve(b"x".to_vec());
    let id = server.pull_id("shop-001");
    for wait in ["soon", "-1", "1e3", "99999999999999999999"] {
        server.get(&format!("/transfers/{id}?wait={wait}")).expect_error(400, "bad request");
        server.post(&format!("/download/shop-001?wait={wait}"), &json!({})).expect_error(400, "bad request");
    }
}

#[test]
fn a_post_that_waits_for_a_client_that_is_not_there_is_404_at_once() {
    let server = Server::start(&[]);
    let asked_at = Instant::now();
    server.post("/download/shop-001?wait=60", &json!({})).expect_error(404, "not connected");
    assert!(asked_at.elapsed() < PROMPT);
}

#[test]
fn fifty_waiting_callers_deafen_nobody_and_are_all_told() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let _other = V1Client::connect(&server, "other").serve(b"other".to_vec());
    let id = server.pull_id("shop-001");
    let asked = client.asked();
    let path = format!("/transfers/{id}?wait=60");
    let mut waiting: Vec<_> = (0..50).map(|_| server.send("GET", &path, &[], None)).collect();

    // While they wait: every other answer is prompt, and another client's pull runs through.
    for _ in 0..20 {
        let asked_at = Instant::now();
        server.get("/clients").expect(200);
        assert!(asked_at.elapsed() < PROMPT, "{:?}", asked_at.elapsed());
    }
    let other = server.pull_id("other");
    server.assert_verified(&other, b"other");
    // Callers that give up while they wait are no harm.
    waiting.truncate(40);

    client.upload(&asked, b"x");

    let answers: Vec<Answer> = waiting.iter_mut().map(crate::support::http::Wire::answer).collect();
    for answer in answers {
        let transfer = answer.expect(200);
        assert_eq!((&transfer["status"], &transfer["requestId"]), (&json!("completed"), &json!(id)));
    }
}

#[test]
fn a_caller_that_does_not_read_its_long_answer_deafens_nobody() {
    let server = Server::start(&[]);
    let _silent = V1Client::connect(&server, "shop-001");
    // A control character takes six bytes in JSON: a list of seven megabytes, more than any socket holds.
    let long_key = json!({"fileKey": "\u{1}".repeat(4096)});
    for _ in 0..300 {
        server.pull("shop-001", &long_key);
    }

    let deaf: Vec<_> = (0..3).map(|_| server.send("GET", "/transfers?limit=1000", &[], None)).collect();

    for _ in 0..10 {
        let asked_at = Instant::now();
        server.get("/clients").expect(200);
        assert!(asked_at.elapsed() < PROMPT, "{:?}", asked_at.elapsed());
    }
    drop(deaf);
}

#[test]
fn waiting_callers_cost_no_thread_for_good() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    server.get("/clients").expect(200);
    let threads = server.program.status("Threads");
    let id = server.pull_id("shop-001");
    let asked = client.asked();
    let path = format!("/transfers/{id}?wait=60");
    let mut waiting: Vec<_> = (0..30).map(|_| server.send("GET", &path, &[], None)).collect();
    waiting.truncate(20); // ten give up

    client.upload(&asked, b"x");

    for wire in &mut waiting {
        wire.answer().expect(200);
    }
    server.has_threads_again(threads);
}
