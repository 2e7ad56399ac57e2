//! Patterns with `*` for any characters: which clients a batch means, and what an operator's key reaches.

/// Whether `text` is what `pattern` says; `*` stands for any characters, none too.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether `pattern` matches any text that begins with `start`.
pub fn reaches(pattern: &str, start: &str) -> bool {
    match pattern.split_once('*') {
        // What is behind `start` may be whatever the rest of the pattern asks for.
        Some((fixed, _)) => start.starts_with(fixed) || fixed.starts_with(start),
        None => pattern.starts_with(start),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("shop-001", "shop-001", true),
            ("shop-001", "shop-0011", false),
            ("shop-9*", "shop-9", true),
            ("shop-9*", "shop-91", true),
            ("*", "anything", true),
            ("*-west", "shop-west", true),
            ("*-west", "shop-west2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn beginnings() {
        for (pattern, start, expected) in [
            ("logs/*", "logs/", true),
            ("logs/*", "logs/2025/", true),
            ("logs/2025/*", "logs/", true),
            ("logs/2025/*", "logs/2024/", false),
            ("logs/*/pos.log", "logs/2025/", true),
            ("logs/*.log", "db/", false),
            ("logs/today.log", "logs/", true),
            ("logs/today.log", "logs/today.log/", false),
            ("db", "db/", false),
            ("*", "anything/", true),
            ("*.log", "logs/", true),
            ("logs*", "logs-old/", true),
        ] {
            assert_eq!(reaches(pattern, start), expected, "{pattern} {start}");
        }
        // It says yes exactly where some text with that beginning matches.
        for pattern in ["a*", "*a", "a*b", "ab", "*", "b*a*"] {
            for start in ["", "a", "b", "ab", "ba", "abb"] {
                let tails = ["", "a", "b", "ab", "ba", "aab", "bba", "abab"];
                let found = tails.iter().any(|tail| matches(pattern, &format!("{start}{tail}")));
                assert_eq!(reaches(pattern, start), found, "{pattern} {start}");
            }
        }
    }
}
