//! Who is served when there are more pulls than places.

use serde_json::json;

use crate::support::server::{Server, id};
use crate::support::v1_client::V1Client;

#[test]
fn with_one_place_clients_take_turns_first_come_first_served_within_each() {
    let server = Server::start(&[("MAX_CONCURRENT_TRANSFERS", "1")]);
    let mut clients = [
        ("a", V1Client::connect(&server, "a")),
        ("b", V1Client::connect(&server, "b")),
        ("c", V1Client::connect(&server, "c")),
    ];
    let posts = ["a", "a", "a", "b", "b", "c"].map(|client| (client, server.pull_id(client)));
    let place = |client: &str, nth: usize| {
        let mut own = posts.iter().filter(|(posted, _)| *posted == client);
        (client.to_owned(), own.nth(nth).expect("posted").1.clone())
    };
    let expected = [place("a", 0), place("b", 0), place("c", 0), place("a", 1), place("b", 1), place("a", 2)];

    for (turn, (client, id)) in expected.iter().enumerate() {
        // One place: exactly one transfer has been asked for.
        let running = server.reaches(id, "requested");
        let listed = server.get("/transfers?status=queued").expect(200);
        assert_eq!(listed.as_array().unwrap().len(), expected.len() - turn - 1, "{running}");
        let line = &mut clients.iter_mut().find(|(name, _)| name == client).expect("connected").1;

        let asked = line.asked();

        assert_eq!(asked.id, *id, "turn {turn}");
        line.upload(&asked, b"x");
        assert_eq!(line.receipt(id)["ok"], true);
        server.assert_verified(id, b"x");
    }
}

#[test]
fn one_client_holds_no_more_than_its_share_of_places() {
    let server = Server::start(&[("MAX_TRANSFERS_PER_CLIENT", "2")]);
    let mut busy = V1Client::connect(&server, "busy");
    let _other = V1Client::connect(&server, "other").serve(b"other".to_vec());
    let ids: Vec<_> = (0..4).map(|_| server.pull_id("busy")).collect();
    let first = busy.asked();
    let second = busy.asked();
    assert_eq!([&first.id, &second.id], [&ids[0], &ids[1]]);
    assert_eq!(server.transfer(&ids[2])["status"], "queued");

    // Another client does not wait for it.
    let other = server.pull_id("other");
    server.assert_verified(&other, b"other");

    busy.upload(&second, b"second");
    server.assert_verified(&second.id, b"second");
    let third = busy.asked();
    assert_eq!(third.id, ids[2]);
    assert_eq!(server.transfer(&ids[3])["status"], "queued");
    for asked in [first, third] {
        busy.upload(&asked, b"x");
        server.assert_verified(&asked.id, b"x");
    }
    assert_eq!(busy.asked().id, ids[3]);
}

#[test]
fn two_transfers_of_one_client_may_interleave() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let (one, two) = (server.pull_id("shop-001"), server.pull_id("shop-001"));
    client.asked();
    client.asked();
    client.begin(&one, "one", 4);
    client.begin(&two, "two", 4);
    for (seq, (a, b)) in [(b"on", b"tw"), (b"e!", b"o!")].into_iter().enumerate() {
        client.chunk(&two, seq as u64 + 1, b);
        client.chunk(&one, seq as u64 + 1, a);
    }

    client.end(&one, &crate::support::files::sha256(b"one!"), 4);
    client.end(&two, &crate::support::files::sha256(b"two!"), 4);

    server.assert_verified(&one, b"one!");
    server.assert_verified(&two, b"two!");
}

#[test]
fn a_full_queue_is_429_and_says_when_to_come_back() {
    let server = Server::start(&[("MAX_CONCURRENT_TRANSFERS", "1"), ("MAX_QUEUED_TRANSFERS", "2")]);
    let mut client = V1Client::connect(&server, "shop-001");
    let running = server.pull_id("shop-001");
    let asked = client.asked();
    let queued = server.pull_id("shop-001");
    server.pull_id("shop-001");

    let refused = server.post("/download/shop-001", &json!({}));

    refused.expect_error(429, "too many concurrent transfers");
    let seconds: u64 = refused.header("retry-after").expect("Retry-After").parse().expect("seconds");
    assert!((1..=3600).contains(&seconds));
    // With a place free again, so is the queue.
    client.upload(&asked, b"x");
    server.assert_verified(&running, b"x");
    server.reaches(&queued, "requested");
    server.pull("shop-001", &json!({}));
}

#[test]
fn a_place_is_free_again_after_every_kind_of_end() {
    let server = Server::start(&[("MAX_CONCURRENT_TRANSFERS", "1"), ("STALL_SECONDS", "1")]);
    let mut client = V1Client::connect(&server, "shop-001");
    let last = {
        let failed = server.pull_id("shop-001");
        client.asked();
        client.say(&json!({"type": "error", "message": "file_not_found", "requestId": failed}));
        server.assert_failed(&failed, "file_not_found");

        let stalled = server.pull_id("shop-001");
        client.asked();
        server.assert_failed(&stalled, "stalled");

        let cancelled = server.pull_id("shop-001");
        client.asked();
        server.delete(&format!("/transfers/{cancelled}")).expect(200);

        server.pull("shop-001", &json!({}))
    };

    let asked = client.asked();

    assert_eq!(asked.id, id(&last));
    client.upload(&asked, b"x");
    server.assert_verified(&asked.id, b"x");
}

#[test]
fn a_client_that_drops_frees_its_place_for_others() {
    let server = Server::start(&[("MAX_CONCURRENT_TRANSFERS", "1")]);
    let mut dropping = V1Client::connect(&server, "dropping");
    let _other = V1Client::connect(&server, "other").serve(b"other".to_vec());
    let interrupted = server.pull_id("dropping");
    dropping.asked();
    let waiting = server.pull_id("other");
    assert_eq!(server.transfer(&waiting)["status"], "queued");

    dropping.cut();

    server.assert_verified(&waiting, b"other");
    assert_eq!(server.transfer(&interrupted)["status"], "interrupted");
}
