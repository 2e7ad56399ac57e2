//! An installed v1 client, step by step, so that a test can leave its path at any of them.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tungstenite::error::Error;
use tungstenite::{Message, WebSocket};

use super::files::sha256;
use super::server::{SECRET, Server};
use super::wait::{Deadline, SOON};

/// A line to the server.
pub struct V1Client {
    pub socket: WebSocket<TcpStream>,
    /// Messages that came while the test waited for another.
    unheard: VecDeque<Value>,
}

/// What the server asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: String,
    pub file_key: Value,
    pub chunk_size: usize,
}

impl V1Client {
    /// Dials with the secret in the URL as v1 does; the HTTP status where that is refused.
    pub fn dial(port: u16, client_id: &str, token: &str) -> Result<V1Client, u16> {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
        stream.set_read_timeout(Some(SOON)).expect("a socket takes options");
        stream.set_write_timeout(Some(SOON)).expect("a socket takes options");
        stream.set_nodelay(true).expect("a socket takes options");
        let url = format!("ws://127.0.0.1:{port}/ws?clientId={client_id}&token={token}");
        match tungstenite::client(url, stream) {
            Ok((socket, _)) => Ok(V1Client { socket, unheard: VecDeque::new() }),
            Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(err) => panic!("handshake: {err}"),
        }
    }

    /// Dials, says hello as v1 does, and waits until the server lists it.
    #[track_caller]
    pub fn connect(server: &Server, client_id: &str) -> V1Client {
        let client = V1Client::connect_unlisted(server.port, client_id);
        server.lists(client_id);
        client
    }

    /// The same where the API is not on the agents' port.
    #[track_caller]
    pub fn connect_unlisted(port: u16, client_id: &str) -> V1Client {
        let mut client = V1Client::dial(port, client_id, SECRET).expect("the server takes the client");
        client.say(&json!({"type": "register_meta", "meta": {"label": format!("label of {client_id}")}}));
        client.say(&json!({"type": "heartbeat", "ts": 1_761_924_600_123_u64}));
        let hello = client.hear();
        assert_eq!(hello["type"], "hello", "{hello}");
        client
    }

    #[track_caller]
    pub fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).expect("the line takes a message");
    }

    /// The next text message; pings are answered on the way.
    #[track_caller]
    pub fn hear(&mut self) -> Value {
        if let Some(earlier) = self.unheard.pop_front() {
            return earlier;
        }
        self.read(Deadline::soon())
    }

    /// The next message that `wanted` finds; what comes before it is kept for later.
    #[track_caller]
    fn hear_one(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.unheard.iter().position(&wanted) {
            return self.unheard.remove(at).expect("it was found there");
        }
        let deadline = Deadline::soon();
        loop {
            assert!(!deadline.passed(), "no {what} came, but {:?}", self.unheard);
            let message = self.read(deadline);
            if wanted(&message) {
                return message;
            }
            self.unheard.push_back(message);
        }
    }

    #[track_caller]
    fn read(&mut self, deadline: Deadline) -> Value {
        loop {
            assert!(!deadline.passed(), "nothing but pings came; before: {:?}", self.unheard);
            match self.socket.read().expect("the line is open and something is said") {
                Message::Text(text) => {
                    return serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}"));
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("a v1 client does not expect {other:?}"),
            }
        }
    }

    /// Waits for a `download_request`.
    #[track_caller]
    pub fn asked(&mut self) -> Asked {
        asked(&self.hear_one("download_request", |message| message["type"] == "download_request"))
    }

    /// Waits for `upload_received` of this transfer.
    #[track_caller]
    pub fn receipt(&mut self, id: &str) -> Value {
        let is_it = |message: &Value| message["type"] == "upload_received" && message["requestId"] == id;
        self.hear_one("upload_received", is_it)
    }

    pub fn begin(&mut self, id: &str, filename: &str, size: usize) {
        self.say(&json!({"type": "upload_start", "requestId": id, "filename": filename, "filesize": size}));
    }

    /// One chunk; `seq` counts from 1.
    #[track_caller]
    pub fn chunk(&mut self, id: &str, seq: u64, payload: &[u8]) {
        self.socket.send(Message::binary(chunk(id, seq, payload))).expect("the line takes a chunk");
    }

    pub fn end(&mut self, id: &str, checksum: &str, size: usize) {
        self.say(&json!({"type": "upload_end", "requestId": id, "checksum": checksum, "filesize": size}));
    }

    /// All chunks of `content`.
    #[track_caller]
    pub fn chunks(&mut self, asked: &Asked, content: &[u8]) {
        for (payload, seq) in content.chunks(asked.chunk_size).zip(1..) {
            self.chunk(&asked.id, seq, payload);
        }
    }

    /// A whole honest upload.
    #[track_caller]
    pub fn upload(&mut self, asked: &Asked, content: &[u8]) {
        self.begin(&asked.id, "pos.db", content.len());
        self.chunks(asked, content);
        self.end(&asked.id, &sha256(content), content.len());
    }

    /// Waits for a request, and answers it as it should be.
    #[track_caller]
    pub fn serve_one(&mut self, content: &[u8]) {
        let asked = self.asked();
        self.upload(&asked, content);
    }

    /// Waits until the server has closed the line, whatever it says before.
    #[track_caller]
    pub fn closed_by_server(mut self) {
        let deadline = Deadline::soon();
        loop {
            match self.socket.read() {
                Ok(_) => assert!(!deadline.passed(), "the line was left open"),
                Err(Error::Io(err)) if err.kind() == io::ErrorKind::WouldBlock => {
                    panic!("the line was left open")
                }
                Err(_) => return,
            }
        }
    }

    /// Drops the line in the middle of whatever is going on, without a Close.
    pub fn cut(self) {
        self.socket.get_ref().shutdown(Shutdown::Both).expect("an open socket can be shut");
    }

    /// Answers every request with `content` from a thread, until the value is dropped.
    pub fn serve(mut self, content: Vec<u8>) -> Serving {
        let stream = self.socket.get_ref().try_clone().expect("a socket can be shared");
        stream.set_read_timeout(None).expect("a socket takes options");
        let thread = std::thread::spawn(move || {
            while let Ok(message) = self.socket.read() {
                let Message::Text(text) = message else { continue };
                let message: Value = serde_json::from_str(&text).expect("the server speaks JSON");
                if message["type"] == "download_request" {
                    self.upload(&asked(&message), &content);
                }
            }
        });
        Serving { stream, thread: Some(thread) }
    }
}

/// A client that answers from a thread of its own.
pub struct Serving {
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Both fail only when the line or the thread has ended already.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[track_caller]
fn asked(message: &Value) -> Asked {
    assert_eq!(message["type"], "download_request", "{message}");
    Asked {
        id: message["requestId"].as_str().expect("requestId is text").to_owned(),
        file_key: message.get("fileKey").expect("fileKey is there").clone(),
        chunk_size: message["chunkSize"].as_u64().expect("chunkSize is a number") as usize,
    }
}

/// A chunk as v1 packs it.
pub fn chunk(id: &str, seq: u64, payload: &[u8]) -> Vec<u8> {
    let header = json!({"requestId": id, "seq": seq, "timestamp": 1_761_924_600_123_u64});
    packed(header.to_string().as_bytes(), payload)
}

/// A packed message: length of the header, header, payload.
pub fn packed(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).expect("a header is short");
    [&length.to_be_bytes(), header, payload].concat()
}
