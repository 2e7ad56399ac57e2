//! Frames of peers, in pieces of all sizes.

use super::super::frame::{binary_frame, close_frame, ping_frame, pong_frame, text_frame};
use super::*;

const MOST: usize = 100_000;

/// One frame as an agent sends it; with any first byte.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    binary_frame(Side::Agent, b"", payload, &mut frame);
    frame[0] = first;
    frame
}

/// What comes out when `bytes` arrive, at most `piece` at a time and never more than there is room for; and the reader.
fn read(side: Side, bytes: &[u8], piece: usize) -> (Result<Vec<String>, String>, Reader) {
    read_by(Reader::new(side, MOST, Vec::new()), bytes, piece)
}

fn read_by(mut reader: Reader, bytes: &[u8], piece: usize) -> (Result<Vec<String>, String>, Reader) {
    let (mut rest, mut found) = (bytes, Vec::new());
    loop {
        match reader.next_whole() {
            Ok(Some(whole)) => found.push(told(&whole)),
            Ok(None) if rest.is_empty() => return (Ok(found), reader),
            Ok(None) => {
                let room = reader.room();
                let count = room.left().min(rest.len()).min(piece);
                assert!(count > 0, "no room");
                room.put(&rest[..count]);
                rest = &rest[count..];
            }
            Err(error) => return (Err(error.to_string()), reader),
        }
    }
}

fn told(whole: &Whole) -> String {
    let sum = |bytes: &[u8]| (bytes.len(), bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>());
    match whole {
        Whole::Text(text) => format!("text {text}"),
        Whole::Binary(payload) => format!("binary {:?}", sum(payload)),
        Whole::Ping(payload) => format!("ping {payload:?}"),
        Whole::Pong(payload) => format!("pong {payload:?}"),
        Whole::Close(None) => "close".to_owned(),
        Whole::Close(Some((code, words))) => format!("close {code} {words}"),
    }
}

#[test]
fn messages_of_all_kinds_and_sizes_in_pieces_of_all_sizes() {
    for side in [Side::Server, Side::Agent] {
        let peer = if side == Side::Server { Side::Agent } else { Side::Server };
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for length in [0, 1, 125, 126, 1000, 2033, 2034, 2035, 2048, 5000, 65_535, 65_536, MOST] {
            let payload: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
            let mut frame = Vec::new();
            binary_frame(peer, b"", &payload, &mut frame);
            bytes.extend(frame);
            expected.push(told(&Whole::Binary(payload.into())));
            bytes.extend(text_frame(peer, "grüezi"));
            expected.push("text grüezi".to_owned());
            bytes.extend(ping_frame(peer, &[1, 2, 3]));
            expected.push("ping [1, 2, 3]".to_owned());
            bytes.extend(pong_frame(peer, &[7; 125]));
            expected.push(format!("pong {:?}", [7; 125]));
        }
        bytes.extend(close_frame(peer, 1001, "stops"));
        expected.push("close 1001 stops".to_owned());
        for piece in [1, 2, 3, 13, 100, 1000, 4096, usize::MAX] {
            let (found, reader) = read(side, &bytes, piece);
            assert_eq!(found.unwrap(), expected, "pieces of {piece}");
            assert!(reader.held() <= limits::READ_BUFFER_BYTES, "{} bytes are kept", reader.held());
        }
    }
}

#[test]
fn a_message_in_frames_is_put_together_and_control_frames_may_come_between() {
    let mut bytes = raw(0x02, &[1; 3000]);
    bytes.extend(raw(0x89, b"ping"));
    bytes.extend(raw(0x00, &[]));
    for _ in 0..1000 {
        bytes.extend(raw(0x00, &[2; 10]));
    }
    bytes.extend(raw(0x80, &[3; 50_000]));
    bytes.extend(raw(0x01, "grü".as_bytes()));
    bytes.extend(raw(0x80, "ezi".as_bytes()));
    for piece in [1, 7, 1000, usize::MAX] {
        let (found, reader) = read(Side::Server, &bytes, piece);
        let binary = told(&Whole::Binary([vec![1; 3000], vec![2; 10_000], vec![3; 50_000]].concat().into()));
        let expected = [told(&Whole::Ping(b"ping".to_vec())), binary, "text grüezi".to_owned()];
        assert_eq!(found.unwrap(), expected);
        assert!(reader.held() <= limits::READ_BUFFER_BYTES, "{} bytes are kept", reader.held());
    }
}

#[test]
fn chunks_have_their_memory_from_elsewhere_and_other_messages_have_not() {
    let chunks = Arc::new(Chunks::new(16 << 10, 64 << 10));
    let running = chunks.in_use();
    let (mut bytes, mut expected) = (Vec::new(), Vec::new());
    for length in [16_383, 16_384, 65_700, 20_000, 69_632, 69_633, 70_000] {
        let payload: Vec<u8> = (0..length).map(|i| (i / 7) as u8).collect();
        bytes.extend(raw(0x82, &payload));
        bytes.extend(raw(0x89, b"ping"));
        bytes.extend(raw(0x02, &payload)); // in two frames
        bytes.extend(raw(0x80, b""));
        let binary = told(&Whole::Binary(payload.into()));
        expected.extend([binary.clone(), told(&Whole::Ping(b"ping".to_vec())), binary]);
    }
    for piece in [1, 1000, 4096, usize::MAX] {
        let mut reader = Reader::new(Side::Server, MOST, Vec::new());
        reader.use_chunks(chunks.clone());
        let (found, reader) = read_by(reader, &bytes, piece);
        assert_eq!(found.unwrap(), expected, "pieces of {piece}");
        assert!(reader.held() <= limits::READ_BUFFER_BYTES, "{} bytes are kept", reader.held());
        assert_eq!(chunks.returned(), 1, "one at a time, and given back");
    }
    drop(running);
    assert_eq!(chunks.returned(), 0);
}

#[test]
fn a_message_that_comes_slowly_does_not_keep_the_slab() {
    let chunks = Arc::new(Chunks::new(16 << 10, 64 << 10));
    let running = chunks.in_use();
    let payload: Vec<u8> = (0..50_000).map(|i| (i / 7) as u8).collect();
    let bytes = raw(0x82, &payload);
    let mut reader = Reader::new(Side::Server, MOST, Vec::new());
    reader.use_chunks(chunks.clone());
    for piece in bytes[..30_000].chunks(1000) {
        assert!(reader.next_whole().unwrap().is_none());
        reader.room().put(piece);
    }
    drop(running);
    let _another = chunks.in_use();
    let (found, _) = read_by(reader, &bytes[30_000..], 1000);
    assert_eq!(found.unwrap(), [told(&Whole::Binary(payload.into()))]);
    assert_eq!(chunks.returned(), 0, "it went on elsewhere");
}

#[test]
fn what_came_behind_the_handshake_comes_first() {
    let bytes = [raw(0x81, b"one"), raw(0x81, &[b'2'; 3000])].concat();
    let mut reader = Reader::new(Side::Server, MOST, bytes);
    assert_eq!(told(&reader.next_whole().unwrap().unwrap()), "text one");
    assert_eq!(told(&reader.next_whole().unwrap().unwrap()), format!("text {}", "2".repeat(3000)));
    assert!(reader.next_whole().unwrap().is_none());
}

#[test]
fn what_breaks_a_rule_is_named_when_its_header_is_here() {
    let unmasked = |first: u8, length: u8| vec![first, length];
    let masked = |first: u8, length: u8| vec![first, 0x80 | length, 0, 0, 0, 0];
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (unmasked(0x82, 1), "Received an unmasked frame from client"),
        (masked(0xc2, 1), "Reserved bits are non-zero"),
        (masked(0xa2, 1), "Reserved bits are non-zero"),
        (masked(0x92, 1), "Reserved bits are non-zero"),
        (masked(0x83, 1), "Encountered invalid opcode: 3"),
        (masked(0x8b, 1), "Encountered invalid opcode: 11"),
        (masked(0x09, 1), "Fragmented control frame"),
        (masked(0x80, 1), "Continue frame but nothing to continue"),
        ([raw(0x01, b"a"), masked(0x81, 1)].concat(), "While waiting for more fragments received: TEXT"),
        (vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0], "Control frame too big"),
        (raw(0x88, &[3]), "Invalid close sequence"),
        (vec![0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], "too long"),
        (vec![0x82, 0xff, 0, 0, 0, 0, 0, 1, 0x86, 0xa1, 0, 0, 0, 0], "100001 > 100000"),
        ([raw(0x02, &[0; 60_000]), vec![0x80, 0xfe, 0x9c, 0x41, 0, 0, 0, 0]].concat(), "100001 > 100000"),
        (raw(0x81, &[0xff]), "UTF-8"),
        (raw(0x88, &[3, 0xe8, 0xff]), "UTF-8"),
    ];
    for (bytes, words) in cases {
        let (found, reader) = read(Side::Server, &bytes, usize::MAX);
        let error = found.expect_err(words);
        assert!(error.contains(words), "{error}, not {words}");
        assert!(reader.held() < 70_000, "memory for what is refused");
    }
    let (found, _) = read(Side::Agent, &raw(0x81, b"a"), usize::MAX);
    assert!(found.unwrap_err().contains("masked frame from server"));
}

#[test]
fn a_close_has_a_code_that_may_go_over_a_line_or_none() {
    for (payload, expected) in [
        (&[][..], "close"),
        (&[0x03, 0xe8][..], "close 1000 "),
        (&[0x0f, 0xa1, b'n', b'o'][..], "close 4001 no"),
        (&[0x03, 0xed][..], "close 1002 Protocol violation"),
        (&[0x00, 0x00][..], "close 1002 Protocol violation"),
    ] {
        assert_eq!(read(Side::Server, &raw(0x88, payload), 1).0.unwrap(), [expected]);
    }
    assert_eq!(
        read(Side::Agent, &close_frame(Side::Server, super::super::close::NONE, "none"), 1).0.unwrap(),
        ["close"]
    );
}
