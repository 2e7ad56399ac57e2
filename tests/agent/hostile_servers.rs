//! A server that speaks the second protocol and lies about what it already has: the agent closes that line or lets it
//! talk, keeps its memory, threads and descriptors, and serves whoever answers next.

use std::time::Duration;

use serde_json::json;
use tungstenite::Message;

use crate::support::files::sha256;
use crate::support::v1_client::packed;
use crate::support::wait::pause;
use crate::v2_server::{BLOCK, ID, SIZE, Scene, accept, hashes, id};

#[test]
fn an_answer_that_nobody_asked_for_closes_the_line() {
    for (of, from) in [("blocks", 0), ("pages", 0), ("blocks", 7)] {
        let mut scene = Scene::set();
        scene.ask(ID, 1, None);
        scene.hear("upload_start");
        scene.answer(ID, 1, of, from, &[0; 80]);
        scene.closes_the_line();
    }
}

#[test]
fn an_answer_again_closes_the_line() {
    let mut scene = Scene::set();
    scene.is_asked_about(SIZE as u64);
    let wrong = [0; 80];
    scene.answer(ID, 1, "blocks", 0, &wrong);
    let asked = scene.hear("ask_pages");
    assert_eq!(asked["blocks"], json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    scene.answer(ID, 1, "blocks", 0, &wrong);
    scene.closes_the_line();
}

#[test]
fn an_answer_to_another_question_closes_the_line() {
    for (of, from) in [("pages", 0), ("blocks", 1), ("blocks", u64::MAX)] {
        let mut scene = Scene::set();
        scene.is_asked_about(SIZE as u64);
        scene.answer(ID, 1, of, from, &[0; 80]);
        scene.closes_the_line();
    }
}

#[test]
fn more_hashes_than_were_asked_for_close_the_line() {
    for too_many in [11, 257, 30_000] {
        let mut scene = Scene::set();
        assert_eq!(scene.is_asked_about(SIZE as u64)["count"], 10);
        scene.answer(ID, 1, "blocks", 0, &vec![0; 8 * too_many]);
        scene.closes_the_line();
    }
    let mut scene = Scene::set();
    scene.is_asked_about(SIZE as u64);
    let mut payload = hashes(&scene.content, BLOCK);
    payload[8 * 9] ^= 1;
    scene.answer(ID, 1, "blocks", 0, &payload);
    assert_eq!(scene.hear("ask_pages")["blocks"], json!([9]));
    scene.answer(ID, 1, "pages", 9, &[0; 8 * 17]);
    scene.closes_the_line();
}

#[test]
fn a_payload_that_is_no_whole_number_of_hashes_closes_the_line() {
    for length in [1, 7, 9, 79] {
        let mut scene = Scene::set();
        scene.is_asked_about(SIZE as u64);
        scene.answer(ID, 1, "blocks", 0, &vec![0; length]);
        scene.closes_the_line();
    }
}

#[test]
fn an_answer_that_is_none_closes_the_line() {
    let header = json!({"requestId": ID, "attempt": 1, "of": "blocks"}).to_string(); // `from` is missing
    for message in [b"".to_vec(), vec![255; 100], packed(header.as_bytes(), &[0; 8]), packed(b"{}", &[])] {
        let mut scene = Scene::set();
        scene.is_asked_about(SIZE as u64);
        scene.line.socket.send(Message::binary(message)).unwrap();
        scene.closes_the_line();
    }
}

#[test]
fn a_have_that_is_no_number_closes_the_line() {
    for have in [json!(-1), json!(1.5), json!("many"), json!(1e30)] {
        let mut scene = Scene::set();
        scene.say(&json!({"type": "download_request", "requestId": ID, "attempt": 1, "have": have}));
        scene.closes_the_line();
    }
}

#[test]
fn answers_of_other_transfers_and_attempts_are_ignored() {
    let mut scene = Scene::set();
    scene.is_asked_about(SIZE as u64);
    for (id, attempt) in [(&*id(7), 1), (ID, 0), (ID, 2), (ID, u32::MAX)] {
        scene.answer(id, attempt, "blocks", 0, &[0; 80]);
        scene.answer(id, attempt, "pages", 3, &[0; 8 * 5000]);
    }
    let payload = hashes(&scene.content, BLOCK);
    scene.answer(ID, 1, "blocks", 0, &payload);
    let same = scene.hear("same");
    assert_eq!((&same["offset"], &same["length"]), (&json!(0), &json!(SIZE)));
    assert_eq!(scene.receive(ID).1["checksum"], sha256(&scene.content));
    scene.agent.program.holds_no_more_than(scene.rest);
    scene.answer(ID, 1, "blocks", 0, &[0; 80]); // late: the transfer is over
    scene.serves();
}

#[test]
fn no_answer_at_all_holds_a_transfer_until_it_is_cancelled_and_no_longer() {
    let mut scene = Scene::set();
    scene.is_asked_about(SIZE as u64);
    pause(Duration::from_secs(2)); // nothing happens
    let holds = scene.agent.program.holds();
    assert!(holds.threads > scene.rest.threads && holds.descriptors > scene.rest.descriptors, "{holds:?}");
    scene.say(&json!({"type": "cancel", "requestId": ID, "attempt": 1}));
    let refused = scene.hear("error");
    assert_eq!((&refused["requestId"], &refused["code"]), (&json!(ID), &json!("cancelled")), "{refused}");
    scene.agent.program.holds_no_more_than(scene.rest);
    scene.answer(ID, 1, "blocks", 0, &[0; 80]); // late
    scene.serves();
}

#[test]
fn a_line_that_ends_before_an_answer_ends_the_transfer() {
    let mut scene = Scene::set();
    scene.is_asked_about(SIZE as u64);
    let _ = scene.line.socket.get_ref().shutdown(std::net::Shutdown::Both);
    scene.serves_the_next();
}

#[test]
fn a_server_that_says_it_has_more_than_there_is_gets_the_file() {
    for (have, told) in [(u64::MAX, 0), (1 << 63, 10), (SIZE as u64 + 1, 3), (1, 0), (1, 1)] {
        let mut scene = Scene::with(SIZE);
        let asked = scene.is_asked_about(have);
        let blocks = if have == 1 { 1 } else { 10 };
        assert_eq!((&asked["from"], &asked["count"]), (&json!(0), &json!(blocks)));
        // None, some or all of them, and all wrong; of the pages, none. Where there are no blocks it asks no further.
        scene.answer(ID, 1, "blocks", 0, &vec![0; 8 * told]);
        if told > 0 {
            let asked = scene.hear("ask_pages");
            assert_eq!(asked["blocks"].as_array().map(Vec::len), Some(told), "{asked}");
            scene.answer(ID, 1, "pages", 0, &[]);
        }
        let (received, end) = scene.receive(ID);
        assert!(received == scene.content);
        assert_eq!(end["checksum"], sha256(&scene.content));
        scene.serves();
    }
}

#[test]
fn an_empty_file_is_compared_with_nothing() {
    let mut scene = Scene::with(0);
    scene.ask(ID, 1, Some(u64::MAX));
    assert_eq!(scene.receive(ID).1["checksum"], sha256(b""));
    scene.serves();
}

#[test]
fn hashes_that_are_right_for_another_content_cost_no_wrong_file() {
    // The server lies that it has what it has not: the agent believes it, and states the hash of its own file.
    let mut scene = Scene::set();
    scene.is_asked_about(SIZE as u64);
    let payload = hashes(&scene.content, BLOCK);
    scene.answer(ID, 1, "blocks", 0, &payload);
    assert_eq!(scene.receive(ID).1["checksum"], sha256(&scene.content));
    scene.say(&json!({"type": "upload_received", "requestId": ID, "computed": sha256(b"x"), "ok": true}));
    scene.agent.program.wait_line("arrived damaged");
    scene.serves();
}

#[test]
fn a_server_that_breaks_the_rules_each_time_is_left_alone_for_longer() {
    let mut scene = Scene::set();
    for round in 1..12 {
        scene.is_asked_about(SIZE as u64);
        scene.answer(ID, 1, "blocks", 0, &[0; 7]);
        scene.hears_the_close();
        let line = scene.agent.program.wait_nth_line("dialling again in", round);
        let seconds: f64 = line.rsplit(' ').nth(1).and_then(|number| number.parse().ok()).expect("a number");
        if seconds > 1.1 {
            return; // the pauses of a line that was healthy are shorter
        }
        scene.line = accept(&scene.server);
    }
    panic!("it comes back within a second each time");
}
