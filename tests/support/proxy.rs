//! A TCP proxy between agent and server that can fall silent without closing, cut, and be pointed elsewhere.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

/// A running proxy.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    target: AtomicU16,
    accepted: AtomicUsize,
    stopping: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Connections numbered below this forward nothing more.
    frozen_below: usize,
    ended: bool,
    sockets: Vec<TcpStream>,
}

impl Proxy {
    pub fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::new(Shared {
            target: AtomicU16::new(target),
            accepted: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Proxy { port, shared, acceptor: Some(acceptor) }
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/ws", self.port)
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// From now on nothing passes on the connections there are, and none is closed: both ends are half-open.
    pub fn freeze(&self) {
        let accepted = self.accepted();
        self.state().frozen_below = accepted;
    }

    /// New connections go to this port.
    pub fn point_at(&self, target: u16) {
        self.shared.target.store(target, Ordering::SeqCst);
    }

    /// Ends every connection.
    pub fn cut(&self) {
        shut_all(&mut self.state());
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().expect("no pump panicked")
    }
}

fn shut_all(state: &mut State) {
    for socket in state.sockets.drain(..) {
        // It may have been closed by its peer.
        let _ = socket.shutdown(Shutdown::Both);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut pumps = Vec::new();
    for agent in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok(agent) = agent else { continue };
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        // A server that is down: the agent sees its connection close.
        let Ok(server) = TcpStream::connect(("127.0.0.1", shared.target.load(Ordering::SeqCst))) else {
            continue;
        };
        let share = |socket: &TcpStream| socket.try_clone().expect("a socket can be shared");
        shared.state.lock().expect("no pump panicked").sockets.extend([share(&agent), share(&server)]);
        for (from, to) in [(share(&agent), share(&server)), (server, agent)] {
            let shared = Arc::clone(shared);
            pumps.push(std::thread::spawn(move || pump(from, to, number, &shared)));
        }
    }
    for pump in pumps {
        // A pump that panicked has nothing more to say.
        let _ = pump.join();
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, number: usize, shared: &Shared) {
    let mut buffer = vec![0; 32 << 10];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        let mut state = shared.state.lock().expect("no pump panicked");
        while number < state.frozen_below && !state.ended {
            state = shared.changed.wait(state).expect("no pump panicked");
        }
        drop(state);
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            let _ = from.shutdown(Shutdown::Both); // either may be closed already
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        {
            let mut state = self.state();
            state.ended = true;
            shut_all(&mut state);
        }
        self.shared.changed.notify_all();
        // Wakes the acceptor; it ends at the next connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.acceptor.take().map(JoinHandle::join);
    }
}
