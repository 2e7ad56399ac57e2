//! How sizes, rates and durations are written, in settings and in requests alike; and the type of a secret.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::hash;
use crate::names::{BadName, Sha256Hash};

/// Why a value was refused; the text says what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue(pub &'static str);

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadValue {}

/// Reads a size, or a rate a second, in bytes: `65536`, `2M` or `2MB` (powers of 1000), `64Ki` or `64KiB` (of 1024).
///
/// # Errors
/// When it is anything else, or more than 2^64-1 bytes.
pub fn size(text: &str) -> Result<u64, BadValue> {
    let wanted = BadValue(
        "a whole number of bytes, or one with k M G (powers of 1000) or Ki Mi Gi (of 1024), such as 500k or 64Mi",
    );
    let (number, unit) = split(text).ok_or(wanted.clone())?;
    let factor: u64 = match unit.strip_suffix('B').unwrap_or(unit) {
        "" => 1,
        "k" | "K" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return Err(wanted),
    };
    number.checked_mul(factor).ok_or(wanted)
}

/// Reads a duration: `90s`, `30m`, `24h` or `7d`.
///
/// # Errors
/// When it is anything else.
pub fn duration(text: &str) -> Result<Duration, BadValue> {
    let wanted = BadValue("a whole number with s, m, h or d, such as 90s, 30m, 24h or 7d");
    let (number, unit) = split(text).ok_or(wanted.clone())?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wanted),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or(wanted)
}

/// Reads a name; what is wrong with it reads on from "expected".
///
/// # Errors
/// When it breaks the rule for such names.
pub fn name<T: FromStr<Err = BadName>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|rule| format!("a valid name: {rule}"))
}

/// Reads a whole number of decimal digits, without a sign.
pub fn whole(text: &str) -> Option<u64> {
    match split(text) {
        Some((number, "")) => Some(number),
        _ => None,
    }
}

/// The number at the start of `text`, and what follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

/// A key that is compared and sent, and never shown.
#[derive(Clone)]
pub struct Secret {
    text: String,
    hash: Sha256Hash,
}

impl Secret {
    /// Wraps the text of a secret.
    pub fn new(text: impl Into<String>) -> Secret {
        let text = text.into();
        let hash = hash::of(text.as_bytes());
        Secret { text, hash }
    }

    /// The text, to send it to a peer.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Whether `candidate` is this secret, in a time that tells nothing of the secret: hashes of one length are
    /// compared, in constant time.
    pub fn matches(&self, candidate: &str) -> bool {
        hash::is_same(&self.hash, &hash::of(candidate.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65_536),
            ("007", 7),
            ("500B", 500),
            ("500k", 500_000),
            ("500K", 500_000),
            ("2M", 2_000_000),
            ("2MB", 2_000_000),
            ("5G", 5_000_000_000),
            ("64Ki", 65_536),
            ("64KiB", 65_536),
            ("64Mi", 64 << 20),
            ("5GiB", 5 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "k",
            "-1",
            "+1",
            "1.5M",
            "1 M",
            "1m",
            "1g",
            "1ki",
            "1Kb",
            "1T",
            "1MM",
            "1BB",
            "0x10",
            "1e3",
            " 1",
            "18446744073709551616",
            "18446744073709551615k",
            "٣",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800), ("0s", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "24", "h", "1.5h", "-1h", "1H", "1w", "1h30m", "18446744073709551615d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn whole_numbers() {
        assert_eq!(whole("0042"), Some(42));
        for text in ["", "+1", "-1", "1 ", "1k", "1.0", "18446744073709551616"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_are_compared_and_never_shown() {
        let secret = Secret::new("s3cret");
        assert!(secret.matches("s3cret"));
        for other in ["", "s3cre", "s3crett", "S3cret", "s3cret\0"] {
            assert!(!secret.matches(other), "{other:?}");
        }
        assert!(!format!("{secret:?}").contains("s3cret"));
    }
}
