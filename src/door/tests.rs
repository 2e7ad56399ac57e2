//! The whole door with a tiny_http behind it, over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tiny_http::{Request, Response, Server, StatusCode};

use super::control_socket::ControlSocket;
use super::hall::Hall;
use super::head::read_head;
use super::listener::Listener;
use super::relay::{Relayed, read_body, relay};
use crate::limits;
use crate::stream::Stream;

const BIG: usize = 8 << 20;

struct Door {
    address: SocketAddr,
    hall: &'static Hall,
    /// Requests for `/park`, to be answered by the test.
    parked: Receiver<Request>,
}

struct Closing<'a>(&'a Server);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.unblock();
    }
}

/// Runs `test` against a door that lets in `bound` callers and gives each `patience` to state its request.
fn with_door(bound: usize, patience: Duration, test: impl FnOnce(Door)) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir: PathBuf = std::env::temp_dir().join(format!("towline-door-{}-{count}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let (control, unix) = ControlSocket::bind(&dir).unwrap();
    let control = Arc::new(control);
    let server = Server::from_listener(unix, None).unwrap();
    let listener = Listener::bind("127.0.0.1:0").unwrap();
    let (address, hall) = (listener.local_addr(), &*Box::leak(Box::new(Hall::new(bound))));
    let (park, parked) = channel();
    let relayed_to = control.clone();
    // It listens as long as the process lives.
    thread::spawn(move || {
        listener.serve(hall, |socket, peer, ticket| {
            let (socket, deadline) = (Stream::plain(socket), Instant::now() + patience);
            let stated = read_head(&socket, deadline)
                .and_then(|head| read_body(&socket, &head, deadline).map(|body| (head, body)));
            match stated {
                // A caller that is gone is no failure of the door.
                Ok((head, body)) => {
                    let _stays = ticket.vouch();
                    drop(relay(&socket, &head, &body, &relayed_to, &Relayed { peer, key: None }, ()))
                }
                Err(error) => error.refuse(&socket),
            }
        })
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            server.incoming_requests().for_each(|mut request| match request.url() {
                "/park" => park.send(request).unwrap(),
                "/big" => {
                    let body = std::io::repeat(b'x').take(BIG as u64);
                    let answer = Response::new(StatusCode(200), vec![], body, Some(BIG), None);
                    thread::spawn(move || request.respond(answer.with_chunked_threshold(usize::MAX)));
                }
                _ => {
                    let answer = Response::from_string(echo(&mut request));
                    request.respond(answer.with_chunked_threshold(usize::MAX)).unwrap();
                }
            });
        });
        let _closed_on_panic_too = Closing(&server);
        test(Door { address, hall, parked });
    });
    std::fs::remove_dir_all(dir).unwrap();
}

fn echo(request: &mut Request) -> String {
    let mut body = String::new();
    request.as_reader().read_to_string(&mut body).unwrap();
    let headers = request.headers().iter();
    let headers: Vec<String> = headers.map(|h| format!("{}: {}", h.field.as_str(), h.value)).collect();
    json!({ "method": request.method().as_str(), "url": request.url(), "headers": headers, "body": body })
        .to_string()
}

impl Door {
    fn call(&self, request: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.write_all(request).unwrap();
        socket
    }

    /// Sends `request`, keeps the connection open, and takes everything up to its end: the door must close.
    fn answer(&self, request: &[u8]) -> (String, String) {
        split(&rest(self.call(request)))
    }

    fn echo(&self, request: &[u8]) -> Value {
        let (head, body) = self.answer(request);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nConnection: close\r\n"), "{head}");
        assert_eq!(head.to_lowercase().matches("connection:").count(), 1, "{head}");
        serde_json::from_str(&body).unwrap()
    }

    fn empties(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.hall.inside() > 0 {
            assert!(Instant::now() < deadline, "{} connections leaked", self.hall.inside());
            thread::yield_now();
        }
    }
}

pub(super) fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    bytes
}

fn split(answer: &[u8]) -> (String, String) {
    let text = str::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    (format!("{head}\r\n"), body.to_owned())
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn requests_arrive_rebuilt() {
    with_door(8, PATIENCE, |door| {
        let got = door.echo(
            b"POST /a%20b?c=d HTTP/1.1\r\nHost: h\r\nX-Api-Key: k\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
              Accept: a\r\nAuthorization: Bearer k\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: p\r\nX-Forwarded-For: 6.6.6.6\r\n\
              X-Towline-Peer: 6.6.6.6:6\r\nX-Towline-Key: a1\r\nContent-Length: 5\r\n\r\nhelloGET /next HTTP/1.1\r\nHost: h\r\n\r\n",
        );
        assert_eq!((&got["method"], &got["url"]), (&json!("POST"), &json!("/a%20b?c=d")));
        assert_eq!(got["body"], "hello");
        let headers: Vec<&str> = got["headers"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
        assert_eq!(headers[..2], ["Host: h", "Accept: a"]);
        assert!(headers[2].starts_with("x-towline-peer: 127.0.0.1:"), "{headers:?}");
        assert_eq!(headers[3..], ["Connection: close", "Content-Length: 5"]);

        let whole = "x".repeat(limits::MAX_BODY_BYTES);
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{whole}", whole.len());
        assert_eq!(door.echo(request.as_bytes())["body"], whole);
        // As `curl -X POST` sends it.
        assert_eq!(door.echo(b"POST /d HTTP/1.1\r\nHost: h\r\n\r\n")["body"], "");
        for method in ["OPTIONS", "DELETE", "BREW"] {
            let got = door.echo(format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
            assert_eq!(got["method"], method);
        }
        let (head, body) = door.answer(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200") && body.is_empty(), "{head}{body}");
        let (head, _) = door.answer(b"GET / HTTP/1.0\r\n\r\n");
        assert!(head.starts_with("HTTP/1.0 200 OK\r\nConnection: close\r\n"), "{head}");
        let (head, body) = door.answer("GET / HTTP/1.1\r\nHost: h\r\nX-Name: ü\r\n\r\n".as_bytes());
        assert!(head.starts_with("HTTP/1.1 400") && body.contains("X-Name"), "{head}{body}");
        door.empties();
    });
}

#[test]
fn expectations() {
    with_door(8, PATIENCE, |door| {
        let head = |expect| {
            format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: {expect}\r\n\r\n")
                .into_bytes()
        };
        let mut socket = door.call(&head("100-Continue"));
        let mut go = [0; 25];
        socket.read_exact(&mut go).unwrap();
        assert_eq!(&go, b"HTTP/1.1 100 Continue\r\n\r\n");
        socket.write_all(b"ok").unwrap();
        let (head_of_answer, body) = split(&rest(socket));
        assert!(head_of_answer.starts_with("HTTP/1.1 200") && body.contains(r#""body":"ok""#), "{body}");

        assert_eq!(door.echo(&[&head("100-continue")[..], b"ok"].concat())["body"], "ok"); // no 100 before it
        assert!(door.answer(&head("a-miracle")).0.starts_with("HTTP/1.1 417"));
    });
}

#[test]
fn refusals_are_read_even_by_callers_that_send_on() {
    with_door(8, PATIENCE, |door| {
        let (head, body) =
            door.answer(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 411 Length Required\r\nConnection: close\r\n"), "{head}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["error"], "length required");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.to_string().len())));

        let headers = format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat((1 << 20) / 6));
        let body = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n{}",
            "x".repeat(10_000_000)
        );
        for (request, status) in [(headers, "431"), (body, "413")] {
            let (head, _) = door.answer(request.as_bytes());
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        }
        door.empties();
    });
}

#[test]
fn slow_and_silent_callers_meet_the_deadline() {
    with_door(16, Duration::from_millis(300), |door| {
        let begun = Instant::now();
        let silent = door.call(b"");
        let gone = door.call(b"");
        gone.shutdown(Shutdown::Write).unwrap();
        let partial = door.call(b"GET / HTTP/1.1\r\nHost: h\r\n");
        let cut = door.call(b"GET / HTTP/1.1\r\nHost: h\r\n");
        cut.shutdown(Shutdown::Write).unwrap();
        let half = door.call(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
        let short = door.call(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
        short.shutdown(Shutdown::Write).unwrap();
        let mut dripping = door.call(b"GET / HTTP/1.1\r\n");
        let dripped = thread::spawn(move || {
            while dripping.write_all(b"a").is_ok() && begun.elapsed() < Duration::from_secs(1) {
                thread::sleep(Duration::from_millis(10));
            }
            rest(dripping)
        });
        for (socket, status) in [(partial, "408"), (cut, "400"), (half, "408"), (short, "400")] {
            let (head, _) = split(&rest(socket));
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        }
        assert_eq!(rest(silent), b"");
        assert_eq!(rest(gone), b"");
        assert!(dripped.join().unwrap().starts_with(b"HTTP/1.1 408"));
        door.empties();
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    });
}

#[test]
fn parked_requests_hold_up_nobody_and_leak_nothing() {
    with_door(200, PATIENCE, |door| {
        let park = b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n";
        let mut waiting: Vec<TcpStream> = (0..50).map(|_| door.call(park)).collect();
        let parked: Vec<Request> = (0..50).map(|_| door.parked.recv().unwrap()).collect();
        let idle: Vec<TcpStream> = (0..100).map(|_| door.call(b"")).collect();
        assert_eq!(door.echo(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")["url"], "/");
        // One has shut its sending side and still waits; the rest hang up, or never read.
        let patient = waiting.pop().unwrap();
        patient.shutdown(Shutdown::Write).unwrap();
        waiting.truncate(10);
        for request in parked {
            request.respond(Response::from_string("done")).unwrap();
        }
        assert_eq!(split(&rest(patient)).1, "done");
        drop((waiting, idle));
        door.empties();
    });
}

#[test]
fn large_answers_reach_slow_readers_whole() {
    with_door(8, PATIENCE, |door| {
        let mut socket = door.call(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
        let (mut taken, mut chunk) = (Vec::new(), vec![0; 256 << 10]);
        loop {
            match socket.read(&mut chunk).unwrap() {
                0 => break,
                count => taken.extend_from_slice(&chunk[..count]),
            }
            thread::sleep(Duration::from_millis(3));
        }
        let (head, body) = split(&taken);
        assert!(head.contains(&format!("Content-Length: {BIG}\r\n")), "{head}");
        assert_eq!(body.len(), BIG);
        drop(socket);
        drop(door.call(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")); // hangs up early
        door.echo(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"); // and has been let in, before this one
        door.empties();
    });
}

#[test]
fn over_the_bound_callers_are_told() {
    with_door(2, PATIENCE, |door| {
        let park = b"GET /park HTTP/1.1\r\nHost: h\r\n\r\n";
        let inside = [door.call(park), door.call(park)];
        let parked: Vec<Request> = (0..2).map(|_| door.parked.recv().unwrap()).collect();
        let (head, body) = split(&rest(TcpStream::connect(door.address).unwrap()));
        assert!(head.starts_with("HTTP/1.1 503") && head.contains("Retry-After: 5\r\n"), "{head}");
        assert!(body.contains("unavailable"), "{body}");
        drop((parked, inside));
        door.empties();
        door.echo(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    });
}

#[test]
fn without_a_control_plane_the_answer_is_503() {
    let (caller, socket, peer) = pair();
    let dir = std::env::temp_dir().join(format!("towline-door-{}-dead", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let (control, unix) = ControlSocket::bind(&dir).unwrap();
    drop(unix);
    (&caller).write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    thread::scope(|scope| {
        let answered = scope.spawn(|| {
            let head = read_head(&socket, Instant::now() + PATIENCE).unwrap();
            relay(&socket, &head, &[], &control, &Relayed { peer, key: None }, ()).unwrap();
        });
        assert!(split(&rest(caller)).0.starts_with("HTTP/1.1 503"));
        answered.join().unwrap();
    });
    drop(control);
    std::fs::remove_dir(dir).unwrap();
}

/// A caller's end of a connection, ours, and the caller's address.
pub(super) fn pair() -> (TcpStream, Stream, SocketAddr) {
    let (caller, socket, peer) = sockets();
    (caller, Stream::plain(socket), peer)
}

/// The same as the system gives it.
pub(super) fn sockets() -> (TcpStream, TcpStream, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, peer) = listener.accept().unwrap();
    (caller, socket, peer)
}
