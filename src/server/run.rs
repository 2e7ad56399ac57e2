//! Starting the server: what must be there, the threads, and the two lines that say it is ready.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use tiny_http::Request;

use super::disk::Saving;
use super::gate::Gate;
use super::orders::{self, Wish};
use super::parked::Parked;
use super::replies::{self, Answer};
use super::room::{Room, room};
use super::{Refused, Server, State, callers, control, upgrade};
use crate::audit::{self, Event, Log};
use crate::door::control_socket::ControlSocket;
use crate::door::hall::{Hall, Ticket};
use crate::door::listener::{Admission, Listener, raise_descriptor_limit};
use crate::door::query::split_target;
use crate::door::{head, reply};
use crate::exit::Exit;
use crate::hub::{Config, Hub};
use crate::limits;
use crate::line::Chunks;
use crate::program;
use crate::settings::ServerSettings;
use crate::signals;
use crate::spool::Spool;
use crate::stream::Stream;
use crate::stream::tls::Acceptor;
use crate::threads;
use crate::watch;

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    Everything,
    AgentsOnly,
    RestOnly,
}

/// Runs the server. Returns only when it can't start.
pub fn run(settings: ServerSettings) -> Exit {
    match start(settings) {
        Ok(never) => match never {},
        Err(why) => {
            // The log may be off; this is the one line that says why there is no server.
            eprintln!("towline-server: {why}");
            Exit::BadUsage
        }
    }
}

fn start(settings: ServerSettings) -> Result<Infallible, String> {
    let descriptors = raise_descriptor_limit();
    let gate = Gate::new(&settings.access)?;
    let spool = Spool::open(&settings.upload_dir)
        .map_err(|error| format!("UPLOAD_DIR={}: {error}", settings.upload_dir.display()))?;
    let tls = match settings.tls.clone() {
        Some(tls) => Some(Acceptor::load(tls.certificate, tls.key, tls.client_ca)?),
        None => None,
    };
    let address = SocketAddr::new(settings.host, settings.port);
    let listener = Listener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            format!("HOST={}: can't listen there: {error}; choose an address of this machine", settings.host)
        }
        _ => format!("PORT={}: can't listen on {address}: {error}; choose a free port", settings.port),
    })?;
    let rest = match settings.control_listen {
        Some(address) => Some(Listener::bind(address).map_err(|error| {
            format!("CONTROL_LISTEN={address}: can't listen there: {error}; choose a free address")
        })?),
        None => None,
    };
    let control =
        ControlSocket::bind(spool.state_dir()).map_err(|error| format!("no control socket: {error}"))?;
    let room = room(&settings, descriptors);
    let port = listener.local_addr().port();
    let ws_path = settings.ws_path.clone();
    let audit = Log::new(&spool.state_dir().join(audit::SERVERS), settings.audit_rotate_bytes)
        .map_err(|error| format!("no audit log: {error}"))?;
    let (orders_in, orders) = bounded(limits::MAX_RELAYED);
    let server = Arc::new(Server::new(settings, gate, spool, audit, tls, room, orders_in));
    server.audit(&Event::ServerStarted { version: env!("CARGO_PKG_VERSION"), port });
    server.audit.log_head();
    server.warn_of_a_full_disk();
    server.warn_of_plain_text();
    program::warn_of_root("it needs to write UPLOAD_DIR and to read its own files");
    server.recover();

    let taker = server.clone();
    spawn("orders", move || orders::take_orders(&taker, &orders))?;
    let keeper = server.clone();
    spawn("timekeeper", move || keeper.keep_time())?;
    if let Some(days) = server.settings.keep_downloads_days {
        let keeper = server.clone();
        spawn("retention", move || keeper.keep_downloads(days))?;
    }
    if let Some(path) = server.gate.file() {
        let (paths, keeper) = (vec![path.to_owned()], server.clone());
        let watch = move || match watch::watch(&paths, || keeper.follow_keys()) {};
        spawn("watch keys", watch)?;
    }
    let (control, socket) = control;
    let control = Arc::new(control);
    server.serve_control(control.clone(), socket)?;
    let stopper = server.clone();
    signals::on_stop(move || stopper.stop()).map_err(|error| format!("can't take signals: {error}"))?;
    // A hall each where REST has a port of its own: whoever crowds the agents' keeps no operator out.
    let halls = if rest.is_some() { 2 } else { 1 };
    let hall = || Hall::new(room.door.div_ceil(halls));
    let mut out = io::stdout();
    // Whoever closed our output still gets a server.
    let _closed = writeln!(out, "Server running on port {port}")
        .and_then(|()| writeln!(out, "WebSocket path: {ws_path}"));
    log::info!("towline-server {} port={port} maxClients={}", env!("CARGO_PKG_VERSION"), room.clients);
    let serves = if rest.is_some() { Serves::AgentsOnly } else { Serves::Everything };
    if let Some(rest) = rest {
        let _closed = writeln!(out, "REST on {}", rest.local_addr());
        let (server, control, hall) = (server.clone(), control.clone(), hall());
        spawn("accept REST", move || accept(&server, &rest, &hall, &control, Serves::RestOnly))?;
    }
    accept(&server, &listener, &hall(), &control, serves)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| format!("no thread for {name}: {error}"))
}

fn accept(
    server: &Arc<Server>,
    listener: &Listener,
    hall: &Hall,
    control: &Arc<ControlSocket>,
    serves: Serves,
) -> ! {
    let (server, control) = (server.clone(), control.clone());
    listener.serve(hall, move |socket, peer, ticket| meet(&server, &control, serves, socket, peer, ticket))
}

/// One connection: its head, and then whoever it is for.
fn meet(
    server: &Arc<Server>,
    control: &ControlSocket,
    serves: Serves,
    socket: Arc<TcpStream>,
    peer: SocketAddr,
    ticket: Ticket<'_>,
) {
    let deadline = Instant::now() + limits::HEAD_TIME;
    let Some(socket) = secure(server, socket, peer, deadline) else { return };
    let head = match head::read_head(&socket, deadline) {
        Ok(head) => head,
        Err(error) => return callers::turn_back(server, &socket, peer, &error),
    };
    let ws_path = &server.settings.ws_path;
    let is_agent = split_target(&head.target).0 == *ws_path;
    match serves {
        Serves::Everything | Serves::AgentsOnly if is_agent => {
            upgrade::serve(server, socket, peer, head, ticket);
        }
        _ if head.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) => {
            let message = format!("agents connect to {ws_path} on the agents' port: set SERVER_URL so");
            reply::refuse(&socket, 404, "not found", &message, &[]);
        }
        Serves::AgentsOnly => {
            let message = "this port is for agents only; REST is served on CONTROL_LISTEN";
            reply::refuse(&socket, 404, "not found", message, &[]);
        }
        Serves::Everything | Serves::RestOnly => {
            callers::serve(server, control, &socket, peer, &head, &ticket, deadline);
        }
    }
}

/// The connection as it is used: with TLS if this server takes that. Nothing when the caller does not get so far.
fn secure(server: &Server, socket: Arc<TcpStream>, peer: SocketAddr, deadline: Instant) -> Option<Stream> {
    let Some(tls) = &server.tls else { return Some(Stream::plain(socket)) };
    match first_byte(&socket, deadline) {
        Ok(TLS_HANDSHAKE) => {}
        Ok(_) => {
            let message = "this port speaks TLS: use https://, or wss:// for agents";
            reply::refuse(&Stream::plain(socket), 400, "bad request", message, &[]);
            return None;
        }
        Err(_) => return None, // gone, or silent: there is nobody to tell
    }
    match tls.accept(socket, deadline) {
        Ok(stream) => Some(stream),
        Err(error) => {
            server.refused.requests.about(format_args!("{peer} refused: {error}"));
            None
        }
    }
}

/// What a TLS connection begins with (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// The first byte that comes, left where it is.
fn first_byte(socket: &TcpStream, deadline: Instant) -> io::Result<u8> {
    let mut first = [0];
    socket.set_read_timeout(Some(
        deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)),
    ))?;
    match socket.peek(&mut first)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0]),
    }
}

impl Server {
    fn new(
        settings: ServerSettings,
        gate: Gate,
        spool: Spool,
        audit: Log,
        tls: Option<Acceptor>,
        room: Room,
        orders: Sender<(Wish, Request)>,
    ) -> Server {
        let hub = Hub::new(Config {
            max_concurrent: settings.max_concurrent_transfers,
            max_per_client: settings.max_transfers_per_client,
            max_queued: settings.max_queued_transfers,
            max_clients: room.clients,
            stall_ms: settings.stall.as_millis() as u64,
            max_spool_bytes: settings.max_spool_bytes,
            keep_transfers: settings.keep_transfers,
            keep_ms: settings.keep_transfers_days.map(|days| u64::from(days) * 24 * 3600 * 1000),
        });
        let state = State {
            hub,
            links: Default::default(),
            entering: Default::default(),
            stops: Default::default(),
            parked: Parked::default(),
            unsaved: Default::default(),
            acting: 0,
            next_look: None,
        };
        let chunks = Arc::new(Chunks::new(
            limits::MIN_CHUNK_MEMORY,
            settings.chunk_size.unwrap_or(limits::CHUNK_BYTES),
        ));
        Server {
            settings,
            gate,
            spool,
            audit,
            tls,
            state: Mutex::new(state),
            earlier: Condvar::new(),
            event: Condvar::new(),
            saving: Saving::default(),
            threads: Arc::default(),
            orders,
            chunks,
            refused: Refused::default(),
            relays: Admission::new(room.relays),
            probes: Admission::new(limits::MAX_PROBES),
            started: Instant::now(),
        }
    }

    fn warn_of_plain_text(&self) {
        let settings = &self.settings;
        let rest = settings.control_listen.map(|address| address.ip());
        let open = [Some(settings.host), rest].into_iter().flatten().find(|address| !address.is_loopback());
        if let (Some(address), None) = (open, &self.tls) {
            log::warn!(
                "without TLS, whoever sits on the way to {address} reads secrets and files: set TLS_CERT and TLS_KEY, or HOST=127.0.0.1 behind a proxy that has them"
            );
        }
    }

    /// The largest message that a client may send, in bytes.
    pub(super) fn max_message(&self) -> usize {
        self.chunk_size().max(limits::MIN_MESSAGE_BYTES) + limits::MAX_HEADER_BYTES + 4
    }

    /// Starts the control thread. When tiny_http gives up (it does on any accept error), it is set up again.
    fn serve_control(
        self: &Arc<Self>,
        control: Arc<ControlSocket>,
        socket: std::os::unix::net::UnixListener,
    ) -> Result<(), String> {
        let server = self.clone();
        let mut listener = Some(socket);
        spawn("control", move || {
            loop {
                let next = listener.take().map_or_else(|| control.listen_again(), Ok);
                let http = next.map_err(|error| error.to_string()).and_then(|socket| {
                    tiny_http::Server::from_listener(socket, None).map_err(|error| error.to_string())
                });
                match http {
                    Ok(http) => control::serve(&server, &http),
                    Err(error) => {
                        log::error!("no control plane: {error}");
                        thread::sleep(limits::ACCEPT_PAUSE); // out of descriptors, most likely
                    }
                }
            }
        })
    }

    /// Answers a caller. What the control socket does not take at once might wait for the caller to read, so it is sent
    /// by a thread of its own: neither the control thread nor a session ever waits for a caller.
    pub(super) fn answer(&self, request: Request, answer: Answer) {
        if answer.length() <= limits::MAX_PROMPT_ANSWER_BYTES {
            answer.send(request);
        } else {
            self.in_a_thread(request, Box::new(|request| answer.send(request)));
        }
    }

    /// Runs `work` on a request in a thread of its own, unless too many do already.
    pub(super) fn in_a_thread(&self, request: Request, work: Box<dyn FnOnce(Request) + Send>) {
        if self.threads.fetch_add(1, Relaxed) >= limits::MAX_FILE_READERS {
            self.threads.fetch_sub(1, Relaxed);
            return replies::busy("too many callers take files; try again").send(request);
        }
        let answering = self.threads.clone();
        let spawned = threads::spawn("answer", limits::SMALL_STACK, move || {
            work(request);
            answering.fetch_sub(1, Relaxed);
        });
        if let Err(error) = spawned {
            self.threads.fetch_sub(1, Relaxed);
            // The request went with the thread; tiny_http answers 500 when one is dropped.
            log::error!("no thread for an answer: {error}");
        }
    }
}
