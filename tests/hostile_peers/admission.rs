//! Who gets in at `/ws`: refusals come before the upgrade, by HTTP status.

use crate::support::healthy::Healthy;
use crate::support::raw_line::{ask_upgrade, refused};
use crate::support::server::{SECRET, Server};
use crate::support::v1_client::V1Client;

#[test]
fn a_client_id_that_is_none_is_400() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let long = "x".repeat(65);
    let ids: [&[u8]; 17] = [
        b"",
        long.as_bytes(),
        b"../x",
        b"..%2Fx",
        b".hidden",
        b"%2Ehidden",
        b"-x",
        b"a/b",
        b"a%2Fb",
        b"a%0Ab",
        b"a%00b",
        b"%ff%fe",
        b"\xff\xfe",
        b"a%20b",
        b"a+b",
        b"sch%C3%B6n",
        b"a%5Cb",
    ];
    for id in ids {
        let target = [b"/ws?clientId=", id, b"&token=", SECRET.as_bytes()].concat();
        let answer = refused(server.port, &target, "");
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(id));
    }
    assert_eq!(server.clients(), [Healthy::ID]);
    healthy.is_all_there_is(&server);
}

#[test]
fn a_raw_newline_in_the_client_id_is_400() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let target = format!("/ws?clientId=a\nb&token={SECRET}");
    assert_eq!(refused(server.port, target.as_bytes(), "").status, 400);
    healthy.is_all_there_is(&server);
}

#[test]
fn a_client_id_missing_or_twice_is_400() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    for query in [
        format!("token={SECRET}"),
        format!("clientId=a&clientId=b&token={SECRET}"),
        format!("clientId=a&clientId=a&token={SECRET}"),
        format!("clientid=a&token={SECRET}"),
        format!("clientId&token={SECRET}"),
    ] {
        assert_eq!(refused(server.port, format!("/ws?{query}").as_bytes(), "").status, 400, "{query}");
    }
    healthy.is_all_there_is(&server);
}

#[test]
fn the_longest_and_a_percent_encoded_client_id_get_in() {
    let server = Server::start(&[]);
    let longest = "x".repeat(64);
    for (sent, id) in
        [(longest.as_str(), longest.as_str()), ("%73hop%2D001", "shop-001"), ("A.z_0-9", "A.z_0-9")]
    {
        let target = format!("/ws?clientId={sent}&token={SECRET}");
        let mut wire = ask_upgrade(server.port, target.as_bytes(), "");
        assert_eq!(wire.read_exact(13), b"HTTP/1.1 101 ", "{sent}");
        server.lists(id);
    }
}

#[test]
fn a_secret_missing_or_wrong_is_401() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let almost = format!("{}X", &SECRET[..SECRET.len() - 1]);
    for (query, headers) in [
        ("clientId=shop-001".to_owned(), String::new()),
        ("clientId=shop-001&token=".to_owned(), String::new()),
        ("clientId=shop-001&token=wrong".to_owned(), String::new()),
        (format!("clientId=shop-001&token={SECRET}x"), String::new()),
        (format!("clientId=shop-001&token={SECRET}%00"), String::new()),
        (format!("clientId=shop-001&token={}", &SECRET[1..]), String::new()),
        (format!("clientId=shop-001&token={almost}"), String::new()),
        (format!("clientId=shop-001&Token={SECRET}"), String::new()),
        ("clientId=shop-001".to_owned(), format!("Authorization: Bearer {SECRET}x\r\n")),
        ("clientId=shop-001".to_owned(), "Authorization: Bearer \r\n".to_owned()),
        ("clientId=shop-001".to_owned(), format!("Authorization: Basic {SECRET}\r\n")),
    ] {
        let answer = refused(server.port, format!("/ws?{query}").as_bytes(), &headers);
        assert_eq!(answer.status, 401, "{query} {headers}");
    }
    assert_eq!(server.clients(), [Healthy::ID]);
    assert!(!server.program.output().contains(SECRET), "the secret is never logged");
    healthy.is_all_there_is(&server);
}

#[test]
fn the_secret_is_taken_from_the_header_or_the_form_encoded_url() {
    // v1 writes the query with URLSearchParams: a space becomes +, a plus %2B.
    let server = Server::start(&[("AUTH_SECRET", "pass word+100% &=#/long-enough")]);
    let target = b"/ws?clientId=shop-001&token=pass+word%2B100%25+%26%3D%23%2Flong-enough";
    let mut wire = ask_upgrade(server.port, target, "");
    assert_eq!(wire.read_exact(13), b"HTTP/1.1 101 ");
    drop(wire);

    let server = Server::start(&[]);
    let mut wire =
        ask_upgrade(server.port, b"/ws?clientId=shop-001", &format!("Authorization: Bearer {SECRET}\r\n"));
    assert_eq!(wire.read_exact(13), b"HTTP/1.1 101 ");
    server.lists("shop-001");
}

#[test]
fn a_wrong_key_is_401_whatever_the_id_so_that_nobody_learns_who_is_connected() {
    let server = Server::start(&[]);
    let _healthy = Healthy::connect(&server);
    let target = format!("/ws?clientId={}&token=wrong", Healthy::ID);
    assert_eq!(refused(server.port, target.as_bytes(), "").status, 401);
    assert_eq!(server.clients(), [Healthy::ID]);
}

#[test]
fn a_second_connection_is_409_while_the_first_answers_a_ping() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);

    let second = V1Client::dial(server.port, Healthy::ID, SECRET);

    assert_eq!(second.err(), Some(409));
    assert_eq!(server.clients(), [Healthy::ID]);
    server.program.wait_line("409");
    healthy.is_all_there_is(&server);
}

#[test]
fn a_second_connection_replaces_a_first_that_answers_no_ping() {
    let server = Server::start(&[]);
    let dead = V1Client::connect(&server, "shop-001"); // reads nothing from here on, so answers nothing
    let queued = server.pull_id("shop-001");

    let mut second = V1Client::connect(&server, "shop-001");

    dead.closed_by_server();
    let asked = second.asked();
    assert_eq!(asked.id, queued, "what the first was asked for, the second is");
    second.upload(&asked, b"x");
    server.assert_verified(&queued, b"x");
    assert_eq!(server.clients(), ["shop-001"]);
}

#[test]
fn an_upgrade_that_is_none_is_refused() {
    let server = Server::start(&[]);
    let healthy = Healthy::connect(&server);
    let target = format!("/ws?clientId=shop-001&token={SECRET}");
    for lines in [
        "",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    ] {
        for method in ["GET", "POST"] {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
            let answer = crate::support::http::exchange(server.port, request.as_bytes());
            assert!((400..500).contains(&answer.status), "{method} {lines}: {}", answer.status);
        }
    }
    assert_eq!(server.clients(), [Healthy::ID]);
    healthy.is_all_there_is(&server);
}

#[test]
fn more_clients_than_there_is_room_for_are_503_and_told_when_to_come_back() {
    let server = Server::start(&[("MAX_CLIENTS", "1")]);
    let healthy = Healthy::connect(&server);
    let target = format!("/ws?clientId=shop-001&token={SECRET}");

    let answer = refused(server.port, target.as_bytes(), "");

    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{answer:?}");
    healthy.is_all_there_is(&server);
}
