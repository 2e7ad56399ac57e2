//! The client beside a hostile one: what happens to its neighbour must not happen to it.

use serde_json::json;

use super::files::{random_bytes, sha256};
use super::server::{Server, id};
use super::v1_client::{Serving, V1Client};

/// An honest client on the same server.
pub struct Healthy {
    content: Vec<u8>,
    _serving: Serving,
}

impl Healthy {
    pub const ID: &str = "healthy";

    /// Connects before the misdeed.
    #[track_caller]
    pub fn connect(server: &Server) -> Healthy {
        let content = random_bytes(42, 300_000);
        let serving = V1Client::connect(server, Healthy::ID).serve(content.clone());
        Healthy { content, _serving: serving }
    }

    /// After the misdeed: its line has held, its file can be pulled, and is all that UPLOAD_DIR holds.
    #[track_caller]
    pub fn is_all_there_is(&self, server: &Server) {
        let transfer = self.is_pulled_from(server);
        let name = transfer["filename"].as_str().expect("a name");
        server.assert_downloads(&[(name, &sha256(&self.content))]);
    }

    /// Its line has held, and its file can be pulled.
    #[track_caller]
    pub fn is_pulled_from(&self, server: &Server) -> serde_json::Value {
        let transfer = server.pull(Healthy::ID, &json!({}));
        server.assert_verified(&id(&transfer), &self.content)
    }
}
