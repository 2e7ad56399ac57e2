//! Lines over real sockets, with peers that keep no rule.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

use super::*;

const SOON: Duration = Duration::from_secs(20);
/// What a socket is told to hold; the system makes it a little more, and keeps to it.
const BUFFER: usize = 16 << 10;

/// A line as a server has it, and its peer's socket; what both sockets hold is small and fixed.
fn line() -> (Line, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    set_socket_recv_buffer_size(&listener, BUFFER).unwrap(); // what it accepts has the same
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    set_socket_send_buffer_size(&ours, BUFFER).unwrap();
    let peer = listener.accept().unwrap().0;
    peer.set_read_timeout(Some(SOON)).unwrap();
    let keeping = Keeping { beat: SOON, max_message: 1 << 20 };
    (Line::accepted(Arc::new(Stream::plain(ours)), Vec::new(), keeping).unwrap(), peer)
}

/// Text messages as an agent sends them.
fn texts(count: usize) -> Vec<u8> {
    frame::text_frame(Side::Agent, r#"{"type":"heartbeat","ts":1}"#).repeat(count)
}

#[test]
fn a_peer_that_does_not_read_loses_its_line_and_is_heard_no_more() {
    let (mut line, mut peer) = line();
    peer.write_all(&texts(100)).unwrap(); // it asks, and asks
    line.read().unwrap();
    peer.write_all(&texts(100)).unwrap(); // and this stays in the socket
    let outbox = line.outbox().clone();
    let answer = [7; 10_000];
    let mut posted = 0;
    while outbox.binary(b"", &answer).is_ok() {
        posted += answer.len();
        assert!(posted <= limits::MAX_OUTBOX_BYTES + 20 * BUFFER, "{posted} bytes wait");
    }
    assert!(posted >= limits::MAX_OUTBOX_BYTES - answer.len(), "{posted} bytes are not too many");
    assert!(outbox.is_shut() && outbox.text("more").is_err() && outbox.send(b"more").is_err());

    // What tungstenite has read already may still be given out, and no byte more.
    let before = line.pulse().bytes();
    let end = loop {
        match line.read() {
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    assert!(line.pulse().bytes() <= before, "it has read on");
    assert!(matches!(&end, LineEnd::Dropped(error) if error.kind() == io::ErrorKind::BrokenPipe), "{end}");
    assert!(end.to_string().contains("does not read"), "{end}");
    // The thread that wrote for it has ended, or the outbox would be held for ever.
    let deadline = Instant::now() + SOON;
    drop(line);
    while Arc::strong_count(&outbox) > 1 {
        assert!(Instant::now() < deadline, "somebody still writes");
        std::thread::yield_now();
    }
}

#[test]
fn a_peer_that_sends_on_after_a_forbidden_frame_hears_why_and_no_reset() {
    let (mut line, mut peer) = line();
    let (mut writer, reserved) = (peer.try_clone().unwrap(), [0xf2, 0x80, 0, 0, 0, 0]);
    let writing = std::thread::spawn(move || {
        writer.write_all(&reserved).unwrap();
        // More than both buffers hold, and then nothing: without a reader it would be cut off.
        writer.write_all(&texts(5000)).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let end = line.read().unwrap_err();
    assert!(matches!(end, LineEnd::Broken(_)), "{end}");
    let begun = Instant::now();
    line.drain();
    assert!(begun.elapsed() < limits::CLOSE_TIME, "it waited though the peer had closed");
    writing.join().unwrap();
    drop(line);
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).expect("no reset");
    assert_eq!((heard[0], &heard[2..4]), (0x88, &1002u16.to_be_bytes()[..]), "{heard:02x?}");
}

#[test]
fn a_peer_that_reads_late_gets_all_of_it_in_order() {
    let (line, mut peer) = line();
    let outbox = line.outbox().clone();
    let mut expected = Vec::new();
    for number in 0..90u8 {
        let payload = vec![number; 10_000];
        outbox.binary(&[number], &payload).unwrap();
        let mut frame = Vec::new();
        binary_frame(Side::Server, &[number], &payload, &mut frame);
        expected.extend(frame);
    }
    let mut came = vec![0; expected.len()];
    peer.read_exact(&mut came).unwrap();
    assert!(came == expected);
    assert!(!outbox.is_shut());
}

#[test]
fn a_line_keeps_nothing_of_the_messages_that_it_saw() {
    let (mut line, mut peer) = line();
    let writing = std::thread::spawn(move || {
        let (mut chunk, payload) = (Vec::new(), vec![7; 1 << 20]);
        for length in [64 << 10, 1 << 20, 100, 64 << 10] {
            binary_frame(Side::Agent, b"", &payload[..length], &mut chunk);
            peer.write_all(&chunk).unwrap();
        }
        peer.write_all(&texts(100)).unwrap();
        peer
    });
    let mut sizes = Vec::new();
    while sizes.len() < 4 {
        let Incoming::Binary(chunk) = line.read().unwrap() else { panic!("a text") };
        sizes.push(chunk.len());
        assert!(line.reader.held() <= limits::READ_BUFFER_BYTES, "{} bytes are kept", line.reader.held());
    }
    assert_eq!(sizes, [64 << 10, 1 << 20, 100, 64 << 10]);
    (0..100).for_each(|_| assert!(matches!(line.read().unwrap(), Incoming::Text(_))));
    assert!(line.reader.held() <= limits::READ_BUFFER_BYTES);
    drop(writing.join().unwrap());
}
