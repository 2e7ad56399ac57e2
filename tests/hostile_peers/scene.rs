//! A v2 peer made by hand, step by step, so that a test can leave its path at any of them.

use std::fs;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::support::files::{random_bytes, sha256};
use crate::support::healthy::Healthy;
use crate::support::server::{SECRET, Server, id};
use crate::support::v1_client::{V1Client, packed};
use crate::support::wait::{Deadline, eventually};

pub const BLOCK: usize = 64 << 10;
pub const SIZE: usize = 600_000;
/// Ends within a page of a block that is not the first.
pub const HALF: usize = 300_000;

const KEY: &str = "logs/pos.log";

/// A file of `SIZE` bytes.
pub fn content() -> Vec<u8> {
    random_bytes(1, SIZE)
}

/// A server with an honest client, and a peer that has been asked for a file of its share `logs`.
pub struct Scene {
    pub server: Server,
    pub healthy: Healthy,
    pub peer: V1Client,
    /// The transfer.
    pub id: String,
    /// What was asked for last.
    pub asked: Value,
    /// Downloads of the peer that were there before it misbehaved: names and hashes.
    earlier: Vec<(String, String)>,
}

/// Connects, and offers to compress if it is to.
#[track_caller]
fn connect_offering(server: &Server, compress: Option<&str>) -> V1Client {
    let mut peer = V1Client::dial(server.port, "hostile", SECRET).expect("the server takes the client");
    let hello = peer.hear();
    assert_eq!((&hello["type"], &hello["protocol"]), (&json!("hello"), &json!(2)), "{hello}");
    assert!(hello["heartbeatSeconds"].is_u64(), "{hello}");
    let mut register = json!({
        "type": "register_meta", "meta": {}, "protocol": 2, "agentVersion": "9.9.9", "shares": ["logs"]
    });
    if let Some(compress) = compress {
        register["compress"] = json!(["a word of the future", compress]);
    }
    peer.say(&register);
    server.lists_agent("hostile");
    peer
}

#[track_caller]
fn connect(server: &Server) -> V1Client {
    connect_offering(server, None)
}

impl Scene {
    /// The server has nothing of the file.
    #[track_caller]
    pub fn set() -> Scene {
        Scene::offering(None, &[])
    }

    /// The same with a peer that has offered to compress, and is asked to.
    #[cfg(feature = "compress")]
    #[track_caller]
    pub fn compressing() -> Scene {
        let scene = Scene::compressing_with(&[]);
        assert_eq!(scene.asked["compress"], "zstd", "{}", scene.asked);
        scene
    }

    /// The same with further settings of the server.
    #[cfg(feature = "compress")]
    #[track_caller]
    pub fn compressing_with(settings: &[(&str, &str)]) -> Scene {
        Scene::offering(Some("zstd"), settings)
    }

    #[track_caller]
    fn offering(compress: Option<&str>, settings: &[(&str, &str)]) -> Scene {
        let server = Server::start(&[&[("STALL_SECONDS", "5")], settings].concat());
        let healthy = Healthy::connect(&server);
        let peer = connect_offering(&server, compress);
        let (id, asked, earlier) = (String::new(), Value::Null, Vec::new());
        let mut scene = Scene { server, healthy, peer, id, asked, earlier };
        scene.pull(1);
        scene
    }

    /// An attempt at a file of `size` bytes has brought `content` when its line was cut; the second one has been asked for.
    #[track_caller]
    pub fn interrupted(size: usize, content: &[u8]) -> Scene {
        let mut scene = Scene::set();
        scene.begin(1, size);
        for (number, chunk) in content.chunks(1 << 20).enumerate() {
            scene.chunk(1, number as u64 + 1, number << 20, chunk);
        }
        eventually("all of it is stored", || {
            (scene.server.transfer(&scene.id)["bytes"] == content.len()).then_some(())
        });
        scene.is_cut();
        let asked = scene.asked_again(2);
        assert_eq!(asked["have"], content.len(), "{asked}");
        scene
    }

    /// A pull has brought `content`; the next one has been asked for.
    #[track_caller]
    pub fn downloaded(content: &[u8]) -> Scene {
        let mut scene = Scene::set();
        scene.begin(1, content.len());
        for (number, chunk) in content.chunks(1 << 20).enumerate() {
            scene.chunk(1, number as u64 + 1, number << 20, chunk);
        }
        scene.end(1, content);
        let transfer = scene.server.assert_verified(&scene.id, content);
        scene.earlier.push((transfer["filename"].as_str().expect("a name").to_owned(), sha256(content)));
        scene.pull(1);
        assert_eq!(scene.asked["have"], content.len(), "{}", scene.asked);
        scene
    }

    /// The line is cut, and the peer is back on another one.
    #[track_caller]
    pub fn is_cut(&mut self) {
        // A socket that the server has shut already needs no cutting.
        let _ = self.peer.socket.get_ref().shutdown(std::net::Shutdown::Both);
        self.server.lists_no_more("hostile", crate::support::wait::SOON);
        self.peer = connect(&self.server);
    }

    /// Pulls the file, and hears that it is asked for.
    #[track_caller]
    fn pull(&mut self, attempt: u32) {
        self.id = id(&self.server.pull("hostile", &json!({"fileKey": KEY})));
        let asked = self.asked_again(attempt);
        assert_eq!(asked["fileKey"], KEY, "{asked}");
    }

    /// Bytes of the file that the server says it has; 0 when it does not say.
    pub fn have(&self) -> u64 {
        self.asked["have"].as_u64().unwrap_or(0)
    }

    /// The attempt that was asked for last.
    pub fn attempt(&self) -> u32 {
        self.asked["attempt"].as_u64().expect("v2 counts attempts") as u32
    }

    pub fn begin(&mut self, attempt: u32, size: usize) {
        self.peer.say(&json!({
            "type": "upload_start", "requestId": self.id, "filename": "pos.log", "filesize": size, "attempt": attempt
        }));
    }

    /// A chunk; the line may be closed already, by what came before.
    pub fn chunk(&mut self, attempt: u32, seq: u64, offset: impl Into<Value>, payload: &[u8]) {
        let mut header = json!({"requestId": self.id, "seq": seq, "timestamp": 1, "attempt": attempt, "offset": offset.into()});
        if header["offset"].is_null() {
            header.as_object_mut().expect("an object").remove("offset");
        }
        let _ = self.peer.socket.send(Message::binary(packed(header.to_string().as_bytes(), payload)));
    }

    pub fn end(&mut self, attempt: u32, content: &[u8]) {
        self.peer.say(&json!({
            "type": "upload_end", "requestId": self.id, "checksum": sha256(content), "filesize": content.len(),
            "attempt": attempt
        }));
    }

    /// A message of this transfer; the line may be closed already, by what came before.
    pub fn tell(&mut self, kind: &str, attempt: u32, fields: &Value) {
        let mut message = json!({"type": kind, "requestId": self.id, "attempt": attempt});
        message.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        let _ = self.peer.socket.send(Message::text(message.to_string()));
    }

    pub fn same(&mut self, offset: u64, length: u64) {
        self.tell("same", self.attempt(), &json!({"offset": offset, "length": length}));
    }

    /// `same` for the first `length` bytes, a window at a time.
    pub fn all_same(&mut self, length: u64) {
        for offset in (0..length).step_by(16 << 20) {
            self.same(offset, (length - offset).min(16 << 20));
        }
    }

    pub fn ask_blocks(&mut self, from: u64, count: u64) {
        self.tell("ask_blocks", self.attempt(), &json!({"from": from, "count": count}));
    }

    pub fn ask_pages(&mut self, blocks: &[u64]) {
        self.tell("ask_pages", self.attempt(), &json!({"blocks": blocks}));
    }

    /// The next answer to a question: its header, and its hashes.
    #[track_caller]
    pub fn answer(&mut self) -> (Value, Vec<u64>) {
        let deadline = Deadline::soon();
        loop {
            assert!(!deadline.passed(), "no answer came");
            let Message::Binary(message) = self.peer.socket.read().expect("the line is open") else {
                continue;
            };
            let length = u32::from_be_bytes(message[..4].try_into().expect("four bytes")) as usize;
            let header: Value = serde_json::from_slice(&message[4..4 + length]).expect("a JSON header");
            assert_eq!((&header["requestId"], &header["attempt"]), (&json!(self.id), &self.asked["attempt"]));
            let (hashes, rest) = message[4 + length..].as_chunks::<8>();
            assert!(rest.is_empty(), "{} bytes", message.len());
            return (header, hashes.iter().copied().map(u64::from_be_bytes).collect());
        }
    }

    /// The next request, which is for this attempt.
    #[track_caller]
    pub fn asked_again(&mut self, attempt: u32) -> Value {
        let asked = self.asked_once_more();
        assert_eq!(asked["attempt"], attempt, "{asked}");
        asked
    }

    /// The next request.
    #[track_caller]
    fn asked_once_more(&mut self) -> Value {
        loop {
            let message = self.peer.hear();
            if message["type"] == "download_request" {
                assert_eq!(message["requestId"], self.id);
                self.asked = message.clone();
                return message;
            }
        }
    }

    /// The attempt has ended by name, the line goes on, there is no file, and the honest client is unharmed.
    #[track_caller]
    pub fn ends_by_name(mut self) {
        self.server.assert_failed(&self.id, "protocol_violation");
        self.is_all_there_is();
        self.is_asked_for_another();
    }

    /// The line is closed, there is no file, and the honest client is unharmed. The transfer waits for the peer.
    #[track_caller]
    pub fn closes_the_line(mut self) {
        self.server.reaches(&self.id, "interrupted");
        self.is_all_there_is();
        self.peer = connect(&self.server);
        self.asked_again(self.attempt() + 1);
    }

    /// Nothing of this peer is there but what it had brought before, and the honest client can be pulled from.
    #[track_caller]
    pub fn is_all_there_is(&self) {
        let honest = self.healthy.is_pulled_from(&self.server);
        let honest =
            (honest["filename"].as_str().expect("a name"), honest["sha256"].as_str().expect("a hash"));
        let earlier = self.earlier.iter().map(|(name, hash)| (name.as_str(), hash.as_str()));
        self.server.assert_downloads(&earlier.chain([honest]).collect::<Vec<_>>());
    }

    /// The line goes on: the next pull is asked for on it.
    #[track_caller]
    fn is_asked_for_another(&mut self) {
        let next = id(&self.server.pull("hostile", &json!({"fileKey": KEY})));
        let deadline = Deadline::soon();
        loop {
            assert!(!deadline.passed(), "nothing was asked for");
            let Message::Text(text) = self.peer.socket.read().expect("the line is open") else { continue };
            let message: Value = serde_json::from_str(&text).expect("the server speaks JSON");
            if message["type"] == "download_request" {
                assert_eq!(message["requestId"], next);
                return;
            }
        }
    }

    /// Makes the part of a transfer that waits `bytes` long, of which all that did not come is zeros, behind the back of
    /// a server that is started anew for it; the next attempt has been asked for.
    #[track_caller]
    pub fn with_a_part_of(self, bytes: u64) -> Scene {
        let Scene { server, id, earlier, .. } = self;
        let part = server.uploads.join(".towline").join(&id).join("part");
        let home = server.kill();
        fs::OpenOptions::new()
            .write(true)
            .open(part)
            .expect("our part")
            .set_len(bytes)
            .expect("a sparse file");
        let server = Server::start_in(home, &[]);
        let healthy = Healthy::connect(&server);
        let peer = connect(&server);
        let mut scene = Scene { server, healthy, peer, id, asked: Value::Null, earlier };
        assert_eq!(scene.asked_once_more()["have"], bytes);
        scene
    }
}
