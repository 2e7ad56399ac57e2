//! Keys that go, come and change while a server runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;

use crate::scene::{Keys, SERVER, call, dial, id_of, shop};
use crate::support::agent::Agent;
use crate::support::files;
use crate::support::http::Wire;
use crate::support::raw_line::ask_upgrade;
use crate::support::server::{Server, id};
use crate::support::temp::TempDir;
use crate::support::wait::{SOON, eventually};

/// What the issue gives a revoked line; the process that revokes it is not counted in.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A line of this client that is open and has been answered.
#[track_caller]
fn line(server: &Server, client: &str, key: &str) -> Wire {
    let target = format!("/ws?clientId={client}");
    let mut wire = ask_upgrade(server.port, target.as_bytes(), &format!("Authorization: Bearer {key}\r\n"));
    assert_eq!(wire.read_exact(12), b"HTTP/1.1 101");
    server.lists(client);
    wire
}

/// Waits for the line's end, and returns what came before it.
#[track_caller]
fn ends_at_once(wire: &mut Wire, since: Instant) -> Vec<u8> {
    let (closed, bytes) = wire.read_to_end(SOON);
    assert!(closed, "the line was left open");
    assert!(since.elapsed() < AT_ONCE, "after {:?}", since.elapsed());
    bytes
}

#[test]
fn a_revoked_key_ends_its_line_within_a_second_and_no_other() {
    let keys = Keys::new();
    let (one, two, busy) = (keys.client("shop-001"), keys.client("shop-002"), keys.client("busy"));
    let server = keys.server(&[]);
    let home = TempDir::new();
    let content = files::random_file(&home.join("file"), 7, 12_000_000);
    let _busy = Agent::serving(&server, "busy", home, &[("AUTH_SECRET", &busy), ("MAX_RATE", "4M")]);
    let pull = id(&server.pull("busy", &json!({})));
    server.has_bytes(&pull);
    let mut revoked = line(&server, "shop-001", &one);
    let _kept = line(&server, "shop-002", &two);

    assert_eq!(keys.done(&["revoke", id_of(&one)]), format!("revoked {} of client shop-001", id_of(&one)));
    let bytes = ends_at_once(&mut revoked, Instant::now());

    let said = String::from_utf8_lossy(&bytes);
    assert!(said.ends_with("its key was revoked"), "a Close that says why: {said}");
    server.program.wait_line("the key of shop-001 was revoked");
    server.lists_no_more("shop-001", SOON);
    assert_eq!(dial(&server, "shop-001", &one), 401);
    assert_eq!(server.clients(), ["busy", "shop-002"]);
    assert!(
        !["completed", "failed"].iter().any(|word| server.transfer(&pull)["status"] == *word),
        "it goes on"
    );
    let ended = server.assert_verified(&pull, &content);
    assert_eq!(ended["attempts"], 1, "without a break");
}

#[test]
fn an_agent_that_is_revoked_says_so_and_comes_back_with_a_new_key() {
    let keys = Keys::new();
    let one = keys.client("shop-001");
    let server = keys.server(&[]);
    let agent = shop(&server, "shop-001", &one);
    keys.done(&["revoke", id_of(&one)]);
    agent.program.wait_line("its key was revoked");
    agent.program.wait_line("401");
    let new = keys.client("shop-001");
    assert_eq!(dial(&server, "shop-001", &new), 101);
}

#[test]
fn after_a_rotation_both_keys_are_valid_until_the_old_one_is_revoked() {
    let keys = Keys::new();
    let (old, nightly) = (keys.client("shop-001"), keys.operator("nightly", "read", "shop-*", "*"));
    let server = keys.server(&[]);
    let mut on_old = line(&server, "shop-001", &old);
    let new = keys.done(&["rotate", "shop-001"]);
    let new_nightly = keys.done(&["rotate", id_of(&nightly)]);
    assert_ne!(old, new);
    eventually("the new key is valid", || {
        (call(&server, &new_nightly, "GET", "/clients", None).status == 200).then_some(())
    });
    call(&server, &nightly, "GET", "/clients", None).expect(200);
    call(&server, &new_nightly, "POST", "/download/shop-001", None).expect_error(403, "forbidden");
    // The same client, which has a line already that answers to nothing: it gives way.
    assert_eq!(dial(&server, "shop-001", &new), 101);
    assert!(on_old.read_to_end(SOON).0);
    eventually("the one that gave way and the one that dialled are gone", || {
        server.clients().is_empty().then_some(())
    });

    let mut on_new = line(&server, "shop-001", &new);
    for key in [&old, &nightly] {
        keys.done(&["revoke", id_of(key)]);
    }
    eventually("the old key is no more", || {
        (call(&server, &nightly, "GET", "/clients", None).status == 401).then_some(())
    });
    assert_eq!(dial(&server, "shop-001", &old), 401);
    call(&server, &new_nightly, "GET", "/clients", None).expect(200);
    assert_eq!(server.clients(), ["shop-001"], "the line on the new key stays");
    keys.done(&["revoke", id_of(&new)]);
    ends_at_once(&mut on_new, Instant::now());
}

#[test]
fn a_key_that_is_revoked_while_its_request_comes_is_401() {
    let keys = Keys::new();
    let nightly = keys.operator("nightly", "pull", "*", "*");
    let server = keys.server(&[]);
    let headers = [("Content-Length", "2"), ("Expect", "100-continue")];
    let mut wire = server.send_with(&nightly, "POST", "/download/shop-001", &headers, None);
    assert_eq!(wire.read_exact(25), b"HTTP/1.1 100 Continue\r\n\r\n", "the door has let it in");
    keys.done(&["revoke", id_of(&nightly)]);
    eventually("it is no more", || {
        (call(&server, &nightly, "GET", "/nothing", None).status == 401).then_some(())
    });

    wire.send(b"{}");

    wire.answer().expect_error(401, "unauthorized");
}

#[test]
fn a_change_by_hand_counts_however_it_is_made() {
    let keys = Keys::new();
    let (one, two, three) = (keys.client("shop-001"), keys.client("shop-002"), keys.client("shop-003"));
    let server = keys.server(&[]);
    let without = |key: &str| {
        let mut ring: serde_json::Value = serde_json::from_str(&keys.text()).unwrap();
        ring["keys"].as_array_mut().unwrap().retain(|entry| entry["id"] != id_of(key));
        ring.to_string()
    };
    let mut lines = [("shop-001", &one), ("shop-002", &two), ("shop-003", &three)]
        .map(|(client, key)| line(&server, client, key));

    fs::write(keys.path(), without(&one)).unwrap(); // in place
    ends_at_once(&mut lines[0], Instant::now());

    let beside = keys.home.join("edited");
    fs::write(&beside, without(&two)).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&beside, keys.path()).unwrap(); // as most editors do
    ends_at_once(&mut lines[1], Instant::now());

    // Behind a link that is set to another place.
    fs::rename(keys.path(), keys.home.join("first")).unwrap();
    std::os::unix::fs::symlink("first", keys.path()).unwrap();
    server.get("/clients").expect(200);
    fs::write(keys.home.join("second"), without(&three)).unwrap();
    fs::set_permissions(keys.home.join("second"), fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("second", keys.home.join("link")).unwrap();
    fs::rename(keys.home.join("link"), keys.path()).unwrap();
    ends_at_once(&mut lines[2], Instant::now());
    server.get("/clients").expect(200);
}

#[test]
fn a_key_is_revoked_behind_a_link_into_another_folder() {
    let keys = Keys::new();
    let one = keys.client("shop-001");
    let far = keys.home.join("far");
    fs::create_dir(&far).unwrap();
    fs::rename(keys.path(), far.join("real.json")).unwrap();
    std::os::unix::fs::symlink("far/real.json", keys.path()).unwrap();
    let server = keys.server(&[]);
    let mut revoked = line(&server, "shop-001", &one);

    keys.done(&["revoke", id_of(&one)]);

    ends_at_once(&mut revoked, Instant::now());
}

#[test]
fn a_file_that_can_not_be_read_for_a_while_is_read_again() {
    let keys = Keys::new();
    let one = keys.client("shop-001");
    let server = keys.server(&[]);
    let mut revoked = line(&server, "shop-001", &one);
    let pid = Pid::from_raw(server.program.id() as i32);
    let limit = getrlimit(Resource::Nofile);
    let set = |current| prlimit(pid, Resource::Nofile, Rlimit { current, ..limit }).unwrap();
    let before = set(Some(1)); // no descriptor more
    keys.done(&["revoke", id_of(&one)]);
    server.program.wait_line("Too many open files (os error 24); the keys of before stay valid");

    set(before.current);

    let (closed, _) = revoked.read_to_end(SOON); // and nobody else has dialled or asked
    assert!(closed, "the line was left open");
    server.program.wait_line("is good again");
    let told = server.program.output().matches("the keys of before").count();
    assert!(told <= 2, "once for each state of the file, not with each look: {told}");
}

#[test]
fn a_change_that_nothing_tells_of_is_seen_when_a_key_is_refused() {
    let keys = Keys::new();
    let (old, new) = (keys.client("shop-001"), keys.client("shop-002"));
    // The folder of the file is a link, and what happens to that is seen in no folder that is watched.
    let (one, two) = (keys.home.join("one"), keys.home.join("two"));
    for folder in [&one, &two] {
        fs::create_dir(folder).unwrap();
        fs::copy(keys.path(), folder.join("keys.json")).unwrap();
    }
    let of_one = Command::new(SERVER)
        .args(["keys", "revoke", id_of(&new)])
        .env("KEYS_FILE", one.join("keys.json"))
        .output();
    assert!(of_one.unwrap().status.success());
    let of_two = Command::new(SERVER)
        .args(["keys", "revoke", id_of(&old)])
        .env("KEYS_FILE", two.join("keys.json"))
        .output();
    assert!(of_two.unwrap().status.success());
    let current = keys.home.join("current");
    std::os::unix::fs::symlink("one", &current).unwrap();
    let file = current.join("keys.json");
    let server = Server::start(&[("AUTH_SECRET", ""), ("KEYS_FILE", file.to_str().unwrap())]);
    let target = "/ws?clientId=shop-001";
    let mut line = ask_upgrade(server.port, target.as_bytes(), &format!("Authorization: Bearer {old}\r\n"));
    assert_eq!(line.read_exact(12), b"HTTP/1.1 101");
    std::os::unix::fs::symlink("two", keys.home.join("next")).unwrap();
    fs::rename(keys.home.join("next"), &current).unwrap();

    assert_eq!(dial(&server, "shop-002", &new), 101);

    ends_at_once(&mut line, Instant::now());
}

#[test]
fn a_file_that_becomes_bad_changes_nothing_and_is_told_of_once() {
    let keys = Keys::new();
    let one = keys.client("shop-001");
    let server = keys.server(&[]);
    let _line = line(&server, "shop-001", &one);
    let good = keys.text();
    let told = |part: &str| server.program.output().lines().filter(|line| line.contains(part)).count();

    fs::write(keys.path(), good.replace("\"keys\"", "\"kees\"")).unwrap();
    server.program.wait_line("unknown field `kees`");
    fs::set_permissions(keys.path(), fs::Permissions::from_mode(0o644)).unwrap();
    server.program.wait_line("(mode 644): run `chmod 600` on it; the keys of before stay valid");
    fs::remove_file(keys.path()).unwrap();
    server.program.wait_line("can't open it");
    fs::write(keys.home.join("something-else"), "in the same folder").unwrap();
    for _ in 0..3 {
        assert_eq!(dial(&server, "shop-001", "wrong"), 401); // it is looked at again
        server.get("/clients").expect(200);
    }
    assert_eq!(server.clients(), ["shop-001"]);
    for part in ["unknown field `kees`", "(mode 644)", "can't open it"] {
        assert_eq!(told(part), 1, "{}", server.program.output());
    }

    // Good again, with a key more.
    fs::write(keys.path(), &good).unwrap();
    fs::set_permissions(keys.path(), fs::Permissions::from_mode(0o600)).unwrap();
    server.program.wait_line("is good again");
    let two = keys.client("shop-002");
    assert_eq!(dial(&server, "shop-002", &two), 101);
}

#[test]
fn a_server_with_keys_sleeps_when_nothing_changes() {
    let keys = Keys::new();
    let server = keys.server(&[]);
    server.get("/clients").expect(200);
    eventually("it has come to rest", || {
        let before = server.program.wake_ups();
        crate::support::wait::pause(Duration::from_secs(2));
        (server.program.wake_ups() == before).then_some(())
    });
}
