//! `towline pull` over a line that takes its request and loses the answer.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use support::files::random_bytes;
use support::program::Program;
use support::server::{SECRET, Server};
use support::temp::TempDir;
use support::v1_client::V1Client;

/// Passes requests on, one a connection, and their answers but the first `lost`.
struct Forgetful {
    port: u16,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forgetful {
    fn start(server: u16, lost: usize) -> Forgetful {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = ended.clone();
        let thread = thread::spawn(move || {
            for (nth, caller) in listener.incoming().enumerate() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                pass(caller.unwrap(), server, nth < lost);
            }
        });
        Forgetful { port, ended, thread: Some(thread) }
    }
}

impl Drop for Forgetful {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes it. A thread that panicked has made the test fail otherwise.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One request and its answer; the server closes behind it.
fn pass(mut caller: TcpStream, server: u16, is_lost: bool) {
    let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
    let (mut from, mut to) = (caller.try_clone().unwrap(), server.try_clone().unwrap());
    let requests = thread::spawn(move || {
        // It ends when the caller goes, or is shut out below.
        let _ = std::io::copy(&mut from, &mut to);
    });
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    if !is_lost {
        // The caller may have gone by now.
        let _ = caller.write_all(&answer);
    }
    let _ = caller.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
    requests.join().unwrap();
}

fn pull(port: u16, home: &TempDir, more: &[&str]) -> Program {
    let url = format!("http://127.0.0.1:{port}");
    let args = [&["pull", "shop-001"], more].concat();
    let settings = [("API_KEY", SECRET), ("SERVER", &*url)];
    Program::start("towline pull", env!("CARGO_BIN_EXE_towline"), &args, &settings, home)
}

#[test]
fn a_pull_whose_answer_is_lost_is_asked_for_again_and_begins_once() {
    let server = Server::start(&[]);
    let content = random_bytes(1, 100_000);
    let _client = V1Client::connect(&server, "shop-001").serve(content.clone());
    let line = Forgetful::start(server.port, 2);
    let home = TempDir::new();

    let mut pull = pull(line.port, &home, &["--output", "copy.db"]);

    assert_eq!(pull.wait_exit(), 0, "{}", pull.output());
    assert_eq!(pull.output().matches("asking again").count(), 2, "{}", pull.output());
    assert!(std::fs::read(home.join("copy.db")).unwrap() == content);
    assert_eq!(server.get("/transfers").expect(200).as_array().map(Vec::len), Some(1));
}

#[test]
fn a_pull_that_is_given_up_says_so() {
    let server = Server::start(&[]);
    let _client = V1Client::connect(&server, "shop-001");
    let line = Forgetful::start(server.port, usize::MAX);
    let home = TempDir::new();

    let mut pull = pull(line.port, &home, &["--timeout", "1s"]);

    assert_eq!(pull.wait_exit(), 1, "{}", pull.output());
    assert!(
        pull.output().contains("towline pull: cannot pull from shop-001: the answer of "),
        "{}",
        pull.output()
    );
    assert_eq!(server.get("/transfers").expect(200).as_array().map(Vec::len), Some(1));
}

#[test]
fn a_server_that_is_not_there_is_said_at_once() {
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let home = TempDir::new();
    let mut pull = pull(port, &home, &[]);
    assert_eq!(pull.wait_exit(), 1, "{}", pull.output());
    assert!(
        pull.output().contains("no answer from ") && !pull.output().contains("asking again"),
        "{}",
        pull.output()
    );
}
