//! Strangers who begin TLS and do not go on, or not as they should, while a pull over another line goes on.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use serde_json::json;

use crate::support::agent::Agent;
use crate::support::authority::Authority;
use crate::support::files;
use crate::support::http::{Came, Wire};
use crate::support::secure;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;
use crate::support::wait::{Deadline, pause};

const MIB: usize = 1 << 20;
/// The door's own time for a handshake and a head, and what a loaded machine adds.
const TOO_LONG: Duration = Duration::from_secs(25);

/// What a client says first.
fn client_hello(ca: &Path) -> Vec<u8> {
    let name = "127.0.0.1".try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(secure::config(ca, None)), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

/// Runs `misdeed` while a pull goes on, which must end verified and on its one line; the server must stay small.
fn beside_a_pull(misdeed: impl FnOnce(&Server, &Path)) {
    let authority = Authority::new();
    let own = authority.server(&["127.0.0.1"]);
    let settings = [("TLS_CERT", own.certificate.as_str()), ("TLS_KEY", own.key.as_str())];
    let server = Server::start_secure(Path::new(authority.ca()), &settings);
    let home = TempDir::new();
    let content = files::random_file(&home.join("file"), 5, 30 * MIB);
    let agent = Agent::serving(&server, "shop-001", home, &[("TLS_CA", authority.ca()), ("MAX_RATE", "3M")]);
    let pull = id(&server.pull("shop-001", &json!({})));
    server.has_bytes(&pull);
    misdeed(&server, Path::new(authority.ca()));
    let transfer = server.assert_verified(&pull, &content);
    assert_eq!(transfer["attempts"], 1, "{transfer}");
    let peak = server.program.status("VmHWM");
    assert!(peak < 64 << 10, "{peak} KiB");
    drop(agent);
}

/// Waits until the server has closed; what it says meanwhile is its own affair.
fn is_closed(wire: &mut Wire) {
    let deadline = Deadline::after(TOO_LONG);
    loop {
        match wire.read_some(deadline) {
            Came::Bytes(_) => {}
            Came::End => return,
            Came::Nothing => panic!("still open after {TOO_LONG:?}"),
        }
    }
}

#[test]
fn a_handshake_that_drips_or_stops_is_ended() {
    beside_a_pull(|server, ca| {
        let hello = client_hello(ca);
        let mut wires: Vec<Wire> = (0..300).map(|_| Wire::connect(server.port)).collect();
        for (at, wire) in wires.iter_mut().enumerate() {
            match at % 3 {
                0 => {} // not a byte
                1 => wire.send(&hello[..hello.len() / 2]),
                _ => wire.send(&hello), // and then nothing
            }
        }
        let begun = Instant::now();
        let mut dripping = Wire::connect(server.port);
        let mut socket: TcpStream = dripping.0.try_clone().unwrap();
        let drip = thread::spawn(move || {
            for byte in hello {
                if socket.write_all(&[byte]).is_err() {
                    return;
                }
                pause(Duration::from_millis(200));
            }
        });
        is_closed(&mut dripping);
        assert!(begun.elapsed() < TOO_LONG);
        drip.join().unwrap();
        wires.iter_mut().for_each(is_closed);
    });
}

#[test]
fn a_shaken_hand_and_no_request_is_ended() {
    beside_a_pull(|server, ca| {
        let mut silent: Vec<Wire> =
            (0..50).map(|_| secure::connect(server.port, ca, None).unwrap()).collect();
        silent.iter_mut().skip(25).for_each(|wire| wire.send(b"GET / HTTP/1.1\r\nHost:"));
        for wire in &mut silent {
            is_closed(wire);
        }
    });
}

#[test]
fn what_is_no_tls_is_told_so_or_ended_at_once() {
    beside_a_pull(|server, ca| {
        let hello = client_hello(ca);
        // An oversized record, a record of another kind, an alert, noise behind a good hello, an old version.
        let mut noise = hello.clone();
        noise.extend([0xaa; 4096]);
        let old = {
            // A hello of TLS 1.1 and no newer: version 3.2 in the record and in the hello, no extensions.
            let mut hello = vec![0x03, 0x02];
            hello.extend([7; 32]);
            hello.extend([0, 0, 2, 0x00, 0x2f, 1, 0]);
            let mut record = vec![0x16, 0x03, 0x01];
            record.extend((hello.len() as u16 + 4).to_be_bytes());
            record.extend([1, 0, 0, hello.len() as u8]);
            record.extend(hello);
            record
        };
        for bytes in [
            [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 70_000]].concat(),
            [&[0x16, 3, 1, 0x40, 0x00][..], &[1; 16_384]].concat(),
            noise,
            old,
        ] {
            let begun = Instant::now();
            let mut wire = Wire::connect(server.port);
            wire.send(&bytes);
            is_closed(&mut wire);
            assert!(begun.elapsed() < Duration::from_secs(8), "not at once: {:02x?}", &bytes[..8]);
        }
        // Plain HTTP is answered in words, and so is what is neither.
        for bytes in
            [&b"GET /clients HTTP/1.1\r\nHost: h\r\n\r\n"[..], b"\0\x01\x02", b"PRI * HTTP/2.0\r\n\r\n"]
        {
            let mut wire = Wire::connect(server.port);
            wire.send(bytes);
            wire.answer_within(Duration::from_secs(20)).expect_error(400, "bad request");
        }
    });
}
