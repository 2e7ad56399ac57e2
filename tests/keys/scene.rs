//! A file of keys, the commands that change it, and a server that follows it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::http::Answer;
use crate::support::raw_line::ask_upgrade;
use crate::support::server::Server;
use crate::support::temp::TempDir;
use crate::support::wait::SOON;

pub const SERVER: &str = env!("CARGO_BIN_EXE_towline-server");

/// A folder with a file of keys.
pub struct Keys {
    pub home: TempDir,
}

impl Keys {
    pub fn new() -> Keys {
        Keys { home: TempDir::new() }
    }

    pub fn path(&self) -> PathBuf {
        self.home.join("keys.json")
    }

    pub fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// `towline-server keys …` with this file.
    pub fn run(&self, args: &[&str]) -> Output {
        command(&self.home).arg("keys").args(args).env("KEYS_FILE", self.path()).output().unwrap()
    }

    /// The same, which must work: what it prints.
    #[track_caller]
    pub fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {told}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A new key of a client.
    #[track_caller]
    pub fn client(&self, id: &str) -> String {
        self.done(&["add", "client", id])
    }

    /// A new key of an operator.
    #[track_caller]
    pub fn operator(&self, name: &str, scopes: &str, clients: &str, files: &str) -> String {
        self.done(&["add", "operator", name, "--scope", scopes, "--clients", clients, "--files", files])
    }

    /// A server with these keys and no secret, called with the key of an operator `root` who may do everything.
    #[track_caller]
    pub fn server(&self, settings: &[(&str, &str)]) -> Server {
        let root = self.operator("root", "admin", "*", "*");
        let path = self.path();
        let mut all = vec![("AUTH_SECRET", ""), ("KEYS_FILE", path.to_str().unwrap())];
        all.extend_from_slice(settings);
        let mut server = Server::start(&all);
        server.key = root;
        server
    }
}

/// `towline-server` in `home`, with an empty environment.
pub fn command(home: &Path) -> Command {
    let mut command = Command::new(SERVER);
    command.env_clear().current_dir(home).stdin(Stdio::null());
    command
}

/// The public part of a key.
pub fn id_of(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

/// A call with this key.
#[track_caller]
pub fn call(server: &Server, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let body = body.map(Value::to_string);
    server.send_with(key, method, path, &[], body.as_deref().map(str::as_bytes)).answer_within(SOON)
}

/// The status that a client is met with, 101 when it is let in.
#[track_caller]
pub fn dial(server: &Server, client: &str, key: &str) -> u16 {
    let target = format!("/ws?clientId={client}");
    let mut wire = ask_upgrade(server.port, target.as_bytes(), &format!("Authorization: Bearer {key}\r\n"));
    let line = wire.read_exact(12);
    String::from_utf8(line).unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

/// An agent with a folder `logs` of two files and one folder, a file `db`, and a `FILE_PATH`.
#[track_caller]
pub fn shop(server: &Server, client: &str, key: &str) -> Agent {
    let home = TempDir::new();
    fs::create_dir_all(home.join("logs/2025")).unwrap();
    for file in ["logs/today.log", "logs/notes.txt", "logs/2025/old.log", "db", "file"] {
        fs::write(home.join(file), file).unwrap();
    }
    let shares = format!("logs={0}/logs,db={0}/db", home.display());
    Agent::serving(server, client, home, &[("AUTH_SECRET", key), ("SHARES", &shares)])
}

/// Right but for its last digit.
pub fn almost(key: &str) -> String {
    let (rest, last) = key.split_at(key.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}
