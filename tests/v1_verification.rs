//! Verified or absent: a v1 client that lies, errs or falls silent gets no file into `UPLOAD_DIR`.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::files::{random_bytes, sha256};
use support::server::Server;
use support::v1_client::V1Client;

const STALL: &[(&str, &str)] = &[("STALL_SECONDS", "2")];

/// A server, a client, and a pull that the client has been asked for.
struct Pull {
    server: Server,
    client: V1Client,
    asked: support::v1_client::Asked,
}

impl Pull {
    #[track_caller]
    fn begun(settings: &[(&str, &str)]) -> Pull {
        let server = Server::start(settings);
        let mut client = V1Client::connect(&server, "shop-001");
        let id = server.pull_id("shop-001");
        let asked = client.asked();
        assert_eq!(asked.id, id);
        Pull { server, client, asked }
    }

    /// The transfer has failed, the client was told that it is not ok, there is no file, and the line still works.
    #[track_caller]
    fn ends_refused(mut self, code: &str, computed: &str) {
        let receipt = self.client.receipt(&self.asked.id);
        assert_eq!((&receipt["ok"], &receipt["computed"]), (&json!(false), &json!(computed)), "{receipt}");
        let failed = self.server.assert_failed(&self.asked.id, code);
        assert!(failed["finishedAt"].is_u64(), "{failed}");
        self.server.assert_downloads(&[]);
        self.still_works();
    }

    /// The same client on the same line can be pulled from again.
    #[track_caller]
    fn still_works(mut self) {
        let id = self.server.pull_id("shop-001");
        let asked = self.client.asked();
        let content = random_bytes(99, 1000);
        self.client.upload(&asked, &content);
        assert_eq!(self.client.receipt(&id)["ok"], true);
        let transfer = self.server.assert_verified(&id, &content);
        self.server.assert_downloads(&[(transfer["filename"].as_str().unwrap(), &sha256(&content))]);
    }
}

#[test]
fn a_client_that_lies_about_its_checksum_fails() {
    let mut pull = Pull::begun(&[]);
    let content = random_bytes(1, 200_000);
    pull.client.begin(&pull.asked.id, "pos.db", content.len());
    pull.client.chunks(&pull.asked, &content);

    pull.client.end(&pull.asked.id, &sha256(b"something else"), content.len());

    pull.ends_refused("checksum_mismatch", &sha256(&content));
}

#[test]
fn one_flipped_bit_fails() {
    let mut pull = Pull::begun(&[]);
    let content = random_bytes(2, 200_000);
    let mut sent = content.clone();
    sent[123_456] ^= 0x10;
    pull.client.begin(&pull.asked.id, "pos.db", content.len());
    pull.client.chunks(&pull.asked, &sent);

    pull.client.end(&pull.asked.id, &sha256(&content), content.len());

    pull.ends_refused("checksum_mismatch", &sha256(&sent));
}

#[test]
fn fewer_bytes_than_stated_fail_even_with_their_own_checksum() {
    let mut pull = Pull::begun(&[]);
    let content = random_bytes(3, 99_999);
    pull.client.begin(&pull.asked.id, "pos.db", 100_000);
    pull.client.chunks(&pull.asked, &content);

    pull.client.end(&pull.asked.id, &sha256(&content), 100_000);

    pull.ends_refused("size_mismatch", &sha256(&content));
}

#[test]
fn no_byte_at_all_where_some_were_stated_fails() {
    let mut pull = Pull::begun(&[]);
    pull.client.begin(&pull.asked.id, "pos.db", 1);

    pull.client.end(&pull.asked.id, &sha256(b""), 1);

    pull.ends_refused("size_mismatch", &sha256(b""));
}

#[test]
fn a_file_that_grew_meanwhile_completes_with_what_came() {
    for stated_at_the_end in [100_000, 150_000] {
        let mut pull = Pull::begun(&[]);
        let content = random_bytes(4, 150_000);
        pull.client.begin(&pull.asked.id, "pos.log", 100_000);
        pull.client.chunks(&pull.asked, &content);

        pull.client.end(&pull.asked.id, &sha256(&content), stated_at_the_end);

        assert_eq!(pull.client.receipt(&pull.asked.id)["ok"], true);
        pull.server.assert_verified(&pull.asked.id, &content);
    }
}

#[test]
fn a_checksum_that_is_none_fails() {
    for checksum in [json!("abc"), json!(""), json!(null), json!(5)] {
        let mut pull = Pull::begun(&[]);
        let id = &pull.asked.id;
        pull.client.begin(id, "pos.db", 1);
        pull.client.chunk(id, 1, b"x");

        pull.client.say(&json!({"type": "upload_end", "requestId": id, "checksum": checksum, "filesize": 1}));

        let transfer = support::wait::eventually("the attempt has ended with a reason", || {
            let transfer = pull.server.transfer(id);
            transfer["failure"].is_object().then_some(transfer)
        });
        assert_ne!(transfer["status"], "completed", "{checksum}: {transfer}");
        pull.server.assert_downloads(&[]);
    }
}

#[test]
fn a_client_without_the_file_says_so() {
    let mut pull = Pull::begun(&[]);

    pull.client.say(&json!({"type": "error", "message": "file_not_found", "requestId": pull.asked.id}));

    pull.server.assert_failed(&pull.asked.id, "file_not_found");
    pull.server.assert_downloads(&[]);
    pull.still_works();
}

#[test]
fn an_error_with_another_text_is_passed_on() {
    let mut pull = Pull::begun(&[]);

    pull.client
        .say(&json!({"type": "error", "message": "EISDIR: illegal operation", "requestId": pull.asked.id}));

    let transfer = pull.server.ended(&pull.asked.id);
    assert_eq!(transfer["status"], "failed");
    let failure = transfer["failure"]["message"].as_str().unwrap();
    assert!(failure.contains("EISDIR: illegal operation"), "{transfer}");
    pull.still_works();
}

#[test]
fn an_error_in_mid_file_leaves_nothing() {
    let mut pull = Pull::begun(&[]);
    let id = pull.asked.id.clone();
    pull.client.begin(&id, "pos.db", 100_000);
    pull.client.chunk(&id, 1, &random_bytes(5, 65536));
    pull.server.has_bytes(&id);

    pull.client.say(&json!({"type": "error", "message": "file_not_found", "requestId": id}));

    pull.server.assert_failed(&id, "file_not_found");
    pull.server.assert_downloads(&[]);
    pull.still_works();
}

#[test]
fn a_client_that_never_answers_is_stalled() {
    let asked_at = Instant::now();
    let pull = Pull::begun(STALL);

    let transfer = pull.server.assert_failed(&pull.asked.id, "stalled");

    let took = asked_at.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(12)).contains(&took), "{took:?}");
    let waited = transfer["finishedAt"].as_u64().unwrap() - transfer["startedAt"].as_u64().unwrap();
    assert!((1_900..10_000).contains(&waited), "{waited} ms: {transfer}");
    pull.server.assert_downloads(&[]);
    pull.still_works();
}

#[test]
fn a_client_that_falls_silent_in_mid_file_is_stalled() {
    let mut pull = Pull::begun(STALL);
    let id = pull.asked.id.clone();
    pull.client.begin(&id, "pos.db", 200_000);
    pull.client.chunk(&id, 1, &random_bytes(6, 65536));
    pull.server.has_bytes(&id);

    // Heartbeats are life of the line, not progress of the file.
    for ts in 0..5 {
        pull.client.say(&json!({"type": "heartbeat", "ts": ts}));
    }

    pull.server.assert_failed(&id, "stalled");
    pull.server.assert_downloads(&[]);
    pull.client.chunk(&id, 2, &random_bytes(7, 65536)); // late, of an id that has ended: dropped in silence
    pull.client.end(&id, &sha256(b"late"), 200_000);
    pull.still_works();
}

#[test]
fn a_slow_client_that_keeps_sending_is_not_stalled() {
    let mut pull = Pull::begun(&[("STALL_SECONDS", "1")]);
    let id = pull.asked.id.clone();
    let content = random_bytes(8, 8);
    pull.client.begin(&id, "pos.db", content.len());

    for (byte, seq) in content.chunks(1).zip(1..) {
        pull.client.chunk(&id, seq, byte);
        // A pause that is shorter than the bound, eight of which are longer: the transfer is seen unended for 300 ms.
        let paused = pull.server.get(&format!("/transfers/{id}")).expect(200);
        assert!(paused["failure"].is_null(), "{paused}");
        support::wait::pause(Duration::from_millis(300));
    }

    pull.client.end(&id, &sha256(&content), content.len());
    pull.server.assert_verified(&id, &content);
}
