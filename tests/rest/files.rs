//! `GET /transfers/:id/file`: the verified bytes, and only those.

use serde_json::json;

use crate::support::files::{base64, random_bytes, sha256};
use crate::support::server::Server;
use crate::support::v1_client::V1Client;
use sha2::{Digest, Sha256};

/// A server with one completed transfer of `content`, which its source calls `name`: the path of its file.
pub fn completed(name: &str, content: &[u8]) -> (Server, V1Client, String) {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let path = pull(&server, &mut client, name, content);
    (server, client, path)
}

fn pull(server: &Server, client: &mut V1Client, name: &str, content: &[u8]) -> String {
    let id = server.pull_id("shop-001");
    let asked = client.asked();
    client.begin(&id, name, content.len());
    client.chunks(&asked, content);
    client.end(&id, &sha256(content), content.len());
    server.assert_verified(&id, content);
    format!("/transfers/{id}/file")
}

#[test]
fn the_file_comes_whole_with_its_hash() {
    for size in [0, 1, 5_000_000] {
        let content = random_bytes(1, size);
        let (server, _client, path) = completed("pos.db", &content);

        let answer = server.get(&path);

        assert_eq!(answer.status, 200);
        assert!(answer.body == content, "{size} bytes");
        assert_eq!(answer.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(answer.header("etag"), Some(format!("\"{}\"", sha256(&content)).as_str()));
        let digest = format!("sha-256=:{}:", base64(&Sha256::digest(&content)));
        assert_eq!(answer.header("repr-digest"), Some(digest.as_str()));
        assert_eq!(answer.header("accept-ranges"), Some("bytes"));
        let disposition = answer.header("content-disposition").unwrap();
        assert!(disposition.starts_with("attachment; filename=\"pos.db\""), "{disposition}");
    }
}

#[test]
fn head_tells_the_same_without_the_bytes() {
    let content = random_bytes(2, 100_000);
    let (server, _client, path) = completed("pos.db", &content);

    let answer = server.request("HEAD", &path, &[], None);

    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), Some("100000"));
    assert_eq!(answer.header("etag"), Some(format!("\"{}\"", sha256(&content)).as_str()));
}

#[test]
fn a_caller_that_has_it_gets_304() {
    let content = random_bytes(3, 1000);
    let (server, _client, path) = completed("pos.db", &content);
    let etag = format!("\"{}\"", sha256(&content));
    for (sent, status) in [
        (etag.clone(), 304),
        (format!("\"other\", {etag}"), 304),
        (format!("W/{etag}"), 304), // weak comparison: RFC 9110, section 13.1.2
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let answer = server.request("GET", &path, &[("If-None-Match", &sent)], None);
        assert_eq!(answer.status, status, "{sent}");
        assert_eq!(answer.header("etag"), Some(etag.as_str()), "{sent}");
        assert_eq!(answer.body.len(), if status == 304 { 0 } else { 1000 }, "{sent}");
    }
}

#[test]
fn a_hostile_source_name_splits_no_header_and_leaves_no_folder() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    for name in [
        "a\r\nSet-Cookie: x=1",
        "quote\".db",
        "back\\slash",
        "semi;colon, comma",
        "../../etc/passwd",
        "ünïcode 日本.db",
        "\u{202e}gpj.exe",
        "",
        ".",
        "..",
        "tab\there\0",
        &"n".repeat(5000),
    ] {
        let path = pull(&server, &mut client, name, b"x");

        let answer = server.get(&path);

        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"x"[..]), "{name:?}");
        assert!(answer.header("set-cookie").is_none(), "{name:?}: {answer:?}");
        let value = answer.header("content-disposition").unwrap();
        assert!(value.is_ascii() && value.len() < 2000, "{name:?}: {value}");
        assert!(!value.contains(['\r', '\n', '/', '\0']), "{name:?}: {value}");
        let (quoted, rest) = value.strip_prefix("attachment; filename=\"").unwrap().split_once('"').unwrap();
        assert!(!quoted.is_empty() && quoted != "." && quoted != "..", "{name:?}: {value}");
        assert!(rest.is_empty() || rest.starts_with("; filename*=UTF-8''"), "{name:?}: {value}");
    }
}

#[test]
fn a_name_beyond_ascii_is_encoded() {
    let (server, _client, path) = completed("Umsätze 日.db", b"x");

    let answer = server.get(&path);

    let value = answer.header("content-disposition").unwrap();
    assert!(value.contains("filename*=UTF-8''Ums%C3%A4tze%20%E6%97%A5.db"), "RFC 8187: {value}");
}

#[test]
fn there_is_no_file_before_the_transfer_is_complete() {
    let server = Server::start(&[]);
    let mut client = V1Client::connect(&server, "shop-001");
    let id = server.pull_id("shop-001");
    let path = format!("/transfers/{id}/file");
    let asked = client.asked();
    assert_eq!(server.get(&path).status, 409, "requested");
    client.begin(&id, "pos.db", 70_000);
    client.chunk(&id, 1, &random_bytes(4, 65536));
    server.has_bytes(&id);
    assert_eq!(server.get(&path).status, 409, "receiving");

    client.say(&json!({"type": "error", "message": "file_not_found", "requestId": asked.id}));

    server.assert_failed(&id, "file_not_found");
    assert_eq!(server.get(&path).status, 409, "failed");
}

#[test]
fn a_file_that_was_removed_since_is_410() {
    let (server, mut client, path) = completed("pos.db", b"x");
    for entry in std::fs::read_dir(&server.uploads).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }

    assert_eq!(server.get(&path).status, 410);

    client.receipt(path.split('/').nth(2).unwrap());
    let next = pull(&server, &mut client, "pos.db", b"y");
    assert_eq!(server.get(&next).body, b"y");
}

#[test]
fn a_file_that_was_changed_since_is_410_and_one_that_was_only_touched_is_not() {
    let (server, _client, path) = completed("pos.db", b"content");
    let transfer = server.get(&path.replace("/file", "")).expect(200);
    let file = server.uploads.join(transfer["filename"].as_str().unwrap());
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    let touch = || std::fs::File::options().append(true).open(&file).unwrap().set_modified(later).unwrap();

    touch();
    assert_eq!(server.get(&path).body, b"content");

    std::fs::write(&file, b"CONTENT").unwrap();
    touch();
    assert_eq!(server.get(&path).status, 410);
}

#[test]
fn a_caller_that_takes_a_file_and_stops_reading_disturbs_nobody() {
    let content = random_bytes(5, 20_000_000);
    let (server, mut client, path) = completed("pos.db", &content);
    client.receipt(path.split('/').nth(2).unwrap());
    let stopped: Vec<_> = (0..5).map(|_| server.send("GET", &path, &[], None)).collect();

    server.get("/clients").expect(200);
    let next = pull(&server, &mut client, "pos.db", b"next");
    assert_eq!(server.get(&next).body, b"next");
    assert!(server.get(&path).body == content);
    drop(stopped);
}

#[test]
fn what_has_taken_the_name_of_a_verified_file_is_not_served_as_it() {
    let (server, _client, path) = completed("pos.db", b"verified");
    let transfer = server.transfer(path.split('/').nth(2).unwrap());
    let download = transfer["outPath"].as_str().unwrap();

    std::fs::write(download, b"verified, and more").unwrap();
    assert_eq!(server.get(&path).status, 410, "another size");

    std::fs::remove_file(download).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", download).unwrap();
    assert_eq!(server.get(&path).status, 410, "a link");
}

#[test]
fn a_cleaner_that_removes_the_control_socket_cuts_nobody_off() {
    let (server, _client, path) = completed("pos.db", b"x");
    std::fs::remove_file(server.uploads.join(".towline/control.sock")).unwrap();
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get(&path).body, b"x");
}
