#![no_main]
//! Beside what `towline_fuzz::settings` asserts, `.env` is read as dotenv reads it: by its own regular expression.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regress::Regex;

/// dotenv 16, `lib/main.js`.
const LINE: &str = r#"(?:^|^)\s*(?:export\s+)?([\w.-]+)(?:\s*=\s*?|:\s+?)(\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|\s*`(?:\\`|[^`])*`|[^#\r\n]+)?\s*(?:#.*)?(?:$|$)"#;

static DOTENV: LazyLock<Regex> = LazyLock::new(|| Regex::with_flags(LINE, "gm").expect("dotenv's own"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    towline_fuzz::settings::run(data);
    // A backtracking expression takes its time on long ones; U+2028 and U+2029 are the stated departure.
    if let Ok(text) = str::from_utf8(data)
        && text.len() < 300
        && !text.contains(['\u{2028}', '\u{2029}'])
    {
        assert_eq!(towline::settings::dotenv::parse(text), as_dotenv(text), "{text:?}");
    }
});

/// `parse` of `lib/main.js`, line by line.
fn as_dotenv(text: &str) -> BTreeMap<String, String> {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut values = BTreeMap::new();
    for found in DOTENV.find_iter(&lines) {
        let group = |number| found.group(number).map_or("", |range| &lines[range]);
        let value = group(2).trim_matches(is_space);
        let quote = value.chars().next();
        // value.replace(/^(['"`])([\s\S]*)\1$/mg, '$2')
        let mut inner = UNQUOTE.replace_all(value, "$2");
        if quote == Some('"') {
            inner = inner.replace("\\n", "\n").replace("\\r", "\r");
        }
        values.insert(group(1).to_owned(), inner);
    }
    values
}

static UNQUOTE: LazyLock<Regex> =
    LazyLock::new(|| Regex::with_flags(r#"^(['"`])([\s\S]*)\1$"#, "gm").expect("dotenv's own"));

/// What `trim` takes off.
fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}
