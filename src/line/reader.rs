//! From the bytes that a peer sends to its messages (RFC 6455, section 5). Pure: who reads asks where they are to go.
//!
//! A message is read into memory of its own, of just its size, which leaves with it (a chunk's comes from `chunks.rs`): what is left for a line
//! that is idle is the small buffer in which frames begin. (tungstenite's own reader, whose parser of headers this is, has one buffer that it
//! fills with zeros before each read, and that stays as large as the largest message was.)
//!
//! Every bound is looked at when a frame's header is here, before its payload has memory.

use std::io::Cursor;
use std::sync::Arc;

use tungstenite::Error;
use tungstenite::error::{CapacityError, ProtocolError};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{CloseCode, Control, Data, OpCode};

use super::chunks::{Chunk, Chunks};
use super::frame::{MAX_FRAME_HEADER, apply_mask};
use super::{Bytes, Side, Utf8Bytes};
use crate::limits;
use crate::stream::Room;

/// What has come whole.
#[derive(Debug)]
pub enum Whole {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping.
    Ping(Vec<u8>),
    /// A pong.
    Pong(Vec<u8>),
    /// The code and the words, where it has any.
    Close(Option<(u16, Utf8Bytes)>),
}

/// What a data message holds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Binary,
}

/// A data frame of which the payload is arriving.
#[derive(Debug)]
struct Frame {
    is_final: bool,
    mask: Option<[u8; 4]>,
    /// Where in the message its payload starts and ends.
    start: usize,
    end: usize,
}

/// Takes bytes, gives messages; see the module.
#[derive(Debug)]
pub struct Reader {
    /// Our end of the line.
    side: Side,
    max_message: usize,
    /// What has come of the next frame: all of a control frame, the header of a data frame.
    buffer: Vec<u8>,
    /// The message that is arriving, in as many frames as its sender likes.
    message: Option<(Kind, Message)>,
    frame: Option<Frame>,
    /// Where the memory of chunks comes from, if not from malloc.
    chunks: Option<Arc<Chunks>>,
}

/// The memory of a message.
#[derive(Debug)]
enum Message {
    Own(Vec<u8>),
    /// One that is one frame.
    Chunk(Chunk),
}

impl Reader {
    /// `buffer` are bytes that came behind the handshake.
    pub fn new(side: Side, max_message: usize, buffer: Vec<u8>) -> Reader {
        Reader { side, max_message, buffer, message: None, frame: None, chunks: None }
    }

    /// Has the memory of chunks from there from now on.
    pub fn use_chunks(&mut self, chunks: Arc<Chunks>) {
        self.chunks = Some(chunks);
    }

    /// Where the next bytes go, to be appended: as many as there is room for.
    pub fn room(&mut self) -> &mut dyn Room {
        if let (Some(frame), Some((_, message))) = (&self.frame, &mut self.message) {
            message.leave_the_past(frame.end);
        }
        match (&self.frame, &mut self.message) {
            // Just what is missing, and nothing of what follows. The memory of a message in many frames grows in steps, so
            // that a thousand small ones are not a thousand copies; these come through the buffer.
            (Some(_), Some((_, Message::Chunk(chunk)))) => chunk,
            (Some(frame), Some((_, Message::Own(message)))) if message.capacity() == frame.end => message,
            _ => {
                let missing = limits::READ_BUFFER_BYTES.saturating_sub(self.buffer.len());
                // Whatever is still to come of a header or a control frame fits.
                self.buffer.reserve_exact(missing.max(1));
                &mut self.buffer
            }
        }
    }

    /// The next message that is whole; `None` when more bytes must come first.
    ///
    /// # Errors
    /// When the peer has broken a rule of RFC 6455, or the bound.
    pub fn next_whole(&mut self) -> Result<Option<Whole>, Error> {
        loop {
            if self.frame.is_some() {
                match self.fill_frame() {
                    false => return Ok(None),
                    true if self.frame.take().is_some_and(|frame| frame.is_final) => {
                        return self.finish().map(Some);
                    }
                    true => {}
                }
            }
            let mut cursor = Cursor::new(&self.buffer[..]);
            let Some((header, length)) = FrameHeader::parse(&mut cursor)? else { return Ok(None) };
            let start = cursor.position() as usize;
            self.check(&header)?;
            match header.opcode {
                OpCode::Control(control) => {
                    let length = control_length(&header, length)?;
                    if self.buffer.len() < start + length {
                        return Ok(None);
                    }
                    let mut payload = self.buffer[start..start + length].to_vec();
                    self.buffer.drain(..start + length);
                    unmask(&mut payload, header.mask);
                    return whole_control(control, payload).map(Some);
                }
                OpCode::Data(data) => {
                    self.begin(data, &header, length)?;
                    self.buffer.drain(..start);
                }
            }
        }
    }

    /// What holds for frames of all kinds.
    fn check(&self, header: &FrameHeader) -> Result<(), Error> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(ProtocolError::NonZeroReservedBits.into()); // section 5.2: no extension was agreed on
        }
        match (self.side, header.mask) {
            (Side::Server, None) => Err(ProtocolError::UnmaskedFrameFromClient.into()), // section 5.1
            (Side::Agent, Some(_)) => Err(ProtocolError::MaskedFrameFromServer.into()),
            (Side::Server, Some(_)) | (Side::Agent, None) => Ok(()),
        }
    }

    /// A data frame begins: makes room for its payload.
    fn begin(&mut self, data: Data, header: &FrameHeader, length: u64) -> Result<(), Error> {
        let kind = match (data, &self.message) {
            (Data::Continue, None) => return Err(ProtocolError::UnexpectedContinueFrame.into()),
            (Data::Text | Data::Binary, Some(_)) => return Err(ProtocolError::ExpectedFragment(data).into()),
            (Data::Continue, Some((kind, _))) => *kind,
            (Data::Text, None) => Kind::Text,
            (Data::Binary, None) => Kind::Binary,
            (Data::Reserved(number), _) => return Err(ProtocolError::UnknownDataFrameType(number).into()),
        };
        let before = self.message.as_mut().map_or(0, |(_, message)| message.bytes().len());
        let size = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(before);
        if size > self.max_message {
            return Err(CapacityError::MessageTooLong { size, max_size: self.max_message }.into());
        }
        match &mut self.message {
            None => {
                let chunk =
                    self.chunks.as_ref().filter(|_| header.is_final).and_then(|chunks| chunks.take(size));
                let own = || Message::Own(Vec::with_capacity(size));
                self.message = Some((kind, chunk.map_or_else(own, Message::Chunk)));
            }
            Some((_, Message::Own(message))) => message.reserve(size - before),
            Some((_, Message::Chunk(_))) => unreachable!("a chunk is one frame"),
        }
        let (is_final, mask) = (header.is_final, header.mask);
        self.frame = Some(Frame { is_final, mask, start: before, end: size });
        Ok(())
    }

    /// Moves what came to the frame that is arriving. Whether that is whole now.
    fn fill_frame(&mut self) -> bool {
        let (Some(frame), Some((_, message))) = (&self.frame, &mut self.message) else {
            unreachable!("a frame that arrives is one of a message");
        };
        let count = self.buffer.len().min(frame.end - message.bytes().len());
        message.put(&self.buffer[..count]);
        self.buffer.drain(..count);
        let is_whole = message.bytes().len() == frame.end;
        if is_whole {
            unmask(&mut message.bytes()[frame.start..], frame.mask);
        }
        is_whole
    }

    fn finish(&mut self) -> Result<Whole, Error> {
        let (kind, message) = self.message.take().expect("its last frame was just taken");
        let message = match message {
            Message::Own(message) => Bytes::from(message),
            Message::Chunk(chunk) => Bytes::from_owner(chunk),
        };
        Ok(match kind {
            Kind::Text => Whole::Text(message.try_into()?),
            Kind::Binary => Whole::Binary(message),
        })
    }

    /// Memory that is held, in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let message = match &self.message {
            Some((_, Message::Own(message))) => message.capacity(),
            Some((_, Message::Chunk(chunk))) => chunk.as_ref().len(),
            None => 0,
        };
        self.buffer.capacity() + message
    }
}

impl Message {
    fn bytes(&mut self) -> &mut [u8] {
        match self {
            Message::Own(message) => message,
            Message::Chunk(chunk) => chunk.bytes(),
        }
    }

    /// Goes on in memory of its own, of `length` bytes, where its chunk's has to go back: one that comes slowly would keep a whole slab.
    fn leave_the_past(&mut self, length: usize) {
        if let Message::Chunk(chunk) = self
            && chunk.is_of_the_past()
        {
            let mut own = Vec::with_capacity(length);
            own.extend_from_slice(chunk.as_ref());
            *self = Message::Own(own);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        match self {
            Message::Own(message) => message.put(bytes),
            Message::Chunk(chunk) => chunk.put(bytes),
        }
    }
}

/// Section 5.5: a control frame is whole, and short.
fn control_length(header: &FrameHeader, length: u64) -> Result<usize, Error> {
    match length {
        _ if !header.is_final => Err(ProtocolError::FragmentedControlFrame.into()),
        0..=125 => Ok(length as usize),
        _ => Err(ProtocolError::ControlFrameTooBig.into()),
    }
}

fn whole_control(control: Control, payload: Vec<u8>) -> Result<Whole, Error> {
    Ok(match control {
        Control::Ping => Whole::Ping(payload),
        Control::Pong => Whole::Pong(payload),
        Control::Close => Whole::Close(match payload[..] {
            [] => None,
            [_] => return Err(ProtocolError::InvalidCloseSequence.into()),
            [high, low, ..] => {
                let code = u16::from_be_bytes([high, low]);
                let words = Utf8Bytes::try_from(Bytes::from(payload).slice(2..))?;
                // Section 7.4.1: some codes never go over a line.
                match CloseCode::from(code).is_allowed() {
                    true => Some((code, words)),
                    false => Some((super::close::PROTOCOL, Utf8Bytes::from_static("Protocol violation"))),
                }
            }
        }),
        Control::Reserved(number) => return Err(ProtocolError::UnknownControlFrameType(number).into()),
    })
}

fn unmask(payload: &mut [u8], mask: Option<[u8; 4]>) {
    if let Some(mask) = mask {
        apply_mask(payload, mask);
    }
}

// A frame's header and the payload of a control frame fit into the buffer.
const _: () = assert!(limits::READ_BUFFER_BYTES >= MAX_FRAME_HEADER + 125);

#[cfg(test)]
mod tests;
