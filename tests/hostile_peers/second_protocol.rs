//! A peer that speaks the second protocol of `src/protocol/WIRE.md`, and breaks its rules.

use serde_json::{Value, json};

use crate::scene::Scene;
use crate::support::files::random_bytes;
use crate::support::healthy::Healthy;
use crate::support::server::{SECRET, Server};
use crate::support::v1_client::V1Client;

#[test]
fn chunks_in_order_make_a_file() {
    let mut scene = Scene::set();
    let content = random_bytes(1, 100_000);
    scene.begin(1, content.len());
    scene.chunk(1, 1, 0, &content[..60_000]);
    scene.chunk(1, 2, 60_000, &content[60_000..]);
    scene.end(1, &content);
    scene.server.assert_verified(&scene.id, &content);
}

#[test]
fn a_gap_ends_the_attempt_by_name() {
    let mut scene = Scene::set();
    scene.begin(1, 1000);
    scene.chunk(1, 1, 0, &[1; 100]);
    scene.chunk(1, 2, 101, &[1; 100]);
    scene.ends_by_name();
}

#[test]
fn an_overlap_ends_the_attempt_by_name() {
    let mut scene = Scene::set();
    scene.begin(1, 1000);
    scene.chunk(1, 1, 0, &[1; 100]);
    scene.chunk(1, 2, 99, &[1; 100]);
    scene.ends_by_name();
}

#[test]
fn a_byte_too_many_ends_the_attempt_by_name() {
    let mut scene = Scene::set();
    scene.begin(1, 100);
    scene.chunk(1, 1, 0, &[1; 100]);
    scene.chunk(1, 2, 100, &[1]);
    scene.ends_by_name();
}

#[test]
fn a_chunk_without_an_offset_ends_the_attempt_by_name() {
    let mut scene = Scene::set();
    scene.begin(1, 100);
    scene.chunk(1, 1, Value::Null, &[1; 100]);
    scene.ends_by_name();
}

#[test]
fn an_offset_near_the_end_of_numbers_ends_the_attempt_by_name() {
    let mut scene = Scene::set();
    scene.begin(1, 100);
    scene.chunk(1, 1, u64::MAX, &[1; 100]);
    scene.ends_by_name();
}

#[test]
fn a_start_twice_ends_the_attempt_by_name() {
    let mut scene = Scene::set();
    scene.begin(1, 100);
    scene.begin(1, 100);
    scene.ends_by_name();
}

#[test]
fn what_names_another_attempt_is_dropped_in_silence() {
    let mut scene = Scene::set();
    let content = random_bytes(2, 1000);
    scene.begin(7, 5);
    scene.begin(1, content.len());
    scene.chunk(7, 1, 0, b"other");
    scene.chunk(1, 1, 0, &content);
    scene.end(7, b"other");
    scene.end(1, &content);
    scene.server.assert_verified(&scene.id, &content);
}

#[test]
fn fewer_bytes_than_stated_are_a_failure() {
    let mut scene = Scene::set();
    scene.begin(1, 1000);
    scene.chunk(1, 1, 0, &[1; 999]);
    scene.end(1, &[1; 999]);
    scene.server.assert_failed(&scene.id, "size_mismatch");
    scene.healthy.is_all_there_is(&scene.server);
}

#[test]
fn a_wrong_checksum_is_a_failure() {
    let mut scene = Scene::set();
    // Mended the second time, from nothing the third: with a wrong hash in each.
    for (attempt, have) in [(1, None), (2, Some(1000)), (3, None)] {
        if attempt > 1 {
            assert_eq!(scene.asked_again(attempt)["have"].as_u64(), have);
        }
        scene.begin(attempt, 1000);
        scene.chunk(attempt, 1, 0, &[1; 1000]);
        scene.end(attempt, &[2; 1000]);
    }
    scene.server.assert_failed(&scene.id, "checksum_mismatch");
    scene.healthy.is_all_there_is(&scene.server);
}

#[test]
fn progress_without_end_is_no_progress_for_ever() {
    // Signs of progress keep a transfer from stalling; they must not make the server believe in a file.
    let mut scene = Scene::set();
    scene.begin(1, 1000);
    scene.chunk(1, 1, 0, &[1; 1000]);
    for _ in 0..1000 {
        scene.peer.say(&json!({"type": "progress", "requestId": scene.id, "attempt": 1}));
    }
    assert_eq!(scene.asked_again(2)["have"], 1000, "it is asked for what is missing");
    assert_eq!(scene.server.transfer(&scene.id)["failure"]["code"], "stalled");
    scene.healthy.is_all_there_is(&scene.server);
}

#[test]
fn a_cancel_reaches_the_agent() {
    let mut scene = Scene::set();
    scene.server.delete(&format!("/transfers/{}", scene.id)).expect(200);
    let heard = scene.peer.hear();
    assert_eq!((&heard["type"], &heard["requestId"]), (&json!("cancel"), &json!(scene.id)), "{heard}");
    scene.peer.say(&json!({
        "type": "error", "requestId": scene.id, "code": "cancelled", "message": "cancelled", "attempt": 1
    }));
    assert_eq!(scene.server.ended(&scene.id)["status"], "cancelled");
    scene.healthy.is_all_there_is(&scene.server);
}

#[test]
fn an_error_word_that_nobody_knows_is_kept_with_its_text() {
    let mut scene = Scene::set();
    scene.peer.say(&json!({
        "type": "error", "requestId": scene.id, "code": "on_fire", "message": "smoke\n\u{1b}[31m", "attempt": 1
    }));
    let failed = scene.server.assert_failed(&scene.id, "agent_error");
    let message = failed["failure"]["message"].as_str().unwrap();
    assert!(message.contains("smoke") && !message.contains(['\n', '\u{1b}']), "{failed}");
    scene.healthy.is_all_there_is(&scene.server);
}

#[test]
fn absurd_words_of_introduction_harm_nobody() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let many: Vec<String> = (0..5000).map(|n| format!("share-{n}")).collect();
    for (n, introduction) in [
        json!({"type": "register_meta", "meta": {}, "protocol": 2, "agentVersion": "1", "shares": many}),
        json!({"type": "register_meta", "meta": {}, "protocol": 2, "agentVersion": "1", "shares": ["../x", "a b", ""]}),
        json!({"type": "register_meta", "meta": {"a": "x".repeat(100_000)}, "protocol": 2}),
        json!({"type": "register_meta", "meta": {}, "protocol": 2, "agentVersion": "9".repeat(100_000), "shares": []}),
        json!({"type": "register_meta", "meta": [1, 2], "protocol": 2}),
        json!({"type": "register_meta", "meta": {}, "protocol": -1}),
        json!({"type": "register_meta", "meta": {}, "protocol": 99, "agentVersion": 5, "shares": "logs"}),
        json!({"type": "register_meta", "meta": {}, "protocol": 2, "congestionControl": "b".repeat(100_000)}),
        json!({"type": "register_meta", "meta": {}, "protocol": 2, "congestionControl": "\u{1b}[31m\n"}),
        json!({"type": "register_meta"}),
    ]
    .into_iter()
    .enumerate()
    {
        let mut peer = V1Client::dial(server.port, &format!("hostile-{n}"), SECRET).expect("it gets in");
        peer.say(&introduction);
        healthy.is_pulled_from(&server);
        let listed = server.get("/clients");
        let shown = listed.json();
        let shown = shown.as_array().unwrap().iter().map(|client| &client["congestionControl"]);
        assert!({ shown }.all(Value::is_null), "{n}: no name of a congestion control is shown");
        assert!(listed.body.len() < 50_000, "{n} makes the list {} bytes long", listed.body.len());
    }
}
