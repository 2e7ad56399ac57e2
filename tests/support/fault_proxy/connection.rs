//! The two sockets of a connection, and what becomes of them.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use super::{Fault, Toward};

/// Two sockets. They are closed when the last thread that works with them has ended, which a reset needs.
pub(super) struct Connection {
    agent: TcpStream,
    server: TcpStream,
    pub(super) faults: Vec<Fault>,
    fate: Mutex<Fate>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Open,
    Silent,
    Over,
}

impl Connection {
    pub(super) fn new(agent: TcpStream, server: TcpStream, faults: Vec<Fault>) -> Connection {
        Connection { agent, server, faults, fate: Mutex::new(Fate::Open), changed: Condvar::new() }
    }

    /// Where bytes in this direction come from, and where they go.
    pub(super) fn ends(&self, toward: Toward) -> (&TcpStream, &TcpStream) {
        match toward {
            Toward::Server => (&self.agent, &self.server),
            Toward::Agent => (&self.server, &self.agent),
        }
    }

    pub(super) fn turn(&self, fate: Fate) {
        let mut now = self.fate.lock().expect("no pump panicked");
        if *now != Fate::Over {
            *now = fate;
        }
        self.changed.notify_all();
    }

    pub(super) fn cut(&self) {
        self.turn(Fate::Over);
        for socket in [&self.agent, &self.server] {
            let _ = socket.shutdown(Shutdown::Both); // its peer may have closed it
        }
    }

    pub(super) fn reset(&self) {
        self.turn(Fate::Over);
        for socket in [&self.agent, &self.server] {
            // Closing it sends RST then; until that happens, only our own readers learn of it.
            set_socket_linger(socket, Some(Duration::ZERO)).expect("a socket takes options");
            let _ = socket.shutdown(Shutdown::Read); // its peer may have closed it
        }
    }

    /// Waits while it is silent; whether it is still open.
    pub(super) fn is_open(&self) -> bool {
        let fate = self.fate.lock().expect("no pump panicked");
        let fate = self.changed.wait_while(fate, |fate| *fate == Fate::Silent).expect("no pump panicked");
        *fate == Fate::Open
    }

    /// Waits until then; whether it is not over.
    pub(super) fn wait_until(&self, then: Instant) -> bool {
        let fate = self.fate.lock().expect("no pump panicked");
        let left = then.saturating_duration_since(Instant::now());
        let waited = self.changed.wait_timeout_while(fate, left, |fate| *fate != Fate::Over);
        *waited.expect("no pump panicked").0 != Fate::Over
    }

    /// Reads until the end of this direction, or until `take` has had enough.
    pub(super) fn read_all(&self, toward: Toward, at_once: usize, mut take: impl FnMut(&mut [u8]) -> bool) {
        let mut buffer = vec![0; at_once];
        let mut from = self.ends(toward).0;
        loop {
            match from.read(&mut buffer) {
                Ok(read) if read > 0 => {
                    if !take(&mut buffer[..read]) {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}
