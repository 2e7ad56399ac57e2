//! A peer that was asked for compressed chunks, or was not, and sends what no honest one does. None of it costs the
//! server more than a chunk's length, and none becomes a file.

use serde_json::json;
use towline::compression::Compressor;
use tungstenite::Message;

use crate::scene::Scene;
use crate::support::files::{log_lines, random_bytes};
use crate::support::v1_client::packed;

/// What a chunk may hold: the server's `chunkSize`.
const MOST: usize = 64 << 10;
const SIZE: usize = 3 * MOST;

#[track_caller]
fn compressed(compressor: &mut Compressor, chunk: &[u8]) -> Vec<u8> {
    compressor.compress(chunk).expect("it becomes smaller").to_vec()
}

/// The first chunk of a frame of its own.
#[track_caller]
fn frame(chunk: &[u8]) -> Vec<u8> {
    compressed(&mut Compressor::new().expect("memory"), chunk)
}

/// A chunk that states `zstd`; the line may be closed already, by what came before.
fn chunk(scene: &mut Scene, seq: u64, offset: usize, zstd: u64, payload: &[u8]) {
    let header = json!({
        "requestId": scene.id, "seq": seq, "timestamp": 1, "attempt": scene.attempt(), "offset": offset, "zstd": zstd
    });
    let _ = scene.peer.socket.send(Message::binary(packed(header.to_string().as_bytes(), payload)));
}

#[test]
fn what_is_honestly_compressed_makes_a_file() {
    let mut scene = Scene::compressing();
    let content = log_lines(1, SIZE);
    scene.begin(1, SIZE);
    let mut compressor = Compressor::new().expect("memory");
    for (number, piece) in content.chunks(MOST).enumerate() {
        if number == 1 {
            scene.chunk(1, 2, MOST, piece); // a plain one in between: the next begins a frame
            compressor.end_frame();
        } else {
            let payload = compressed(&mut compressor, piece);
            chunk(&mut scene, number as u64 + 1, number * MOST, MOST as u64, &payload);
        }
    }
    scene.end(1, &content);
    let transfer = scene.server.assert_verified(&scene.id, &content);
    assert!(transfer["bytesOnWire"].as_u64() < Some(SIZE as u64 * 2 / 3), "{transfer}");
}

#[test]
fn a_peer_that_does_not_offer_it_is_not_asked() {
    let mut scene = Scene::set();
    assert!(scene.asked.get("compress").is_none(), "{}", scene.asked);
    let content = log_lines(1, SIZE);
    scene.begin(1, SIZE);
    chunk(&mut scene, 1, 0, MOST as u64, &frame(&content[..MOST]));
    scene.ends_by_name();
}

#[test]
fn a_server_that_does_not_want_it_does_not_ask() {
    let mut scene = Scene::compressing_with(&[("COMPRESS", "off")]);
    assert!(scene.asked.get("compress").is_none(), "{}", scene.asked);
    scene.begin(1, SIZE);
    chunk(&mut scene, 1, 0, MOST as u64, &frame(&vec![7; MOST]));
    scene.ends_by_name();
}

#[test]
fn a_length_that_no_chunk_has() {
    let payload = frame(&vec![7; MOST]);
    let noise = random_bytes(1, 1000);
    for (zstd, payload) in [
        (MOST as u64 + 1, &payload[..]),
        (u64::MAX, &payload),
        (0, &payload),
        (0, &[]),
        (payload.len() as u64, &payload), // no more than it takes
        (999, &noise),
    ] {
        let mut scene = Scene::compressing();
        scene.begin(1, SIZE);
        chunk(&mut scene, 1, 0, zstd, payload);
        scene.ends_by_name();
    }
}

#[test]
fn more_than_the_file_has() {
    let mut scene = Scene::compressing();
    scene.begin(1, MOST - 1);
    chunk(&mut scene, 1, 0, MOST as u64, &frame(&vec![7; MOST]));
    scene.ends_by_name();
}

/// Sends the payload, which states [`MOST`], in each of the three attempts that a damaged file has; then it has failed.
#[track_caller]
fn is_not_believed(name: &str, payload: &[u8]) {
    eprintln!("{name}"); // shown when the test fails
    let mut scene = Scene::compressing();
    for attempt in 1..=3 {
        if attempt > 1 {
            scene.asked_again(attempt);
        }
        scene.begin(attempt, SIZE);
        chunk(&mut scene, 1, 0, MOST as u64, payload);
    }
    let transfer = scene.server.assert_failed(&scene.id, "checksum_mismatch");
    let message = transfer["failure"]["message"].as_str().expect("a text");
    assert!(message.contains("can't be decompressed"), "{transfer}");
    scene.is_all_there_is();
}

#[test]
fn frames_that_nobody_honest_sends() {
    let magic = |descriptor: u8, rest: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd, descriptor], rest].concat();
    // Blocks of 128 KiB of one byte each, in four bytes; the window says 128 KiB.
    let zeros: Vec<u8> =
        ((128u32 << 10) << 3 | 1 << 1).to_le_bytes()[..3].iter().copied().chain([0]).collect();
    let bomb = magic(0, &[vec![7 << 3], zeros.repeat(10_000)].concat());
    let text = log_lines(1, MOST);
    let good = frame(&text);
    let later = {
        let mut compressor = Compressor::new().expect("memory");
        compressed(&mut compressor, &text);
        compressed(&mut compressor, &text)
    };
    for (name, payload) in [
        ("a bomb of 1.3 GB", bomb),
        ("one of many megabytes", frame(&vec![0; 64 << 20])),
        ("half of what it states", frame(&text[..MOST / 2])),
        ("one byte less", frame(&text[1..])),
        ("bytes behind it", [&good[..], b"and more"].concat()),
        ("a frame behind it", [&good[..], &frame(&text)].concat()),
        ("cut off", good[..good.len() / 2].to_vec()),
        ("a window of 128 GiB", magic(0, &[vec![27 << 3], zeros.clone()].concat())),
        ("a window of 2 MiB", magic(0, &[vec![11 << 3], zeros.clone()].concat())),
        ("a content of 2^62", magic(0xe0, &[(1u64 << 62).to_le_bytes().to_vec(), zeros.clone()].concat())),
        ("a dictionary", magic(3, &[vec![7 << 3, 1, 2, 3, 4], zeros].concat())),
        ("a skippable frame of 4 GiB", b"\x50\x2a\x4d\x18\xff\xff\xff\xffnothing".to_vec()),
        ("what refers to bytes that never came", later),
        ("noise", random_bytes(1, 5000)),
        ("nothing", vec![]),
    ] {
        is_not_believed(name, &payload);
    }
}

#[test]
fn a_server_that_was_bombed_holds_no_more_than_its_bound() {
    let mut scene = Scene::compressing();
    let before = scene.server.program.status("VmHWM");
    scene.begin(1, SIZE);
    chunk(&mut scene, 1, 0, MOST as u64, &frame(&vec![0; 64 << 20]));
    scene.asked_again(2);
    let after = scene.server.program.status("VmHWM");
    assert!(after < before + 2048, "{before} KiB, then {after}");
}

#[test]
fn a_frame_does_not_go_on_behind_a_plain_chunk() {
    let mut scene = Scene::compressing();
    let content = log_lines(1, SIZE);
    scene.begin(1, SIZE);
    let mut compressor = Compressor::new().expect("memory");
    let first = compressed(&mut compressor, &content[..MOST]);
    chunk(&mut scene, 1, 0, MOST as u64, &first);
    scene.chunk(1, 2, MOST, &content[MOST..2 * MOST]);
    let third = compressed(&mut compressor, &content[2 * MOST..]);
    chunk(&mut scene, 3, 2 * MOST, MOST as u64, &third);
    scene.end(1, &content);
    scene.asked_again(2);
    let transfer = scene.server.transfer(&scene.id);
    assert_eq!(transfer["failure"]["code"], "checksum_mismatch", "{transfer}");
    scene.server.assert_downloads(&[]);
}
