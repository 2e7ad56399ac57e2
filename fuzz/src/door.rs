//! A request as it meets the door: its head, its target, and what is made of both.

use std::net::{Ipv4Addr, SocketAddr};

use towline::door::head::{Arriving, Head, HeadError};
use towline::door::query::{parse_query, split_target};
use towline::door::relay::{KEY_HEADER, PEER_HEADER, Relayed, rebuild};
use towline::encoding::percent_decoded;
use towline::limits::{MAX_BODY_BYTES, MAX_HEAD_BYTES, MAX_HEADERS};
use towline::server::file::{Part, disposition, parse_range};

/// The first byte says in pieces of how many bytes the head arrives.
///
/// However it arrives, a head is taken or not. One that is taken has one meaning: what is relayed of it is read alike by
/// three readers, has one length and one sender, and nothing that is about the caller's connection or address.
pub fn run(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    check_target(&text);
    check_range(&text, (*step).into());
    check_disposition(&text);
    let (whole, in_pieces) = (read(bytes, bytes.len()), read(bytes, (*step).into()));
    match (whole, in_pieces) {
        (Ok(whole), Ok(in_pieces)) => {
            let tail = whole.tail.clone();
            assert!(tail.starts_with(&in_pieces.tail));
            assert_eq!(whole, Head { tail, ..in_pieces }, "however it arrives");
            check_head(&whole, bytes.len());
            check_relayed(&whole, None);
            check_relayed(&whole, Some("k7"));
        }
        (Err(whole), Err(in_pieces)) => [whole, in_pieces].iter().for_each(check_refusal),
        (whole, in_pieces) => panic!("{whole:?}, in pieces of {step}: {in_pieces:?}"),
    }
}

/// What becomes of a head that arrives `step` bytes at a time; [`HeadError::Quiet`] when more is due.
fn read(bytes: &[u8], step: usize) -> Result<Head, HeadError> {
    let mut arriving = Arriving::default();
    for piece in bytes.chunks(step.max(1)) {
        if let Some(head) = arriving.take(piece)? {
            return Ok(head);
        }
    }
    Err(HeadError::Quiet)
}

fn check_refusal(error: &HeadError) {
    if let HeadError::Refused { status, error, message } = error {
        assert!(matches!(status, 400 | 411 | 413 | 431 | 505));
        super::assert_one_line(error);
        super::assert_one_line(message);
    }
}

fn check_head(head: &Head, length: usize) {
    assert!(length - head.tail.len() <= MAX_HEAD_BYTES && head.headers.len() <= MAX_HEADERS);
    assert!(!head.method.is_empty() && head.method.bytes().all(is_token) && head.minor <= 1);
    assert!(head.target == "*" || head.target.starts_with('/'));
    assert!(head.target.bytes().all(|byte| byte.is_ascii_graphic()), "{}", head.target);
    for (name, value) in &head.headers {
        assert!(!name.is_empty() && name.bytes().all(is_token));
        assert!(value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control()));
        assert_eq!(value.trim_ascii(), value);
    }
    for once in ["host", "content-length", "authorization", "x-api-key", "range", "sec-websocket-key"] {
        assert!(head.values(once).count() <= 1, "{once}");
    }
    assert!(head.header("transfer-encoding").is_none() && (head.minor == 0 || head.header("host").is_some()));
    let stated = head.header("content-length").map(|digits| {
        assert!(digits.iter().all(u8::is_ascii_digit));
        digits.iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
    });
    assert_eq!(stated, head.content_length);
    assert!(stated.unwrap_or(0) <= MAX_BODY_BYTES);
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte) // RFC 9110, section 5.6.2
}

fn check_relayed(head: &Head, key: Option<&str>) {
    let mut body = head.tail.clone();
    body.resize(head.content_length.unwrap_or(0), b'x');
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 4711));
    let caller = Relayed { peer, key: key.map(str::to_owned) };
    let bytes = match rebuild(head, &body, &caller) {
        Ok(bytes) => bytes,
        Err(error) => {
            assert!(head.headers.iter().any(|(_, value)| !value.is_ascii()), "all else is relayed");
            return check_refusal(&error);
        }
    };
    // By hand, line by line.
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head has an end");
    assert_eq!(&bytes[end + 4..], body);
    let lines = str::from_utf8(&bytes[..end]).expect("what is relayed is ASCII");
    let mut lines = lines.split("\r\n");
    let first = format!("{} {} HTTP/1.{}", head.method, head.target, head.minor);
    assert_eq!(lines.next(), Some(&*first));
    let headers: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").expect("a colon")).collect();
    let one = |name: &str| -> Vec<&str> {
        headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
            .collect()
    };
    assert_eq!(one("content-length"), [body.len().to_string()]);
    assert_eq!(one("connection"), ["close"]);
    assert_eq!(one(PEER_HEADER), [peer.to_string()], "nobody speaks for another address");
    assert_eq!(one(KEY_HEADER), key.as_slice(), "nobody has another's key");
    for gone in ["transfer-encoding", "te", "trailer", "upgrade", "expect", "forwarded", "x-forwarded-for"] {
        assert!(one(gone).is_empty(), "{gone}");
    }
    for key in ["x-api-key", "authorization"] {
        assert!(one(key).is_empty(), "{key}");
    }
    let sent =
        |(name, value): &(&str, &str)| head.headers.iter().any(|(n, v)| n == name && v == value.as_bytes());
    let ours = 3 + usize::from(key.is_some());
    assert!(headers[..headers.len() - ours].iter().all(sent), "nothing is added or changed");
    // By the control plane's own reader of headers.
    for ((name, value), line) in
        headers.iter().zip(str::from_utf8(&bytes[..end]).unwrap_or("").split("\r\n").skip(1))
    {
        let read: tiny_http::Header = line.parse().expect("tiny_http reads it");
        assert_eq!((read.field.as_str().as_str(), read.value.as_str()), (*name, *value));
    }
    // By ourselves. The peer's header may be one more than a caller may send.
    match read(&bytes, bytes.len()) {
        Ok(again) => {
            assert_eq!((&again.method, &again.target, again.minor), (&head.method, &head.target, head.minor));
            assert_eq!((again.content_length, again.tail), (Some(body.len()), body));
        }
        Err(HeadError::Refused { status: 431, .. }) => {}
        Err(HeadError::Refused { .. }) if head.minor == 1 && one("host").is_empty() => {} // `Connection: host`
        Err(error) => panic!("{error:?}"),
    }
}

/// What is decoded and encoded again is decoded as the same; nothing is added or lost.
fn check_target(target: &str) {
    let (path, query) = split_target(target);
    assert!(!path.contains('?') && path.len() + query.len() <= target.len());
    for segment in path.split('/') {
        if let Ok(decoded) = percent_decoded(segment) {
            assert!(decoded.len() <= segment.len());
            assert_eq!(percent_decoded(&encoded(&decoded)).as_ref(), Ok(&decoded));
        }
    }
    let Ok(pairs) = parse_query(query) else { return };
    assert!(pairs.len() <= query.split('&').count());
    let again: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    assert_eq!(parse_query(&again.join("&")), Ok(pairs));
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A range that is served lies in the file.
fn check_range(range: &str, size: u64) {
    for size in [size, 0, 1, u64::MAX] {
        if let Part::Range { first, last } = parse_range(range, size) {
            assert!(first <= last && last < size);
            assert_eq!(parse_range(&format!("bytes={first}-{last}"), size), Part::Range { first, last });
        }
    }
}

/// A peer's name stays within its header, and its exact form is the name.
fn check_disposition(name: &str) {
    let header = disposition(name);
    assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    let rest = header.strip_prefix("attachment; filename=\"").expect("it begins so");
    let (plain, exact) = rest.split_once("\"; filename*=UTF-8''").expect("it goes on so");
    assert!(!plain.contains(['"', '\\', '%']) && plain.chars().count() == name.chars().count());
    assert!(!exact.contains(['"', ';', ' ', ',', '\'']));
    assert_eq!(percent_decoded(exact).as_deref(), Ok(name));
}
