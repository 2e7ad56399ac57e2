//! A v2 server made by hand, with an agent that serves it, so that a test can leave its path at any step.

use serde_json::{Value, json};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;
use twox_hash::XxHash3_64;

use crate::support::agent::Agent;
use crate::support::files::{random_file, sha256};
use crate::support::program::Holds;
use crate::support::temp::TempDir;
use crate::support::v1_client::packed;
use crate::support::v1_server::{V1Line, V1Server};
use crate::support::wait::Deadline;

pub const BLOCK: usize = 64 << 10;
/// Ten blocks, of which the last is short.
pub const SIZE: usize = 600_000;
/// The transfer of most tests.
pub const ID: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

/// An agent with a file, and the line that it has opened.
pub struct Scene {
    pub server: V1Server,
    pub agent: Agent,
    pub content: Vec<u8>,
    pub line: V1Line,
    /// What the agent holds while nothing is asked of it.
    pub rest: Holds,
}

#[track_caller]
pub fn accept(server: &V1Server) -> V1Line {
    let mut line = server.accept_in_silence();
    line.say(&json!({
        "type": "hello", "serverTime": "2025-10-31T15:30:00.123Z", "protocol": 2, "heartbeatSeconds": 15
    }));
    let registered = line.hear_text();
    assert_eq!((&registered["type"], &registered["protocol"]), (&json!("register_meta"), &json!(2)));
    line
}

pub fn id(number: usize) -> String {
    format!("1b4e28ba-2fa1-41d2-883f-{number:012x}")
}

impl Scene {
    #[track_caller]
    pub fn set() -> Scene {
        Scene::with(SIZE)
    }

    #[track_caller]
    pub fn with(size: usize) -> Scene {
        let server = V1Server::start();
        let home = TempDir::new();
        let path = home.join("file");
        let content = random_file(&path, 1, size);
        let settings = [("FILE_PATH", path.to_str().unwrap())];
        let agent = Agent::start_in(home, &server.url(), "shop-001", &settings);
        let line = accept(&server);
        let rest = agent.program.holds();
        Scene { server, agent, content, line, rest }
    }

    /// Asks for the file. Without `have` it comes slowly, so that it is still coming when something happens to it.
    pub fn ask(&mut self, id: &str, attempt: u32, have: Option<u64>) {
        let mut request = json!({
            "type": "download_request", "requestId": id, "fileKey": null, "chunkSize": 65536, "attempt": attempt
        });
        match have {
            Some(have) => request["have"] = have.into(),
            None => request["maxRate"] = 200_000.into(),
        }
        self.say(&request);
    }

    /// A message; the agent may have closed the line already, for what came before.
    pub fn say(&mut self, message: &Value) {
        let _ = self.line.socket.send(Message::text(message.to_string()));
    }

    pub fn answer(&mut self, id: &str, attempt: u32, of: &str, from: u64, payload: &[u8]) {
        let header = json!({"requestId": id, "attempt": attempt, "of": of, "from": from});
        let _ = self.line.socket.send(Message::binary(packed(header.to_string().as_bytes(), payload)));
    }

    /// The next text message of this type; what comes before it does not matter.
    #[track_caller]
    pub fn hear(&mut self, kind: &str) -> Value {
        loop {
            let Message::Text(text) = self.line.hear() else { continue };
            let message: Value = serde_json::from_str(&text).expect("the agent speaks JSON");
            if message["type"] == kind {
                return message;
            }
        }
    }

    /// Asks for the file with `have` bytes, and hears the first question.
    #[track_caller]
    pub fn is_asked_about(&mut self, have: u64) -> Value {
        self.ask(ID, 1, Some(have));
        let asked = self.hear("ask_blocks");
        assert_eq!((&asked["requestId"], &asked["attempt"]), (&json!(ID), &json!(1)), "{asked}");
        asked
    }

    /// The agent closes the line as broken, and serves the next one.
    #[track_caller]
    pub fn closes_the_line(mut self) {
        self.hears_the_close();
        self.agent.program.wait_line("dialling again in");
        self.serves_the_next();
    }

    #[track_caller]
    pub fn hears_the_close(&mut self) {
        let deadline = Deadline::soon();
        loop {
            assert!(!deadline.passed(), "the line was left open");
            match self.line.socket.read() {
                Ok(Message::Close(close)) => {
                    let close = close.expect("it says why");
                    assert_eq!(close.code, CloseCode::Policy, "{close}");
                    assert!(!close.reason.is_empty());
                    let _ = self.line.socket.flush(); // answers it, unless the line is gone
                    return;
                }
                Ok(_) => {}
                Err(error) => panic!("no close before {error}"),
            }
        }
    }

    /// Dialled again by itself, the agent serves its file, and holds no more than at rest.
    #[track_caller]
    pub fn serves_the_next(mut self) {
        self.line = accept(&self.server);
        self.serves();
    }

    /// On the line that there is the agent serves its file, and holds no more than at rest.
    #[track_caller]
    pub fn serves(mut self) {
        let next = id(0xffff);
        let kind = "download_request";
        self.say(
            &json!({"type": kind, "requestId": next, "fileKey": null, "chunkSize": 65536, "attempt": 1}),
        );
        let (received, end) = self.receive(&next);
        assert!(received == self.content, "{} bytes, and others than its file's", received.len());
        assert_eq!(end["checksum"], sha256(&self.content));
        self.agent.program.holds_no_more_than(self.rest);
    }

    /// The chunks and the end of a transfer; messages of others are left aside.
    #[track_caller]
    pub fn receive(&mut self, id: &str) -> (Vec<u8>, Value) {
        let mut received = Vec::new();
        loop {
            match self.line.hear() {
                Message::Binary(message) => {
                    let length = u32::from_be_bytes(message[..4].try_into().expect("four bytes")) as usize;
                    let header: Value = serde_json::from_slice(&message[4..4 + length]).expect("a header");
                    if header["requestId"] == id {
                        assert_eq!(header["offset"], received.len());
                        received.extend_from_slice(&message[4 + length..]);
                    }
                }
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).expect("the agent speaks JSON");
                    assert!(message["requestId"] != id || message["type"] != "error", "{message}");
                    if message["requestId"] == id && message["type"] == "upload_end" {
                        return (received, message);
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

pub fn hashes(of: &[u8], size: usize) -> Vec<u8> {
    of.chunks(size).flat_map(|piece| XxHash3_64::oneshot(piece).to_be_bytes()).collect()
}
