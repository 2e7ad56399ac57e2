//! A peer of which the same file is asked for more than once, and what it gets from lying about it.

use serde_json::json;

use crate::scene::{BLOCK, HALF, SIZE, Scene, content};
use crate::support::files::random_bytes;

#[test]
fn all_the_same_with_a_wrong_checksum_is_believed_in_no_attempt() {
    let content = content();
    let wrong = random_bytes(9, SIZE);
    let mut scene = Scene::downloaded(&content);
    for (attempt, have) in [(1, SIZE), (2, SIZE), (3, 0)] {
        if attempt > 1 {
            scene.asked_again(attempt);
        }
        assert_eq!(scene.have(), have as u64, "{}", scene.asked);
        scene.begin(attempt, SIZE);
        scene.all_same(have as u64);
        if have == 0 {
            scene.chunk(attempt, 1, 0, &content);
        }
        scene.end(attempt, &wrong);
    }
    scene.server.assert_failed(&scene.id, "checksum_mismatch");
    scene.is_all_there_is();
}

#[test]
fn same_in_the_attempt_that_begins_with_nothing() {
    let content = content();
    let wrong = random_bytes(9, SIZE);
    let mut scene = Scene::downloaded(&content);
    for attempt in 1..3 {
        scene.begin(attempt, SIZE);
        scene.all_same(SIZE as u64);
        scene.end(attempt, &wrong);
        scene.asked_again(attempt + 1);
    }
    scene.begin(3, SIZE);
    scene.same(0, 1);
    scene.ends_by_name();
}

#[test]
fn all_the_same_with_the_checksum_that_it_has_is_an_unchanged_file() {
    let content = content();
    let mut scene = Scene::downloaded(&content);
    scene.begin(1, SIZE);
    scene.all_same(SIZE as u64);
    scene.end(1, &content);
    let transfer = scene.server.assert_verified(&scene.id, &content);
    assert_eq!(transfer["bytesOnWire"], 0, "{transfer}");
    // And the head of it is a file that became shorter.
    let mut scene = Scene::interrupted(SIZE, &content[..HALF]);
    scene.begin(2, HALF / 2);
    scene.all_same(HALF as u64 / 2);
    scene.end(2, &content[..HALF / 2]);
    scene.server.assert_verified(&scene.id, &content[..HALF / 2]);
}

#[test]
fn what_is_sent_for_an_earlier_attempt_is_dropped_in_silence() {
    let content = content();
    let mut scene = Scene::interrupted(SIZE, &content[..HALF]);
    let stray = |scene: &mut Scene| {
        scene.begin(1, 7);
        scene.chunk(1, 1, 0, b"other");
        scene.tell("same", 1, &json!({"offset": 3, "length": u64::MAX}));
        scene.tell("ask_blocks", 1, &json!({"from": 9, "count": 0}));
        scene.tell("ask_pages", 1, &json!({"blocks": []}));
        scene.tell("progress", 1, &json!({}));
        scene.tell("error", 1, &json!({"code": "cancelled", "message": "late"}));
        scene.end(1, b"other");
    };
    stray(&mut scene);
    scene.begin(2, SIZE);
    stray(&mut scene);
    scene.same(0, HALF as u64);
    stray(&mut scene);
    scene.chunk(2, 1, HALF, &content[HALF..]);
    stray(&mut scene);
    scene.end(2, &content);
    stray(&mut scene);
    let transfer = scene.server.assert_verified(&scene.id, &content);
    assert_eq!(transfer["attempts"], 2, "{transfer}");
}

#[test]
fn an_attempt_that_was_never_answered_does_not_shut_out_the_next() {
    // A peer whose disk hangs, say: it has not yet seen that the first attempt was withdrawn when it begins the second.
    let content = content();
    let mut scene = Scene::set();
    scene.begin(1, SIZE);
    scene.chunk(1, 1, 0, &content[..HALF]);
    assert_eq!(scene.asked_again(2)["have"], HALF); // it stalled
    scene.begin(2, SIZE);
    scene.same(0, HALF as u64);
    scene.chunk(1, 2, HALF, &content[HALF..]); // late
    scene.chunk(2, 1, HALF, &content[HALF..]);
    scene.tell("error", 1, &json!({"code": "cancelled", "message": "cancelled by the server"}));
    scene.end(2, &content);
    let transfer = scene.server.assert_verified(&scene.id, &content);
    assert_eq!(transfer["attempts"], 2, "{transfer}");
}

#[test]
fn a_peer_that_asks_for_everything_and_reads_nothing_costs_no_memory_and_nobody_else() {
    const PART: u64 = 1 << 30;
    let mut scene = Scene::interrupted(SIZE, &content()[..HALF]).with_a_part_of(PART);
    scene.begin(scene.attempt(), PART as usize);
    let before = scene.server.program.status("VmHWM");
    let blocks = PART / BLOCK as u64;
    // A block at a time: some 400 bytes of answers each, and more than the line and its buffers hold.
    for block in 0..blocks {
        scene.ask_blocks(block, 1);
        scene.ask_pages(&[block]);
    }
    // It loses its line when more waits than the system's buffers hold, which differ from machine to machine.
    let grown = scene.server.program.status("VmHWM") - before;
    assert!(grown < 12 << 10, "{grown} kB more than before");
    scene.is_all_there_is();
}
