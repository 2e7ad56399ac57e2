//! A fleet that comes back after an outage, all of it with transfers that wait, does not start them all at once.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::error::Error;
use tungstenite::{Message, WebSocket};

use crate::support::files::{random_bytes, sha256};
use crate::support::server::{SECRET, Server};
use crate::support::v1_client::packed;
use crate::support::wait::{SOON, pause, within};

const CLIENTS: usize = 200;
const PLACES: usize = 6;
const SHARE: usize = 2;
const PULLS: usize = 3;
const SETTINGS: [(&str, &str); 2] = [("MAX_CONCURRENT_TRANSFERS", "6"), ("MAX_TRANSFERS_PER_CLIENT", "2")];
/// How long a client keeps a request before it answers, and reads what else it is asked: long enough for one too many.
const HOLD: Duration = Duration::from_millis(10);

/// What the clients see of the server, all together.
#[derive(Default)]
struct Seen {
    /// Requests without an end yet, of each client.
    open: BTreeMap<usize, usize>,
    /// Whose requests they were, in the order in which they came.
    asked: Vec<usize>,
    /// The most that were open, in all and of one client.
    most: usize,
    most_of_one: usize,
    /// Whether requests are answered.
    is_open: bool,
}

impl Seen {
    fn open(&self) -> usize {
        self.open.values().sum()
    }

    fn add(&mut self, client: usize) {
        *self.open.entry(client).or_default() += 1;
        self.asked.push(client);
        self.most = self.most.max(self.open());
        self.most_of_one = self.most_of_one.max(self.open[&client]);
    }
}

/// Connected clients, each in a thread, until the value is dropped. Every second one speaks v1.
struct Fleet {
    seen: Arc<Mutex<Seen>>,
    lines: Vec<(TcpStream, JoinHandle<()>)>,
}

fn name(client: usize) -> String {
    format!("shop-{client:03}")
}

fn content(client: usize) -> Vec<u8> {
    random_bytes(client as u64, 3000)
}

impl Fleet {
    /// All dial at once; they begin what they are asked for, and end it once [`Fleet::answers`] says so.
    #[track_caller]
    fn come(server: &Server) -> Fleet {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let port = server.port;
        let dialled = (0..CLIENTS).map(|client| std::thread::spawn(move || connect(port, client)));
        let dialled: Vec<_> = dialled.collect();
        let lines = dialled.into_iter().enumerate().map(|(client, dialled)| {
            let socket = dialled.join().expect("it is let in");
            let stream = socket.get_ref().try_clone().expect("a socket can be shared");
            let line = Line { client, socket, held: Vec::new(), seen: seen.clone() };
            (stream, std::thread::spawn(move || line.serve()))
        });
        let fleet = Fleet { lines: lines.collect(), seen: seen.clone() };
        within(SOON + SOON, "all have registered", || {
            let listed = server.get("/clients").expect(200);
            let registered =
                listed.as_array().expect("a list").iter().filter(|client| client["meta"]["fleet"] == 1);
            (registered.count() == CLIENTS).then_some(())
        });
        fleet
    }

    fn answers(&self) {
        self.seen.lock().unwrap().is_open = true;
    }

    /// All places are taken, and no more: the requests are on their way, one too many would be soon after.
    #[track_caller]
    fn holds_all_places(&self) {
        within(SOON, "every place is taken", || (self.seen.lock().unwrap().open() == PLACES).then_some(()));
        pause(Duration::from_millis(300));
        assert_eq!(self.seen.lock().unwrap().open(), PLACES);
    }

    /// Everybody goes, without a word.
    fn go(self) {
        drop(self);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for (stream, _) in &self.lines {
            let _ = stream.shutdown(Shutdown::Both); // the server may have gone first
        }
        for (_, thread) in self.lines.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "a client found something wrong");
        }
    }
}

fn connect(port: u16, client: usize) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
    let url = format!("ws://127.0.0.1:{port}/ws?clientId={}&token={SECRET}", name(client));
    let (mut socket, _) = tungstenite::client(url, stream).expect("the server takes the client");
    let mut registration = json!({"type": "register_meta", "meta": {"fleet": 1}});
    if client.is_multiple_of(2) {
        registration["protocol"] = 2.into();
    }
    socket.send(Message::text(registration.to_string())).expect("the line takes a message");
    socket
}

/// One client.
struct Line {
    client: usize,
    socket: WebSocket<TcpStream>,
    /// Requests that are not answered, with when they came.
    held: Vec<(Value, Instant)>,
    seen: Arc<Mutex<Seen>>,
}

impl Line {
    /// Until the line ends.
    fn serve(mut self) {
        loop {
            // With something to do it looks again soon; without, it sleeps.
            let patience = (!self.held.is_empty()).then_some(HOLD / 2);
            self.socket.get_ref().set_read_timeout(patience).expect("a socket takes options");
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let message: Value = serde_json::from_str(&text).expect("the server speaks JSON");
                    if message["type"] == "download_request" && self.begin(message).is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return,
            }
            let is_due = self.held.first().is_some_and(|(_, came)| came.elapsed() >= HOLD);
            if is_due && self.seen.lock().unwrap().is_open && self.end().is_err() {
                return;
            }
        }
    }

    /// The first half.
    fn begin(&mut self, asked: Value) -> Result<(), Error> {
        self.seen.lock().unwrap().add(self.client);
        let content = content(self.client);
        self.say("upload_start", &asked, json!({"filename": "f", "filesize": content.len()}))?;
        self.chunk(&asked, 1, 0, &content[..1500])?;
        self.held.push((asked, Instant::now()));
        Ok(())
    }

    /// The other half of what came first.
    fn end(&mut self) -> Result<(), Error> {
        let (asked, _) = self.held.remove(0);
        let content = content(self.client);
        self.chunk(&asked, 2, 1500, &content[1500..])?;
        // Before the server can give the place to anybody else.
        *self.seen.lock().unwrap().open.get_mut(&self.client).expect("it was asked") -= 1;
        self.say("upload_end", &asked, json!({"checksum": sha256(&content), "filesize": content.len()}))
    }

    fn say(&mut self, kind: &str, asked: &Value, mut message: Value) -> Result<(), Error> {
        message["type"] = kind.into();
        self.socket.send(Message::text(addressed(asked, message).to_string()))
    }

    fn chunk(&mut self, asked: &Value, seq: u64, offset: usize, payload: &[u8]) -> Result<(), Error> {
        let header = addressed(asked, json!({"seq": seq, "timestamp": 1, "offset": offset}));
        self.socket.send(Message::binary(packed(header.to_string().as_bytes(), payload)))
    }
}

/// With the transfer that is meant, and the attempt where there is one.
fn addressed(asked: &Value, mut message: Value) -> Value {
    message["requestId"] = asked["requestId"].clone();
    if asked["attempt"].is_number() {
        message["attempt"] = asked["attempt"].clone();
    }
    message
}

/// Asks for the file of every client, `PULLS` times.
#[track_caller]
fn pull_all(server: &Server) {
    let clients: Vec<_> = (0..CLIENTS).map(name).collect();
    for _ in 0..PULLS {
        let answer = server.post("/downloads", &json!({"clients": clients, "queueFor": "1h"})).expect(202);
        assert_eq!(answer["transfers"].as_array().map(Vec::len), Some(CLIENTS), "{}", answer["refused"]);
    }
}

/// The transfers with this status.
fn count(server: &Server, status: &str) -> usize {
    let listed = server.get(&format!("/transfers?limit=1000&status={status}")).expect(200);
    listed.as_array().expect("a list").len()
}

/// The fleet that is back is served: never more at once than there are places, nobody more than its share, everybody
/// once before anybody has had its last, and all to the end.
#[track_caller]
fn is_served_in_turn(server: &Server, fleet: Fleet) {
    fleet.holds_all_places();
    fleet.answers();
    within(6 * SOON, "all are completed", || (count(server, "completed") == CLIENTS * PULLS).then_some(()));
    let seen = fleet.seen.lock().unwrap();
    assert_eq!((seen.open(), seen.most, seen.most_of_one), (0, PLACES, SHARE));
    assert_eq!(seen.asked.len(), CLIENTS * PULLS, "each once");
    // What is in flight to other clients may be seen a little late.
    let mut times = [0; CLIENTS];
    for client in &seen.asked {
        times[*client] += 1;
        let unserved = times.iter().filter(|times| **times == 0).count();
        assert!(times[*client] <= SHARE || unserved <= PLACES, "{unserved} wait for {}", name(*client));
    }
    drop(seen);
    for transfer in server.get("/transfers?limit=1000").expect(200).as_array().expect("a list") {
        let client: usize = transfer["clientId"].as_str().expect("an id")[5..].parse().expect("a number");
        assert_eq!(transfer["sha256"], sha256(&content(client)), "{transfer}");
    }
    assert_eq!(std::fs::read_dir(&server.uploads).expect("a folder").count(), CLIENTS * PULLS + 1);
}

#[test]
fn a_fleet_that_was_waited_for_is_served_in_turn() {
    let server = Server::start(&SETTINGS);
    Fleet::come(&server).go(); // they are known
    within(SOON + SOON, "all are gone", || server.clients().is_empty().then_some(()));
    pull_all(&server);
    assert_eq!(count(&server, "queued"), CLIENTS * PULLS);

    let fleet = Fleet::come(&server);

    is_served_in_turn(&server, fleet);
}

#[test]
fn a_fleet_whose_transfers_were_cut_off_is_served_in_turn() {
    let server = Server::start(&SETTINGS);
    let fleet = Fleet::come(&server);
    pull_all(&server);
    fleet.holds_all_places();
    fleet.go();
    within(SOON + SOON, "all wait", || (count(&server, "interrupted") == CLIENTS * PULLS).then_some(()));

    let fleet = Fleet::come(&server);

    is_served_in_turn(&server, fleet);
}

#[test]
fn a_fleet_whose_server_died_is_served_in_turn() {
    let server = Server::start(&SETTINGS);
    let fleet = Fleet::come(&server);
    pull_all(&server);
    fleet.holds_all_places();
    let folder = server.kill();
    fleet.go();
    let server = Server::start_in(folder, &SETTINGS);
    assert_eq!(count(&server, "interrupted") + count(&server, "queued"), CLIENTS * PULLS);

    let fleet = Fleet::come(&server);

    is_served_in_turn(&server, fleet);
}
