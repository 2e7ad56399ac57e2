//! `towline-server certs`, as its user runs it: what it prints is what is set, and what it makes is what is believed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::authority::{Authority, Identity};
use crate::support::files;
use crate::support::secure;
use crate::support::server::{SECRET, Server, id};
use crate::support::temp::TempDir;
use crate::support::wait::eventually;

const SERVER: &str = env!("CARGO_BIN_EXE_towline-server");
const TOWLINE: &str = env!("CARGO_BIN_EXE_towline");

fn run(home: &Path, args: &[&str]) -> Output {
    Command::new(SERVER).args(args).env_clear().current_dir(home).output().unwrap()
}

/// What `towline-server certs …` prints when it has done its work.
#[track_caller]
fn certs(home: &Path, args: &[&str]) -> String {
    let output = run(home, &[&["certs"], args].concat());
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && err.is_empty(), "{args:?}: {err}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line with which it ends with `code`.
#[track_caller]
fn refused(home: &Path, args: &[&str], code: i32) -> String {
    let output = run(home, args);
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
    assert!(output.stdout.is_empty() && err.lines().count() == 1, "{args:?}: {err}");
    err
}

/// The settings among what was printed.
fn settings(printed: &str) -> Vec<(&str, &str)> {
    let is_setting = |(name, _): &(&str, &str)| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    printed.lines().filter_map(|line| line.split_once('=')).filter(is_setting).collect()
}

/// All that a folder holds, by name.
fn held(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// A server that takes agents with certificates of the authority in `home` alone, started with the settings that
/// `init` has printed.
fn start(printed: &str) -> Server {
    let given = settings(printed);
    assert_eq!(
        given.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA"]
    );
    Server::start_secure(Path::new(given[2].1), &given)
}

/// A shop's machine, with the three files that belong there and a file to pull.
fn shop(certs: &Path, id: &str) -> (TempDir, Vec<u8>) {
    let home = TempDir::new();
    for name in ["ca.pem".to_owned(), format!("client-{id}.pem"), format!("client-{id}.key")] {
        fs::copy(certs.join(&name), home.join(&name)).unwrap();
    }
    let content = files::random_file(&home.join("file"), 1_000_001, 7);
    (home, content)
}

#[test]
fn three_commands_make_mutual_tls() {
    let home = TempDir::new();
    let made = certs(&home, &["init", "127.0.0.1"]);
    let for_agent = certs(&home, &["client", "shop-001"]);
    let server = start(&made);

    let folder = home.join("certs");
    let (machine, content) = shop(&folder, "shop-001");
    let given: Vec<_> =
        settings(&for_agent).into_iter().filter(|(name, _)| name.starts_with("TLS_")).collect();
    assert!(for_agent.contains("\nSERVER_URL=wss://127.0.0.1:8080/ws\nCLIENT_ID=shop-001\nTLS_CA=ca.pem\n"));
    let agent = Agent::serving(&server, "shop-001", machine, &given);

    // The operator has a copy of ca.pem.
    let desk = TempDir::new();
    fs::copy(folder.join("ca.pem"), desk.join("ca.pem")).unwrap();
    let pulled = Command::new(TOWLINE)
        .args(["pull", "shop-001", "--output", "copy"])
        .env_clear()
        .envs([("SERVER", server.rest_url().as_str()), ("TLS_CA", "ca.pem"), ("API_KEY", SECRET)])
        .current_dir(&*desk)
        .output()
        .unwrap();
    assert!(pulled.status.success(), "{}", String::from_utf8_lossy(&pulled.stderr));
    assert!(fs::read(desk.join("copy")).unwrap() == content);
    agent.program.wait_line("connected to wss://127.0.0.1:");

    // The certificate is that of shop-001 and of nobody else, and none is no certificate.
    let (other, _) = shop(&folder, "shop-001");
    let other = Agent::start_in(other, &server.url(), "shop-002", &given);
    other.program.wait_line("refused with 40");
    let bare =
        Agent::start(&server.url(), "shop-001", &[("TLS_CA", folder.join("ca.pem").to_str().unwrap())]);
    bare.program.wait_line("refused with 40");
    assert_eq!(server.clients(), ["shop-001"]);
}

#[test]
fn the_files_are_private_and_say_whose_they_are() {
    let home = TempDir::new();
    certs(&home, &["init", "Towline.example.com", "203.0.113.9", "towline.example.com"]);
    certs(&home, &["client", "ca", "--days", "30"]);
    let folder = home.join("certs");
    let mode = |name: &str| fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    let names = ["ca.key", "ca.pem", "client-ca.key", "client-ca.pem", "server.key", "server.pem"];
    assert_eq!(held(&folder).keys().collect::<Vec<_>>(), names, "and nothing else");
    for name in names.iter().filter(|name| name.ends_with(".key")) {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert!(text("ca.pem").starts_with("Towline private CA "));
    assert!(text("client-ca.pem").starts_with("Towline agent ca, until 20"));
    assert!(
        text("server.pem")
            .contains("\nNames: towline.example.com 203.0.113.9\n-----BEGIN CERTIFICATE-----\n")
    );
}

#[test]
fn a_servers_certificate_is_renewed_under_a_standing_line() {
    let home = TempDir::new();
    let made = certs(&home, &["init", "127.0.0.1", "localhost", "--days", "1"]);
    certs(&home, &["client", "shop-001"]);
    let server = start(&made);
    let folder = home.join("certs");
    let (ca, (machine, content)) = (folder.join("ca.pem"), shop(&folder, "shop-001"));
    let given =
        [("TLS_CA", "ca.pem"), ("TLS_CERT", "client-shop-001.pem"), ("TLS_KEY", "client-shop-001.key")];
    let _agent = Agent::serving(&server, "shop-001", machine, &given);
    let line = server.line_of("shop-001");
    let before = held(&folder);
    let shown = secure::shown_certificate(server.port, &ca);
    assert_eq!(shown, secure::certificates(folder.join("server.pem"))[0]);

    let wrong = refused(&home, &["certs", "server"], 1);
    assert!(wrong.contains("--replace") && held(&folder) == before, "{wrong}");
    let renewed = certs(&home, &["server", "--replace"]);
    assert!(renewed.contains(", for 127.0.0.1 localhost\n"), "{renewed}");
    let fresh = secure::certificates(folder.join("server.pem"))[0].clone();
    assert_ne!(fresh, shown);
    eventually("new connections get the new certificate", || {
        (secure::shown_certificate(server.port, &ca) == fresh).then_some(())
    });
    server.assert_verified(&id(&server.pull("shop-001", &json!({}))), &content);
    assert_eq!(server.line_of("shop-001"), line, "the line has held");
    // The authority and the agents' certificates are as they were.
    let after = held(&folder);
    for (name, text) in &before {
        assert_eq!(after[name] == *text, !name.starts_with("server."), "{name}");
    }
}

#[test]
fn nothing_is_replaced_unless_told() {
    let home = TempDir::new();
    let folder = home.join("certs");
    certs(&home, &["init"]);
    certs(&home, &["client", "shop-001"]);
    let before = held(&folder);
    for args in [&["certs", "init"][..], &["certs", "client", "shop-001"], &["certs", "server", "h"]] {
        let wrong = refused(&home, args, 1);
        assert!(wrong.contains(" is there already, and is left as it is; --replace"), "{wrong}");
        assert!(held(&folder) == before, "{args:?}");
    }
    // What is left of a folder counts as well.
    for name in ["ca.key", "ca.pem", "server.key", "server.pem"] {
        let part = TempDir::new();
        fs::create_dir(part.join("certs")).unwrap();
        fs::write(part.join("certs").join(name), "mine").unwrap();
        let wrong = refused(&part, &["certs", "init"], 1);
        assert!(wrong.contains(name), "{wrong}");
        assert_eq!(
            held(&part.join("certs")).into_iter().collect::<Vec<_>>(),
            [(name.to_owned(), b"mine".to_vec())]
        );
    }
    certs(&home, &["client", "shop-001", "--replace"]);
    certs(&home, &["init", "--replace"]);
    let after = held(&folder);
    assert!(before.iter().all(|(name, text)| after[name] != *text));
}

#[test]
fn two_inits_at_once_make_one_authority() {
    for _ in 0..10 {
        let home = TempDir::new();
        let begin =
            || Command::new(SERVER).args(["certs", "init"]).env_clear().current_dir(&*home).output().unwrap();
        let codes = std::thread::scope(|scope| {
            let threads = [scope.spawn(begin), scope.spawn(begin), scope.spawn(begin)];
            threads.map(|thread| thread.join().unwrap().status.code())
        });
        assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
        assert_eq!(held(&home.join("certs")).len(), 4, "no draft is left");
        certs(&home, &["client", "shop-001"]); // which checks that all belong together
    }
}

#[test]
fn an_authority_that_cannot_sign_says_why() {
    let home = TempDir::new();
    for args in [&["certs", "client", "shop-001"][..], &["certs", "server", "h"]] {
        let wrong = refused(&home, args, 1);
        assert!(wrong.contains("ca.key is not there; `towline-server certs init`"), "{wrong}");
    }
    assert!(!home.join("certs").exists());
    let client = |code| refused(&home, &["certs", "client", "shop-001"], code);
    certs(&home, &["init"]);
    let (ca, key) = (home.join("certs/ca.pem"), home.join("certs/ca.key"));

    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(client(1).contains("chmod 600"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let mine = fs::read(&ca).unwrap();
    let foreign = Authority::new();
    for text in [fs::read(foreign.ca()).unwrap(), b"not PEM".to_vec(), b"\xff".to_vec(), Vec::new()] {
        fs::write(&ca, text).unwrap();
        let wrong = client(1);
        assert!(wrong.contains("ca.pem"), "{wrong}");
    }
    fs::write(&ca, mine).unwrap();
    let Identity { key: other_key, .. } = foreign.client("shop-001");
    for text in [fs::read(other_key).unwrap(), b"-----BEGIN PRIVATE KEY-----\nAAAA\n".to_vec(), Vec::new()] {
        fs::write(&key, text).unwrap();
        let wrong = client(1);
        assert!(wrong.contains("must be of one `towline-server certs init`"), "{wrong}");
    }
    assert_eq!(held(&home.join("certs")).len(), 4, "nothing was made of it");
}

#[test]
fn what_is_asked_wrongly_makes_nothing() {
    let home = TempDir::new();
    let many: Vec<String> = (0..65).map(|n| format!("n{n}")).collect();
    let many: Vec<&str> = ["certs", "init"].into_iter().chain(many.iter().map(String::as_str)).collect();
    for (args, wanted) in [
        (&["certs"][..], "certs what? See `towline-server certs init --help`"),
        (&["certs", "list"], "certs what?"),
        (&["certs", "init", "https://h"], "https://h is none: expected a DNS name"),
        (&["certs", "init", "h:8080"], "without a scheme or a port"),
        (&["certs", "init", "a\nb"], "a\\nb is none"),
        (&many, "at most 64"),
        (&["certs", "init", "--days", "0"], "a whole number from 1 to 825"),
        (&["certs", "init", "--days", "826"], "1 to 825"),
        (&["certs", "init", "--days", "+9"], "1 to 825"),
        (&["certs", "init", "--day"], "no such flag: --day"),
        (&["certs", "client"], "the client id of one agent"),
        (&["certs", "client", "a", "b"], "the client id of one agent"),
        (&["certs", "client", "../a"], "../a is none: a client id is"),
        (&["certs", "server"], "expected the server's names"),
    ] {
        let wrong = refused(&home, args, 2);
        assert!(wrong.contains(wanted), "{wrong}");
    }
    fs::write(home.join("file"), "").unwrap();
    let wrong = refused(&home, &["certs", "init", "--dir", "file"], 1);
    assert!(wrong.contains("cannot make the folder "), "{wrong}");
    let wrong = refused(&home, &["certs", "init", "--dir", "file/certs"], 1);
    assert!(wrong.contains("cannot make the folder "), "{wrong}");
    assert_eq!(held(&home).keys().collect::<Vec<_>>(), ["file"]);
    // A folder of another name, and the operator's program that is the server too.
    let output = Command::new(TOWLINE)
        .args(["server", "certs", "init", "--dir", "a/b c"])
        .env_clear()
        .current_dir(&*home)
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(held(&home.join("a/b c")).len(), 4);
}
