//! Both directions of a connection at once: full ones, and a command against the stream.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use serde_json::json;
use towline::stream::Stream;
use towline::stream::tls::{Acceptor, Connector};

use crate::support::agent::Agent;
use crate::support::authority::{Authority, Identity};
use crate::support::files;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;
use crate::support::wait::SOON;

/// Both ends of a connection with TLS, over sockets that hold little.
fn connection(authority: &Authority, own: &Identity) -> (Stream, Stream) {
    let acceptor = Acceptor::load(PathBuf::from(&own.certificate), PathBuf::from(&own.key), None).unwrap();
    let connector = Connector::load(Some(Path::new(authority.ca())), None).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    sockopt::set_socket_recv_buffer_size(&listener, 8 << 10).unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    sockopt::set_socket_send_buffer_size(&socket, 8 << 10).unwrap();
    let deadline = Instant::now() + SOON;
    thread::scope(|scope| {
        let accepted =
            scope.spawn(|| acceptor.accept(Arc::new(listener.accept().unwrap().0), deadline).unwrap());
        let dialled = connector.connect(socket, "127.0.0.1", deadline).unwrap();
        (accepted.join().unwrap(), dialled)
    })
}

/// Bytes that tell their place.
fn pattern(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

fn write_all(mut stream: &Stream, length: usize, piece: usize) {
    let bytes: Vec<u8> = (0..length).map(pattern).collect();
    bytes.chunks(piece).for_each(|piece| stream.write_all(piece).unwrap());
}

fn read_all(stream: &Stream, length: usize, piece: usize) {
    let (mut buffer, mut at) = (Vec::with_capacity(piece), 0);
    stream.set_read_timeout(Some(SOON)).unwrap();
    while at < length {
        buffer.clear();
        match stream.read_into(&mut buffer) {
            Ok(0) => panic!("ended after {at} bytes"),
            Ok(count) => {
                assert!(buffer.iter().enumerate().all(|(i, &b)| b == pattern(at + i)), "wrong at {at}");
                at += count;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {} // a part of a record
            Err(error) => panic!("after {at} bytes: {error}"),
        }
    }
}

#[test]
fn both_directions_are_full_and_neither_end_waits_for_ever() {
    let authority = Authority::new();
    let own = authority.server(&["127.0.0.1"]);
    for (piece_out, piece_in) in [(64 << 10, 32 << 10), (100_000, 1000), (1000, 7), (1, 64 << 10)] {
        let (one, other) = connection(&authority, &own);
        let length = if piece_out == 1 { 50_000 } else { 3_000_000 };
        thread::scope(|scope| {
            scope.spawn(|| write_all(&one, length, piece_out));
            scope.spawn(|| write_all(&other, length, piece_out));
            scope.spawn(|| read_all(&one, length, piece_in));
            scope.spawn(|| read_all(&other, length, piece_in));
        });
        assert_eq!(one.protection(), Some("TLSv1.3"));
        // The end is told, and told from a cut.
        one.finish().unwrap();
        assert_eq!(other.read_into(&mut Vec::with_capacity(10)).unwrap(), 0);
        drop(other);
        let cut = one.read_into(&mut Vec::with_capacity(10));
        assert!(cut.is_err(), "nobody said that this is the end: {cut:?}");
    }
}

#[test]
fn a_command_reaches_the_agent_while_data_flows_the_other_way() {
    let authority = Authority::new();
    let own = authority.server(&["127.0.0.1"]);
    let settings = [("TLS_CERT", own.certificate.as_str()), ("TLS_KEY", own.key.as_str())];
    let server = Server::start_secure(Path::new(authority.ca()), &settings);
    let home = TempDir::new();
    let content = files::random_file(&home.join("file"), 3, 400 << 20);
    let path = home.join("file").to_str().unwrap().to_owned();
    let shares = format!("big={path}");
    let settings = [("TLS_CA", authority.ca()), ("SHARES", shares.as_str())];
    let _agent = Agent::serving(&server, "shop-001", home, &settings);
    let pull = id(&server.pull("shop-001", &json!({})));
    server.has_bytes(&pull);
    let mut slowest = Duration::ZERO;
    let mut asked = 0;
    while server.transfer(&pull)["status"] == "receiving" {
        let begun = Instant::now();
        server.get("/clients/shop-001/files").expect(200);
        slowest = slowest.max(begun.elapsed());
        asked += 1;
    }
    server.assert_verified(&pull, &content);
    assert!(asked > 1, "the pull was over before anything could be asked");
    assert!(slowest < Duration::from_secs(5), "one answer of {asked} took {slowest:?}");
}
