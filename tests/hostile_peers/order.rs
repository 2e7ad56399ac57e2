//! Messages that are well formed and come when they must not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::files::{parts, random_bytes, sha256};
use crate::support::healthy::Healthy;
use crate::support::server::Server;
use crate::support::v1_client::{Asked, V1Client};
use crate::support::wait::eventually;

/// A server with an honest client and a hostile one that has been asked for its file.
struct Scene {
    server: Server,
    healthy: Healthy,
    hostile: V1Client,
    asked: Asked,
}

impl Scene {
    #[track_caller]
    fn set() -> Scene {
        let server = Server::start(&[("STALL_SECONDS", "3")]);
        let healthy = Healthy::connect(&server);
        let mut hostile = V1Client::connect(&server, "hostile");
        let id = server.pull_id("hostile");
        let asked = hostile.asked();
        assert_eq!(asked.id, id);
        Scene { server, healthy, hostile, asked }
    }

    /// The attempt has ended and was not believed: no file of it is there, whatever the client still sends; its
    /// reason is stated; and the honest client is unharmed.
    #[track_caller]
    fn finds_no_belief(self) {
        let Scene { server, healthy, hostile, asked } = self;
        let path = format!("/transfers/{}", asked.id);
        let transfer = crate::support::wait::eventually("the attempt has ended with a reason", || {
            let transfer = server.get(&path).expect(200);
            assert_ne!(transfer["status"], "completed", "{transfer}");
            transfer["failure"].is_object().then_some(transfer)
        });
        let code = transfer["failure"]["code"].as_str().unwrap_or_default();
        let honest = ["protocol_violation", "client_disconnected", "size_mismatch", "checksum_mismatch"];
        assert!(honest.contains(&code), "{transfer}");
        drop(hostile);
        healthy.is_all_there_is(&server);
    }
}

const SIZE: usize = 150_000;

#[test]
fn a_chunk_of_an_unknown_request_closes_that_line() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let mut hostile = V1Client::connect(&server, "hostile");

    hostile.chunk("00000000-0000-4000-8000-000000000000", 1, b"payload");

    hostile.closed_by_server();
    server.lists_no_more("hostile", Duration::from_secs(10));
    healthy.is_all_there_is(&server);
}

#[test]
fn a_start_or_an_end_of_an_unknown_request_closes_that_line() {
    for step in ["upload_start", "upload_end"] {
        for id in ["00000000-0000-4000-8000-000000000000", "nonsense", "../../etc/passwd", ""] {
            let server = Server::start(&[]);
            let healthy = Healthy::connect(&server);
            let mut hostile = V1Client::connect(&server, "hostile");
            if step == "upload_start" {
                hostile.begin(id, "f", 1)
            } else {
                hostile.end(id, &sha256(b"x"), 1)
            }

            hostile.closed_by_server();

            healthy.is_all_there_is(&server);
        }
    }
}

#[test]
fn another_clients_request_closes_the_line_and_leaves_that_client_alone() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let mut victim = V1Client::connect(&server, "victim");
    let content = random_bytes(1, SIZE);
    let id = server.pull_id("victim");
    let asked = victim.asked();
    victim.begin(&id, "pos.db", content.len());
    victim.chunk(&id, 1, &content[..65536]);
    server.has_bytes(&id);
    let mut hostile = V1Client::connect(&server, "hostile");

    hostile.chunk(&id, 2, &random_bytes(2, 65536));

    hostile.closed_by_server();
    let mut hostile = V1Client::connect(&server, "hostile-too");
    hostile.end(&id, &sha256(&content[..65536]), 65536);
    hostile.closed_by_server();
    let mut hostile = V1Client::connect(&server, "hostile-again");
    // An error may be the late answer to a listing, so it need not close the line; the victim hears nothing of it.
    hostile.say(&serde_json::json!({"type": "error", "message": "file_not_found", "requestId": id}));
    assert_eq!(server.transfer(&id)["status"], "receiving");

    for (payload, seq) in content[65536..].chunks(asked.chunk_size).zip(2..) {
        victim.chunk(&id, seq, payload);
    }
    victim.end(&id, &sha256(&content), content.len());
    let transfer = server.assert_verified(&id, &content);
    let name = transfer["filename"].as_str().unwrap();
    let other = healthy.is_pulled_from(&server);
    let other = (other["filename"].as_str().unwrap(), other["sha256"].as_str().unwrap());
    server.assert_downloads(&[(name, &sha256(&content)), other]);
}

#[test]
fn a_chunk_out_of_order_ends_the_attempt() {
    let content = random_bytes(3, SIZE);
    for order in [[1, 3], [2, 1], [1, 1], [0, 1]] {
        let mut scene = Scene::set();
        let id = scene.asked.id.clone();
        scene.hostile.begin(&id, "f", content.len());
        for (seq, payload) in order.into_iter().zip(content.chunks(65536)) {
            scene.hostile.chunk(&id, seq, payload);
        }
        scene.finds_no_belief();
    }
}

#[test]
fn chunks_in_another_order_never_make_a_file_even_if_their_hash_fits() {
    let content = random_bytes(4, SIZE);
    let mut scene = Scene::set();
    let id = scene.asked.id.clone();
    scene.hostile.begin(&id, "f", 131_072);
    scene.hostile.chunk(&id, 2, &content[..65536]);
    let _ = scene.hostile.socket.send(tungstenite::Message::binary(crate::support::v1_client::chunk(
        &id,
        1,
        &content[65536..131_072],
    ))); // the line may be closed already
    scene.finds_no_belief();
}

#[test]
fn a_chunk_before_the_start_ends_the_attempt() {
    let mut scene = Scene::set();
    let id = scene.asked.id.clone();
    scene.hostile.chunk(&id, 1, b"payload");
    scene.finds_no_belief();
}

#[test]
fn an_end_before_the_start_ends_the_attempt() {
    let mut scene = Scene::set();
    let id = scene.asked.id.clone();
    scene.hostile.end(&id, &sha256(b""), 0);
    scene.finds_no_belief();
}

#[test]
fn an_end_that_comes_early_ends_the_attempt() {
    let content = random_bytes(5, 65536);
    let mut scene = Scene::set();
    let id = scene.asked.id.clone();
    scene.hostile.begin(&id, "f", SIZE);
    scene.hostile.chunk(&id, 1, &content);
    scene.hostile.end(&id, &sha256(&content), SIZE);
    scene.finds_no_belief();
}

#[test]
fn a_start_twice_ends_the_attempt() {
    for again in [SIZE, 1] {
        let mut scene = Scene::set();
        let id = scene.asked.id.clone();
        scene.hostile.begin(&id, "f", SIZE);
        scene.hostile.chunk(&id, 1, &random_bytes(6, 65536));
        scene.server.has_bytes(&id);
        scene.hostile.begin(&id, "g", again);
        scene.finds_no_belief();
    }
}

#[test]
fn an_end_twice_changes_nothing() {
    let mut scene = Scene::set();
    let id = scene.asked.id.clone();
    scene.hostile.upload(&scene.asked, b"x");
    scene.hostile.receipt(&id);
    let completed = scene.server.assert_verified(&id, b"x");

    scene.hostile.end(&id, &sha256(b"y"), 1); // of an id that has just ended: dropped in silence
    scene.hostile.chunk(&id, 2, b"y");
    scene.hostile.begin(&id, "f", 1);

    let next = scene.server.pull_id("hostile");
    let asked = scene.hostile.asked();
    scene.hostile.upload(&asked, b"next");
    let second = scene.server.assert_verified(&next, b"next");
    assert_eq!(scene.server.transfer(&id), completed);
    let third = scene.healthy.is_pulled_from(&scene.server);
    let names = [&completed, &second, &third]
        .map(|transfer| (transfer["filename"].as_str().unwrap(), transfer["sha256"].as_str().unwrap()));
    scene.server.assert_downloads(&names);
}

#[test]
fn a_start_with_an_absurd_size_is_refused() {
    for size in [u64::MAX, 1 << 62] {
        let mut scene = Scene::set();
        let id = scene.asked.id.clone();
        scene.hostile.say(
            &serde_json::json!({"type": "upload_start", "requestId": id, "filename": "f", "filesize": size}),
        );
        scene.hostile.end(&id, &sha256(b""), 0);
        let transfer = scene.server.get(&format!("/transfers/{id}?wait=10")).expect(200);
        assert_ne!(transfer["status"], "completed", "{transfer}");
        scene.healthy.is_all_there_is(&scene.server);
    }
}

#[test]
fn a_start_with_wrong_types_ends_the_attempt() {
    for (name, size) in [
        (serde_json::json!(5), serde_json::json!(1)),
        (serde_json::json!("f"), serde_json::json!("1")),
        (serde_json::json!("f"), serde_json::json!(-1)),
        (serde_json::json!("f"), serde_json::json!(1.5)),
        (serde_json::json!("f"), serde_json::json!(null)),
    ] {
        let mut scene = Scene::set();
        let id = scene.asked.id.clone();
        let start =
            serde_json::json!({"type": "upload_start", "requestId": id, "filename": name, "filesize": size});
        scene.hostile.say(&start);
        scene.finds_no_belief();
    }
}

#[test]
fn a_line_that_is_cut_in_mid_transfer_leaves_the_transfer_waiting_and_no_part() {
    let mut scene = Scene::set();
    let id = scene.asked.id.clone();
    scene.hostile.begin(&id, "f", SIZE);
    scene.hostile.chunk(&id, 1, &random_bytes(7, 65536));
    scene.server.has_bytes(&id);

    scene.hostile.cut();

    let transfer = scene.server.reaches(&id, "interrupted");
    assert_eq!(transfer["failure"]["code"], "client_disconnected", "{transfer}");
    scene.healthy.is_all_there_is(&scene.server);
    eventually("a part that is of no use to a v1 client is gone", || {
        parts(&scene.server.uploads).is_empty().then_some(())
    });
}

#[test]
fn clients_that_claim_absurd_sizes_take_no_room_from_others() {
    let server = Server::start(&[("MAX_CONCURRENT_TRANSFERS", "9")]);
    let healthy = Healthy::connect(&server);
    let over = AtomicBool::new(false);
    let (server, over) = (&server, &over);
    std::thread::scope(|scope| {
        for n in 0..4 {
            scope.spawn(move || {
                let name = format!("hostile-{n}");
                let mut hostile = V1Client::connect(server, &name);
                while !over.load(Ordering::Relaxed) {
                    let id = server.pull_id(&name);
                    let asked = hostile.asked();
                    hostile.begin(&asked.id, "f", usize::MAX);
                    server.assert_failed(&id, "disk_full");
                }
            });
        }
        // Panics must end the others, too.
        let pulled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..150).for_each(|_| drop(healthy.is_pulled_from(server)));
        }));
        over.store(true, Ordering::Relaxed);
        pulled.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}
