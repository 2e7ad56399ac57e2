//! Names and values, parsed once at the border.

use std::fmt::{Debug, Display};
use std::path::{Component, Path};
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use towline::clock::iso8601;
use towline::glob;
use towline::limits::{
    MAX_FILE_KEY_BYTES, MAX_FILE_NAME_BYTES, MAX_IDEMPOTENCY_KEY_BYTES, MAX_LABEL_BYTES, MAX_PRINTED_CHARS,
};
use towline::names::{
    ClientId, FileKey, RequestId, Sha256Hash, ShareName, SharedPath, download_name, is_download_name,
    printable, source_name,
};
use towline::record::IdempotencyKey;
use towline::settings::value;

/// What is taken for a name is one, whatever it was made of: no path out of a share, no folder in a file's name, no
/// control character in a line. What is printed is read as the same.
pub fn run(data: &[u8]) {
    let text = &*String::from_utf8_lossy(data);
    let client = round_trip::<ClientId>(text);
    assert_eq!(client.is_some(), round_trip::<ShareName>(text).is_some());
    if client.is_some() {
        assert!(text.len() <= MAX_LABEL_BYTES);
        assert!(is_plain(text) && !text.starts_with('-'));
    }
    round_trip::<RequestId>(&text.to_lowercase());
    if let Ok(hash) = Sha256Hash::try_from(text.to_owned()) {
        assert_eq!(hash.to_string(), text.to_lowercase());
    }
    if let Ok(key) = IdempotencyKey::try_from(text.to_owned()) {
        assert!(text.len() <= MAX_IDEMPOTENCY_KEY_BYTES && text.bytes().all(|b| (b' '..=b'~').contains(&b)));
        assert_eq!(String::from(key), text);
    }
    let key = round_trip::<FileKey>(text);
    if let Some(key) = &key {
        assert!(text.len() <= MAX_FILE_KEY_BYTES && !text.contains('\0'));
        check_shared_path(key);
    }
    check_download_names(text, client, key.as_ref());
    check_shown(text);
    check_values(text);
    check_patterns(text);
}

/// Reads a name, prints it, and reads it again; as text and as JSON.
fn round_trip<T>(text: &str) -> Option<T>
where
    T: FromStr + Display + Debug + PartialEq + Serialize + DeserializeOwned,
{
    let name: T = text.parse().ok()?;
    assert_eq!(name.to_string(), text);
    let json = serde_json::to_value(&name).expect("a name is a string");
    assert_eq!(json, text);
    assert_eq!(serde_json::from_value::<T>(json).ok().as_ref(), Some(&name));
    Some(name)
}

/// Nothing but the characters of one part of a path that stands for itself on every system.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn check_shared_path(key: &FileKey) {
    let Ok(SharedPath { share, path }) = SharedPath::parse(key) else { return };
    assert!(is_plain(share.as_str()));
    let Some(path) = path else { return assert_eq!(share.as_str(), key.as_str()) };
    assert_eq!(format!("{share}/{path}"), key.as_str());
    assert!(!path.contains(['\0', '\\']));
    let parts: Vec<&str> = path.split('/').collect();
    let components: Vec<Component<'_>> = Path::new(&path).components().collect();
    assert_eq!(components, parts.iter().map(|part| Component::Normal(part.as_ref())).collect::<Vec<_>>());
}

fn check_download_names(text: &str, client: Option<ClientId>, key: Option<&FileKey>) {
    let client = client.unwrap_or_else(|| "shop-001".parse().expect("a good name"));
    let name = download_name(&client, &iso8601(text.len() as u64 * 86_400_123), key);
    assert!(is_plain(&name) && name.len() <= MAX_FILE_NAME_BYTES && is_download_name(&name), "{name}");
    assert!(!is_download_name(text) || (is_plain(text) && text.len() <= MAX_FILE_NAME_BYTES));
}

fn check_shown(text: &str) {
    let name = source_name(text);
    assert!((1..=MAX_FILE_NAME_BYTES).contains(&name.len()) && !matches!(&*name, "." | ".."));
    assert!(!name.contains(|c: char| c.is_control() || matches!(c, '/' | '\\')), "{name:?}");
    assert_eq!(source_name(&name), name);
    let shown = printable(text).to_string();
    super::assert_one_line(&shown);
    assert!(!shown.contains(|c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')));
    assert!(shown.starts_with(text) || text.chars().count() > MAX_PRINTED_CHARS || shown.contains('\\'));
}

fn check_values(text: &str) {
    if let Ok(bytes) = value::size(text) {
        assert_eq!(value::size(&bytes.to_string()), Ok(bytes));
    }
    if let Ok(time) = value::duration(text) {
        assert_eq!(value::duration(&format!("{}s", time.as_secs())), Ok(time));
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    assert_eq!(value::whole(text), text.parse().ok().filter(|_: &u64| digits));
}

/// A pattern matches what another matcher says it does; what is matched by one that reaches into a folder is found there.
fn check_patterns(text: &str) {
    let (pattern, other) = text.split_once('\n').unwrap_or((text, "logs/a.log"));
    if pattern.len() * other.len() > 10_000 {
        return;
    }
    let matches = glob::matches(pattern, other);
    assert_eq!(matches, matches_slowly(pattern.as_bytes(), other.as_bytes()), "{pattern} {other}");
    for (at, _) in other.match_indices('/').filter(|_| matches) {
        assert!(glob::reaches(pattern, &other[..=at]), "{pattern} {other}");
    }
}

/// Whether the first bytes of the text match the first of the pattern, for all lengths of the text at once.
fn matches_slowly(pattern: &[u8], text: &[u8]) -> bool {
    let mut row: Vec<bool> = (0..=text.len()).map(|length| length == 0).collect();
    for byte in pattern {
        let before = row.clone();
        for length in 0..=text.len() {
            row[length] = match byte {
                b'*' => before[length] || (length > 0 && row[length - 1]),
                byte => length > 0 && before[length - 1] && text[length - 1] == *byte,
            };
        }
    }
    row[text.len()]
}
