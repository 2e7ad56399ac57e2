//! Text messages, in both directions.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use towline::limits::{MAX_FILE_KEY_BYTES, MAX_TEXT_BYTES};
use towline::protocol::{Ends, ToAgent, ToServer, Violation, parse_text, to_text};

/// What is read and written again is read as the same; what is refused ends the line, for a reason that fits in one.
/// No message holds a file key that is none.
pub fn run(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return }; // the line refuses it: RFC 6455, section 8.1
    check::<ToServer>(text);
    if let Some(ToAgent::DownloadRequest { file_key: Some(key), .. }) = check::<ToAgent>(text) {
        let key = key.as_str();
        assert!((1..=MAX_FILE_KEY_BYTES).contains(&key.len()) && !key.contains('\0'));
    }
}

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(text: &str) -> Option<T> {
    match parse_text::<T>(text) {
        Ok(message) => {
            assert!(text.len() <= MAX_TEXT_BYTES);
            let written = to_text(&message);
            assert!(!written.contains('\n'));
            if written.len() <= MAX_TEXT_BYTES {
                let again: T = parse_text(&written).expect("what we write can be read");
                super::assert_same(&message, &again);
            }
            Some(message)
        }
        Err(violation) => {
            assert_eq!(violation.ends(), Ends::Line);
            assert_eq!(text.len() > MAX_TEXT_BYTES, matches!(violation, Violation::TextTooLong { .. }));
            super::assert_one_line(&violation.to_string());
            None
        }
    }
}
