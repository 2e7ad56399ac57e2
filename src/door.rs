//! The door: the only place where HTTP from the network is met.
//!
//! ```text
//! network ──► listener ──► read_head ──┬─► the agents' path: whoever serves lines takes socket, head and tail
//!             a thread each            └─► read_body ──► relay ──► control socket ──► tiny_http
//!                      any error ──► refuse, drain, close
//! ```
//!
//! - tiny_http has no timeouts, allocates what `Content-Length` says, counts any `Transfer-Encoding` as chunked and
//!   ends its accept thread for good on an error. So it only ever meets requests that were rebuilt here from
//!   a head that was read whole, under a deadline, and a body that is here already.
//! - One request a connection. Nothing of what a caller says about itself (`X-Forwarded-For`) passes.
//! - A caller that has not proven who it is makes way for others ([`hall`]).
//! - Every wait for a caller has an end: a deadline for what it sends, a timeout for what it does not take.
//! - What is ambiguous is refused, never repaired: two readers of one request must not disagree.
//!
//! One thread a connection, started by [`listener::Listener::serve`], ended by the end of its answer or by its
//! deadline. Deliberately not here: routes, keys, the hub, TLS, keep-alive.

pub mod control_socket;
pub mod hall;
pub mod head;
pub mod listener;
pub mod query;
pub mod relay;
pub mod reply;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::time::Instant;

use crate::stream::Stream;

/// Appends what is there to `buffer`, as far as that has room, waiting no longer than `deadline`; past it, [`ErrorKind::TimedOut`].
///
/// A read timeout is per call, so a peer that sends a byte now and then would never meet one; it shrinks here
/// with each call instead.
fn read_before(socket: &Stream, buffer: &mut Vec<u8>, deadline: Instant) -> io::Result<usize> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read_into(buffer) {
            // The timeout may end a little early: the clock decides.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            done => return done,
        }
    }
}
