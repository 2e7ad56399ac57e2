//! Names, parsed once at the border: client ids, file keys, shares, request ids, and the names of downloads.
//!
//! Whoever holds one of these types holds a value that has been checked; nothing below checks it again.
//! Nothing here touches a file, a socket or a clock.

mod download;
mod shown;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits;

pub use download::{download_name, is_download_name};
pub use shown::{disguises, printable, source_name};

/// Why a name was refused; the text says what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName(pub(crate) &'static str);

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadName {}

pub(crate) fn is_label(text: &str) -> bool {
    (1..=limits::MAX_LABEL_BYTES).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Names one client: 1 to 64 of `A-Z a-z 0-9 . _ -`, not starting with `.` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientId(String);

/// Names one share of an agent, by the same rule as a client id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShareName(String);

/// Names a way of the kernel's to find out how fast TCP may send, such as `bbr` or `cubic`: the rule of a client id, and at most
/// 15 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CongestionControl(String);

/// What an operator asks for, as it was given: 1 byte to 4 KiB without NUL.
///
/// A v1 client takes it for a path of its own machine, so nothing more is checked here; what a v2 agent
/// takes is a [`SharedPath`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileKey(String);

/// A file key as a v2 agent reads it: `<share>` or `<share>/<relative path>`.
///
/// What would mean something else on Windows (`CON`, `a.log:stream`, `A~1.LOG`, a dot or a space at the end, another case)
/// is a plain name here, as it is for Linux, where logs have colons in their names. An agent for Windows has to refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedPath {
    /// The share.
    pub share: ShareName,
    /// The path within it, its parts joined by `/`; absent when the key names the share alone.
    pub path: Option<String>,
}

/// Names one transfer: a UUID (RFC 9562, version 4), in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId([u8; 16]);

/// What a checked text can do: `checked_text!(Type, whether it is good, "what is expected")`.
macro_rules! checked_text {
    ($name:ident, $check:expr, $wanted:literal) => {
        impl TryFrom<String> for $name {
            type Error = $crate::names::BadName;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                if $check(&text) { Ok(Self(text)) } else { Err($crate::names::BadName($wanted)) }
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::names::BadName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::try_from(text.to_owned())
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use checked_text;

checked_text!(
    ClientId,
    is_label,
    "a client id is 1 to 64 characters of A-Z a-z 0-9 . _ - and does not start with . or -"
);
checked_text!(
    ShareName,
    is_label,
    "a share name is 1 to 64 characters of A-Z a-z 0-9 . _ - and does not start with . or -"
);
checked_text!(
    CongestionControl,
    |text: &str| is_label(text) && text.len() <= limits::MAX_CONGESTION_CONTROL_BYTES,
    "a congestion control is 1 to 15 characters of A-Z a-z 0-9 . _ - and does not start with . or -"
);
checked_text!(
    FileKey,
    |text: &str| (1..=limits::MAX_FILE_KEY_BYTES).contains(&text.len()) && !text.contains('\0'),
    "a file key is 1 to 4096 bytes without NUL"
);

impl SharedPath {
    /// Reads a file key as a v2 agent does.
    ///
    /// # Errors
    /// When the share is no share name, or a part of the path is empty, `.` or `..`, or holds a NUL or a backslash.
    pub fn parse(key: &FileKey) -> Result<SharedPath, BadName> {
        let (share, path) = match key.as_str().split_once('/') {
            Some((share, path)) => (share, Some(path)),
            None => (key.as_str(), None),
        };
        let wanted = BadName(
            "a file key is <share> or <share>/<path>; no part of the path is empty, . or .. or holds a NUL or a backslash",
        );
        let share = share.parse().map_err(|_| wanted.clone())?;
        if let Some(path) = path {
            let good = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\\']);
            if !path.split('/').all(good) {
                return Err(wanted);
            }
        }
        Ok(SharedPath { share, path: path.map(str::to_owned) })
    }
}

impl RequestId {
    /// Makes an id of 16 random bytes.
    pub fn from_random(mut bytes: [u8; 16]) -> RequestId {
        bytes[6] = bytes[6] & 0x0f | 0x40; // version 4 and variant 10: RFC 9562, section 5.4
        bytes[8] = bytes[8] & 0x3f | 0x80;
        RequestId(bytes)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl FromStr for RequestId {
    type Err = BadName;
    fn from_str(text: &str) -> Result<RequestId, BadName> {
        let wanted = BadName("a request id is a UUID such as 1b4e28ba-2fa1-41d2-883f-0016d3cca427");
        let parts: Vec<&str> = text.split('-').collect();
        if !parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]) {
            return Err(wanted);
        }
        let mut bytes = [0; 16];
        match decode_hex(&parts.concat(), &mut bytes) {
            true => Ok(RequestId(bytes)),
            false => Err(wanted),
        }
    }
}

impl TryFrom<String> for RequestId {
    type Error = BadName;
    fn try_from(text: String) -> Result<RequestId, BadName> {
        text.parse()
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> String {
        id.to_string()
    }
}

/// A SHA-256 hash; as text, 64 lower-case hexadecimal digits (upper case is read too).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256Hash(pub [u8; 32]);

impl fmt::Display for Sha256Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Sha256Hash {
    type Error = BadName;
    fn try_from(text: String) -> Result<Sha256Hash, BadName> {
        let mut bytes = [0; 32];
        match decode_hex(&text, &mut bytes) {
            true => Ok(Sha256Hash(bytes)),
            false => Err(BadName("a SHA-256 is 64 hexadecimal digits")),
        }
    }
}

impl From<Sha256Hash> for String {
    fn from(hash: Sha256Hash) -> String {
        hash.to_string()
    }
}

/// Reads `text` into all of `into`; false when it is not exactly that many hexadecimal digits.
fn decode_hex(text: &str, into: &mut [u8]) -> bool {
    let digits = text.as_bytes();
    if digits.len() != 2 * into.len() {
        return false;
    }
    for (pair, byte) in digits.chunks_exact(2).zip(into) {
        let digit = |d: u8| (d as char).to_digit(16);
        let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else { return false };
        *byte = (high << 4 | low) as u8;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_ids() {
        for good in ["a", "shop-001", "Shop_1.west", &"x".repeat(64)] {
            assert!(good.parse::<ClientId>().is_ok(), "{good}");
        }
        for bad in
            ["", &"x".repeat(65), "../x", ".hidden", "-x", "a/b", "a\nb", "a b", "schön", "a%2Fb", "a\0"]
        {
            assert!(bad.parse::<ClientId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn congestion_controls() {
        for good in ["bbr", "cubic", "bpf_cubic", &"x".repeat(15)] {
            assert!(good.parse::<CongestionControl>().is_ok(), "{good}");
        }
        for bad in ["", &"x".repeat(16), "b b r", "bbr\n", "-bbr", "bbr\0"] {
            assert!(bad.parse::<CongestionControl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn file_keys_for_an_agent() {
        let parse = |text: &str| SharedPath::parse(&text.parse().unwrap());
        assert_eq!(parse("db").unwrap().path, None);
        let shared = parse("logs/2025/pos 1.log").unwrap();
        assert_eq!((shared.share.as_str(), shared.path.as_deref()), ("logs", Some("2025/pos 1.log")));
        for bad in [
            "/etc/passwd",
            "../../etc/passwd",
            "logs/../../x",
            "logs/./x",
            "logs//x",
            "logs/",
            "logs/a\\b",
            "logs\\x",
            ".x/y",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        assert!("a\0b".parse::<FileKey>().is_err());
        assert!("".parse::<FileKey>().is_err());
        assert!("x".repeat(4097).parse::<FileKey>().is_err());
    }

    #[test]
    fn request_ids_round_trip() {
        let id = RequestId::from_random([0xff; 16]);
        assert_eq!(id.to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for bad in [
            "",
            "ffffffff-ffff-4fff-bfff-fffffffffff",
            "ffffffffffff-4fff-bfff-ffffffffffff-",
            "gfffffff-ffff-4fff-bfff-ffffffffffff",
            "+fffffff-ffff-4fff-bfff-ffffffffffff",
        ] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad}");
        }
    }
}
