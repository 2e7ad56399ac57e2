//! `KEEP_DOWNLOADS_DAYS`: downloads go when they are old enough, and nothing else ever does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde_json::{Value, json};

use crate::support::files::sha256;
use crate::support::server::{Server, id};
use crate::support::v1_client::V1Client;
use crate::support::wait::eventually;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Makes what is at `path`, be it a link, that old.
fn age(path: &Path, age: Duration) {
    let then = SystemTime::now().checked_sub(age).unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let then = Timespec { tv_sec: then.as_secs() as i64, tv_nsec: 0 };
    let both = Timestamps { last_access: then, last_modification: then };
    utimensat(CWD, path, &both, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Completed transfers, one of each content.
fn completed(server: &Server, contents: &[&str]) -> Vec<Value> {
    let mut client = V1Client::connect(server, "shop_001");
    let pull = |content: &&str| {
        let id = server.pull_id("shop_001");
        let asked = client.asked();
        client.upload(&asked, content.as_bytes());
        server.assert_verified(&id, content.as_bytes())
    };
    contents.iter().map(pull).collect()
}

/// Its threads, once the one of this name is there: a thread takes its name a moment after it has begun.
#[track_caller]
fn threads_with(server: &Server, name: &str) -> Vec<String> {
    eventually(&format!("a thread {name}"), || {
        let threads = threads(server);
        threads.iter().any(|thread| thread == name).then_some(threads)
    })
}

fn threads(server: &Server) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.program.id())).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}

#[test]
fn old_downloads_are_removed_and_nothing_else() {
    let server = Server::start(&[]);
    let transfers = completed(&server, &["old", "older", "young"]);
    let path = |nth: usize| Path::new(transfers[nth]["outPath"].as_str().unwrap()).to_owned();
    age(&path(0), 2 * DAY + Duration::from_secs(5));
    age(&path(1), 400 * DAY);
    age(&path(2), 2 * DAY - Duration::from_secs(600));
    let uploads = server.uploads.clone();
    let (old, elsewhere) = ("x_2020-01-01T00-00-00-000Z", uploads.join("kept"));
    fs::create_dir_all(&elsewhere).unwrap();
    fs::create_dir_all(uploads.join(format!("{old}_folder.bin"))).unwrap();
    let mut kept = vec![
        uploads.join("report.bin"),
        uploads.join(format!("{old}.bin.gz")),
        uploads.join(format!("{old}.part")),
        uploads.join(format!(".{old}.bin")),
        elsewhere.join(format!("{old}.bin")),
        uploads.join(format!("{old}_folder.bin")).join(format!("{old}.bin")),
        uploads.join(".towline").join(format!("{old}.bin")),
    ];
    kept.iter().for_each(|path| fs::write(path, "x").unwrap());
    let link = uploads.join(format!("{old}_link.bin"));
    symlink(&kept[0], &link).unwrap();
    kept.extend([link, uploads.join(format!("{old}_folder.bin")), path(2)]);
    for path in &kept {
        if *path != kept[kept.len() - 1] {
            age(path, 400 * DAY);
        }
    }

    let server = Server::start_in(server.kill(), &[("KEEP_DOWNLOADS_DAYS", "2")]);

    for removed in [path(0), path(1)] {
        server.program.wait_line(&format!("removed {}", removed.display()));
        assert!(!removed.exists());
    }
    for path in kept {
        assert!(path.symlink_metadata().is_ok(), "{} was no old download", path.display());
    }
    assert_eq!(server.program.output().matches("removed ").count(), 2);
    for (transfer, status) in transfers.iter().zip([410, 410, 200]) {
        let now = server.transfer(&id(transfer));
        assert_eq!((&now["status"], &now["sha256"]), (&json!("completed"), &transfer["sha256"]));
        assert_eq!(server.get(&format!("/transfers/{}/file", id(transfer))).status, status);
    }
    completed(&server, &["next"]);
}

#[test]
fn unless_it_is_set_downloads_stay_and_nothing_looks() {
    let server = Server::start(&[]);
    let transfer = completed(&server, &["old"]).remove(0);
    age(Path::new(transfer["outPath"].as_str().unwrap()), 5000 * DAY);

    let server = Server::start_in(server.kill(), &[]);

    let threads = threads_with(&server, "signals"); // begun later
    assert!(!threads.contains(&"retention".to_owned()), "{threads:?}");
    server.assert_downloads(&[(transfer["filename"].as_str().unwrap(), &sha256(b"old"))]);
    let looking = Server::start(&[("KEEP_DOWNLOADS_DAYS", "1")]);
    threads_with(&looking, "retention");
}
