//! One line of an audit log: how it is written, and what is believed of one that is read. Pure.
//!
//! ```text
//! {"seq":7,"time":1761924600123,"prev":"<SHA-256 of line 6, without its line feed>","event":"pull_asked",…}
//! ```

use serde::Serialize;
use serde::de::IgnoredAny;

use crate::names::{Sha256Hash, disguises};

/// Where a chain stands: the last line's number and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Counts from 1, over all files.
    pub seq: u64,
    /// The SHA-256 of the whole line, without its line feed.
    pub hash: Sha256Hash,
}

impl Link {
    /// Before the first line.
    pub const START: Link = Link { seq: 0, hash: Sha256Hash([0; 32]) };
}

/// What a line says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'l> {
    /// Its number.
    pub seq: u64,
    /// The hash of the line before.
    pub prev: Sha256Hash,
    /// What it is about.
    pub event: &'l str,
}

/// How each line begins.
pub(super) const BEGIN: &[u8] = b"{\"seq\":";

/// An event as JSON, in one line whatever is in it: JSON escapes the control characters below U+0020; what else may pass
/// for an end of line, or disguise one on a terminal, is escaped here. It stands within strings only.
pub fn body(event: &impl Serialize) -> String {
    let json = serde_json::to_string(event).expect("events hold strings and numbers only");
    if json.is_ascii() && !json.contains('\x7f') {
        return json;
    }
    let mut body = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if disguises(c) {
            let mut units = [0; 2]; // as JSON wants what is beyond U+FFFF
            c.encode_utf16(&mut units).iter().for_each(|unit| body.push_str(&format!("\\u{unit:04x}")));
        } else {
            body.push(c);
        }
    }
    body
}

/// The line behind `last`, with its line feed, and where the chain stands then.
pub fn line(last: Link, time: u64, body: &str) -> (String, Link) {
    let seq = last.seq + 1;
    let rest = body.strip_prefix('{').expect("an event is an object");
    let mut line = format!("{{\"seq\":{seq},\"time\":{time},\"prev\":\"{}\",{rest}", last.hash);
    let hash = hash(line.as_bytes());
    line.push('\n');
    (line, Link { seq, hash })
}

/// The hash of a line, without its line feed.
pub fn hash(line: &[u8]) -> Sha256Hash {
    crate::hash::of(line)
}

/// Reads a line, without its line feed; nothing when it is none that [`line()`] could have written.
pub fn read(line: &[u8]) -> Option<Head<'_>> {
    let text = std::str::from_utf8(line).ok()?;
    let (seq, rest) = number(text.strip_prefix("{\"seq\":")?)?;
    seq.checked_add(1)?; // no line could follow
    let (_time, rest) = number(rest.strip_prefix(",\"time\":")?)?;
    let rest = rest.strip_prefix(",\"prev\":\"")?;
    let prev = rest.get(..64).filter(|prev| !prev.bytes().any(|digit| digit.is_ascii_uppercase()))?;
    let (event, _) = rest[64..].strip_prefix("\",\"event\":\"")?.split_once('"')?;
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(Head { seq, prev: Sha256Hash::try_from(prev.to_owned()).ok()?, event })
}

/// A whole number as JSON has it, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, rest) = text.split_at(end);
    if digits.len() > 1 && digits.starts_with('0') {
        return None;
    }
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    #[serde(tag = "event", rename_all = "snake_case")]
    enum Said {
        Word { text: String },
    }

    #[test]
    fn a_line_is_what_is_read_of_it() {
        let body = body(&Said::Word { text: "x".to_owned() });
        let (first, link) = line(Link::START, 5, &body);
        assert_eq!(
            first,
            format!(
                "{{\"seq\":1,\"time\":5,\"prev\":\"{}\",\"event\":\"word\",\"text\":\"x\"}}\n",
                "0".repeat(64)
            )
        );
        let none = Sha256Hash([0; 32]);
        assert_eq!(read(first.trim_end().as_bytes()), Some(Head { seq: 1, prev: none, event: "word" }));
        assert_eq!(link, Link { seq: 1, hash: hash(first.trim_end().as_bytes()) });
        let (second, _) = line(link, 6, &body);
        assert_eq!(read(second.trim_end().as_bytes()), Some(Head { seq: 2, prev: link.hash, event: "word" }));
    }

    #[test]
    fn whatever_is_in_it_it_is_one_line() {
        for c in
            (0..=0x3000).filter_map(char::from_u32).chain(['"', '\\', '\u{feff}', '\u{1f600}', '\u{e0041}'])
        {
            let text = format!("a{c}b");
            let body = body(&Said::Word { text: text.clone() });
            assert!(!body.chars().any(disguises), "{c:?}: {body}");
            let back: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(back["text"], text.as_str());
            let (line, _) = line(Link::START, 5, &body);
            assert_eq!(line.matches('\n').count(), 1);
            assert!(read(line.trim_end_matches('\n').as_bytes()).is_some(), "{line}");
        }
    }

    #[test]
    fn what_is_no_line() {
        let prev = "0".repeat(64);
        let good = format!("{{\"seq\":1,\"time\":5,\"prev\":\"{prev}\",\"event\":\"x\"}}");
        assert!(read(good.as_bytes()).is_some());
        for bad in [
            String::new(),
            "{}".to_owned(),
            good.replace("\"seq\":1", "\"seq\":01"),
            good.replace("\"seq\":1", "\"seq\":-1"),
            good.replace("\"seq\":1", "\"seq\":18446744073709551615"),
            good.replace("\"seq\":1", "\"seq\":18446744073709551616"),
            good.replace("\"seq\"", "\"Seq\""),
            good.replace("\"time\":5", "\"time\":"),
            good.replace(&prev, &prev[1..]),
            good.replace(&prev, &format!("{}A", &prev[1..])),
            good.replace(&prev, &format!("{}ü", &prev[1..])),
            good.replace("\"event\"", "\"kind\""),
            format!("{good} x"),
            good[..good.len() - 1].to_owned(),
            format!(" {good}"),
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(read(&good.as_bytes().iter().map(|b| b | 0x80).collect::<Vec<_>>()), None);
        assert_eq!(read(&[0; 400]), None);
    }
}
