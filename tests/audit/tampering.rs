//! Whoever changes the record is found, by file and line; and a server that writes meanwhile is no trouble.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::log::{good, lines, log_of, servers_is_good, verify};
use crate::support::server::Server;

/// A server's log of some lines, and the folder that goes with it.
fn some_lines(settings: &[(&str, &str)], count: usize) -> (crate::support::temp::TempDir, PathBuf) {
    let server = Server::start(settings);
    for number in 0..count {
        server.post("/download/shop-1", &json!({ "fileKey": format!("file-{number}") })).expect(404);
    }
    let log = log_of(&server.uploads);
    (server.kill(), log)
}

/// Asserts that verify names this file and line.
#[track_caller]
fn is_found(log: &Path, file: &str, line: usize, what: &str) {
    let (code, text) = verify(&[log.to_str().unwrap()]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&format!("{file} line {line}: ")) && text.contains(what), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn whatever_is_done_to_a_line_is_found() {
    let (_home, log) = some_lines(&[], 8);
    let head = good(&log);
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let write = |lines: &[&str]| fs::write(&log, lines.join("\n") + "\n").unwrap();

    let other = lines[3].replace("file-2", "file-3");
    assert_ne!(other, lines[3]);
    write(&[&lines[..3], &[&*other], &lines[4..]].concat());
    is_found(&log, "audit.jsonl", 4, "it was changed");
    write(&[&lines[..3], &lines[4..]].concat());
    is_found(&log, "audit.jsonl", 4, "seq=4 before it is missing");
    write(&[&lines[..4], &lines[3..]].concat());
    is_found(&log, "audit.jsonl", 5, "doubled, or out of order");
    write(&[&lines[..3], &[lines[4], lines[3]], &lines[5..]].concat());
    is_found(&log, "audit.jsonl", 4, "seq=4 before it is missing");
    fs::write(&log, &text[..text.len() - 5]).unwrap();
    is_found(&log, "audit.jsonl", lines.len(), "ends within this line");
    fs::write(&log, "\u{1b}[2J\n").unwrap();
    is_found(&log, "audit.jsonl", 1, "no line of an audit log");

    // A tail that is gone, and all of it anew, are found by who noted the head.
    write(&lines[..6]);
    assert_eq!(verify(&[log.to_str().unwrap()]).0, 0);
    let (code, told) = verify(&[log.to_str().unwrap(), "--expect", &head]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("is not in the chain"), "{told}");
    fs::write(&log, text).unwrap();
    assert_eq!(verify(&[log.to_str().unwrap(), "--expect", &head]).0, 0);
}

#[test]
fn a_file_in_the_middle_that_is_gone_is_found_and_the_oldest_may_go() {
    let (_home, log) = some_lines(&[("AUDIT_ROTATE_BYTES", "4096")], 60);
    let folder = log.parent().unwrap();
    let mut old: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    old.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("audit.0"));
    old.sort();
    assert!(old.len() >= 3, "{old:?}");
    let (code, text) = verify(&[log.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("files={} lines=61 first=1 last=61 ", old.len() + 1)), "{text}");

    let gone = fs::read(&old[1]).unwrap();
    fs::remove_file(&old[1]).unwrap();
    is_found(&log, old[2].file_name().unwrap().to_str().unwrap(), 1, "before it are missing");
    fs::write(&old[1], gone).unwrap();
    // In an archive: these alone, in their order, and in no other.
    let named =
        |paths: &[&PathBuf]| paths.iter().map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>();
    let archive = named(&[&old[0], &old[1]]);
    assert_eq!(verify(&archive.iter().map(String::as_str).collect::<Vec<_>>()).0, 0);
    let archive = named(&[&old[1], &old[0]]);
    assert_eq!(verify(&archive.iter().map(String::as_str).collect::<Vec<_>>()).0, 1);
    fs::remove_file(&old[0]).unwrap();
    let (code, text) = verify(&[log.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("first=1 "), "{text}");
}

#[test]
fn a_log_is_verified_while_the_server_writes_and_begins_files() {
    let server = Server::start(&[("AUDIT_ROTATE_BYTES", "4096")]);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for number in 0..300 {
                server.post("/download/shop-1", &json!({ "fileKey": format!("file-{number}") })).expect(404);
            }
        });
        let mut looks = 0;
        while !writing.is_finished() || looks == 0 {
            servers_is_good(&server);
            looks += 1;
        }
    });
    let (code, text) = verify(&["--upload-dir", server.uploads.to_str().unwrap()]);
    assert_eq!((code, text.contains(" lines=301 ")), (0, true), "{text}");
    assert!(lines(&log_of(&server.uploads)).len() < 300);
}

#[test]
fn what_is_asked_wrongly_is_no_verdict() {
    let (_home, log) = some_lines(&[], 0);
    let path = log.to_str().unwrap();
    for (args, wanted) in [
        (vec!["/nonexistent/audit.jsonl"], "there is no audit log"),
        (vec![path, "/nonexistent/audit.jsonl"], "there is no audit log"),
        (vec!["--upload-dir", "/nonexistent"], "there is no audit log /nonexistent/.towline/audit.jsonl"),
        (vec!["--expect", "abc"], "64 hexadecimal digits"),
        (vec!["--wat"], "--wat"),
    ] {
        let (code, text) = verify(&args);
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(wanted) && text.lines().count() == 1, "{text}");
    }
    let (code, text) = verify(&[log.parent().unwrap().to_str().unwrap()]);
    assert_eq!(code, 1, "a folder: {text}");
}
