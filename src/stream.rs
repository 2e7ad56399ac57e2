//! A connection: a TCP socket, plain or with TLS over it. Everything that speaks to a peer speaks through it.
//!
//! One thread reads and others write, in both directions at once (rustls has no halves): what TLS keeps is behind
//! a lock that is held for computing alone, never while the socket waits. So a peer that does not read never keeps
//! us from hearing it.
//!
//! Writing has two steps, so that whoever writes may do so without blocking: [`Stream::seal`] gives the bytes their place
//! in the order of the stream, then they are sent. One thread writes at a time; the line's outbox sees to that.
//!
//! `stream/tls/` is the only folder that names rustls. Without the feature `tls` its place is taken by `no_tls.rs`,
//! in which a TLS session is a thing that can't exist.

#[cfg_attr(feature = "tls", path = "stream/tls/mod.rs")]
#[cfg_attr(not(feature = "tls"), path = "stream/no_tls.rs")]
pub mod tls;

use std::borrow::Cow;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags};

/// One connection; see the module.
#[derive(Debug)]
pub struct Stream {
    /// Shared with the door, which may shut it from outside as long as the peer is a stranger.
    socket: Arc<TcpStream>,
    tls: Option<tls::Session>,
    /// Bytes that came from the socket.
    arrived: AtomicU64,
}

impl Stream {
    /// A connection without TLS.
    pub fn plain(socket: impl Into<Arc<TcpStream>>) -> Stream {
        Stream { socket: socket.into(), tls: None, arrived: AtomicU64::new(0) }
    }

    /// The TCP socket below: for its options, and to look at what comes without taking it.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The names in the certificate that the peer has shown and proven; `None` when it has shown none.
    pub fn peer_names(&self) -> Option<&[String]> {
        self.tls.as_ref().and_then(tls::Session::peer_names)
    }

    /// What protects it, such as `TLSv1.3`; `None` when nothing does.
    pub fn protection(&self) -> Option<&'static str> {
        self.tls.as_ref().map(tls::Session::version)
    }

    /// Bytes that have come from the socket: with TLS, also those of a record that is not whole yet.
    pub fn arrived(&self) -> u64 {
        self.arrived.load(Relaxed)
    }

    /// How long a read waits; `None` for ever.
    ///
    /// # Errors
    /// When the socket is gone, or `time` is zero.
    pub fn set_read_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(time)
    }

    /// How long a write waits; `None` for ever.
    ///
    /// # Errors
    /// When the socket is gone, or `time` is zero.
    pub fn set_write_timeout(&self, time: Option<Duration>) -> io::Result<()> {
        self.socket.set_write_timeout(time)
    }

    /// The bytes that the socket is to get for `bytes`, which take their place in the order of the stream by this call.
    ///
    /// # Errors
    /// When TLS has ended.
    pub fn seal<'b>(&self, bytes: &'b [u8]) -> io::Result<Cow<'b, [u8]>> {
        match &self.tls {
            None => Ok(Cow::Borrowed(bytes)),
            Some(tls) => tls.seal(bytes).map(Cow::Owned),
        }
    }

    /// Sends what the socket takes of `sealed` bytes, and returns how many that were.
    ///
    /// # Errors
    /// `WouldBlock` when the socket is full; otherwise the connection is gone.
    pub fn send_now(&self, sealed: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::net::send(&*self.socket, sealed, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                sent => return sent.map_err(io::Error::from),
            }
        }
    }

    /// Sends some of `sealed` bytes, waiting for room, and returns how many.
    ///
    /// # Errors
    /// When the connection is gone, or the write timeout has passed.
    pub fn send(&self, sealed: &[u8]) -> io::Result<usize> {
        (&*self.socket).write(sealed)
    }

    /// Says that nothing more will come from here, without waiting for the peer, and shuts that direction; what was
    /// written before must have been sent whole.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn finish(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            // A peer that has no room for these few bytes hears it from TCP.
            let _full = self.send_now(&tls.seal_close());
        }
        self.socket.shutdown(Shutdown::Write)
    }

    /// Ends both directions; whoever reads or writes wakes up.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn shut(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Both)
    }

    /// Appends what is there to `buffer`, as far as that has room, without growing it; waits until something is there. 0 is
    /// the end. Nothing is filled with zeros before: memory that is not needed is not touched.
    ///
    /// # Errors
    /// Those of the socket, timeouts among them: after one of these a later read goes on. What breaks TLS is told in words.
    pub fn read_into(&self, buffer: &mut dyn Room) -> io::Result<usize> {
        assert!(buffer.left() > 0, "a read has room, or 0 would not be the end");
        match &self.tls {
            None => self.receive(buffer, RecvFlags::empty()),
            Some(tls) => tls.read_into(buffer, |buffer, flags| self.receive(buffer, flags)),
        }
    }

    fn receive(&self, buffer: &mut dyn Room, flags: RecvFlags) -> io::Result<usize> {
        let count = buffer.receive(&self.socket, flags)?;
        self.arrived.fetch_add(count as u64, Relaxed);
        Ok(count)
    }
}

/// Memory that bytes are appended to, as far as it has room.
pub trait Room {
    /// How many fit.
    fn left(&self) -> usize;

    /// Appends what `socket` has.
    ///
    /// # Errors
    /// Those of the socket.
    fn receive(&mut self, socket: &TcpStream, flags: RecvFlags) -> io::Result<usize>;

    /// Appends `bytes`, which fit.
    fn put(&mut self, bytes: &[u8]);
}

impl Room for Vec<u8> {
    fn left(&self) -> usize {
        self.capacity() - self.len()
    }

    fn receive(&mut self, socket: &TcpStream, flags: RecvFlags) -> io::Result<usize> {
        Ok(rustix::net::recv(socket, spare_capacity(self), flags)?.0)
    }

    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Write for &Stream {
    /// Writes all of `bytes`. After an error the stream is of no more use for writing.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sealed = self.seal(bytes)?;
        (&*self.socket).write_all(&sealed)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
