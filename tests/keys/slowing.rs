//! Wrong keys: answered later each time, in nobody's way, and before anything of the body is read.

use std::thread;
use std::time::{Duration, Instant};

use crate::scene::{Keys, call, dial};
use crate::support::http::Wire;
use crate::support::server::{SECRET, Server};
use crate::support::wait::SOON;

/// Far less than the longest hold, 3 s, on a machine under load.
const PROMPT: Duration = Duration::from_millis(1500);

#[test]
fn wrong_keys_are_slowed_and_a_right_one_from_the_same_address_is_not() {
    let keys = Keys::new();
    let shop_key = keys.client("shop-001");
    let server = keys.server(&[]);
    let took = |ask: &dyn Fn()| {
        let begun = Instant::now();
        ask();
        begun.elapsed()
    };
    let wrong = || call(&server, "twl_0_0", "GET", "/clients", None).expect_error(401, "unauthorized");
    let first = took(&wrong);
    assert!(first < PROMPT, "{first:?}");
    (0..8).for_each(|_| wrong());
    let slow = took(&wrong);
    assert!((Duration::from_millis(2500)..Duration::from_secs(10)).contains(&slow), "{slow:?}");

    // Agents are slowed by the same count; and while wrong keys wait, right ones do not.
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..20)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    let begun = Instant::now();
                    match number % 2 {
                        0 => assert_eq!(dial(server, "shop-001", "wrong"), 401),
                        _ => assert_eq!(call(server, "wrong", "GET", "/clients", None).status, 401),
                    }
                    begun.elapsed()
                })
            })
            .collect();
        for _ in 0..10 {
            let right = took(&|| drop(server.get("/clients").expect(200)));
            assert!(right < PROMPT, "{right:?}");
        }
        let agent = took(&|| assert_eq!(dial(&server, "shop-001", &shop_key), 101));
        assert!(agent < PROMPT, "{agent:?}");
        for one in waiting {
            let slow = one.join().unwrap();
            assert!((Duration::from_millis(2500)..SOON).contains(&slow), "{slow:?}");
        }
    });
    // No key at all is no attempt at one.
    for path in ["/clients", "/healthz"] {
        let none = took(&|| drop(call(&server, "", "GET", path, None)));
        assert!(none < PROMPT, "{none:?}");
    }
}

#[test]
fn lines_about_wrong_keys_are_bounded() {
    let keys = Keys::new();
    let server = keys.server(&[]);
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| call(&server, "wrong", "GET", "/clients", None).expect_error(401, "unauthorized"));
        }
    });
    let told = server.program.output().matches("has a wrong key").count();
    assert!((1..=60).contains(&told), "{told} lines for 100 wrong keys");
}

#[test]
fn the_body_of_a_stranger_is_not_read() {
    for server in [Server::start(&[]), Keys::new().server(&[])] {
        for key in ["", "x-api-key: wrong\r\n", "Authorization: Bearer wrong\r\n"] {
            for expect in ["", "Expect: 100-continue\r\n"] {
                let head = format!(
                    "POST /download/shop-001 HTTP/1.1\r\nHost: h\r\n{key}{expect}Content-Length: 60000\r\n\r\n"
                );
                let begun = Instant::now();
                let mut wire = Wire::connect(server.port);
                wire.send(head.as_bytes()); // and no byte of the body, for which a caller has 10 s
                wire.finish();
                let answer = wire.answer();
                answer.expect_error(401, "unauthorized");
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                assert_eq!(answer.header("connection"), Some("close"));
                assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
            }
        }
    }
}

#[test]
fn a_head_without_a_key_is_401_without_a_body() {
    let server = Server::start(&[]);
    let mut wire = Wire::connect(server.port);
    wire.send(b"HEAD /clients HTTP/1.1\r\nHost: h\r\n\r\n");
    let (closed, bytes) = wire.read_to_end(SOON);
    let text = String::from_utf8(bytes).unwrap();
    assert!(closed && text.starts_with("HTTP/1.1 401 ") && text.ends_with("\r\n\r\n"), "{text}");
    assert!(
        text.contains("\r\nWWW-Authenticate: Bearer\r\n") && text.contains("\r\nContent-Length: "),
        "{text}"
    );
    assert_eq!(call(&server, SECRET, "HEAD", "/clients", None).status, 200);
}

#[test]
fn only_a_plain_get_of_a_probe_is_open() {
    let server = Server::start(&[]);
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/readyz", 200),
        ("GET", "/healthz?verbose", 200),
        ("POST", "/healthz", 401),
        ("GET", "/healthz/x", 401),
        ("GET", "/healthz%2f..%2fclients", 401),
        ("GET", "/%zz", 401),
        ("OPTIONS", "*", 401),
    ] {
        let mut wire = Wire::connect(server.port);
        wire.send(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        let (_, bytes) = wire.read_to_end(SOON);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {text}");
    }
    assert_eq!(call(&server, SECRET, "POST", "/healthz", None).status, 405);
    // A body that a probe does not need is not waited for.
    let mut wire = Wire::connect(server.port);
    wire.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n");
    wire.finish();
    assert_eq!(wire.answer().status, 200);
}
