//! Accepts connections, gives each a thread, and never stops because of one.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::hall::{Hall, Ticket};
use super::reply;
use crate::complaints::Complaints;
use crate::limits;
use crate::threads;

/// Counts who is inside, up to a bound.
#[derive(Debug)]
pub struct Admission {
    bound: usize,
    inside: AtomicUsize,
}

/// The right to be inside; given back on drop.
#[derive(Debug)]
pub struct Place<'a>(&'a Admission);

impl Admission {
    /// Lets in at most `bound` at a time.
    pub fn new(bound: usize) -> Admission {
        Admission { bound, inside: AtomicUsize::new(0) }
    }

    /// A place, unless all are taken.
    pub fn enter(&self) -> Option<Place<'_>> {
        let free = |inside| (inside < self.bound).then_some(inside + 1);
        self.inside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let inside = self.0.inside.fetch_sub(1, Ordering::Relaxed);
        assert!(inside > 0, "every place was counted when it was given out");
    }
}

/// A listening port.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens at `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// When the address is in use, is not this machine's, or may not be used.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<Listener> {
        let socket = TcpListener::bind(address)?;
        rustix::net::listen(&socket, limits::ACCEPT_BACKLOG)?; // again, for std's backlog is 128
        let address = socket.local_addr()?;
        Ok(Listener { socket, address })
    }

    /// Where it listens, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Accepts for as long as the process lives, and runs `on_connection` for each caller in a thread of its own. A caller
    /// for whom there is no ticket gets 503; one for whom there is no thread is dropped.
    pub fn serve(
        &self,
        hall: &Hall,
        on_connection: impl Fn(Arc<TcpStream>, SocketAddr, Ticket<'_>) + Send + Sync,
    ) -> ! {
        let on_connection = &on_connection;
        let (accepting, starting) = (Complaints::new(), Complaints::new());
        thread::scope(|scope| {
            loop {
                let (socket, peer) = match self.socket.accept() {
                    Ok(accepted) => accepted,
                    // The caller went before we came; the next accept waits.
                    Err(error)
                        if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) =>
                    {
                        continue;
                    }
                    Err(error) => {
                        accepting.about(format_args!("cannot accept connections: {error}"));
                        thread::sleep(limits::ACCEPT_PAUSE);
                        continue;
                    }
                };
                let socket = Arc::new(socket);
                let Some(ticket) = hall.enter(&socket, peer.ip()) else {
                    turn_away(&socket);
                    continue;
                };
                let spawned = threads::spawn_scoped(scope, "connection", limits::DOOR_STACK, move || {
                    // A command must not wait for a fuller packet. Without it the connection works, a little later.
                    if let Err(error) = socket.set_nodelay(true) {
                        log::debug!("TCP_NODELAY for {peer}: {error}");
                    }
                    on_connection(socket, peer, ticket);
                });
                if let Err(error) = spawned {
                    starting.about(format_args!("no thread for a connection: {error}"));
                }
            }
        })
    }
}

/// Tells a caller that there is no room, as far as that goes without waiting for it.
fn turn_away(mut socket: &TcpStream) {
    let message = "the server has as many connections as it takes, try again";
    let answer = reply::answer(503, "unavailable", message, &[]);
    let mut sent = socket.set_nonblocking(true);
    if sent.is_ok() {
        // What has come already is read, so that the close is no reset that overtakes the answer.
        let _ = socket.read(&mut vec![0; 4096]); // most often nothing is here yet
        sent = socket.write_all(&answer).and_then(|()| socket.shutdown(Shutdown::Write));
    }
    if let Err(error) = sent {
        log::trace!("turning a caller away: {error}");
    }
}

/// Raises the bound on open descriptors as far as this process may, and says where it stands.
pub fn raise_descriptor_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => return maximum.unwrap_or(u64::MAX),
            Err(error) => log::warn!("cannot raise the limit on open files: {error}"),
        }
    }
    current.unwrap_or(u64::MAX)
}
