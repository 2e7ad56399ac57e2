//! Slow loris: on the head, on the body, in the WebSocket handshake.

use std::time::{Duration, Instant};

use crate::support::beside::{Beside, MEMORY};
use crate::support::http::{Came, Wire};
use crate::support::server::SECRET;
use crate::support::wait::{Deadline, pause};

/// The bound for a head and a body is 10 s; a machine under load may take a little longer to notice.
const CLOSED_BY: Duration = Duration::from_secs(18);
const STRANGER: u64 = 100; // kB, with a body

#[test]
fn three_hundred_that_drip_are_all_closed_in_time() {
    let beside = Beside::begin(&[]);
    let server = &beside.server;
    let threads = server.program.status("Threads");
    let post = format!("POST /download/shop-001 HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\n");
    let starts = [
        "GET /cli".to_owned(),
        format!("{post}Content-Length: 60000\r\n\r\n{{\"file"),
        format!("GET /ws?clientId=x&token={SECRET} HTTP/1.1\r\nUpgrade: websocket\r\nX-Slow: "),
    ];
    let begun = Instant::now();
    let mut open: Vec<Wire> = Vec::new();
    for start in starts.iter().cycle().take(300) {
        let mut wire = Wire::connect(server.port);
        wire.send(start.as_bytes());
        open.push(wire);
    }
    while !open.is_empty() {
        assert!(begun.elapsed() < CLOSED_BY, "{} are left open", open.len());
        open.retain_mut(|wire| {
            wire.send(b"x");
            match wire.read_some(Deadline::after(Duration::from_millis(1))) {
                Came::Nothing => true,
                Came::Bytes(answer) => {
                    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
                    false
                }
                Came::End => false,
            }
        });
        server.get("/healthz").expect(200);
        pause(Duration::from_millis(100));
    }
    assert!(begun.elapsed() > Duration::from_secs(8), "{:?}: cut off too early", begun.elapsed());
    server.has_threads_again(threads);
    beside.ends_well(MEMORY + 300 * STRANGER);
}
