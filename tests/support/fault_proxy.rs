//! A TCP proxy between agent and server that does to each connection what a plan says, and counts what it carries.
//!
//! A connection has a thread for each direction, one more for each when bytes are delayed, and one when its time
//! is limited. All of them sleep in a read, a write or on the connection's fate, which ends them; nobody polls.

mod connection;
mod pump;

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use super::wait::Deadline;
use connection::Connection;
use pump::{PIECE, Pump};

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    Server,
    Agent,
}

/// What happens to one connection. Bytes are counted from its first one, the WebSocket handshake included.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Every byte arrives so much later, in both directions.
    Delay(Duration),
    /// No more bytes a second than these.
    Throttle(Toward, u64),
    /// After so many bytes both ends are closed in order (FIN); what has passed arrives.
    Cut(Toward, u64),
    /// After so many bytes both ends are reset (RST).
    Reset(Toward, u64),
    /// After so many bytes nothing passes any more in either direction, and nothing is closed: half-open.
    Silence(Toward, u64),
    /// One bit of the byte at this offset arrives flipped.
    FlipBit(Toward, u64),
    /// Both ends are closed in order when it has lived so long.
    DieAfter(Duration),
}

/// The faults of each connection, by its number from 0. Only those that reach the server are counted.
pub type Plan = dyn Fn(usize) -> Vec<Fault> + Send + Sync;

/// A running proxy.
pub struct FaultProxy {
    pub port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    plan: Box<Plan>,
    target: AtomicU16,
    stopping: AtomicBool,
    meter: Mutex<Meter>,
    changed: Condvar,
    connections: Mutex<Vec<Weak<Connection>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    toward_server: u64,
    toward_agent: u64,
    connected: usize,
    struck: usize,
}

impl FaultProxy {
    pub fn start(target: u16, plan: impl Fn(usize) -> Vec<Fault> + Send + Sync + 'static) -> FaultProxy {
        FaultProxy::on(TcpListener::bind(("127.0.0.1", 0)).expect("a free port"), target, plan)
    }

    /// A thin line: so many bytes a second from the agent, and what waits here is little, as in a modem.
    pub fn thin(target: u16, rate: u64) -> FaultProxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        set_socket_recv_buffer_size(&listener, 32 << 10).expect("a socket takes options"); // what it accepts has the same
        FaultProxy::on(listener, target, move |_| vec![Fault::Throttle(Toward::Server, rate)])
    }

    fn on(
        listener: TcpListener,
        target: u16,
        plan: impl Fn(usize) -> Vec<Fault> + Send + Sync + 'static,
    ) -> FaultProxy {
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::new(Shared {
            plan: Box::new(plan),
            target: AtomicU16::new(target),
            stopping: AtomicBool::new(false),
            meter: Mutex::default(),
            changed: Condvar::new(),
            connections: Mutex::default(),
        });
        let acceptor = spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        FaultProxy { port, shared, acceptor: Some(acceptor) }
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.port)
    }

    /// New connections go to this port.
    pub fn point_at(&self, target: u16) {
        self.shared.target.store(target, Ordering::SeqCst);
    }

    /// Ends every connection that there is, in order.
    pub fn cut(&self) {
        for connection in self.shared.connections.lock().expect("no pump panicked").drain(..) {
            if let Some(connection) = connection.upgrade() {
                connection.cut();
            }
        }
    }

    /// Connections so far that reached the server.
    pub fn connected(&self) -> usize {
        self.shared.meter().connected
    }

    /// Bytes that have passed, on all connections, in both directions.
    pub fn carried(&self) -> u64 {
        let meter = self.shared.meter();
        meter.toward_server + meter.toward_agent
    }

    /// The same in one direction.
    pub fn carried_toward(&self, toward: Toward) -> u64 {
        match toward {
            Toward::Server => self.shared.meter().toward_server,
            Toward::Agent => self.shared.meter().toward_agent,
        }
    }

    /// Waits until so many bytes have passed in all; whether they have before the deadline.
    pub fn wait_carried(&self, bytes: u64, deadline: Deadline) -> bool {
        self.wait(deadline, |meter| meter.toward_server + meter.toward_agent >= bytes)
    }

    /// Waits until so many connections have been cut, reset or silenced by a fault after a number of bytes.
    #[track_caller]
    pub fn wait_struck(&self, faults: usize) {
        let struck = self.wait(Deadline::soon(), |meter| meter.struck >= faults);
        assert!(struck, "only {} faults have struck", self.shared.meter().struck);
    }

    fn wait(&self, deadline: Deadline, reached: impl Fn(&Meter) -> bool) -> bool {
        let meter = self.shared.meter();
        let waited = self.shared.changed.wait_timeout_while(meter, deadline.left(), |meter| !reached(meter));
        reached(&waited.expect("no pump panicked").0)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which ends at the next connection; all that there were before are known then.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().expect("no pump panicked")
    }

    fn note(&self, change: impl FnOnce(&mut Meter)) {
        change(&mut self.meter());
        self.changed.notify_all();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads = Vec::new();
    let mut number = 0;
    for agent in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(agent) = agent else { continue };
        // A server that is down: the agent sees its connection close.
        let Ok(server) = TcpStream::connect(("127.0.0.1", shared.target.load(Ordering::SeqCst))) else {
            continue;
        };
        for socket in [&agent, &server] {
            socket.set_nodelay(true).expect("a socket takes options");
        }
        let faults = (shared.plan)(number);
        number += 1;
        shared.note(|meter| meter.connected += 1);
        let connection = Arc::new(Connection::new(agent, server, faults));
        shared.connections.lock().expect("no pump panicked").push(Arc::downgrade(&connection));
        start(&connection, shared, &mut threads);
    }
    for connection in shared.connections.lock().expect("no pump panicked").drain(..) {
        if let Some(connection) = connection.upgrade() {
            connection.cut();
        }
    }
    for thread in threads {
        // A thread that panicked has nothing more to say.
        let _ = thread.join();
    }
}

fn start(connection: &Arc<Connection>, shared: &Arc<Shared>, threads: &mut Vec<JoinHandle<()>>) {
    for toward in [Toward::Server, Toward::Agent] {
        let pump = Pump::new(Arc::clone(connection), Arc::clone(shared), toward);
        let delay = connection.faults.iter().find_map(|fault| match fault {
            Fault::Delay(time) => Some(*time),
            _ => None,
        });
        match delay {
            None => threads.push(spawn(move || pump.run())),
            Some(time) => {
                let (sender, receiver) = sync_channel::<(Instant, Vec<u8>)>(1024);
                let connection = Arc::clone(connection);
                threads.push(spawn(move || {
                    connection.read_all(toward, PIECE, |bytes| {
                        sender.send((Instant::now() + time, bytes.to_vec())).is_ok()
                    });
                }));
                threads.push(spawn(move || pump.run_late(&receiver)));
            }
        }
    }
    let life = connection.faults.iter().find_map(|fault| match fault {
        Fault::DieAfter(time) => Some(*time),
        _ => None,
    });
    if let Some(life) = life {
        let connection = Arc::clone(connection);
        threads.push(spawn(move || {
            if connection.wait_until(Instant::now() + life) {
                connection.cut();
            }
        }));
    }
}
