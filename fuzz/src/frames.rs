//! What a peer sends on a line, frame by frame, beside a second reader: tungstenite's own.

use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock};

use towline::limits::READ_BUFFER_BYTES;
use towline::line::reader::{Reader, Whole};
use towline::line::{Chunks, InUse, Side};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, WebSocket};

/// The largest message: more than the buffer in which frames begin.
const MOST: usize = 5000;

/// Memory of chunks, for all but the shortest messages, as while a transfer runs.
static CHUNKS: LazyLock<(Arc<Chunks>, InUse)> = LazyLock::new(|| {
    let chunks = Arc::new(Chunks::new(200, MOST));
    let in_use = chunks.in_use();
    (chunks, in_use)
});

/// What came out before the end, and the end.
#[derive(Debug)]
struct Taken {
    messages: Vec<Message>,
    end: End,
}

#[derive(Debug)]
enum End {
    /// More has to come.
    Open,
    /// The last message is a close; nothing behind it counts.
    Closed,
    Broken(Error),
}

/// The first byte says whose end this is, and in pieces of how many bytes the rest arrives.
///
/// However they arrive, the same messages come out, and as the other reader has them. The two may find at different
/// moments that a rule is broken: ours with the header of the frame, or when a text is whole; the other when the frame is
/// whole, or with the first bytes that are not UTF-8.
pub fn run(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let side = if first & 1 == 0 { Side::Server } else { Side::Agent };
    let ours = ours(Reader::new(side, MOST, Vec::new()), bytes, usize::MAX);
    let mut in_chunks = Reader::new(side, MOST, Vec::new());
    in_chunks.use_chunks(CHUNKS.0.clone());
    let in_pieces = self::ours(in_chunks, bytes, usize::from(first >> 1).max(1));
    assert_eq!(ours.messages, in_pieces.messages, "however they arrive");
    assert_eq!(told(&ours.end), told(&in_pieces.end), "however they arrive");

    let theirs = theirs(side, bytes);
    assert!(ours.messages.starts_with(&theirs.messages), "{ours:?}, not {theirs:?}");
    match (&ours.end, &theirs.end) {
        (_, End::Broken(Error::Utf8(_))) => {}
        (End::Open, End::Open)
        | (End::Closed, End::Closed)
        | (End::Broken(_), End::Open | End::Broken(_)) => {
            assert_eq!(ours.messages, theirs.messages);
        }
        _ => panic!("{ours:?}, not {theirs:?}"),
    }
}

fn told(end: &End) -> String {
    match end {
        End::Broken(error) => {
            let text = error.to_string();
            super::assert_one_line(&text);
            text
        }
        End::Open | End::Closed => format!("{end:?}"),
    }
}

fn ours(mut reader: Reader, bytes: &[u8], piece: usize) -> Taken {
    let (mut rest, mut messages) = (bytes, Vec::new());
    let end = loop {
        match reader.next_whole() {
            Ok(Some(whole)) => {
                messages.push(message(whole));
                if messages.last().is_some_and(Message::is_close) {
                    break End::Closed;
                }
            }
            Ok(None) if rest.is_empty() => break End::Open,
            Ok(None) => {
                let room = reader.room();
                assert!(room.left() <= MOST.max(READ_BUFFER_BYTES), "{} bytes", room.left());
                let count = room.left().min(rest.len()).min(piece);
                assert!(count > 0, "there is room for what must come");
                room.put(&rest[..count]);
                rest = &rest[count..];
            }
            Err(error) => break End::Broken(error),
        }
    };
    Taken { messages, end }
}

fn message(whole: Whole) -> Message {
    match whole {
        Whole::Text(text) => Message::Text(text),
        Whole::Binary(payload) => Message::Binary(payload),
        Whole::Ping(payload) => Message::Ping(Bytes::from(payload)),
        Whole::Pong(payload) => Message::Pong(Bytes::from(payload)),
        Whole::Close(said) => Message::Close(
            said.map(|(code, reason)| tungstenite::protocol::CloseFrame { code: code.into(), reason }),
        ),
    }
}

fn theirs(side: Side, bytes: &[u8]) -> Taken {
    let role = match side {
        Side::Server => Role::Server,
        Side::Agent => Role::Client,
    };
    let config = WebSocketConfig::default().max_message_size(Some(MOST)).max_frame_size(Some(MOST));
    let mut socket = WebSocket::from_raw_socket(Socket(bytes), role, Some(config));
    let mut messages = Vec::new();
    let end = loop {
        match socket.read() {
            Ok(message) => {
                messages.push(message);
                if messages.last().is_some_and(Message::is_close) {
                    break End::Closed;
                }
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break End::Open,
            Err(error) => break End::Broken(error),
        }
    };
    Taken { messages, end }
}

/// Has these bytes to read, and takes whatever is written.
struct Socket<'a>(&'a [u8]);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
