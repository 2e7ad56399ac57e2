//! Bytes as text and back: hexadecimal, Base64, and what is percent-encoded.

use std::fmt;

/// A `%` without two hexadecimal digits behind it, or bytes that are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadEncoding;

impl fmt::Display for BadEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a % must be followed by two hexadecimal digits, and the decoded text must be UTF-8")
    }
}

impl std::error::Error for BadEncoding {}

/// Decodes one part of a URL, in which `+` is itself. What comes out may hold any character, `/` and NUL too.
///
/// # Errors
/// [`BadEncoding`] when it cannot be decoded.
pub fn percent_decoded(text: &str) -> Result<String, BadEncoding> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit().ok_or(BadEncoding)?, digit().ok_or(BadEncoding)?);
        bytes.push((high << 4 | low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| BadEncoding)
}

/// Percent-encodes all but letters, digits and what is in `kept`.
pub fn percent_encoded(text: &str, kept: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            _ if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Two hexadecimal digits a byte, in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Standard Base64 with padding (RFC 4648, section 4).
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let wide =
            group.iter().fold(0u32, |wide, byte| wide << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let known = digit <= group.len();
            text.push(if known { DIGITS[(wide >> (18 - 6 * digit)) as usize & 63] as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_urls() {
        for (encoded, decoded) in [
            ("shop-001", Ok("shop-001")),
            ("a+b", Ok("a+b")),
            ("a%2Fb", Ok("a/b")),
            ("%2e%2E", Ok("..")),
            ("a%00", Ok("a\0")),
            ("%f0%28", Err(BadEncoding)),
        ] {
            assert_eq!(percent_decoded(encoded), decoded.map(str::to_owned), "{encoded}");
        }
    }

    #[test]
    fn base64_as_the_standard_has_it() {
        // RFC 4648, section 10.
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
