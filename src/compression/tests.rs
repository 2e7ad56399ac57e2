use super::*;
use crate::protocol::Violation;

/// Lines of a till's log, each another one.
fn log(length: usize) -> Vec<u8> {
    let lines = (1u64..).flat_map(|number| {
        let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("2025-10-31T15:30:00 till {} sold {:x} for {}\n", dice >> 60, dice >> 40, dice >> 50)
            .into_bytes()
    });
    lines.take(length).collect()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn compress(compressor: &mut Compressor, chunk: &[u8]) -> Vec<u8> {
    compressor.compress(chunk).expect("it becomes smaller").to_vec()
}

/// A frame of one chunk that holds a megabyte.
fn bomb() -> Vec<u8> {
    compress(&mut Compressor::new().expect("memory"), &vec![0; 1 << 20])
}

#[test]
fn chunks_of_all_sizes_come_back() {
    let content = log(1 << 20);
    for size in [1000, 1024, 4096, 5000, 65_536, 262_144, 1 << 20] {
        let (mut compressor, mut decompressor) = (Compressor::new().unwrap(), Decompressor::default());
        let mut came = 0;
        for chunk in content.chunks(size) {
            let Some(frame) = compressor.compress(chunk).map(<[u8]>::to_vec) else {
                compressor.end_frame();
                decompressor.end_frame();
                continue; // a short rest
            };
            came += frame.len();
            assert_eq!(decompressor.decompress(&frame, chunk.len()).unwrap(), chunk);
        }
        assert!(came < content.len() / 2, "{came} bytes in chunks of {size}");
    }
}

#[test]
fn what_does_not_become_smaller_goes_plain_and_the_next_begins_anew() {
    let (mut compressor, mut decompressor) = (Compressor::new().unwrap(), Decompressor::default());
    let content = log(40_000);
    for _ in 0..3 {
        let frame = compress(&mut compressor, &content);
        assert_eq!(decompressor.decompress(&frame, content.len()).unwrap(), content);
        for chunk in [noise(40_000), vec![], vec![7], vec![7; 3]] {
            assert_eq!(compressor.compress(&chunk), None);
            compressor.end_frame();
            decompressor.end_frame();
        }
    }
}

#[test]
fn a_later_chunk_needs_the_one_before_it() {
    let mut compressor = Compressor::new().unwrap();
    let content = log(8192);
    let first = compress(&mut compressor, &content[..4096]);
    let second = compress(&mut compressor, &content[4096..]);
    let mut decompressor = Decompressor::default();
    assert!(matches!(decompressor.decompress(&second, 4096), Err(Violation::BadFrame { .. })));
    let mut decompressor = Decompressor::default();
    decompressor.decompress(&first, 4096).unwrap();
    decompressor.end_frame();
    assert!(
        matches!(decompressor.decompress(&second, 4096), Err(Violation::BadFrame { .. })),
        "plain in between"
    );
}

#[test]
fn every_cut_and_every_other_length_is_refused() {
    let content = log(2000);
    let frame = compress(&mut Compressor::new().unwrap(), &content);
    let refused = |came: &[u8], length| {
        matches!(Decompressor::default().decompress(came, length), Err(Violation::BadFrame { .. }))
    };
    assert!((0..frame.len()).all(|cut| refused(&frame[..cut], content.len())));
    for length in [0, 1, 1999, 2001, 4 << 20] {
        assert!(refused(&frame, length), "{length}");
    }
    assert!(refused(&[&frame[..], b"\0\0\0"].concat(), 2001), "an empty block, and nothing more");
    assert!(refused(&[&frame[..], b"trailing"].concat(), 2000));
    assert!(!refused(&frame, 2000));
}

#[test]
fn damaged_frames_never_hold_more_than_is_stated() {
    let content = log(3000);
    let frame = compress(&mut Compressor::new().unwrap(), &content);
    for at in 0..frame.len() * 8 {
        let mut damaged = frame.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        if let Ok(chunk) = Decompressor::default().decompress(&damaged, 3000) {
            assert_eq!(chunk.len(), 3000);
        }
    }
}

#[test]
fn frames_that_nobody_honest_sends() {
    let header = |descriptor: u8, rest: &[u8]| [&[0x28, 0xb5, 0x2f, 0xfd, descriptor], rest].concat();
    // A block of 1000 zeros: last, RLE, and its size, in three bytes; then the byte.
    let zeros = |last: u32| [&((1000 << 3) | (1 << 1) | last).to_le_bytes()[..3], &[0]].concat();
    let window = |log: u8| vec![(log - 10) << 3];
    let decompress = |came: &[u8]| match Decompressor::default().decompress(came, 1000) {
        Ok(chunk) => {
            assert_eq!(chunk, [0; 1000]);
            String::new()
        }
        Err(Violation::BadFrame { why }) => why,
        Err(other) => panic!("{other:?}"),
    };
    for (name, came, why) in [
        ("one that is open", header(0, &[window(WINDOW_LOG as u8), zeros(0)].concat()), ""),
        ("one that ends", header(0, &[window(WINDOW_LOG as u8), zeros(1)].concat()), "its frame ends"),
        ("a window above ours", header(0, &[window(WINDOW_LOG as u8 + 1), zeros(0)].concat()), "memory"),
        ("a window of 128 GiB", header(0, &[window(37), zeros(0)].concat()), "memory"),
        ("a content of 2^60", header(0xe0, &[&(1u64 << 60).to_le_bytes()[..], &zeros(0)].concat()), "memory"),
        ("a dictionary", header(1, &[window(17), vec![9], zeros(0)].concat()), "ictionary"),
        ("the reserved bit", header(8, &[window(17), zeros(0)].concat()), "parameter"),
        ("a skippable frame", b"\x50\x2a\x4d\x18\xff\xff\xff\x7fnothing".to_vec(), "less than it states"),
        ("a skippable frame that ends", b"\x50\x2a\x4d\x18\x01\0\0\0x".to_vec(), "its frame ends"),
        ("of an old zstd", b"\x25\xb5\x2f\xfd\0\0\0\0".to_vec(), "frame descriptor"),
        ("noise", noise(500), "frame descriptor"),
        ("nothing", vec![], "less than it states"),
        ("a bomb", bomb(), "more than it states"),
    ] {
        let said = decompress(&came);
        assert!(said.contains(why) && said.is_empty() == why.is_empty(), "{name}: {said:?}");
    }
    assert!(bomb().len() < 200, "it was one");
}
