//! A peer that is told what the server already has, and makes the most of it: by the rules of WIRE.md, "What the server
//! already has", each of its misdeeds ends the attempt by name.

use serde_json::json;
use twox_hash::XxHash3_64;

use crate::scene::{BLOCK, HALF, SIZE, Scene, content};
use crate::support::files::random_bytes;

const PAGE: usize = 4 << 10;

/// Plays `misdeed` to a server that has half of the file, and to one that has all of an earlier state; both times the file
/// has begun.
#[track_caller]
fn ends_by_name(misdeed: impl Fn(&mut Scene)) {
    let content = content();
    for mut scene in [Scene::interrupted(SIZE, &content[..HALF]), Scene::downloaded(&content)] {
        scene.begin(scene.attempt(), SIZE);
        misdeed(&mut scene);
        scene.ends_by_name();
    }
}

fn hashes(of: &[u8], size: usize) -> Vec<u64> {
    of.chunks(size).map(XxHash3_64::oneshot).collect()
}

#[test]
fn what_is_honestly_compared_makes_a_file() {
    let old = content();
    let mut new = old.clone();
    new[2 * BLOCK + PAGE] ^= 1;
    for (mut scene, held, before) in
        [(Scene::interrupted(SIZE, &old[..HALF]), HALF, HALF), (Scene::downloaded(&old), SIZE, 0)]
    {
        scene.begin(scene.attempt(), SIZE);
        let blocks = held.div_ceil(BLOCK) as u64;
        scene.ask_blocks(0, 2);
        scene.ask_blocks(2, blocks - 2);
        let (header, first) = scene.answer();
        assert_eq!((&header["of"], &header["from"]), (&json!("blocks"), &json!(0)));
        let (header, second) = scene.answer();
        assert_eq!((&header["of"], &header["from"]), (&json!("blocks"), &json!(2)));
        assert_eq!([first, second].concat(), hashes(&old[..held], BLOCK));
        scene.ask_pages(&[2, blocks - 1]);
        let (header, pages) = scene.answer();
        assert_eq!((&header["of"], &header["from"]), (&json!("pages"), &json!(2)));
        let asked = [&old[2 * BLOCK..3 * BLOCK], &old[(blocks as usize - 1) * BLOCK..held]];
        assert_eq!(pages, asked.map(|block| hashes(block, PAGE)).concat());
        let (from, to) = (2 * BLOCK + PAGE, 2 * BLOCK + 2 * PAGE);
        scene.same(0, from as u64);
        scene.chunk(scene.attempt(), 1, from, &new[from..to]);
        scene.same(to as u64, (held - to) as u64);
        scene.chunk(scene.attempt(), 2, held, &new[held..]);
        scene.end(scene.attempt(), &new);
        let transfer = scene.server.assert_verified(&scene.id, &new);
        let least = before + PAGE + SIZE - held;
        let on_wire = transfer["bytesOnWire"].as_u64().unwrap() as usize;
        assert!((least..least + 500).contains(&on_wire), "{least} and its hashes: {transfer}");
    }
}

#[test]
fn same_without_anything_to_keep() {
    for length in [1, SIZE as u64] {
        let mut scene = Scene::set();
        scene.begin(1, SIZE);
        scene.same(0, length);
        scene.ends_by_name();
    }
}

#[test]
fn a_question_about_nothing_that_is_there() {
    let ask: [fn(&mut Scene); 2] = [|scene| scene.ask_blocks(0, 1), |scene| scene.ask_pages(&[0])];
    for ask in ask {
        let mut scene = Scene::set();
        scene.begin(1, SIZE);
        ask(&mut scene);
        scene.ends_by_name();
    }
}

#[test]
fn a_question_or_same_before_the_file_has_begun() {
    let early: [fn(&mut Scene); 3] =
        [|scene| scene.ask_blocks(0, 1), |scene| scene.ask_pages(&[0]), |scene| scene.same(0, 1)];
    for early in early {
        let mut scene = Scene::downloaded(&content());
        early(&mut scene);
        scene.ends_by_name();
    }
}

#[test]
fn same_beyond_what_is_there() {
    ends_by_name(|scene| scene.same(0, scene.have() + 1));
    ends_by_name(|scene| {
        scene.same(0, scene.have());
        scene.same(scene.have(), 1);
    });
    ends_by_name(|scene| scene.same(0, u64::MAX));
}

#[test]
fn same_beyond_the_size_that_was_stated() {
    for size in [0, 1, HALF - 1] {
        let mut scene = Scene::interrupted(SIZE, &content()[..HALF]);
        scene.begin(2, size);
        scene.same(0, HALF as u64);
        scene.ends_by_name();
    }
}

#[test]
fn same_of_nothing() {
    ends_by_name(|scene| scene.same(0, 0));
    ends_by_name(|scene| {
        scene.same(0, scene.have());
        scene.same(scene.have(), 0);
    });
}

#[test]
fn same_with_a_gap_or_an_overlap() {
    ends_by_name(|scene| scene.same(1, 10));
    ends_by_name(|scene| scene.same(u64::MAX, 1));
    ends_by_name(|scene| {
        scene.same(0, 10);
        scene.same(11, 10);
    });
    ends_by_name(|scene| {
        scene.same(0, 10);
        scene.same(9, 10);
    });
    ends_by_name(|scene| {
        scene.same(0, 10);
        scene.chunk(scene.attempt(), 1, 9, b"x");
    });
    ends_by_name(|scene| {
        scene.chunk(scene.attempt(), 1, 0, b"x");
        scene.same(0, 10);
    });
}

#[test]
fn a_window_is_the_most_for_same_and_for_questions() {
    let content = random_bytes(2, (17 << 20) + 5);
    let window = 16 << 20;
    let misdeeds: [fn(&mut Scene); 3] = [
        |scene| scene.same(0, (16 << 20) + 1),
        |scene| scene.ask_blocks(0, 257),
        |scene| {
            scene.ask_blocks(0, 256);
            scene.ask_blocks(256, 1);
            scene.ask_pages(&(0..257).collect::<Vec<_>>());
        },
    ];
    for misdeed in misdeeds {
        let mut scene = Scene::downloaded(&content);
        scene.begin(1, content.len());
        misdeed(&mut scene);
        scene.ends_by_name();
    }
    let mut scene = Scene::downloaded(&content);
    scene.begin(1, content.len());
    scene.ask_blocks(0, 256);
    scene.ask_pages(&(0..256).collect::<Vec<_>>());
    assert_eq!(scene.answer().1, hashes(&content[..window], BLOCK));
    assert_eq!(scene.answer().1, hashes(&content[..window], PAGE));
    scene.all_same(content.len() as u64);
    scene.end(1, &content);
    scene.server.assert_verified(&scene.id, &content);
}

#[test]
fn questions_about_blocks_out_of_order_twice_or_beyond() {
    for (from, count) in [
        (1, 1),
        (0, 0),
        (0, 11),
        (0, 256),
        (10, 1),
        (0, 1 << 63),
        (1 << 63, 1),
        (1 << 63, 1 << 63),
        (0, u64::MAX),
        (u64::MAX, 1),
    ] {
        ends_by_name(|scene| scene.ask_blocks(from, count));
    }
    for (from, count) in [(0, 1), (1, 1), (3, 1), (2, u64::MAX), (2, u64::MAX - 1)] {
        ends_by_name(|scene| {
            scene.ask_blocks(0, 2);
            scene.ask_blocks(from, count);
        });
    }
}

#[test]
fn questions_about_pages_out_of_order_twice_or_beyond() {
    let bad: [&[u64]; 8] = [&[], &[4], &[0, 4], &[1, 0], &[1, 1], &[3, 1, 2], &[1 << 63], &[0, u64::MAX]];
    for blocks in bad {
        ends_by_name(|scene| {
            scene.ask_blocks(0, 4);
            scene.ask_pages(blocks);
        });
    }
    for again in [&[1u64][..], &[0], &[1, 2]] {
        ends_by_name(|scene| {
            scene.ask_blocks(0, 4);
            scene.ask_pages(&[1]);
            scene.ask_pages(again);
        });
    }
    ends_by_name(|scene| scene.ask_pages(&[0])); // whose block nobody asked about
}

#[test]
fn questions_about_pages_that_are_covered_already() {
    ends_by_name(|scene| {
        scene.ask_blocks(0, 4);
        scene.same(0, 2 * BLOCK as u64 + 1);
        scene.ask_pages(&[2]);
    });
    ends_by_name(|scene| {
        scene.ask_blocks(0, 4);
        scene.chunk(scene.attempt(), 1, 0, &[7; BLOCK + 1]);
        scene.ask_pages(&[1, 3]);
    });
}

#[test]
fn numbers_that_are_none_close_the_line() {
    for fields in [
        json!({"offset": -1, "length": 1}),
        json!({"offset": 0, "length": 1.5}),
        json!({"offset": "0", "length": 1}),
        json!({"offset": 0}),
        json!({"offset": 0, "length": 18_446_744_073_709_551_616.0}),
    ] {
        let mut scene = Scene::interrupted(SIZE, &content()[..HALF]);
        scene.begin(2, SIZE);
        scene.tell("same", 2, &fields);
        scene.closes_the_line();
    }
}

#[test]
fn an_answer_to_the_server_that_asked_nothing_closes_the_line() {
    let mut scene = Scene::interrupted(SIZE, &content()[..HALF]);
    scene.begin(2, SIZE);
    let header = json!({"requestId": scene.id, "attempt": 2, "of": "blocks", "from": 0});
    let message = crate::support::v1_client::packed(header.to_string().as_bytes(), &[0; 80]);
    scene.peer.socket.send(tungstenite::Message::binary(message)).unwrap();
    scene.closes_the_line();
}
