//! WebSocket frames (RFC 6455, section 5.2), written into a buffer in one piece.

use std::ops::{Deref, DerefMut, Range};

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// Which end of a line we are. An agent masks what it sends (RFC 6455, section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The server's end.
    Server,
    /// The agent's end.
    Agent,
}

/// A text message as a frame.
pub(super) fn text_frame(side: Side, text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(side, OpCode::Data(Data::Text), &[text.as_bytes()], &mut frame);
    frame
}

/// A ping.
pub(super) fn ping_frame(side: Side, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(side, OpCode::Control(Control::Ping), &[payload], &mut frame);
    frame
}

/// A pong.
pub(super) fn pong_frame(side: Side, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(side, OpCode::Control(Control::Pong), &[payload], &mut frame);
    frame
}

/// A close with its code and as much of the reason as fits (RFC 6455, section 5.5: 125 bytes in all). One that answers a close
/// without a code has none either.
pub(super) fn close_frame(side: Side, code: u16, reason: &str) -> Vec<u8> {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut frame = Vec::new();
    let parts = [&code.to_be_bytes()[..], &reason.as_bytes()[..end]];
    let parts = if code == super::close::NONE { &[][..] } else { &parts };
    write_frame(side, OpCode::Control(Control::Close), parts, &mut frame);
    frame
}

/// A binary message of `head` and `payload`, written over whatever `frame` held; its memory is used again.
pub fn binary_frame(side: Side, head: &[u8], payload: &[u8], frame: &mut Vec<u8>) {
    frame.clear();
    write_frame(side, OpCode::Data(Data::Binary), &[head, payload], frame);
}

/// Bytes that leave as messages without being copied once more: a message's head, and the frame's, are written before them.
#[derive(Debug)]
pub struct Payload {
    /// [`HEADROOM`], then the bytes.
    bytes: Vec<u8>,
}

/// What is before a payload: the frame's header and the message's own, of which ours have at most 300 bytes.
pub(super) const HEADROOM: usize = 512;

impl Payload {
    /// Room for `length` bytes.
    pub fn new(length: usize) -> Payload {
        Payload { bytes: vec![0; HEADROOM + length] }
    }

    /// A binary message of `head` and a piece of the bytes. The piece, and some bytes before it, are of no more use then.
    pub fn message(&mut self, side: Side, head: &[u8], piece: Range<usize>) -> &[u8] {
        let end = HEADROOM + piece.end;
        let start = HEADROOM + piece.start - head.len();
        self.bytes[start..start + head.len()].copy_from_slice(head);
        let mut header = Vec::with_capacity(MAX_FRAME_HEADER);
        let mask = write_header(side, OpCode::Data(Data::Binary), end - start, &mut header);
        if let Some(mask) = mask {
            apply_mask(&mut self.bytes[start..end], mask);
        }
        let first = start - header.len();
        self.bytes[first..start].copy_from_slice(&header);
        &self.bytes[first..end]
    }
}

impl Deref for Payload {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[HEADROOM..]
    }
}

impl DerefMut for Payload {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[HEADROOM..]
    }
}

/// RFC 6455, section 5.2: two bytes, eight of length, four of mask.
pub(super) const MAX_FRAME_HEADER: usize = 14;

fn write_frame(side: Side, opcode: OpCode, parts: &[&[u8]], frame: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    frame.reserve(length + MAX_FRAME_HEADER);
    let mask = write_header(side, opcode, length, frame);
    let start = frame.len();
    parts.iter().for_each(|part| frame.extend_from_slice(part));
    if let Some(mask) = mask {
        apply_mask(&mut frame[start..], mask);
    }
}

/// The header of a frame with `length` bytes; returns what they are to be masked with.
fn write_header(side: Side, opcode: OpCode, length: usize, header: &mut Vec<u8>) -> Option<[u8; 4]> {
    let mask = match side {
        Side::Server => None,
        Side::Agent => Some(random_mask()),
    };
    let frame = FrameHeader { is_final: true, opcode, mask, ..FrameHeader::default() };
    frame.format(length as u64, header).expect("writing to memory does not fail");
    mask
}

/// A mask that nobody can foretell (RFC 6455, section 10.3 says why).
fn random_mask() -> [u8; 4] {
    crate::random::bytes()
}

/// RFC 6455, section 5.3; sixteen bytes at a time, by value, which is fast also where the compiler is told to make it small.
pub(super) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = (0..4).fold(0, |wide, _| wide << 32 | u128::from(u32::from_ne_bytes(mask)));
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u128::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What tungstenite reads out of our frames.
    fn read_back(side: Side, frame: &[u8]) -> tungstenite::Message {
        let role = match side {
            Side::Server => tungstenite::protocol::Role::Client,
            Side::Agent => tungstenite::protocol::Role::Server,
        };
        tungstenite::WebSocket::from_raw_socket(std::io::Cursor::new(frame.to_vec()), role, None)
            .read()
            .unwrap()
    }

    #[test]
    fn messages_are_made_where_their_bytes_are() {
        let content: Vec<u8> = (0..200_000).map(|i| (i / 7) as u8).collect();
        for side in [Side::Server, Side::Agent] {
            let mut payload = Payload::new(content.len());
            payload.copy_from_slice(&content);
            // A piece, with some left out, and a longer head than there are bytes before it.
            for piece in [0..1, 1..126, 200..65_800, 65_800..65_800, 65_800..200_000] {
                let head = [7; 300];
                let message = payload.message(side, &head, piece.clone());
                assert_eq!(read_back(side, message).into_data(), [&head, &content[piece]].concat());
            }
        }
    }

    #[test]
    fn frames_are_read_as_they_were_written() {
        for side in [Side::Server, Side::Agent] {
            for length in [0, 1, 7, 11, 12, 13, 125, 126, 65535, 65536, 300_000] {
                let payload: Vec<u8> = (0..length).map(|i| i as u8).collect();
                let mut frame = vec![9; 3];
                binary_frame(side, b"head", &payload, &mut frame);
                assert_eq!(read_back(side, &frame).into_data(), [b"head", &payload[..]].concat());
            }
            assert_eq!(read_back(side, &text_frame(side, "grüezi")).to_text().unwrap(), "grüezi");
            assert!(read_back(side, &ping_frame(side, b"12345678")).is_ping());
            let close = read_back(side, &close_frame(side, 1008, &"ü".repeat(100)));
            let tungstenite::Message::Close(Some(frame)) = close else { panic!("{close:?}") };
            assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1008, &*"ü".repeat(61)));
        }
    }
}
