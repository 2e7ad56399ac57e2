//! The wall clock and its text form. The only file that names the `time` crate.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::macros::format_description;

/// Milliseconds since the Unix epoch; 0 for a clock that stands before it.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// `ms` since the Unix epoch as ISO 8601 in UTC with milliseconds, such as `2025-10-31T15:30:00.123Z`.
pub fn iso8601(ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| "9999-12-31T23:59:59.999Z".to_owned()) // beyond what a date can say
}

#[cfg(test)]
mod tests {
    #[test]
    fn iso8601_as_node_prints_it() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_761_924_600_123, "2025-10-31T15:30:00.123Z"),
            (951_782_400_007, "2000-02-29T00:00:00.007Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(super::iso8601(ms), text);
        }
    }
}
