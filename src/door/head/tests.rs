//! Heads, good and bad, whole and in pieces.

use std::time::Duration;

use super::*;
use crate::door::tests::pair;

/// What becomes of `bytes` when they arrive `step` at a time.
fn read(bytes: &[u8], step: usize) -> Result<Head, HeadError> {
    let mut arriving = Arriving::default();
    for piece in bytes.chunks(step) {
        if let Some(head) = arriving.take(piece)? {
            return Ok(head);
        }
    }
    Err(HeadError::Quiet) // more was due
}

fn outcome(bytes: &[u8]) -> Result<Head, (u16, String)> {
    let whole = read(bytes, bytes.len());
    for step in [1, 2, 3, 7] {
        let in_pieces = read(bytes, step);
        let plain = |result: &Result<Head, HeadError>| {
            result.clone().map(|head| Head { tail: Vec::new(), ..head }) // how much came along differs
        };
        assert_eq!(plain(&in_pieces), plain(&whole), "{:?}, {step} at a time", bytes.escape_ascii());
    }
    whole.map_err(|error| match error {
        HeadError::Quiet => (0, String::new()),
        HeadError::Refused { status, message, .. } => (status, message.into_owned()),
    })
}

#[test]
fn good_heads() {
    let head = outcome(
        b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-Api-Key:  k\xc3\xbc\t\r\nCONTENT-LENGTH: 005\r\n\r\nhello",
    )
    .unwrap();
    assert_eq!((&*head.method, &*head.target, head.minor), ("POST", "/a?b=c", 1));
    assert_eq!(head.header("x-api-key"), Some("kü".as_bytes()));
    assert_eq!(head.header("none"), None);
    assert_eq!((head.content_length, &*head.tail), (Some(5), &b"hello"[..]));

    for (bytes, target) in [
        (&b"GET / HTTP/1.0\r\n\r\n"[..], "/"),
        (b"\r\nGET / HTTP/1.1\r\nHost:\r\n\r\n", "/"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "*"),
        (b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", "/pot"),
        (b"GET HTTP://x:80/a?b HTTP/1.1\r\nHost: x\r\n\r\n", "/a?b"),
        (b"GET http://x?b=/ HTTP/1.1\r\nHost: x\r\n\r\n", "/?b=/"),
        (b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", "/"),
    ] {
        assert_eq!(outcome(bytes).unwrap().target, target);
    }
}

#[test]
fn bad_heads() {
    let with = |line: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n").into_bytes();
    let many = |count: usize| with(&vec!["a: b"; count].join("\r\n"));
    assert!(outcome(&many(limits::MAX_HEADERS - 1)).is_ok());
    for (bytes, status, word) in [
        (many(limits::MAX_HEADERS), 431, "header lines"),
        (with("Transfer-Encoding: chunked"), 411, "Content-Length"),
        (with("Transfer-Encoding: identity\r\nContent-Length: 5"), 411, "Content-Length"),
        (with("Content-Length: 5\r\ncontent-length: 5"), 400, "once"),
        (with("Content-Length: 5, 5"), 400, "decimal"),
        (with("Content-Length: +5"), 400, "decimal"),
        (with("Content-Length: -5"), 400, "decimal"),
        (with("Content-Length: 0x5"), 400, "decimal"),
        (with("Content-Length:"), 400, "decimal"),
        (with("Content-Length: 18446744073709551616"), 400, "decimal"),
        (with("Content-Length: 18446744073709551615"), 413, "65536"),
        (with("Content-Length: 100000000000000"), 413, "65536"),
        (with("Content-Length: 65537"), 413, "65536"),
        (with("X-Api-Key: a\r\nx-api-key: b"), 400, "x-api-key"),
        (with("Host: y"), 400, "host"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400, "Host"),
        (with("a: b\r\n c"), 400, "folded"),
        (with("a: b\r\n\tc"), 400, "folded"),
        (with("a : b"), 400, "colon"),
        (with("a b"), 400, "colon"),
        (with(": b"), 400, "colon"),
        (with("a: b\nc: d"), 400, "CR LF"),
        (with("a: b\rc: d"), 400, ""),
        (with("a: b\0c"), 400, "control"),
        (with("a: b\x1bc"), 400, "control"),
        (with("a: b\x7fc"), 400, "control"),
        (with("a\0: b"), 400, "colon"),
        (b"GET / HTTP/1.1\nHost: x\n\n".to_vec(), 400, "CR LF"),
        (b"\n\n".to_vec(), 400, "CR LF"),
        (b"\r\n\r\n".to_vec(), 400, "malformed"),
        (b"GET /\r\n".to_vec(), 400, "HTTP/0.9"),
        (b"GET\r\n".to_vec(), 400, "first line"),
        (b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), 400, "first line"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 400, "HTTP/2"),
        (b"\x16\x03\x01\x02\x00\x01".to_vec(), 400, "TLS"),
        (b"GET / HTTP/1.2\r\n".to_vec(), 505, "HTTP/1.1"),
        (b"GET / HTTP/3.0\r\n".to_vec(), 505, "HTTP/1.1"),
        (b"GET / HTTP/11\r\n".to_vec(), 400, "first line"),
        (b"GET / http/1.1\r\n".to_vec(), 400, "first line"),
        (b"GET  / HTTP/1.1\r\n".to_vec(), 400, "first line"),
        (b"GET / HTTP/1.1 \r\n".to_vec(), 400, "first line"),
        (b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 400, "first line"),
        (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 400, "first line"),
        ("GET /ü HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400, "percent-encode"),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 400, ""),
        (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 400, "start with /"),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 400, "proxy"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec(), 0, ""),
    ] {
        let (got, message) = outcome(&bytes).expect_err(&bytes.escape_ascii().to_string());
        assert_eq!(got, status, "{:?}: {message}", bytes.escape_ascii().to_string());
        assert!(message.contains(word), "{:?}: {message}", bytes.escape_ascii().to_string());
    }
}

#[test]
fn a_reset_is_quiet() {
    let (caller, socket, _) = pair();
    drop(caller);
    assert_eq!(read_head(&socket, Instant::now() + Duration::from_secs(20)), Err(HeadError::Quiet));
}
