//! An installed v1 server: takes any client, asks for a file, believes what comes.

use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket};

use super::files::sha256;
use super::wait::{Deadline, SOON, eventually};

/// A port that agents dial.
pub struct V1Server {
    listener: TcpListener,
}

/// A client's line, with what it said when it dialled.
pub struct V1Line {
    pub socket: WebSocket<TcpStream>,
    pub uri: String,
    pub authorization: Option<String>,
}

/// What a client sent for one request.
#[derive(Debug, Default)]
pub struct Received {
    pub start: Value,
    pub headers: Vec<Value>,
    pub bytes: Vec<u8>,
    pub end: Value,
}

impl V1Server {
    pub fn start() -> V1Server {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket takes options");
        V1Server { listener }
    }

    pub fn url(&self) -> String {
        let port = self.listener.local_addr().expect("a bound socket").port();
        format!("ws://127.0.0.1:{port}/ws")
    }

    /// Waits for a connection, takes it as v1 does, and says a v1 server's hello.
    #[track_caller]
    pub fn accept(&self) -> V1Line {
        let mut line = self.accept_in_silence();
        line.say(&json!({"type": "hello", "serverTime": "2025-10-31T15:30:00.123Z"}));
        line
    }

    /// The same without a hello.
    #[track_caller]
    pub fn accept_in_silence(&self) -> V1Line {
        let stream = eventually("an agent dials", || self.listener.accept().ok()).0;
        stream.set_nonblocking(false).expect("a socket takes options");
        stream.set_read_timeout(Some(SOON)).expect("a socket takes options");
        let (mut uri, mut authorization) = (String::new(), None);
        #[expect(clippy::result_large_err, reason = "tungstenite's own signature")]
        let look = |request: &Request, response: Response| {
            uri = request.uri().to_string();
            let header = request.headers().get("authorization");
            authorization = header.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(stream, look).expect("an agent upgrades");
        V1Line { socket, uri, authorization }
    }
}

impl V1Line {
    #[track_caller]
    pub fn say(&mut self, message: &Value) {
        self.say_raw(&message.to_string());
    }

    #[track_caller]
    pub fn say_raw(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the line takes a message");
    }

    /// Ends the line without a Close.
    pub fn cut(self) {
        // The agent may have closed it already.
        let _ = self.socket.get_ref().shutdown(std::net::Shutdown::Both);
    }

    /// The next message that is no ping, pong or heartbeat.
    #[track_caller]
    pub fn hear(&mut self) -> Message {
        let deadline = Deadline::soon();
        loop {
            assert!(!deadline.passed(), "nothing but signs of life came");
            match self.socket.read().expect("the line is open and something is said") {
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Text(text) if parse(&text)["type"] == "heartbeat" => {}
                other => return other,
            }
        }
    }

    /// The next text message.
    #[track_caller]
    pub fn hear_text(&mut self) -> Value {
        match self.hear() {
            Message::Text(text) => parse(&text),
            other => panic!("text expected, not {other:?}"),
        }
    }

    #[track_caller]
    pub fn ask(&mut self, id: &str, file_key: &Value, chunk_size: usize) {
        let kind = "download_request";
        self.say(&json!({"type": kind, "requestId": id, "fileKey": file_key, "chunkSize": chunk_size}));
    }

    /// Reads a whole upload, as v1 does: by the request's id, without a look at the order.
    #[track_caller]
    pub fn receive(&mut self, id: &str) -> Received {
        let start = self.hear_text();
        assert_eq!((&start["type"], &start["requestId"]), (&json!("upload_start"), &json!(id)), "{start}");
        let mut received = Received { start, ..Received::default() };
        loop {
            match self.hear() {
                Message::Binary(message) => {
                    let (length, rest) = message.split_at(4);
                    let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
                    received.headers.push(serde_json::from_slice(&rest[..length]).expect("a JSON header"));
                    received.bytes.extend_from_slice(&rest[length..]);
                }
                Message::Text(text) => {
                    received.end = parse(&text);
                    return received;
                }
                other => panic!("a v1 server does not expect {other:?}"),
            }
        }
    }

    /// What v1 always says: `ok`, whatever came.
    #[track_caller]
    pub fn confirm(&mut self, id: &str, received: &[u8]) {
        let computed = sha256(received);
        self.say(&json!({"type": "upload_received", "requestId": id, "computed": computed, "ok": true}));
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|err| panic!("{err}: {text}"))
}
