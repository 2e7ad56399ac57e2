//! Names and texts that a peer chose, made fit to show.

use std::fmt;

use crate::limits;

/// The last part of a file name that a peer sent, fit to show and to save under; `download` when nothing is left.
///
/// A v1 client may send a whole path of its machine, of either kind of slash; control characters go.
pub fn source_name(sent: &str) -> String {
    let last = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|c| !c.is_control()).collect();
    let mut end = name.len().min(limits::MAX_FILE_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    if matches!(name.as_str(), "" | "." | "..") { "download".to_owned() } else { name }
}

/// Whether a character can end or disguise the line that it stands in: control characters, and bidirectional overrides and
/// the like.
pub fn disguises(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{180e}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{e0000}'..='\u{e007f}')
}

/// Shows text from outside in one line of a log or an error: control characters escaped, cut at 200 characters.
pub fn printable(text: &str) -> impl fmt::Display + '_ {
    struct Printable<'a>(&'a str);
    impl fmt::Display for Printable<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for (count, c) in self.0.chars().enumerate() {
                if count == limits::MAX_PRINTED_CHARS {
                    return f.write_str("…");
                }
                if disguises(c) {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            Ok(())
        }
    }
    Printable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_names() {
        for (sent, kept) in [
            ("pos.db", "pos.db"),
            ("/var/lib/pos.db", "pos.db"),
            ("C:\\pos\\data.db", "data.db"),
            ("../..", "download"),
            ("a\r\nb", "ab"),
            ("", "download"),
            ("dir/", "download"),
        ] {
            assert_eq!(source_name(sent), kept);
        }
        assert_eq!(source_name(&"ü".repeat(200)).len(), 254);
    }

    #[test]
    fn printable_text_stays_in_its_line() {
        for c in ['\u{61c}', '\u{180e}', '\u{feff}', '\u{e0000}', '\u{e007f}'] {
            assert!(disguises(c), "{c:?}");
        }
        assert_eq!(printable("a\nb\x1b[31m\u{202e}c").to_string(), "a\\nb\\u{1b}[31m\\u{202e}c");
        assert_eq!(printable(&"x".repeat(500)).to_string().chars().count(), 201);
    }
}
