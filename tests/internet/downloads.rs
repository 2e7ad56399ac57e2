//! A name that a client chose, in a header that an operator's browser reads.

use crate::support::beside::{Beside, MEMORY};
use crate::support::files::sha256;
use crate::support::v1_client::V1Client;

#[test]
fn a_name_that_would_be_a_header_or_a_page_is_neither() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let mut client = V1Client::connect(server, "shop-001");
    for (name, plain) in [
        ("pos.db", "pos.db"),
        ("a\r\nSet-Cookie: x=1\r\n\r\n<script>alert(1)</script>", ""),
        ("a\nb", "ab"),
        ("a\";filename=\"evil.exe", "a_;filename=_evil.exe"),
        ("a\\b\"c", ""),
        ("Umsätze 2025 €.db", "Ums_tze 2025 _.db"),
        ("\u{202e}gpj.exe", ""),
        ("\u{1b}[31mred", "[31mred"),
        ("a%0d%0ab", "a_0d_0ab"),
        ("\u{85}\u{2028}", ""),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\system32\\x", "x"),
        ("", ""),
    ] {
        let id = server.pull_id("shop-001");
        let asked = client.asked();
        client.begin(&asked.id, name, 3);
        client.chunk(&asked.id, 1, b"<b>");
        client.end(&asked.id, &sha256(b"<b>"), 3);
        let transfer = server.assert_verified(&id, b"<b>");

        let answer = server.get(&format!("/transfers/{id}/file"));
        assert_eq!((answer.status, &answer.body[..]), (200, &b"<b>"[..]), "{name:?}");
        let names: Vec<&str> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
        for injected in ["set-cookie", "x"] {
            assert!(!names.iter().any(|name| name.eq_ignore_ascii_case(injected)), "{name:?}: {names:?}");
        }
        let told = answer.header("content-disposition").unwrap_or_else(|| panic!("{name:?}: {names:?}"));
        // RFC 6266, section 4: quoted for old programs, and RFC 8187 for the others; nothing else.
        let rest = told.strip_prefix("attachment; filename=\"").expect(told);
        let (quoted, rest) = rest.split_once('"').expect(told);
        assert!(quoted.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\'), "{told}");
        let coded = rest.strip_prefix("; filename*=UTF-8''").expect(told);
        assert!(coded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-._~".contains(&byte)), "{told}");
        let source = transfer["sourceName"].as_str().expect("a name");
        assert_eq!(decoded(coded), source, "{name:?}");
        assert!(!source.chars().any(|c| c.is_control() || matches!(c, '/' | '\\')), "{source:?}");
        assert!(plain.is_empty() || quoted == plain, "{name:?}: {told}");
        let kind = answer.header("content-type").expect("it says what it is");
        assert_eq!(kind, "application/octet-stream", "never a page");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    beside.ends_well(MEMORY);
}

/// What RFC 3986, section 2.1 makes of it.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                let digits = str::from_utf8(&digits).expect("ASCII");
                u8::from_str_radix(digits, 16).expect("hexadecimal")
            }
            other => other,
        });
    }
    String::from_utf8(bytes).expect("UTF-8")
}
