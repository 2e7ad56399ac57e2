//! No key is in a log, an error, a list, a process's arguments or a file.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::scene::{Keys, almost, call, dial, id_of, shop};
use crate::support::http::exchange;
use crate::support::server::id;
use crate::support::temp::TempDir;
use crate::support::v1_client::V1Client;

const TOWLINE: &str = env!("CARGO_BIN_EXE_towline");

/// The arguments of every process that may be looked at.
fn command_lines() -> String {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned() + "\n").collect()
}

/// Every file beneath `folder`, its name and its bytes as text.
fn everything_in(folder: &std::path::Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        all += &entry.file_name().to_string_lossy();
        if entry.file_type().unwrap().is_dir() {
            all += &everything_in(&entry.path());
        } else if entry.file_type().unwrap().is_file() {
            all += &String::from_utf8_lossy(&fs::read(entry.path()).unwrap());
        }
    }
    all
}

#[test]
fn keys_are_nowhere() {
    let keys = Keys::new();
    let (shop_key, till_key, revoked) = (keys.client("shop-001"), keys.client("till-1"), keys.client("gone"));
    let nightly = keys.operator("nightly", "read,pull", "shop-*", "logs/*");
    let server = keys.server(&[("LOG_LEVEL", "debug")]);
    let root = server.key.clone();
    let agent = shop(&server, "shop-001", &shop_key);
    let _till = V1Client::dial(server.port, "till-1", &till_key).unwrap();
    keys.done(&["revoke", id_of(&revoked)]);
    dial(&server, "gone", &revoked);
    dial(&server, "till-2", &till_key);
    let almost = almost(&nightly);
    call(&server, &almost, "GET", "/clients", None).expect_error(401, "unauthorized");
    call(&server, &nightly, "POST", "/download/till-1", Some(&json!({"fileKey": "db"})))
        .expect_error(403, "forbidden");
    call(&server, &nightly, "GET", &format!("/clients/{nightly}"), None).expect_error(400, "bad request");
    // In a wrong place by mistake, with a key and without one: both are put on record.
    for key in [&nightly, ""] {
        let status = call(&server, key, "POST", &format!("/download/{nightly}"), None).status;
        assert_eq!(status, if key.is_empty() { 401 } else { 400 });
    }
    assert_eq!(dial(&server, &nightly, &nightly), 400);
    assert_eq!(dial(&server, &shop_key, ""), 400);
    let pulled =
        call(&server, &nightly, "POST", "/download/shop-001", Some(&json!({"fileKey": "logs/today.log"})));
    server.assert_verified(&id(&pulled.expect(202)), b"logs/today.log");
    let home = TempDir::new();
    let mut pull = Command::new(TOWLINE);
    pull.args(["pull", "shop-001", "--file-key", "logs/today.log", "--output", "got"]).env_clear();
    pull.env("SERVER", format!("http://127.0.0.1:{}", server.port))
        .env("API_KEY", &nightly)
        .current_dir(&*home);
    let pulled = pull.stdin(Stdio::null()).output().unwrap();
    assert_eq!(pulled.status.code(), Some(0), "{}", String::from_utf8_lossy(&pulled.stderr));

    let listed = keys.done(&["list"]);
    for name in ["shop-001", "till-1", "nightly", "root", "read,pull", "shop-*", "logs/*", id_of(&nightly)] {
        assert!(listed.contains(name), "{name} in\n{listed}");
    }
    let said = [String::from_utf8(pulled.stdout).unwrap(), String::from_utf8(pulled.stderr).unwrap()];
    let places = [
        ("the server's log", server.program.output()),
        ("the agent's log", agent.program.output()),
        ("the list", listed),
        ("the command", said.concat()),
        ("arguments", command_lines()),
        ("UPLOAD_DIR", everything_in(&server.uploads)),
        ("KEYS_FILE and what is beside it", everything_in(&keys.home)),
    ];
    for key in [&shop_key, &till_key, &revoked, &nightly, &root, &almost] {
        let secret = &key.rsplit('_').next().unwrap()[..32]; // half of it is too much already
        for (place, text) in &places {
            assert!(!text.contains(secret), "in {place}");
        }
    }
}

#[test]
fn a_key_in_a_url_is_not_taken_and_told_of() {
    let keys = Keys::new();
    let server = keys.server(&[("LOG_LEVEL", "debug")]);
    let root = &server.key;
    for target in [
        format!("/clients?token={root}"),
        format!("/clients?api_key={root}"),
        format!("/clients?x={root}"),
        format!("/clients/{root}"),
    ] {
        let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        exchange(server.port, get(&target).as_bytes()).expect_error(401, "unauthorized");
    }
    server.program.wait_nth_line("sends a key in the URL", 4);
    assert!(!server.program.output().contains(root.as_str()));
    server.get("/clients?token=x").expect(200);
}

#[test]
fn the_command_takes_a_key_as_it_is_and_says_what_it_lacks() {
    let keys = Keys::new();
    let limited = keys.operator("reader", "read", "shop-*", "*");
    let server = keys.server(&[]);
    let home = TempDir::new();
    let run = |key: &str, args: &[&str]| {
        let mut command = Command::new(TOWLINE);
        command.args(args).env_clear().env("SERVER", format!("http://127.0.0.1:{}", server.port));
        let output = command.env("API_KEY", key).current_dir(&*home).stdin(Stdio::null()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run(&limited, &["clients"]).0, 0);
    let (code, told) = run(&limited, &["pull", "shop-001"]);
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("the key of reader lacks the scope pull; it has read"), "{told}");
    let (code, told) = run("twl_0_0", &["clients"]);
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("does not accept the key"), "{told}");
}
