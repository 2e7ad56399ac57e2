//! A snapshot that was real: files that change while they are read.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::files::{random_bytes, random_file, sha256};
use crate::support::server::Server;
use crate::support::temp::TempDir;
use crate::support::wait::pause;

/// Runs `test` while a thread does `change` again and again.
fn while_changing(mut change: impl FnMut() + Send, test: impl FnOnce()) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst); // also when the test panics: the scope joins the thread
        }
    }
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changing = || {
            while !stopped.load(Ordering::SeqCst) {
                change();
                pause(Duration::from_millis(20));
            }
        };
        scope.spawn(changing);
        let _stop = Stop(&stopped);
        test();
    });
}

/// An agent that takes about a second and a half for a file of 600 kB.
fn slow_agent(server: &Server, home: TempDir) -> Agent {
    Agent::serving(server, "shop-001", home, &[("MAX_RATE", "400k")])
}

const SIZE: usize = 600_000;

#[test]
fn a_file_that_is_rewritten_while_it_is_read_fails_after_three_attempts() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let path = home.join("file");
    random_file(&path, 1, SIZE);
    let _agent = slow_agent(&server, home);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let mut seed = 2;
    let rewrite = || {
        seed += 1;
        // In place, all of it: what an attempt has brought is of no use to the next one.
        std::os::unix::fs::FileExt::write_all_at(&file, &random_bytes(seed, SIZE), 0).unwrap();
    };

    while_changing(rewrite, || {
        let transfer = server.assert_failed(&server.pull_id("shop-001"), "file_changed");
        assert_eq!(transfer["attempts"], 3, "{transfer}");
    });

    server.assert_downloads(&[]);
    // Left alone, it is pulled.
    let content = fs::read(&path).unwrap();
    server.assert_verified(&server.pull_id("shop-001"), &content);
}

#[test]
fn a_log_that_only_grows_completes_as_it_was_at_the_open() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let path = home.join("file");
    let before = random_file(&path, 3, SIZE);
    let _agent = slow_agent(&server, home);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    let mut lines = 0;
    let append = || {
        lines += 1;
        writeln!(file, "2025-10-31 line {lines}").unwrap();
    };

    while_changing(append, || {
        let transfer = server.ended(&server.pull_id("shop-001"));
        assert_eq!(
            (&transfer["status"], &transfer["attempts"]),
            (&json!("completed"), &json!(1)),
            "{transfer}"
        );
        let size = transfer["size"].as_u64().unwrap() as usize;
        assert!(size >= SIZE, "{transfer}");
        let now = fs::read(&path).unwrap();
        assert!(now.starts_with(&before) && now.len() > size, "it went on growing");
        assert_eq!(transfer["sha256"], sha256(&now[..size]), "{transfer}");
    });
}

#[test]
fn a_file_that_is_only_touched_completes() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let path = home.join("file");
    let content = random_file(&path, 4, SIZE);
    let _agent = slow_agent(&server, home);
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);

    touch(&path);

    let transfer = server.assert_verified(&id, &content);
    assert_eq!(transfer["attempts"], 1, "{transfer}");
}

fn touch(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
}

#[test]
fn a_file_that_is_cut_short_is_tried_again_and_pulled_as_it_is_then() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let path = home.join("file");
    let content = random_file(&path, 5, SIZE);
    let _agent = slow_agent(&server, home);
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);

    OpenOptions::new().write(true).open(&path).unwrap().set_len(100_000).unwrap();

    let transfer = server.assert_verified(&id, &content[..100_000]);
    assert_eq!(transfer["attempts"], 2, "{transfer}");
}

#[test]
fn a_file_that_is_replaced_by_rename_is_pulled_as_it_was_opened() {
    let server = Server::start(&[]);
    let home = TempDir::new();
    let path = home.join("file");
    let old = random_file(&path, 6, SIZE);
    let new = random_file(&home.join("new"), 7, SIZE);
    let new_path = home.join("new");
    let _agent = slow_agent(&server, home);
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);

    fs::rename(new_path, &path).unwrap();

    // The handle still names the old file, which held exactly this content: either is a snapshot that was real.
    let transfer = server.ended(&id);
    assert_eq!(transfer["status"], "completed", "{transfer}");
    assert!([sha256(&old), sha256(&new)].iter().any(|hash| transfer["sha256"] == *hash), "{transfer}");
}

#[test]
fn a_long_second_reading_is_no_stall() {
    let server = Server::start(&[("STALL_SECONDS", "1"), ("HEARTBEAT_SECONDS", "1")]);
    let home = TempDir::new();
    let path = home.join("file");
    let content = random_file(&path, 8, 100_000_000);
    let _agent = Agent::serving(&server, "shop-001", home, &[]);
    let id = server.pull_id("shop-001");
    server.has_bytes(&id);

    touch(&path);

    server.assert_verified(&id, &content);
}
