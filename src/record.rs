//! What is kept of a transfer on disk: the transfer as the API shows it, and what the API does not show.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::names::{RequestId, Sha256Hash, checked_text, printable};
use crate::transfer::Transfer;

/// A record: a transfer's JSON, with `idempotency` behind it when the request had a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The transfer.
    #[serde(flatten)]
    pub transfer: Transfer,
    /// The request that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// Why a record is not taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BadRecord {
    /// It is no JSON of a record.
    NotARecord {
        /// What the parser says.
        why: String,
    },
    /// It is that of another transfer than its folder.
    OfAnother {
        /// That transfer.
        id: RequestId,
    },
    /// Its `filename` could lead out of the folder of downloads.
    NoFileName,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRecord::NotARecord { why } => write!(f, "{}", printable(why)),
            BadRecord::OfAnother { id } => write!(f, "it is that of {id}"),
            BadRecord::NoFileName => f.write_str("its filename is no file name"),
        }
    }
}

impl std::error::Error for BadRecord {}

impl Record {
    /// Reads the record of transfer `id`, as it was found on the disk.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(text: &[u8], id: RequestId) -> Result<Record, BadRecord> {
        let record: Record =
            serde_json::from_slice(text).map_err(|error| BadRecord::NotARecord { why: error.to_string() })?;
        let Transfer { request_id, filename, .. } = &record.transfer;
        if *request_id != id {
            return Err(BadRecord::OfAnother { id: *request_id });
        }
        if filename.is_empty() || filename.contains('/') || filename.starts_with('.') {
            return Err(BadRecord::NoFileName);
        }
        Ok(record)
    }
}

/// A request that may be repeated: it is the same one when all three are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// Whose it is: callers do not meet in each other's keys. A name, without an address: a caller may come from
    /// another one the next time.
    pub caller: String,
    /// What the caller named it.
    pub key: IdempotencyKey,
    /// The hash of what it asks for.
    pub request: Sha256Hash,
}

/// The value of an `Idempotency-Key` header: 1 to 255 printable ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdempotencyKey(String);

checked_text!(
    IdempotencyKey,
    |text: &str| (1..=limits::MAX_IDEMPOTENCY_KEY_BYTES).contains(&text.len())
        && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
    "Idempotency-Key is 1 to 255 printable ASCII characters, such as a UUID that is made for each order"
);

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first version wrote it.
    const OLD: &str = r#"{"requestId":"5207f011-b9cf-4128-9058-5196a78c5f81","clientId":"shop-001","fileKey":null,
        "batchId":null,"status":"queued","filename":"a.bin","outPath":"/srv/a.bin","sourceName":null,"size":null,"bytes":0,
        "bytesOnWire":18446744073709551615,"sha256":null,"attempts":0,"requestedBy":"operator@127.0.0.1:1","maxRate":2000000,
        "createdAt":1795363192157,"startedAt":null,"finishedAt":null,"expiresAt":null,"failure":null}"#;

    #[test]
    fn a_record_without_a_key_is_the_transfer_itself() {
        let record: Record = serde_json::from_str(OLD).unwrap();
        assert_eq!(record.idempotency, None);
        assert_eq!(record.transfer, serde_json::from_str(OLD).unwrap());
        assert_eq!(
            serde_json::to_string_pretty(&record).unwrap(),
            serde_json::to_string_pretty(&record.transfer).unwrap()
        );
    }

    #[test]
    fn a_record_with_a_key_comes_back_and_can_be_read() {
        let transfer: Transfer = serde_json::from_str(OLD).unwrap();
        let key = IdempotencyKey::try_from("order \"7\"".to_owned()).unwrap();
        let idempotency = Idempotency { caller: "operator".into(), key, request: Sha256Hash([7; 32]) };
        let record = Record { transfer: transfer.clone(), idempotency: Some(idempotency) };
        let text = serde_json::to_string(&record).unwrap();
        assert!(
            text.contains(r#""idempotency":{"caller":"operator","key":"order \"7\"","request":"0707"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        // Who goes back to the version before still reads its transfers.
        assert_eq!(serde_json::from_str::<Transfer>(&text).unwrap(), transfer);
    }

    #[test]
    fn damaged_records() {
        let id: RequestId = "5207f011-b9cf-4128-9058-5196a78c5f81".parse().unwrap();
        let read = |text: &str, id| Record::read(text.as_bytes(), id);
        assert!(read(OLD, id).is_ok());
        assert_eq!(read(OLD, RequestId::from_random([1; 16])), Err(BadRecord::OfAnother { id }));
        for name in ["", "../a.bin", "/a.bin", "x/a.bin", ".", "..", ".towline"] {
            let text = OLD.replace("\"a.bin\"", &format!("\"{name}\""));
            assert_eq!(read(&text, id), Err(BadRecord::NoFileName), "{name}");
        }
        for text in ["", "{", "[]", &OLD.replace("queued", "que\\nued"), &OLD[..100]] {
            let bad = read(text, id).unwrap_err();
            assert!(matches!(bad, BadRecord::NotARecord { .. }) && !bad.to_string().contains('\n'), "{bad}");
        }
    }

    #[test]
    fn keys() {
        for good in ["a", "1b4e28ba-2fa1-41d2-883f-0016d3cca427", "two words", "\"quoted\"", &"k".repeat(255)]
        {
            assert!(IdempotencyKey::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", &"k".repeat(256), "schlüssel", "a\tb", "a\nb", "a\u{7f}"] {
            assert!(IdempotencyKey::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
