//! `Range` on a file (RFC 9110, section 14).

use crate::files::completed;
use crate::support::files::{random_bytes, sha256};

#[test]
fn one_range_is_served() {
    let content = random_bytes(1, 100_000);
    let (server, _client, path) = completed("pos.db", &content);
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=50000-59999", 50_000, 59_999),
        ("bytes=99999-", 99_999, 99_999),
        ("bytes=10-", 10, 99_999),
        ("bytes=-1", 99_999, 99_999),
        ("bytes=-500", 99_500, 99_999),
        ("bytes=-1000000", 0, 99_999),
        ("bytes=99990-999999", 99_990, 99_999),
    ] {
        let answer = server.request("GET", &path, &[("Range", range)], None);

        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(
            answer.header("content-range"),
            Some(format!("bytes {first}-{last}/100000").as_str()),
            "{range}"
        );
        assert!(answer.body == content[first..=last], "{range}");
        assert_eq!(answer.header("content-length"), Some((last - first + 1).to_string().as_str()), "{range}");
        assert_eq!(answer.header("etag"), Some(format!("\"{}\"", sha256(&content)).as_str()), "{range}");
    }
}

#[test]
fn a_range_beyond_the_file_is_416_and_tells_the_size() {
    let (server, _client, path) = completed("pos.db", &random_bytes(2, 1000));
    for range in ["bytes=1000-", "bytes=1000-1001", "bytes=99999999999-", "bytes=-0"] {
        let answer = server.request("GET", &path, &[("Range", range)], None);
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(answer.header("content-range"), Some("bytes */1000"), "{range}");
    }
}

#[test]
fn what_is_no_range_is_passed_over() {
    let content = random_bytes(3, 1000);
    let (server, _client, path) = completed("pos.db", &content);
    for range in [
        "bytes",
        "bytes=",
        "bytes=a-b",
        "bytes=5-2",
        "lines=1-2",
        "bytes=1--2",
        "bytes=+1-2",
        "bytes=-",
        "1-2",
    ] {
        let answer = server.request("GET", &path, &[("Range", range)], None);
        assert_eq!(answer.status, 200, "{range}");
        assert!(answer.body == content, "{range}");
    }
}

#[test]
fn several_ranges_may_come_as_the_whole_file() {
    let content = random_bytes(4, 1000);
    let (server, _client, path) = completed("pos.db", &content);

    let answer = server.request("GET", &path, &[("Range", "bytes=0-1,5-6")], None);

    // A server may ignore a Range field (RFC 9110, section 14.2), but never send the wrong bytes.
    assert_eq!(answer.status, 200);
    assert!(answer.body == content);
}

#[test]
fn a_range_of_another_version_is_not_served() {
    let content = random_bytes(5, 1000);
    let (server, _client, path) = completed("pos.db", &content);
    let same = format!("\"{}\"", sha256(&content));
    for (if_range, status) in [(same.as_str(), 206), ("\"other\"", 200)] {
        let answer = server.request("GET", &path, &[("Range", "bytes=0-9"), ("If-Range", if_range)], None);
        assert_eq!(answer.status, status, "If-Range: {if_range} (RFC 9110, section 13.1.5)");
    }
}
