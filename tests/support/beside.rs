//! A client whose file of 100 MB is pulled while something happens beside it: its bytes go on coming, its line holds, and
//! its file ends verified.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::files::{random_bytes, sha256};
use super::server::Server;
use super::v1_client::{Asked, V1Client};
use super::wait::eventually;

const SIZE: usize = 100_000_000;
/// What comes as long as the misdeed goes on is less than this; the rest comes after it.
const MEANWHILE: usize = SIZE / 10 * 9;
/// The server's memory at its highest, in kB, whatever a peer with a line does: its own, that of the pull, and of a message
/// at its bound.
pub const MEMORY: u64 = 40_000;

/// A server with such a client, and a pull that has begun.
pub struct Beside {
    pub server: Server,
    id: String,
    content: Vec<u8>,
    misdeed_is_over: Sender<()>,
    uploading: JoinHandle<V1Client>,
}

impl Beside {
    pub const ID: &str = "beside";

    #[track_caller]
    pub fn begin(settings: &[(&str, &str)]) -> Beside {
        let server = Server::start(settings);
        let mut client = V1Client::connect(&server, Beside::ID);
        let content = random_bytes(77, SIZE);
        let id = server.pull_id(Beside::ID);
        let asked = client.asked();
        let (misdeed_is_over, over) = channel();
        let file = content.clone();
        let uploading = std::thread::spawn(move || upload(client, &asked, &file, &over));
        server.has_bytes(&id);
        Beside { server, id, content, misdeed_is_over, uploading }
    }

    /// After the misdeed: bytes still come, the rest of them does, and the server never needed more than `memory` kB.
    #[track_caller]
    pub fn ends_well(self, memory: u64) {
        let before = self.server.transfer(&self.id)["bytes"].as_u64();
        eventually("the pull beside goes on", || {
            let transfer = self.server.transfer(&self.id);
            assert_eq!(transfer["status"], "receiving", "{transfer}");
            (transfer["bytes"].as_u64() > before).then_some(())
        });
        self.misdeed_is_over.send(()).expect("the client still uploads");
        let mut client = self.uploading.join().expect("its line has held");
        assert_eq!(client.receipt(&self.id)["ok"], true);
        let transfer = self.server.assert_verified(&self.id, &self.content);
        assert_eq!(transfer["attempts"], 1, "{transfer}");
        let highest = self.server.program.status("VmHWM");
        assert!(highest <= memory, "{highest} kB");
    }
}

/// Most of it briskly; then little by little until the misdeed is over, however long that takes; then the rest.
fn upload(mut client: V1Client, asked: &Asked, content: &[u8], over: &Receiver<()>) -> V1Client {
    client.begin(&asked.id, "pos.db", content.len());
    let mut is_over = false;
    for (seq, payload) in (1..).zip(content.chunks(asked.chunk_size)) {
        if !is_over {
            let sent = seq as usize * asked.chunk_size;
            let pause = if sent < MEANWHILE { Duration::from_millis(2) } else { Duration::from_millis(250) };
            is_over = over.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
        }
        client.chunk(&asked.id, seq, payload);
    }
    client.end(&asked.id, &sha256(content), content.len());
    client
}
