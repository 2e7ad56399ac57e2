//! The names of downloads: how one is made, and how one is recognised.

use super::{ClientId, FileKey};
use crate::limits;

const END: &str = ".bin";

/// The name of a download: `<clientId>_<time>[_<file key, other characters as ->].bin`, at most 255 bytes.
///
/// `time` is [`crate::clock::iso8601`]'s text; `:` and `.` in it become `-`, as v1 names them.
pub fn download_name(client: &ClientId, time: &str, key: Option<&FileKey>) -> String {
    let mut name = format!("{client}_{}", time.replace([':', '.'], "-"));
    if let Some(key) = key {
        let room = limits::MAX_FILE_NAME_BYTES - name.len() - "_".len() - END.len();
        name.push('_');
        name.extend(key.as_str().chars().map(|c| if is_plain(c) { c } else { '-' }).take(room));
    }
    name + END
}

/// Whether [`download_name`] could have made this name, of any client, time and key.
pub fn is_download_name(name: &str) -> bool {
    let Some(stem) = name.strip_suffix(END).filter(|_| name.len() <= limits::MAX_FILE_NAME_BYTES) else {
        return false;
    };
    // A client id may hold `_` itself, so every one of them may be where it ends.
    stem.match_indices('_').any(|(at, _)| stem[..at].parse::<ClientId>().is_ok() && is_rest(&stem[at + 1..]))
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

/// A time, and a key's characters if there is one.
fn is_rest(rest: &str) -> bool {
    const TIME: &str = "0000-00-00T00-00-00-000Z";
    let Some((time, key)) = rest.split_at_checked(TIME.len()) else { return false };
    let fits = |(digit, c): (u8, u8)| if digit == b'0' { c.is_ascii_digit() } else { c == digit };
    TIME.bytes().zip(time.bytes()).all(fits)
        && (key.is_empty()
            || key.strip_prefix('_').is_some_and(|key| !key.is_empty() && key.chars().all(is_plain)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::iso8601;

    #[test]
    fn download_names() {
        let client: ClientId = "shop-001".parse().unwrap();
        let time = "2025-10-31T15:30:00.123Z";
        assert_eq!(download_name(&client, time, None), "shop-001_2025-10-31T15-30-00-123Z.bin");
        let key: FileKey = "logs/2025/päs.log".parse().unwrap();
        assert_eq!(
            download_name(&client, time, Some(&key)),
            "shop-001_2025-10-31T15-30-00-123Z_logs-2025-p-s.log.bin"
        );
        let long: ClientId = "c".repeat(64).parse().unwrap();
        let name = download_name(&long, time, Some(&"k/".repeat(2000).parse().unwrap()));
        assert_eq!(name.len(), 255);
        assert!(name.ends_with(".bin") && !name.contains('/'));
    }

    #[test]
    fn every_name_that_is_made_is_recognised() {
        let hostile = "_2025-10-31T15-30-00-123Z_.bin";
        for client in ["a", "shop-001", "x_2025-10-31T15-30-00-123Z", "a_b__c_", &"c".repeat(64)] {
            for key in [None, Some("db"), Some("logs/ä b"), Some(hostile), Some(&*"k/".repeat(2000))] {
                for time in [0, 1_761_924_600_123, u64::MAX] {
                    let key = key.map(|key| key.parse().unwrap());
                    let name = download_name(&client.parse().unwrap(), &iso8601(time), key.as_ref());
                    assert!(is_download_name(&name), "{name}");
                }
            }
        }
    }

    #[test]
    fn no_other_name_is_recognised() {
        for name in [
            "",
            ".bin",
            "report.bin",
            "shop-001.bin",
            "shop-001_.bin",
            "shop-001_2025-10-31.bin",
            "2025-10-31T15-30-00-123Z.bin",
            "_2025-10-31T15-30-00-123Z.bin",
            ".x_2025-10-31T15-30-00-123Z.bin",
            "-x_2025-10-31T15-30-00-123Z.bin",
            "a b_2025-10-31T15-30-00-123Z.bin",
            "shop-001_2025-10-31T15-30-00-123Z",
            "shop-001_2025-10-31T15-30-00-123Z.BIN",
            "shop-001_2025-10-31T15-30-00-123Z.bin.gz",
            "shop-001_2025-10-31T15-30-00-123Z.bin~",
            "shop-001_2025-10-31T15:30:00.123Z.bin",
            "shop-001_2025-10-31T15-30-00-12Z.bin",
            "shop-001_2025-10-31T15-30-00-123Zx.bin",
            "shop-001_2025-10-31T15-30-00-123Z_.bin",
            "shop-001_2025-10-31T15-30-00-123Z_a b.bin",
            "shop-001_2025-10-31T15-30-00-123Z_ä.bin",
            "shop-001_ä025-10-31T15-30-00-123Z.bin",
            &format!("{}_2025-10-31T15-30-00-123Z.bin", "c".repeat(65)),
            &format!("a_2025-10-31T15-30-00-123Z_{}.bin", "k".repeat(225)),
        ] {
            assert!(!is_download_name(name), "{name}");
        }
    }
}
