//! Packed binary messages: a 4-byte big-endian length, that many bytes of JSON header, then the payload.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::names::RequestId;
use crate::protocol::Violation;

/// What chunks are compressed with, as the messages name it.
pub const ZSTD: &str = "zstd";

/// The header of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChunkHeader {
    /// The transfer.
    pub request_id: RequestId,
    /// Counts from 1 in each attempt.
    pub seq: u64,
    /// Milliseconds since the epoch, by the client's clock; not used.
    #[serde(default)]
    pub timestamp: serde_json::Value,
    /// The attempt (v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Where the payload belongs in the file, in bytes (v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The payload is compressed (zstd), and has so many bytes of the file; absent when it is these bytes themselves (v2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zstd: Option<u64>,
}

/// The header of a server's answer to `ask_blocks` or `ask_pages`; the payload is the hashes (v2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HashesHeader {
    /// The transfer.
    pub request_id: RequestId,
    /// The attempt.
    pub attempt: u32,
    /// The hashes of what.
    pub of: HashesOf,
    /// The first block's number.
    pub from: u64,
}

/// What an answer holds the hashes of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HashesOf {
    /// Blocks, one after the other.
    Blocks,
    /// The pages of the blocks that were asked about, one after the other.
    Pages,
}

/// Splits a binary message into its header and where its payload begins.
///
/// # Errors
/// [`Violation::BadHeaderLength`] and [`Violation::NotAHeader`]: both close the line.
pub fn unpack<T: DeserializeOwned>(message: &[u8]) -> Result<(T, usize), Violation> {
    let Some((length, rest)) = message.split_first_chunk::<4>() else {
        return Err(Violation::BadHeaderLength { header: 0, message: message.len() });
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > rest.len() || length > limits::MAX_HEADER_BYTES {
        return Err(Violation::BadHeaderLength { header: length, message: message.len() });
    }
    let header = serde_json::from_slice(&rest[..length])
        .map_err(|error| Violation::NotAHeader { why: error.to_string() })?;
    Ok((header, 4 + length))
}

/// Writes what stands before the payload: the length and the header.
pub fn pack_head<T: Serialize>(header: &T) -> Vec<u8> {
    let mut head = vec![0; 4];
    serde_json::to_writer(&mut head, header).expect("a header holds string keys and whole numbers only");
    let length = (head.len() - 4) as u32; // far below 4 GiB: a header has few and short fields
    head[..4].copy_from_slice(&length.to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: DeserializeOwned + Serialize>(file: &str) {
        let path = format!("{}/test-data/wire/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.lines().count() >= 2);
        for line in text.lines() {
            let mut message = (line.len() as u32).to_be_bytes().to_vec();
            message.extend_from_slice(line.as_bytes());
            message.extend_from_slice(b"payload");
            let (header, start) = unpack::<T>(&message).unwrap();
            assert_eq!(&message[start..], b"payload");
            assert_eq!(pack_head(&header), message[..start]);
        }
    }

    #[test]
    fn golden_headers_round_trip() {
        round_trip::<ChunkHeader>("chunk-headers.jsonl");
        round_trip::<HashesHeader>("hashes-headers.jsonl");
    }

    #[test]
    fn hostile_messages() {
        let with_length = |length: u32, rest: &[u8]| [&length.to_be_bytes(), rest].concat();
        for message in [
            vec![],
            vec![0; 3],
            with_length(100, b"{}"),
            with_length(u32::MAX, &[b' '; 5000]),
            with_length(4097, &[b' '; 5000]),
        ] {
            assert!(matches!(unpack::<ChunkHeader>(&message), Err(Violation::BadHeaderLength { .. })));
        }
        for header in [&b""[..], b"{}", b"null", b"[1]", b"\xff\xff", br#"{"requestId":"x","seq":1}"#] {
            let message = with_length(header.len() as u32, header);
            assert!(matches!(unpack::<ChunkHeader>(&message), Err(Violation::NotAHeader { .. })));
        }
    }
}
