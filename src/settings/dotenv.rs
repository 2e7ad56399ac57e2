//! Reads `.env` as Node's dotenv 16 reads it, because that is what wrote the files of the first installations.
//!
//! dotenv is one regular expression with backtracking; this is the same language without it, in linear time.
//! What that means in practice: `KEY=value`, `export KEY=value` and `KEY: value`; values in `'`, `"` or `` ` `` may
//! span lines and hold `#`; `\n` and `\r` are expanded in double quotes only; nothing else is, no `$`;
//! an unquoted value ends at `#` or at the line's end and is trimmed; of duplicates the last one wins; what is no
//! assignment is skipped. Like dotenv, a quote that is never closed is part of an unquoted value, and a
//! quoted value may start on a later line than its key.
//!
//! The one departure: U+2028 and U+2029 are white space here, but end no line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::limits;

/// Reads the file at `path`; absent when there is none.
///
/// # Errors
/// When it cannot be read, is larger than 1 MiB, or is not UTF-8.
pub fn read(path: &Path) -> io::Result<Option<BTreeMap<String, String>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    file.take(limits::MAX_ENV_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limits::MAX_ENV_FILE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    let text = String::from_utf8(bytes)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("not UTF-8: {}", e.utf8_error())))?;
    Ok(Some(parse(&text)))
}

/// Every assignment of `text`.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut values = BTreeMap::new();
    let mut line = 0;
    while line < text.len() {
        let start = skip_space(&text, line);
        let mut end = start;
        if let Some((key, at)) = exported(&text, start).or_else(|| key(&text, start)) {
            let (raw, after) = value(&text, at);
            values.insert(key.to_owned(), unquoted(raw));
            end = after;
        }
        line = line_end(&text, end) + 1;
    }
    values
}

/// White space as JavaScript's `\s` has it: with the byte order mark, without U+0085.
fn is_space(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

fn skip_space(text: &str, at: usize) -> usize {
    text[at..].find(|c| !is_space(c)).map_or(text.len(), |skipped| at + skipped)
}

fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |rest| at + rest)
}

/// `export`, white space, and then as [`key`].
fn exported(text: &str, at: usize) -> Option<(&str, usize)> {
    text[at..].strip_prefix("export")?;
    let word_end = at + "export".len();
    let next = skip_space(text, word_end);
    if next > word_end { key(text, next) } else { None }
}

/// A key with its `=` or `: `, and where its value starts.
fn key(text: &str, at: usize) -> Option<(&str, usize)> {
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let end = text[at..].find(|c| !is_key(c)).map_or(text.len(), |len| at + len);
    if end == at {
        return None;
    }
    let key = &text[at..end];
    let sign = skip_space(text, end);
    if text[sign..].starts_with('=') {
        return Some((key, sign + 1));
    }
    let space = text[end..].strip_prefix(':')?.chars().next().filter(|c| is_space(*c))?;
    Some((key, end + 1 + space.len_utf8()))
}

/// The value at `at` as it stands, and where what belongs to it ends.
fn value(text: &str, at: usize) -> (&str, usize) {
    let open = skip_space(text, at);
    if let Some(&quote @ (b'\'' | b'"' | b'`')) = text.as_bytes().get(open)
        && let Some((close, end)) = closing(text, open, quote)
    {
        return (&text[at..=close], end);
    }
    let stop = text[at..].find(['#', '\n']).map_or(text.len(), |len| at + len);
    (&text[at..stop], rest_of_line(text, stop).unwrap_or(stop))
}

/// Where the quote that was opened at `open` closes, and where what follows it ends.
///
/// That is the first one without a backslash before it; when other text follows it on the line, the last one before
/// it that has a backslash and is followed by none.
fn closing(text: &str, open: usize, quote: u8) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let mut candidates = Vec::new();
    for at in open + 1..bytes.len() {
        if bytes[at] == quote {
            candidates.push(at);
            if bytes[at - 1] != b'\\' {
                break;
            }
        }
    }
    candidates.into_iter().rev().find_map(|close| Some((close, rest_of_line(text, close + 1)?)))
}

/// Where white space and a comment after a value end; nothing when other text follows on the line.
fn rest_of_line(text: &str, at: usize) -> Option<usize> {
    let next = skip_space(text, at);
    match text.as_bytes().get(next) {
        None => Some(next),
        Some(b'#') => Some(line_end(text, next)),
        Some(_) => text[at..next].rfind('\n').map(|newline| at + newline),
    }
}

/// Takes white space and quotes off, and expands `\n` and `\r` where the quotes are double.
fn unquoted(raw: &str) -> String {
    let value = raw.trim_matches(is_space);
    let inner = match value.chars().next() {
        Some(quote @ ('\'' | '"' | '`')) => value[1..].strip_suffix(quote).unwrap_or(value),
        _ => value,
    };
    if value.starts_with('"') {
        // In this order, as dotenv does it.
        inner.replace("\\n", "\n").replace("\\r", "\r")
    } else {
        inner.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text with what dotenv 16.6.1 made of it.
    #[test]
    fn as_dotenv_reads_it() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("A=1\nB=2", &[("A", "1"), ("B", "2")]),
            ("  A = spaced out  ", &[("A", "spaced out")]),
            ("\u{feff}A=1\r\nB=2\rC=3", &[("A", "1"), ("B", "2"), ("C", "3")]),
            ("export A=1\nexport\tB=2\nexport=3\nexport D", &[("A", "1"), ("B", "2"), ("export", "3")]),
            ("A: yaml\nB:no\nC:\nD=4", &[("A", "yaml"), ("C", "D=4")]),
            ("A=\nB='' \nC=\"\"", &[("A", ""), ("B", ""), ("C", "")]),
            ("A=C:\\pos\\new folder\\data.db", &[("A", "C:\\pos\\new folder\\data.db")]),
            (
                "A='C:\\new'\nB=\"x\\ny\\rz\"\nC=`a\\nb`",
                &[("A", "C:\\new"), ("B", "x\ny\rz"), ("C", "a\\nb")],
            ),
            ("A=$HOME ${B}", &[("A", "$HOME ${B}")]),
            ("A=1#2\nB=1 # two\n#C=3\n # D=4", &[("A", "1"), ("B", "1")]),
            ("A='a#b' # c\nB=\"#\"\nC=`#`#", &[("A", "a#b"), ("B", "#"), ("C", "#")]),
            ("A='one\ntwo # not a comment\nB=3'\nC=4", &[("A", "one\ntwo # not a comment\nB=3"), ("C", "4")]),
            ("A='it\\'s'\nB='x' y\nC='x' y'", &[("A", "it\\'s"), ("B", "'x' y"), ("C", "x' y")]),
            ("A='open\nB=2", &[("A", "'open"), ("B", "2")]),
            ("A=\"open\\nx\nB=2", &[("A", "\"open\nx"), ("B", "2")]),
            ("A='x\\' y\nB=2", &[("A", "'x\\' y"), ("B", "2")]),
            ("A='\\'\n'B'", &[("A", "\\")]),
            ("A=\n'next line'\nB", &[("A", "next line")]),
            ("A\n\n=1", &[("A", "1")]),
            ("A={\"region\":\"west\"}", &[("A", "{\"region\":\"west\"}")]),
            ("A=1\nA=2\nB.c-d_9=x", &[("A", "2"), ("B.c-d_9", "x")]),
            ("no assignment\n=1\n!A=1\nü=1\nB=ü", &[("B", "ü")]),
            ("A='", &[("A", "'")]),
            ("A=\u{a0}1\u{feff}\u{85}", &[("A", "1\u{feff}\u{85}")]),
            ("", &[]),
            ("A", &[]),
            ("A:", &[]),
            ("export ", &[]),
        ];
        for (text, expected) in cases {
            let expected = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn hostile_input_ends_soon() {
        for unit in
            ["\n", "A", "A\n", "'", "A='", "A='\\'", "A='\\' ", "A=\"\\\"x", " ", "A:\n", "export ", "A=\n"]
        {
            parse(&unit.repeat((1 << 20) / unit.len())); // quadratic time would take minutes
        }
        let pieces = [
            "A", "=", ":", "'", "\"", "`", "\\", "n", "#", "\n", "\r", " ", "export ", "ü", "\u{feff}", "\0",
        ];
        let mut state = 1u64;
        for _ in 0..20_000 {
            let text: String = (0..12)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    pieces[(state >> 60) as usize]
                })
                .collect();
            parse(&text);
        }
    }

    #[test]
    fn files() {
        let folder = std::env::temp_dir().join(format!("towline-dotenv-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(read(&folder.join("absent")).unwrap().is_none());
        assert!(read(&folder).is_err());
        let path = folder.join(".env");
        for (bytes, wanted) in [
            (b"A=\xff".to_vec(), "not UTF-8"),
            (vec![b'#'; limits::MAX_ENV_FILE_BYTES as usize + 1], "larger than 1 MiB"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
