//! Packed binary messages: chunks, answers of hashes, and the payload of those.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use towline::blocks::{HASH_BYTES, read_hashes, write_hashes};
use towline::limits::MAX_HEADER_BYTES;
use towline::protocol::{ChunkHeader, Ends, HashesHeader, Violation, pack_head, unpack};

/// What is unpacked lies within the message and within its bounds; written again it is the same; what is refused ends
/// the line, for a reason that fits in one.
pub fn run(data: &[u8]) {
    check::<ChunkHeader>(data);
    check::<HashesHeader>(data);
    check_hashes(data);
}

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &[u8]) {
    let (header, start): (T, usize) = match unpack(message) {
        Ok(unpacked) => unpacked,
        Err(violation) => return check_violation(&violation, message),
    };
    assert!(start <= message.len() && start - 4 <= MAX_HEADER_BYTES);
    assert_eq!((start - 4) as u32, u32::from_be_bytes([message[0], message[1], message[2], message[3]]));
    let mut packed = pack_head(&header);
    let length = packed.len();
    if length - 4 > MAX_HEADER_BYTES {
        return; // a timestamp of many 1e9 is longer when it is written out; we never send it back
    }
    packed.extend_from_slice(&message[start..]);
    let (again, start_again): (T, usize) = unpack(&packed).expect("what we pack can be unpacked");
    assert_eq!(start_again, length);
    super::assert_same(&header, &again);
}

fn check_violation(violation: &Violation, message: &[u8]) {
    assert_eq!(violation.ends(), Ends::Line);
    super::assert_one_line(&violation.to_string());
    if let Violation::BadHeaderLength { header, message: length } = violation {
        assert_eq!(*length, message.len());
        assert!(message.len() < 4 || *header > MAX_HEADER_BYTES || *header > message.len() - 4);
    }
}

fn check_hashes(payload: &[u8]) {
    match read_hashes(payload) {
        Some(hashes) => {
            assert_eq!(hashes.len() * HASH_BYTES, payload.len());
            let mut again = Vec::new();
            write_hashes(hashes, &mut again);
            assert_eq!(again, payload);
        }
        None => assert_ne!(payload.len() % HASH_BYTES, 0),
    }
}
