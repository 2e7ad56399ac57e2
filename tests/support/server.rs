//! `towline-server` on a port of its own with a folder of its own, and the API as an operator calls it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::files;
use super::http::{Answer, Wire};
use super::program::Program;
use super::temp::TempDir;
use super::wait::{SOON, eventually, pause, within};

/// The secret of every installation under test; nothing in it needs encoding in a URL.
pub const SECRET: &str = "correct-horse-battery-staple";

const FINAL: [&str; 4] = ["completed", "failed", "cancelled", "expired"];

/// A running server.
pub struct Server {
    pub program: Program,
    /// Where agents dial, and REST is served.
    pub port: u16,
    /// `UPLOAD_DIR`.
    pub uploads: PathBuf,
    /// The key that every call is made with.
    pub key: String,
    /// The file of the authority that signed its certificate, where it speaks TLS.
    pub ca: Option<PathBuf>,
    home: TempDir,
}

impl Server {
    /// Starts it with these settings beside the secret, and waits until it is ready.
    #[track_caller]
    pub fn start(settings: &[(&str, &str)]) -> Server {
        Server::start_in(TempDir::new(), settings)
    }

    /// The same in a folder that an earlier server may have left.
    #[track_caller]
    pub fn start_in(home: TempDir, settings: &[(&str, &str)]) -> Server {
        let (program, uploads) = launch(&home, settings);
        Server::of(program, uploads, home)
    }

    /// Starts it below what these commands of a shell leave it, such as `ulimit -n 1600`.
    #[track_caller]
    pub fn start_limited(limits: &str) -> Server {
        let home = TempDir::new();
        let uploads = home.join("downloads");
        let settings = settings(&uploads);
        let args = ["-c", &format!("{limits} && exec \"$0\""), env!("CARGO_BIN_EXE_towline-server")];
        let program = Program::start("towline-server", "/bin/sh", &args, &settings, &home);
        Server::of(program, uploads, home)
    }

    /// One that a test has started, when it is ready.
    #[track_caller]
    pub fn of(program: Program, uploads: PathBuf, home: TempDir) -> Server {
        let line = program.wait_line("Server running on port ");
        let port = line.rsplit(' ').next().and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("no port in {line:?}"));
        Server { program, port, uploads, key: SECRET.to_owned(), ca: None, home }
    }

    /// Starts it with TLS: `settings` hold its certificate, for 127.0.0.1, which the authority in the file `ca` has signed.
    #[cfg(feature = "tls")]
    #[track_caller]
    pub fn start_secure(ca: &std::path::Path, settings: &[(&str, &str)]) -> Server {
        Server { ca: Some(ca.to_owned()), ..Server::start(settings) }
    }

    /// Starts it in such a folder, ends it a moment later as a power cut would, and hands the folder on.
    pub fn killed_while_starting(home: TempDir, settings: &[(&str, &str)], moment: Duration) -> TempDir {
        let (mut program, _) = launch(&home, settings);
        pause(moment);
        program.kill();
        home
    }

    /// Ends it as a power cut would, and hands on its folder.
    pub fn kill(mut self) -> TempDir {
        self.program.kill();
        self.home
    }

    /// Where an agent dials.
    pub fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "wss" } else { "ws" };
        format!("{scheme}://127.0.0.1:{}/ws", self.port)
    }

    /// Where an operator calls.
    pub fn rest_url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// A connection as it takes them.
    pub fn connect(&self) -> Wire {
        match &self.ca {
            None => Wire::connect(self.port),
            #[cfg(feature = "tls")]
            Some(ca) => super::secure::connect(self.port, ca, None).expect("it shakes hands"),
            #[cfg(not(feature = "tls"))]
            Some(_) => unreachable!("set with TLS alone"),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], None)
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], None)
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[("Content-Type", "application/json")], Some(body.to_string().as_bytes()))
    }

    /// A request with the key, any header and any body.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        self.send(method, path, headers, body).answer_within(Duration::from_secs(60))
    }

    /// The same, for the test to read the answer when it likes.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Wire {
        self.send_with(&self.key, method, path, headers, body)
    }

    /// The same with another key.
    pub fn send_with(
        &self,
        key: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Wire {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = body {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut wire = self.connect();
        wire.send(&[head.as_bytes(), b"\r\n", body.unwrap_or_default()].concat());
        wire
    }

    /// Asks for a client's file: the transfer object of the 202.
    #[track_caller]
    pub fn pull(&self, client: &str, body: &Value) -> Value {
        self.post(&format!("/download/{client}"), body).expect(202)
    }

    /// Asks for the client's `FILE_PATH`: the transfer's id.
    #[track_caller]
    pub fn pull_id(&self, client: &str) -> String {
        id(&self.pull(client, &json!({})))
    }

    /// The transfer as it stands.
    #[track_caller]
    pub fn transfer(&self, id: &str) -> Value {
        self.get(&format!("/transfers/{id}")).expect(200)
    }

    /// Waits until the transfer has ended for good, and returns it.
    #[track_caller]
    pub fn ended(&self, id: &str) -> Value {
        let transfer = self.get(&format!("/transfers/{id}?wait=30")).expect(200);
        assert!(is_final(&transfer), "has not ended: {transfer}");
        transfer
    }

    /// Waits until the transfer stands here.
    #[track_caller]
    pub fn reaches(&self, id: &str, status: &str) -> Value {
        eventually(&format!("the transfer is {status}"), || {
            let transfer = self.transfer(id);
            assert!(transfer["status"] == status || !is_final(&transfer), "not {status}: {transfer}");
            (transfer["status"] == status).then_some(transfer)
        })
    }

    /// Waits until some bytes of the file are here.
    #[track_caller]
    pub fn has_bytes(&self, id: &str) -> Value {
        eventually("bytes are here", || {
            let transfer = self.transfer(id);
            assert!(!is_final(&transfer), "ended too early: {transfer}");
            (transfer["status"] == "receiving" && transfer["bytes"].as_u64() > Some(0)).then_some(transfer)
        })
    }

    /// Asserts that the transfer has completed with these bytes, in the API and on the disk.
    #[track_caller]
    pub fn assert_verified(&self, id: &str, content: &[u8]) -> Value {
        let transfer = self.ended(id);
        assert_eq!(transfer["status"], "completed", "{transfer}");
        assert_eq!(transfer["sha256"], files::sha256(content), "{transfer}");
        assert_eq!(transfer["size"], content.len(), "{transfer}");
        assert_eq!(transfer["bytes"], content.len(), "{transfer}");
        assert_eq!(transfer["failure"], Value::Null, "{transfer}");
        let filename = transfer["filename"].as_str().expect("a name");
        let published = std::fs::read(self.uploads.join(filename)).expect("the download is there");
        assert!(published == content, "the download holds other bytes");
        transfer
    }

    /// Asserts that the transfer has failed with this code, and a sentence that says why.
    #[track_caller]
    pub fn assert_failed(&self, id: &str, code: &str) -> Value {
        let transfer = self.ended(id);
        assert_eq!(transfer["status"], "failed", "{transfer}");
        assert_eq!(transfer["failure"]["code"], code, "{transfer}");
        assert!(transfer["failure"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{transfer}");
        transfer
    }

    /// The clients that are listed.
    pub fn clients(&self) -> Vec<String> {
        let list = self.get("/clients").expect(200);
        let list = list.as_array().expect("/clients is a list");
        list.iter().map(|client| client["clientId"].as_str().expect("a client id").to_owned()).collect()
    }

    #[track_caller]
    pub fn lists(&self, client: &str) {
        eventually(&format!("{client} is listed"), || {
            self.clients().iter().any(|listed| listed == client).then_some(())
        });
    }

    /// Waits until one of our agents has said who it is, after which its file keys are checked.
    #[track_caller]
    pub fn lists_agent(&self, client: &str) {
        eventually(&format!("{client} has registered"), || {
            let answer = self.get(&format!("/clients/{client}"));
            let known = (answer.status == 200).then(|| answer.json())?;
            (known["agentVersion"].is_string() && known["connected"] != false).then_some(())
        });
    }

    /// Which of a client's lines there is: it changes when the client is gone, and when it is back.
    #[track_caller]
    pub fn line_of(&self, client: &str) -> Value {
        let known = self.get(&format!("/clients/{client}")).expect(200);
        json!([known["connected"] != false, known["connectedAt"]])
    }

    /// Waits until the client is on another line than `before`.
    #[track_caller]
    pub fn lists_another_line(&self, client: &str, before: &Value) {
        eventually(&format!("{client} is on another line"), || {
            let line = self.line_of(client);
            (line != *before && line[0] == true).then_some(())
        });
    }

    #[track_caller]
    pub fn lists_no_more(&self, client: &str, time: Duration) {
        within(time, &format!("{client} is gone from the list"), || {
            self.clients().iter().all(|listed| listed != client).then_some(())
        });
    }

    /// Asserts that UPLOAD_DIR holds exactly these, and no part is left.
    #[track_caller]
    pub fn assert_downloads(&self, expected: &[(&str, &str)]) {
        files::assert_downloads(&self.uploads, expected);
    }

    /// Waits until it has no more threads than `threads`.
    #[track_caller]
    pub fn has_threads_again(&self, threads: u64) {
        within(SOON + SOON, &format!("no more than {threads} threads"), || {
            (self.program.status("Threads") <= threads).then_some(())
        });
    }
}

/// Starts the program in this folder; does not wait.
fn launch(home: &TempDir, settings: &[(&str, &str)]) -> (Program, PathBuf) {
    let uploads = home.join("downloads");
    let all = [&self::settings(&uploads), settings].concat();
    let exe = env!("CARGO_BIN_EXE_towline-server");
    (Program::start("towline-server", exe, &[], &all, home), uploads)
}

/// What each has.
fn settings(uploads: &Path) -> [(&'static str, &str); 4] {
    let uploads = uploads.to_str().expect("the test's folder has a plain name");
    [("HOST", "127.0.0.1"), ("PORT", "0"), ("AUTH_SECRET", SECRET), ("UPLOAD_DIR", uploads)]
}

/// The transfer's id.
#[track_caller]
pub fn id(transfer: &Value) -> String {
    transfer["requestId"].as_str().unwrap_or_else(|| panic!("no requestId in {transfer}")).to_owned()
}

pub fn is_final(transfer: &Value) -> bool {
    FINAL.iter().any(|word| transfer["status"] == *word)
}
