//! What is asked for: the bodies of `POST /download/:clientId` and `POST /downloads`, read and checked.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::replies::{self, Answer};
use crate::hash;
use crate::limits;
use crate::names::{FileKey, Sha256Hash, printable};
use crate::settings::value;

/// The body of `POST /download/:clientId`; it may be absent or empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Wish {
    file_key: Option<String>,
    queue_for: Option<String>,
    max_rate: Option<Value>,
}

/// The body of `POST /downloads`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Batch {
    #[serde(default)]
    clients: Option<Vec<String>>,
    #[serde(default)]
    meta: Map<String, Value>,
    #[serde(default)]
    file_key: Option<String>,
    #[serde(default)]
    queue_for: Option<String>,
    #[serde(default)]
    max_rate: Option<Value>,
}

/// What is wanted of each client.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) file_key: Option<FileKey>,
    pub(super) queue_for_ms: Option<u64>,
    pub(super) max_rate: Option<u64>,
}

/// Which clients a batch means.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    /// Ids, or parts of them with `*` for any characters; in order, each once.
    pub(super) patterns: Vec<String>,
    /// Labels that a client must have.
    pub(super) meta: Map<String, Value>,
}

/// Reads the body of `POST /download/:clientId`.
pub(super) fn read_one(body: &[u8]) -> Result<Wanted, Answer> {
    check(parse(body)?)
}

/// Reads the body of `POST /downloads`.
pub(super) fn read_many(body: &[u8]) -> Result<(Choice, Wanted), Answer> {
    let Batch { clients, meta, file_key, queue_for, max_rate } = parse(body)?;
    if clients.is_none() && meta.is_empty() {
        return Err(replies::bad_request(
            "say which clients: \"clients\":[\"shop-9*\"], \"meta\":{…}, or both",
        ));
    }
    let mut patterns = clients.unwrap_or_else(|| vec!["*".to_owned()]);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-*".contains(c);
    if let Some(bad) = patterns.iter().find(|pattern| pattern.is_empty() || !pattern.chars().all(plain)) {
        let bad = printable(bad);
        return Err(replies::bad_request(&format!(
            "{bad}: clients are named by their ids, * stands for any characters"
        )));
    }
    patterns.sort();
    patterns.dedup();
    Ok((Choice { patterns, meta }, check(Wish { file_key, queue_for, max_rate })?))
}

impl Wanted {
    /// The hash of what `route` is asked for. It is of the meaning, not of the bytes: white space, the order of fields and
    /// `2M` for `2000000` make no difference. What is not asked for does not enter, so that a field which a later version
    /// adds changes no hash that is on disk.
    pub(super) fn fingerprint(&self, route: &str, choice: Option<&Choice>) -> Sha256Hash {
        let mut said = Map::new();
        said.insert("route".to_owned(), route.into());
        if let Some(Choice { patterns, meta }) = choice {
            said.insert("clients".to_owned(), patterns.clone().into());
            if !meta.is_empty() {
                said.insert("meta".to_owned(), meta.clone().into());
            }
        }
        let key = self.file_key.as_ref().map(|key| key.as_str().into());
        let fields = [("fileKey", key), ("queueFor", self.queue_for_ms.map(Value::from))];
        for (name, value) in fields.into_iter().chain([("maxRate", self.max_rate.map(Value::from))]) {
            said.extend(value.map(|value| (name.to_owned(), value)));
        }
        hash::of(Value::Object(said).to_string().as_bytes())
    }
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Answer> {
    let body = match body.trim_ascii() {
        b"" => b"{}",
        body => body,
    };
    if !body.starts_with(b"{") {
        // serde would take an array for the fields in their order.
        return Err(replies::bad_request("the body: a JSON object is expected"));
    }
    serde_json::from_slice(body).map_err(|error| replies::bad_request(&format!("the body: {error}")))
}

fn check(wish: Wish) -> Result<Wanted, Answer> {
    let file_key = wish.file_key.filter(|key| !key.is_empty()).map(FileKey::try_from).transpose();
    let file_key = file_key.map_err(|bad| replies::bad_request(&format!("fileKey: {bad}")))?;
    let queue_for_ms = match wish.queue_for {
        None => None,
        Some(text) => match value::duration(&text) {
            Ok(time) if time <= limits::MAX_QUEUE_TIME => Some(time.as_millis() as u64),
            Ok(_) => return Err(replies::bad_request("queueFor: at most 31d")),
            Err(bad) => return Err(replies::bad_request(&format!("queueFor: {bad}"))),
        },
    };
    let max_rate = match wish.max_rate {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => Some(number.as_u64().ok_or_else(bad_rate)?),
        Some(Value::String(text)) => Some(value::size(&text).map_err(|_| bad_rate())?),
        Some(_) => return Err(bad_rate()),
    };
    if max_rate.is_some_and(|rate| rate < limits::MIN_RATE) {
        return Err(bad_rate());
    }
    Ok(Wanted { file_key, queue_for_ms, max_rate })
}

fn bad_rate() -> Answer {
    replies::bad_request("maxRate is bytes a second, 1Ki or more, such as 2000000 or \"2M\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes() {
        let check = |text: &str| read_one(text.as_bytes());
        for none in ["", "  \n", "{}", r#"{"fileKey":null}"#, r#"{"fileKey":""}"#] {
            assert_eq!(check(none).unwrap().file_key, None);
        }
        let wanted = check(r#"{"fileKey":"logs/x","queueFor":"24h","maxRate":"2M"}"#).unwrap();
        assert_eq!((wanted.queue_for_ms, wanted.max_rate), (Some(86_400_000), Some(2_000_000)));
        let deep = format!("{{\"fileKey\":{}", "[".repeat(10_000));
        for bad in [
            r#"{"fileKey":5}"#,
            r#"{"filekey":null}"#,
            "{",
            "[]",
            r#"{"queueFor":"soon"}"#,
            r#"{"queueFor":"32d"}"#,
            r#"{"maxRate":-1}"#,
            r#"{"maxRate":0}"#,
            r#"{"maxRate":"x"}"#,
            r#"{"maxRate":true}"#,
            &deep,
        ] {
            assert!(check(bad).is_err(), "{bad:.40}");
        }
        assert!(check(&format!(r#"{{"fileKey":"{}"}}"#, "k".repeat(10_000))).is_err());
        assert!(check(r#"{"fileKey":"a\u0000b"}"#).is_err());
    }

    #[test]
    fn the_same_wish_in_other_words_has_the_same_fingerprint() {
        let one = |text: &str| read_one(text.as_bytes()).unwrap().fingerprint("POST /download/a", None);
        let full = r#"{"fileKey":"logs/x","queueFor":"24h","maxRate":"2M"}"#;
        for same in [
            " {\"maxRate\": 2000000,\n \"queueFor\":\"1d\",\"fileKey\":\"logs/x\"}",
            r#"{"fileKey":"l\u006fgs/x","queueFor":"86400s","maxRate":"2000k"}"#,
        ] {
            assert_eq!(one(same), one(full), "{same}");
        }
        for nothing in ["", " ", r#"{"fileKey":null}"#, r#"{"fileKey":"","queueFor":null,"maxRate":null}"#] {
            assert_eq!(one(nothing), one("{}"), "{nothing}");
        }
        let many = |text: &str| {
            let (choice, wanted) = read_many(text.as_bytes()).unwrap();
            wanted.fingerprint("POST /downloads", Some(&choice))
        };
        let batch = r#"{"clients":["b","a"],"meta":{"x":1,"y":"z"}}"#;
        assert_eq!(many(batch), many(r#"{"meta":{"y":"z","x":1},"clients":["a","b","a"],"fileKey":null}"#));
        assert_eq!(many(r#"{"meta":{"x":1}}"#), many(r#"{"meta":{"x":1},"clients":["*"]}"#));

        let other_route = read_one(b"").unwrap().fingerprint("POST /download/b", None);
        let mut all = vec![
            other_route,
            one(full),
            one("{}"),
            one(r#"{"fileKey":"logs/x"}"#),
            one(r#"{"fileKey":"logs/y"}"#),
            one(r#"{"queueFor":"24h"}"#),
            one(r#"{"maxRate":86400000}"#),
            many(batch),
            many(r#"{"clients":["a","b"]}"#),
            many(r#"{"clients":["a"]}"#),
            many(r#"{"clients":[]}"#),
            many(r#"{"clients":["a"],"meta":{"x":1}}"#),
        ];
        all.sort_by_key(|hash| hash.0);
        all.dedup();
        assert_eq!(all.len(), 12, "each is another wish");
        // It is on disk: the same for ever.
        assert_eq!(one("").to_string(), "be68b4ac9a60a6dd2e6c5c4aba9a59842321046c0875817ad98babf6219f649d");
        assert_eq!(
            many(batch).to_string(),
            "19f3e9ef9fe937e30fbec85dd658b862ffe6971e94ec0c9ec4b02774843b2771"
        );
    }
}
