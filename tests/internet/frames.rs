//! Floods of frames, and frames that RFC 6455 forbids.

use std::io::Write;
use std::time::Duration;

use crate::support::beside::{Beside, MEMORY};
use crate::support::http::Came;
use crate::support::raw_line::{
    BINARY, CLOSE, CONTINUATION, FIN, Masking, PING, RESERVED, RawLine, TEXT, frame_head,
};
use crate::support::wait::{Deadline, eventually};

const PONG: u8 = 0xa;
const HEARTBEAT: &[u8] = br#"{"type":"heartbeat","ts":1}"#;

/// A masked frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&frame_head(first, Masking::Masked, payload.len() as u64), payload].concat()
}

/// Sends `bytes` as often as it is said, as fast as the server takes them, and reads what it answers meanwhile.
fn flood(line: &mut RawLine, bytes: &[u8], times: usize) {
    let mut reader = line.wire.0.try_clone().expect("a socket can be shared");
    let reading = std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let many = bytes.repeat(100);
    for _ in 0..times / 100 {
        if line.wire.0.write_all(&many).is_err() {
            break; // it has had enough
        }
    }
    let _ = line.wire.0.shutdown(std::net::Shutdown::Both); // fails where the server has closed it
    // What it read, or why it ended, is of no interest.
    let _ = reading.join().expect("the reader");
}

#[test]
fn floods_of_frames_do_no_harm() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    for (n, (name, bytes)) in [
        ("pings", frame(FIN | PING, b"")),
        ("long pings", frame(FIN | PING, &[b'p'; 125])),
        ("pongs", frame(FIN | PONG, b"")),
        ("empty texts", frame(FIN | TEXT, b"")),
        ("empty binaries", frame(FIN | BINARY, b"")),
        ("empty fragments", [frame(BINARY, b""), frame(CONTINUATION, b"").repeat(1000)].concat()),
        ("heartbeats", frame(FIN | TEXT, HEARTBEAT)),
        ("registrations", frame(FIN | TEXT, br#"{"type":"register_meta","meta":{"a":"b"}}"#)),
        (
            "large registrations",
            frame(
                FIN | TEXT,
                format!(r#"{{"type":"register_meta","meta":{{"a":"{}"}}}}"#, "x".repeat(5000)).as_bytes(),
            ),
        ),
        ("errors of nothing", frame(FIN | TEXT, br#"{"type":"error","message":"\n\u001b[31m"}"#)),
        ("unknown messages", frame(FIN | TEXT, br#"{"type":"weather"}"#)),
        ("fragments of one byte", [frame(TEXT, b"x"), frame(CONTINUATION, b"x").repeat(1000)].concat()),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("flood-{n}");
        let mut line = RawLine::connect(server, &id);
        let each = bytes.len().div_ceil(7); // about a million of the shortest
        flood(&mut line, &bytes, (1_000_000 / each).max(2000));
        server.lists_no_more(&id, Duration::from_secs(20));
        let lines = server.program.output().lines().count();
        assert!(lines < 40 + 40 * n, "{lines} lines of log after {name}");
    }
    beside.ends_well(MEMORY);
}

#[test]
fn floods_close_the_line_with_words() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    for (id, first, payload, words) in [
        (
            "texts",
            FIN | TEXT,
            HEARTBEAT,
            "broke the protocol, its line is closed: more than 12000 messages in a second",
        ),
        ("pings", FIN | PING, &b"p"[..], "is gone: closed, the peer broke the rules: too many pings"),
        ("pongs", FIN | PONG, b"p", "is gone: closed, the peer broke the rules: too many pings"),
    ] {
        let mut line = RawLine::connect(server, id);
        let reading = line.wire.0.try_clone().expect("a socket can be shared");
        let many = frame(first, payload).repeat(13_000);
        let writing = std::thread::spawn(move || {
            let _ = (&reading).write_all(&many); // refused in the middle
        });
        assert_eq!(line.closed_by_server(), Some(1008), "{id}");
        writing.join().expect("the writer");
        server.program.wait_line(&format!("{id} {words}"));
    }
    // What is fast and yet not a flood.
    let mut busy = RawLine::connect(server, "busy");
    busy.wire.send(&frame(FIN | TEXT, HEARTBEAT).repeat(6000));
    assert!(matches!(is_alive(&mut busy), Came::Bytes(_)));
    beside.ends_well(MEMORY);
}

/// A ping, and its pong.
fn is_alive(line: &mut RawLine) -> Came {
    // What the server said before is taken first: its hello.
    while let Came::Bytes(_) = line.wire.read_some(Deadline::after(Duration::from_millis(50))) {}
    line.wire.send(&frame(FIN | PING, b"there?"));
    line.wire.read_some(Deadline::soon())
}

#[test]
fn a_message_in_fragments_of_one_byte_is_a_message() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let mut line = RawLine::connect(server, "slow-writer");
    let text = br#"{"type":"register_meta","meta":{"in":"pieces"}}"#;
    let mut bytes = Vec::new();
    for (n, byte) in text.iter().enumerate() {
        let opcode = if n == 0 { TEXT } else { CONTINUATION };
        let fin = if n + 1 == text.len() { FIN } else { 0 };
        bytes.extend(frame(fin | opcode, &[*byte]));
        bytes.extend(frame(FIN | PING, b"between")); // control frames may come between fragments
    }
    for byte in bytes {
        line.wire.send(&[byte]);
    }
    eventually("it is registered", || {
        let client = server.get("/clients/slow-writer").expect(200);
        (client["meta"]["in"] == "pieces").then_some(())
    });
    beside.ends_well(MEMORY);
}

#[test]
fn forbidden_frames_are_closed_with_the_code_that_the_rfc_has_for_them() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let closing = |code: u16| [&code.to_be_bytes()[..], b"bye"].concat();
    let mut cases = vec![
        ("compressed text", frame(FIN | RESERVED | TEXT, HEARTBEAT), 1002),
        ("compressed binary", frame(FIN | RESERVED | BINARY, &[0; 20]), 1002),
        ("reserved bit 2", frame(FIN | 0x20 | TEXT, HEARTBEAT), 1002),
        ("reserved bit 3", frame(FIN | 0x10 | TEXT, HEARTBEAT), 1002),
        ("a compressed ping", frame(FIN | RESERVED | PING, b""), 1002),
        ("text that is not UTF-8", frame(FIN | TEXT, b"{\"type\":\"\xc0\xaf\"}"), 1007),
        ("half a character", frame(FIN | TEXT, b"{\"type\":\"\xe2\x82"), 1007),
        ("a surrogate", frame(FIN | TEXT, b"{\"type\":\"\xed\xa0\x80\"}"), 1007),
        ("a close of one byte", frame(FIN | CLOSE, &[3]), 1002),
        ("a close of 126 bytes", frame(FIN | CLOSE, &[3; 126]), 1002),
        ("a reason that is not UTF-8", frame(FIN | CLOSE, b"\x03\xe8\xff"), 1007),
        ("text of 300 kB", frame(FIN | TEXT, &[b' '; 300_000]), 1008),
        ("text of 1.2 MB", frame(FIN | TEXT, &[b' '; 1_200_000]), 1009),
    ];
    // RFC 6455, section 7.4: never used, reserved, or not to be sent.
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        cases.push(("a close code out of range", frame(FIN | CLOSE, &closing(code)), 1002));
    }
    for code in [1000, 1001, 1003, 1011, 3000, 4000, 4999] {
        cases.push(("a good close", frame(FIN | CLOSE, &closing(code)), code));
    }
    for (n, (name, bytes, code)) in cases.into_iter().enumerate() {
        let id = format!("hostile-{n}");
        let mut line = RawLine::connect(server, &id);
        line.wire.send(&bytes);
        assert_eq!(line.closed_by_server(), Some(code), "{name}: {:02x?}", &bytes[..bytes.len().min(12)]);
        server.lists_no_more(&id, Duration::from_secs(10));
    }
    beside.ends_well(MEMORY);
}
