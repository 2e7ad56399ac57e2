//! A log as its reader sees it, and what `towline-server audit verify` says of it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::program::Program;
use crate::support::server::Server;

const SERVER: &str = env!("CARGO_BIN_EXE_towline-server");

/// The log of the server whose downloads are here.
pub fn log_of(uploads: &Path) -> PathBuf {
    uploads.join(".towline/audit.jsonl")
}

/// All lines of a file, each an object, whole and in their order.
#[track_caller]
pub fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.ends_with('\n'), "the last line is torn: {text}");
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(line).collect()
}

/// Those that are about this.
#[track_caller]
pub fn events(path: &Path, event: &str) -> Vec<Value> {
    lines(path).into_iter().filter(|line| line["event"] == event).collect()
}

/// The only one that is.
#[track_caller]
pub fn only(path: &Path, event: &str) -> Value {
    let mut found = events(path, event);
    assert_eq!(found.len(), 1, "{event}: {found:?}");
    found.remove(0)
}

/// Runs `towline-server audit verify`: its exit code and what it printed.
#[track_caller]
pub fn verify(args: &[&str]) -> (i32, String) {
    let args = [&["audit", "verify"], args].concat();
    let dir = std::env::temp_dir();
    let mut program = Program::start("audit verify", SERVER, &args, &[], &dir);
    let code = program.wait_exit();
    (code, program.output())
}

/// Asserts that a log is good, and returns its head.
#[track_caller]
pub fn good(path: &Path) -> String {
    let (code, text) = verify(&[path.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    head(&text)
}

/// The head in what `verify` printed.
#[track_caller]
pub fn head(text: &str) -> String {
    let head = text.rsplit(" head=").next().unwrap_or_default().trim();
    assert_eq!(head.len(), 64, "{text}");
    head.to_owned()
}

/// Asserts that the server's log is good, by its `UPLOAD_DIR`; it may be running.
#[track_caller]
pub fn servers_is_good(server: &Server) -> String {
    let (code, text) = verify(&["--upload-dir", server.uploads.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    head(&text)
}
