//! `towline-server keys …`, and the file that it keeps.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::scene::{Keys, SERVER, command, id_of};
use crate::support::program::Program;
use crate::support::server::SECRET;
use crate::support::temp::TempDir;

/// Debian's `nobody`; any number that owns nothing would do.
const NOBODY: u32 = 65_534;

fn told(output: &std::process::Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn add_makes_the_file_and_prints_the_key_this_once() {
    let keys = Keys::new();
    let (code, key, said) = told(&keys.run(&["add", "client", "shop-001"]));
    assert_eq!(code, Some(0), "{said}");
    let parts: Vec<&str> = key.trim_end().split('_').collect();
    assert!(key.ends_with('\n') && key.len() == 4 + 12 + 1 + 64 + 1, "one line: {key:?}");
    assert!(
        parts[0] == "twl" && key.trim_end().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    );
    assert!(
        said.contains(parts[1]) && said.contains("client shop-001") && !said.contains(parts[2]),
        "{said}"
    );
    assert_eq!(fs::metadata(keys.path()).unwrap().permissions().mode() & 0o777, 0o600);

    let operator = keys.operator("nightly", "pull,read,read", "shop-*,pos-1", "logs/*");
    let ring: Value = serde_json::from_str(&keys.text()).unwrap();
    assert_eq!(ring["version"], 1);
    assert_eq!(ring["keys"][0]["clientId"], "shop-001");
    assert_eq!(ring["keys"][0]["sha256"], crate::support::files::sha256(key.trim_end().as_bytes()));
    let nightly = &ring["keys"][1];
    assert_eq!(nightly["id"], id_of(&operator));
    assert_eq!(nightly["scopes"], serde_json::json!(["read", "pull"]));
    assert_eq!(nightly["clients"], serde_json::json!(["shop-*", "pos-1"]));
    assert_eq!(nightly["files"], serde_json::json!(["logs/*"]));

    // By the other program's name, with a flag, and with a line of .env.
    let towline = env!("CARGO_BIN_EXE_towline");
    let list = |args: &[&str]| {
        let mut list = Command::new(towline);
        list.args(["server", "keys", "list"]).args(args).env_clear().current_dir(&*keys.home);
        told(&list.stdin(Stdio::null()).output().unwrap())
    };
    let (code, listed, _) = list(&["--keys-file", "keys.json"]);
    assert!(code == Some(0) && listed.lines().count() == 3 && listed.contains("nightly"), "{listed}");
    fs::write(keys.home.join(".env"), format!("KEYS_FILE=keys.json\nAUTH_SECRET={SECRET}\nPORT=nonsense\n"))
        .unwrap();
    assert_eq!(list(&[]).1, listed);
}

#[test]
fn what_is_wrong_is_said_in_one_line_and_changes_nothing() {
    let keys = Keys::new();
    let one = keys.client("shop-001");
    keys.operator("nightly", "read", "*", "*");
    keys.done(&["rotate", "nightly"]);
    let before = keys.text();
    let deep = "x,".repeat(300);
    for (args, code, wanted) in [
        (&["add"][..], 2, "expected `keys add client ID` or"),
        (&["add", "robot", "x"], 2, "expected `keys add client ID` or"),
        (&["add", "client", "../x"], 2, "a client id is 1 to 64"),
        (&["add", "client", "a", "b"], 2, "expected `keys add client ID` or"),
        (&["add", "client", "a", "--scope", "read"], 2, "--scope is for operators"),
        (&["add", "client", "shop-001"], 1, "shop-001 has a key; `keys rotate shop-001`"),
        (&["add", "operator", "x"], 2, "expected --scope with read"),
        (&["add", "operator", "x", "--scope", "write"], 2, "--scope=write"),
        (&["add", "operator", "x", "--scope", ""], 2, "--scope="),
        (&["add", "operator", "a@b", "--scope", "read"], 2, "an operator's name is"),
        (&["add", "operator", "x", "--scope", "read", "--clients", "shop 1"], 2, "--clients=shop 1"),
        (&["add", "operator", "x", "--scope", "read", "--clients", "a,,b"], 2, "--clients=a,,b"),
        (&["add", "operator", "x", "--scope", "read", "--files", ""], 2, "--files="),
        (&["add", "operator", "x", "--scope", "read", "--files", &deep], 2, "a pattern is 1 to 4096"),
        (&["add", "operator", "nightly", "--scope", "read"], 1, "nightly has a key"),
        (&["rotate"], 2, "expected one name or id"),
        (&["rotate", "nobody"], 1, "there is no key nobody"),
        (&["rotate", "nightly"], 1, "nightly has two keys already"),
        (&["revoke"], 2, "expected the id of one key"),
        (&["revoke", "0123456789ab"], 1, "there is no key 0123456789ab"),
        (&["revoke", "shop-001"], 1, id_of(&one)),
        (&["list", "x"], 2, "unexpected argument: x"),
        (&["list", "--nonsense"], 2, "no such flag: --nonsense"),
        (&["frobnicate"], 2, "keys what? See `towline-server keys add --help`"),
        (&[], 2, "keys what?"),
    ] {
        let (exit, out, said) = told(&keys.run(args));
        assert_eq!(exit, Some(code), "{args:?}: {said}");
        assert!(said.contains(wanted) && said.lines().count() == 1, "{args:?}: {wanted:?} in {said:?}");
        assert_eq!(out, "", "{args:?}");
    }
    assert_eq!(keys.text(), before);
    let home = TempDir::new();
    let (code, _, said) = told(&command(&home).args(["keys", "list"]).output().unwrap());
    assert!(code == Some(2) && said.contains("KEYS_FILE is not set"), "{said}");
    let missing = home.join("none.json");
    let (code, _, said) =
        told(&command(&home).args(["keys", "list"]).env("KEYS_FILE", &missing).output().unwrap());
    assert!(code == Some(1) && said.contains("none.json"), "{said}");
    let (code, all, said) = told(&keys.run(&["--help"]));
    assert!(code == Some(0) && said.is_empty(), "{said}");
    for sub in ["add", "list", "revoke", "rotate"] {
        assert!(all.contains(&format!("towline-server keys {sub}\n    ")), "{all}");
        let (code, help, _) = told(&keys.run(&[sub, "--help"]));
        assert!(code == Some(0) && help.contains(&format!("Usage: towline-server keys {sub}")), "{help}");
        assert!(
            help.contains("--keys-file FILE") && help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
}

#[test]
fn a_client_and_an_operator_may_have_one_name() {
    let keys = Keys::new();
    keys.client("shop");
    let operator = keys.operator("shop", "read", "*", "*");
    let (code, _, said) = told(&keys.run(&["rotate", "shop"]));
    assert!(code == Some(1) && said.contains("name the id"), "{said}");
    keys.done(&["rotate", id_of(&operator)]);
    assert_eq!(keys.done(&["list"]).lines().filter(|line| line.contains("operator")).count(), 2);
}

#[test]
fn of_many_adds_at_once_none_is_lost() {
    let keys = Keys::new();
    let made: Vec<String> = thread::scope(|scope| {
        let adds: Vec<_> = (0..8)
            .map(|n| {
                scope.spawn({
                    let keys = &keys;
                    move || keys.client(&format!("shop-{n}"))
                })
            })
            .collect();
        adds.into_iter().map(|add| add.join().unwrap()).collect()
    });
    let text = keys.text();
    for key in &made {
        assert!(text.contains(&crate::support::files::sha256(key.as_bytes())));
    }
    assert_eq!(keys.done(&["list"]).lines().count(), 9);
}

#[test]
fn a_server_does_not_start_with_keys_that_it_cannot_trust() {
    let keys = Keys::new();
    keys.client("shop-001");
    let good = keys.text();
    let path = keys.path();
    let starts = |wanted: &str| {
        let uploads = keys.home.join("downloads");
        let settings = [
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("KEYS_FILE", path.to_str().unwrap()),
            ("UPLOAD_DIR", uploads.to_str().unwrap()),
        ];
        let mut server = Program::start("towline-server", SERVER, &[], &settings, &keys.home);
        let code = server.wait_exit();
        let said = server.output();
        assert_eq!((code, said.lines().count()), (2, 1), "{said}");
        assert!(said.contains("KEYS_FILE") && said.contains("keys.json") && said.contains(wanted), "{said}");
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    starts("(mode 640): run `chmod 600`");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for (text, wanted) in [
        (good.replace("\"version\": 1", "\"version\": 7"), "version 7"),
        (good.replace("\"kind\"", "\"kin\""), "unknown field `kin`"),
        (good[..good.len() / 2].to_owned(), "line "),
        (String::new(), "EOF"),
    ] {
        fs::write(&path, text).unwrap();
        starts(wanted);
    }
    fs::remove_file(&path).unwrap();
    starts("`towline-server keys add` makes it");
    fs::create_dir(&path).unwrap();
    starts("not a regular file");
}

#[test]
fn a_lock_that_is_another_name_of_a_file_of_root_stays_with_root() {
    let keys = Keys::new();
    keys.client("shop-001");
    if let Err(error) = chown(keys.path(), Some(NOBODY), Some(NOBODY)) {
        return eprintln!("SKIPPED: only root can give files away: {error}");
    }
    let (lock, victim) = (keys.home.join("keys.json.lock"), keys.home.join("victim"));
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    let before = owner(&lock);
    keys.client("shop-002");
    assert_eq!((owner(&lock), owner(&keys.path())), (NOBODY, NOBODY));

    fs::remove_file(&lock).unwrap();
    fs::write(&victim, "not the server's").unwrap();
    fs::hard_link(&victim, &lock).unwrap();
    keys.client("shop-003");
    assert_eq!((owner(&victim), owner(&keys.path())), (before, NOBODY));
}
