//! The server's disk runs full, takes nothing for a while, or loses its folders: every transfer has its stated end, and
//! the server goes on by itself when the disk does.
//!
//! Small file systems are mounted for it; where the machine does not let us, a test says that it was skipped.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod full;
mod mounted;
mod read_only;
#[path = "../support/mod.rs"]
mod support;
mod vanished;

use std::fs;

use serde_json::Value;

use support::server::Server;
use support::wait::eventually;

/// No room is to be left, so that small file systems will do.
const NO_RESERVE: (&str, &str) = ("MIN_FREE_BYTES", "0");

/// Waits until the transfer's record on disk says `status`.
#[track_caller]
fn record_says(server: &Server, id: &str, status: &str) {
    let path = server.uploads.join(".towline").join(id).join("record.json");
    eventually(&format!("the record says {status}"), || {
        let record: Value = serde_json::from_slice(&fs::read(&path).ok()?).expect("a record is whole");
        (record["status"] == status).then_some(())
    });
}
