//! The text messages, one enum a direction.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::limits;
use crate::names::{FileKey, RequestId, Sha256Hash};
use crate::protocol::Violation;

/// What a server says to an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ToAgent {
    /// The first message on a line.
    Hello {
        /// ISO 8601.
        server_time: String,
        /// 2 from Towline, absent from a v1 server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol: Option<u32>,
        /// One beat (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heartbeat_seconds: Option<u64>,
    },
    /// Send this file.
    DownloadRequest {
        /// The transfer.
        request_id: RequestId,
        /// Which file; absent, `null` and empty mean `FILE_PATH`.
        #[serde(default, deserialize_with = "empty_is_none")]
        file_key: Option<FileKey>,
        /// Payload of a chunk, in bytes.
        #[serde(default)]
        chunk_size: Option<u64>,
        /// Counts from 1 (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
        /// Bytes a second at the most (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_rate: Option<u64>,
        /// How many bytes of an earlier state of the file the server has, from 0 on; absent for none (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        have: Option<u64>,
        /// Who asks: the name of an operator's key (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requested_by: Option<String>,
        /// What chunks may be compressed with, one of what the agent has offered; absent for nothing (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compress: Option<String>,
    },
    /// The transfer is over on the server's side.
    UploadReceived {
        /// The transfer.
        request_id: RequestId,
        /// What the server computed over the bytes it has.
        computed: Sha256Hash,
        /// Whether that is what the agent stated. A v1 server always says so.
        ok: bool,
    },
    /// Stop sending; answered by [`ToServer::Error`] with `cancelled` (v2).
    Cancel {
        /// The transfer.
        request_id: RequestId,
        /// The attempt; absent for any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
    },
    /// List the shares, or a folder (v2).
    List {
        /// Names this question in its answer.
        request_id: RequestId,
        /// A share, or a folder of one; absent for the shares themselves.
        #[serde(default)]
        path: Option<String>,
        /// Who asks, as in [`ToAgent::DownloadRequest`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requested_by: Option<String>,
    },
    /// The server stops; come back after this time (v2).
    Closing {
        /// Milliseconds.
        come_back_after_ms: u64,
    },
    /// A type that this version does not know: logged and passed over.
    #[serde(other)]
    Unknown,
}

/// What an agent says to a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum ToServer {
    /// The first message of a client.
    RegisterMeta {
        /// Labels.
        #[serde(default, deserialize_with = "null_is_default")]
        meta: Map<String, Value>,
        /// 2 from Towline, absent from a v1 client.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol: Option<u32>,
        /// The agent's version (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent_version: Option<String>,
        /// What it offers (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shares: Option<Vec<String>>,
        /// The congestion control of its socket (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        congestion_control: Option<String>,
        /// What it can compress chunks with: [`super::ZSTD`], or words that are not known here; absent for nothing (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        compress: Option<Vec<String>>,
    },
    /// A v1 client's sign of life, every 30 s.
    Heartbeat {
        /// Milliseconds since the epoch, by the client's clock; not used.
        #[serde(default)]
        ts: Value,
    },
    /// The file is open and is about to come.
    UploadStart {
        /// The transfer.
        request_id: RequestId,
        /// The file's name; a v1 client may send a whole path.
        #[serde(default)]
        filename: String,
        /// Its size as of the open, in bytes.
        filesize: u64,
        /// The attempt (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
    },
    /// All of it has been sent.
    UploadEnd {
        /// The transfer.
        request_id: RequestId,
        /// Over the bytes that were sent.
        checksum: Sha256Hash,
        /// The file's size, in bytes.
        #[serde(default)]
        filesize: Option<u64>,
        /// The attempt (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
    },
    /// What are the hashes of these blocks of what the server has? Answered by [`super::HashesHeader`] (v2).
    AskBlocks {
        /// The transfer.
        request_id: RequestId,
        /// The attempt.
        attempt: u32,
        /// The first block's number.
        from: u64,
        /// How many.
        count: u64,
    },
    /// What are the hashes of the pages of these blocks? Answered by [`super::HashesHeader`] (v2).
    AskPages {
        /// The transfer.
        request_id: RequestId,
        /// The attempt.
        attempt: u32,
        /// The blocks' numbers, ascending.
        blocks: Vec<u64>,
    },
    /// These bytes of the file are as the server has them (v2).
    Same {
        /// The transfer.
        request_id: RequestId,
        /// The attempt.
        attempt: u32,
        /// Where they begin, in bytes.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// The agent is at work on a transfer without sending: it compares, or reads the file again (v2).
    Progress {
        /// The transfer.
        request_id: RequestId,
        /// The attempt.
        attempt: u32,
    },
    /// The agent's no.
    Error {
        /// The transfer, or the [`ToAgent::List`]; a v1 client may leave it out.
        #[serde(default)]
        request_id: Option<RequestId>,
        /// A word of WIRE.md's list (v2); v1 has it in `message`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        /// For a person.
        #[serde(default)]
        message: String,
        /// The attempt (v2).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u32>,
    },
    /// The answer to [`ToAgent::List`] (v2).
    Listing {
        /// The question.
        request_id: RequestId,
        /// In order of name.
        entries: Vec<Entry>,
        /// Whether there are more than are listed.
        truncated: bool,
    },
    /// A type that this version does not know: logged and passed over.
    #[serde(other)]
    Unknown,
}

/// One line of a [`ToServer::Listing`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The name alone.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes, of a file.
    pub size: Option<u64>,
    /// Milliseconds since the epoch.
    pub modified: Option<u64>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// Anything else; it can't be pulled.
    Other,
}

/// Reads a text message.
///
/// # Errors
/// [`Violation::TextTooLong`] and [`Violation::NotAMessage`]: both close the line.
pub fn parse_text<T: DeserializeOwned>(text: &str) -> Result<T, Violation> {
    if text.len() > limits::MAX_TEXT_BYTES {
        return Err(Violation::TextTooLong { length: text.len() });
    }
    serde_json::from_str(text).map_err(|error| Violation::NotAMessage { why: error.to_string() })
}

/// Writes a text message.
pub fn to_text<T: Serialize>(message: &T) -> String {
    serde_json::to_string(message).expect("messages hold string keys and finite numbers only")
}

fn empty_is_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<FileKey>, D::Error> {
    match Option::<String>::deserialize(from)? {
        Some(key) if !key.is_empty() => key.try_into().map(Some).map_err(serde::de::Error::custom),
        _ => Ok(None),
    }
}

fn null_is_default<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(file: &str) -> String {
        let path = format!("{}/test-data/wire/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Each line of the golden files is read, and written again byte for byte.
    fn round_trip<T: DeserializeOwned + Serialize + std::fmt::Debug>(file: &str) -> usize {
        let text = golden(file);
        let lines = text.lines().filter(|line| !line.is_empty());
        let count = lines.clone().count();
        for line in lines {
            let message: T = parse_text(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(to_text(&message), line);
        }
        count
    }

    #[test]
    fn golden_messages_round_trip() {
        assert!(round_trip::<ToAgent>("to-agent.jsonl") >= 8);
        assert!(round_trip::<ToServer>("to-server.jsonl") >= 10);
    }

    #[test]
    fn the_specification_shows_the_golden_messages() {
        let spec = include_str!("WIRE.md");
        for file in ["to-agent.jsonl", "to-server.jsonl", "chunk-headers.jsonl", "hashes-headers.jsonl"] {
            for line in golden(file).lines() {
                assert!(spec.contains(line), "WIRE.md lacks {line}");
            }
        }
    }

    #[test]
    fn what_peers_leave_out_or_add() {
        assert_eq!(parse_text::<ToServer>(r#"{"type":"dance","x":[1]}"#), Ok(ToServer::Unknown));
        assert_eq!(parse_text::<ToAgent>(r#"{"type":"dance"}"#), Ok(ToAgent::Unknown));
        let registered = parse_text::<ToServer>(r#"{"type":"register_meta","meta":null,"more":1}"#).unwrap();
        assert!(matches!(registered, ToServer::RegisterMeta { meta, protocol: None, .. } if meta.is_empty()));
        let id = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
        for key in [r#""""#, "null"] {
            let text = format!(r#"{{"type":"download_request","requestId":"{id}","fileKey":{key}}}"#);
            let request = parse_text::<ToAgent>(&text).unwrap();
            assert!(matches!(request, ToAgent::DownloadRequest { file_key: None, chunk_size: None, .. }));
        }
    }

    #[test]
    fn what_is_no_message() {
        let deep = format!("{}{}", r#"{"type":"register_meta","meta":{"a":"#, "[".repeat(10_000));
        for text in ["", "{", "5", "[]", "null", "{}", r#"{"type":5}"#, r#"{"type":"upload_start"}"#, &deep] {
            assert!(matches!(parse_text::<ToServer>(text), Err(Violation::NotAMessage { .. })), "{text:.40}");
        }
        let long = " ".repeat(limits::MAX_TEXT_BYTES + 1);
        assert!(matches!(parse_text::<ToServer>(&long), Err(Violation::TextTooLong { .. })));
    }
}
