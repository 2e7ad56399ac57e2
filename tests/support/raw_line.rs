//! A WebSocket client that keeps no rule of RFC 6455 by itself: the test writes the frames.

use super::http::{Answer, Came, Wire};
use super::server::{SECRET, Server};
use super::wait::Deadline;

/// First byte of a frame (RFC 6455, section 5.2).
pub const FIN: u8 = 0x80;
pub const RESERVED: u8 = 0x40;
pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;

/// An upgraded connection.
pub struct RawLine {
    pub wire: Wire,
}

/// Whether a frame is masked, as a client's must be.
#[derive(Clone, Copy, PartialEq)]
pub enum Masking {
    Masked,
    Bare,
}

/// Asks to upgrade with this request target and these extra header lines.
pub fn ask_upgrade(port: u16, target: &[u8], headers: &str) -> Wire {
    let mut wire = Wire::connect(port);
    let rest = format!(
        " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    );
    wire.send(&[b"GET ", target, rest.as_bytes()].concat());
    wire
}

/// The answer to an upgrade that must be refused.
#[track_caller]
pub fn refused(port: u16, target: &[u8], headers: &str) -> Answer {
    ask_upgrade(port, target, headers).answer()
}

impl RawLine {
    /// Upgrades as `client_id` with the right secret, and waits until the server lists it.
    #[track_caller]
    pub fn connect(server: &Server, client_id: &str) -> RawLine {
        let target = format!("/ws?clientId={client_id}&token={SECRET}");
        let mut wire = ask_upgrade(server.port, target.as_bytes(), "");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(wire.read_exact(1));
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        server.lists(client_id);
        let mut line = RawLine { wire };
        line.send(FIN | TEXT, Masking::Masked, br#"{"type":"register_meta","meta":{}}"#);
        line
    }

    /// One frame.
    pub fn send(&mut self, first: u8, masking: Masking, payload: &[u8]) {
        let head = frame_head(first, masking, payload.len() as u64);
        // A mask of zeros is a mask, and leaves the payload as it is.
        self.wire.send(&[&head, payload].concat());
    }

    /// Waits until the server has closed the line: with a Close, whose code this is, or without a word.
    #[track_caller]
    pub fn closed_by_server(&mut self) -> Option<u16> {
        let deadline = Deadline::soon();
        let (mut bytes, mut code) = (Vec::new(), None);
        loop {
            match self.wire.read_some(deadline) {
                Came::Bytes(more) => bytes.extend(more),
                Came::End => return code,
                Came::Nothing => panic!("the line was left open"),
            }
            if code.is_none() {
                code = close_code(&bytes);
                if code.is_some() {
                    self.wire.finish(); // instead of the Close that a client should answer
                }
            }
        }
    }
}

/// The code of the Close frame among the frames that a server sent.
fn close_code(mut bytes: &[u8]) -> Option<u16> {
    loop {
        let (head, rest) = bytes.split_at_checked(2)?;
        let (length, rest) = match head[1] {
            short @ 0..126 => (short as usize, rest),
            126 => {
                let (length, rest) = rest.split_at_checked(2)?;
                (u16::from_be_bytes([length[0], length[1]]) as usize, rest)
            }
            _ => panic!("a server's message to a hostile client is short"),
        };
        let (payload, rest) = rest.split_at_checked(length)?;
        if head[0] == FIN | CLOSE {
            return Some(
                payload.split_at_checked(2).map_or(1005, |(code, _)| u16::from_be_bytes([code[0], code[1]])),
            );
        }
        bytes = rest;
    }
}

/// The head of a frame whose payload has `length` bytes.
pub fn frame_head(first: u8, masking: Masking, length: u64) -> Vec<u8> {
    let mask_bit = if masking == Masking::Masked { 0x80 } else { 0 };
    let mut head = vec![first];
    match length {
        0..126 => head.push(mask_bit | length as u8),
        126..0x1_0000 => {
            head.push(mask_bit | 126);
            head.extend((length as u16).to_be_bytes());
        }
        _ => {
            head.push(mask_bit | 127);
            head.extend(length.to_be_bytes());
        }
    }
    if masking == Masking::Masked {
        head.extend([0; 4]);
    }
    head
}
