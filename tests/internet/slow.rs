//! Slow loris: on the head, on the body, in the WebSocket handshake, in the TLS handshake.

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

#[cfg(feature = "tls")]
#[test]
fn tls_handshakes_that_drip_are_closed_in_time_beside_a_pull_over_tls() {
    use crate::support::agent::Agent;
    use crate::support::authority::Authority;
    use crate::support::files::random_file;
    use crate::support::server::{Server, id};
    use crate::support::temp::TempDir;

    let authority = Authority::new();
    let own = authority.server(&["127.0.0.1"]);
    let settings = [("TLS_CERT", own.certificate.as_str()), ("TLS_KEY", own.key.as_str())];
    let server = Server::start_secure(std::path::Path::new(authority.ca()), &settings);
    let home = TempDir::new();
    let content = random_file(&home.join("file"), 7, 100_000_000);
    let _agent = Agent::serving(&server, "beside", home, &[("TLS_CA", authority.ca())]);
    let threads = server.program.status("Threads");
    // 12.5 s: longer than any of them may take.
    let pulled = id(&server.pull("beside", &serde_json::json!({"maxRate": "8M"})));
    server.has_bytes(&pulled);

    // Silent; the first byte; a record that is 16 KiB long, a byte at a time; one that is whole, and then nothing.
    let whole = [&b"\x16\x03\x01\x00\x04"[..], b"\x01\x00\x3f\xfb"].concat();
    let starts = [&b""[..], b"\x16", b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb\x03\x03", &whole];
    let begun = Instant::now();
    let mut open: Vec<(usize, Wire)> = Vec::new();
    for kind in (0..starts.len()).cycle().take(200) {
        let mut wire = Wire::connect(server.port);
        wire.send(starts[kind]);
        open.push((kind, wire));
    }
    while !open.is_empty() {
        assert!(begun.elapsed() < CLOSED_BY, "{} are left open", open.len());
        open.retain_mut(|(kind, wire)| {
            if *kind == 2 {
                wire.send(b"\0");
            }
            // An alert may come before the end.
            !matches!(wire.read_some(Deadline::after(Duration::from_millis(1))), Came::End)
        });
        server.get("/healthz").expect(200);
        pause(Duration::from_millis(100));
    }
    assert!(begun.elapsed() > Duration::from_secs(8), "{:?}: cut off too early", begun.elapsed());
    server.assert_verified(&pulled, &content);
    server.has_threads_again(threads);
    let highest = server.program.status("VmHWM");
    assert!(highest <= MEMORY + 200 * STRANGER, "{highest} kB");
}
