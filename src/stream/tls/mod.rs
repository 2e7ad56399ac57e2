//! TLS 1.2 and 1.3, by rustls with ring. The only folder that names them.
//!
//! The lock around the connection is held for ciphering alone. What rustls itself has to say (a key update) leaves with
//! the next bytes that are sealed.

mod accept;
mod connect;
mod files;
pub mod proof;

use std::fmt;
use std::io::{self, BufRead, ErrorKind, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::net::RecvFlags;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{Connection, ProtocolVersion};

use super::{Room, Stream};
use crate::limits;
use crate::lock::lock;
use crate::names::printable;

pub use accept::Acceptor;
pub use connect::Connector;

/// Whether this build can do TLS.
pub const IS_BUILT_IN: bool = true;

/// TLS over one socket, after its handshake.
pub struct Session {
    connection: Mutex<Connection>,
    /// What came from the socket and rustls has not taken yet. Only the one thread that reads has it.
    unread: Mutex<Unread>,
    peer_names: Option<Vec<String>>,
    version: &'static str,
}

/// Bytes of records.
#[derive(Default)]
struct Unread {
    bytes: Vec<u8>,
    /// How many of them rustls has taken.
    start: usize,
    /// What was found behind bytes that are given out first.
    wrong: Option<io::Error>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Session {
    fn new(mut connection: Connection, peer_names: Option<Vec<String>>) -> Session {
        connection.set_buffer_limit(None); // what is sealed is taken out at once
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        Session { connection: Mutex::new(connection), unread: Mutex::default(), peer_names, version }
    }

    /// See [`Stream::peer_names`].
    pub(super) fn peer_names(&self) -> Option<&[String]> {
        self.peer_names.as_deref()
    }

    /// See [`Stream::protection`].
    pub(super) fn version(&self) -> &'static str {
        self.version
    }

    /// See [`Stream::seal`].
    pub(super) fn seal(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut connection = lock(&self.connection);
        connection.writer().write_all(bytes)?;
        Ok(take_sealed(&mut connection, bytes.len()))
    }

    /// The sealed word that nothing more will come (RFC 8446, section 6.1).
    pub(super) fn seal_close(&self) -> Vec<u8> {
        let mut connection = lock(&self.connection);
        connection.send_close_notify();
        take_sealed(&mut connection, 0)
    }

    /// Reads what is there into the room that `out` has, waiting at most once. `WouldBlock` also when what that brought ends in the
    /// middle of a record, so that whoever has a deadline looks at it.
    pub(super) fn read_into(
        &self,
        out: &mut dyn Room,
        receive: impl Fn(&mut Vec<u8>, RecvFlags) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut unread = lock(&self.unread);
        if let Some(wrong) = unread.wrong.take() {
            return Err(wrong);
        }
        if let Some(count) = self.open(&mut unread, out)? {
            return Ok(count);
        }
        // Little memory for as long as nothing comes; when that is not enough, much is coming.
        unread.bytes = Vec::with_capacity(limits::TLS_IDLE_BYTES);
        if receive(&mut unread.bytes, RecvFlags::empty())? == 0 {
            return self.end(out);
        }
        if unread.bytes.len() == unread.bytes.capacity() {
            unread.bytes.reserve_exact(limits::TLS_READ_BYTES);
            // Nothing more, the end or an error: the next read finds it.
            let _rest = receive(&mut unread.bytes, RecvFlags::DONTWAIT);
        }
        self.open(&mut unread, out)?.ok_or_else(|| ErrorKind::WouldBlock.into())
    }

    /// The socket has ended: so has TLS, if the peer said so.
    fn end(&self, out: &mut dyn Room) -> io::Result<usize> {
        let mut connection = lock(&self.connection);
        connection.read_tls(&mut io::empty())?;
        match take_opened(&mut connection, out) {
            // Nobody has said that this is the end: somebody may have cut it off.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(io::Error::new(ErrorKind::UnexpectedEof, "closed without a word"))
            }
            done => done,
        }
    }

    /// Deciphers what is unread into `out`, until that is full or nothing is left to decipher. `None` when that gave nothing.
    fn open(&self, unread: &mut Unread, out: &mut dyn Room) -> io::Result<Option<usize>> {
        let mut connection = lock(&self.connection);
        let (mut rest, before) = (&unread.bytes[unread.start..], out.left());
        let opened = loop {
            match take_opened(&mut connection, out) {
                Ok(0) => break Ok(Some(0)), // in order
                Ok(_) if out.left() == 0 => break Ok(None),
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => break Err(error),
            }
            if rest.is_empty() {
                break Ok(None);
            }
            connection.read_tls(&mut rest)?;
            if let Err(error) = connection.process_new_packets() {
                // What was good before it is given out first.
                while take_opened(&mut connection, out).is_ok_and(|count| count > 0) {}
                break Err(broken(&error));
            }
        };
        unread.start = unread.bytes.len() - rest.len();
        if rest.is_empty() {
            *unread = Unread::default(); // an idle connection keeps no buffer
        }
        let count = before - out.left();
        if count == 0 {
            return opened;
        }
        unread.wrong = opened.err(); // an end in order is found again
        Ok(Some(count))
    }
}

/// Appends deciphered bytes to `out`, as far as that has room. 0 when the peer has ended TLS; `WouldBlock` when there are none.
fn take_opened(connection: &mut Connection, out: &mut dyn Room) -> io::Result<usize> {
    let mut reader = connection.reader();
    let opened = reader.fill_buf()?;
    let count = opened.len().min(out.left());
    out.put(&opened[..count]);
    reader.consume(count);
    Ok(count)
}

/// All that rustls has ready for the socket; `length` is how much plain text that holds.
fn take_sealed(connection: &mut Connection, length: usize) -> Vec<u8> {
    // Each record of 16 KiB has a head and a tag of 22 bytes, 29 in TLS 1.2.
    let mut sealed = Vec::with_capacity(length + (length / (16 << 10) + 2) * 32);
    while connection.wants_write() {
        connection.write_tls(&mut sealed).expect("a vector takes all that is written to it");
    }
    sealed
}

/// Shakes hands over `socket`, all of it before `deadline`.
fn shake_hands(connection: &mut Connection, socket: &TcpStream, deadline: Instant) -> io::Result<()> {
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        left if left.is_zero() => Err(io::Error::new(ErrorKind::TimedOut, "the TLS handshake took too long")),
        left => Ok(left),
    };
    let mut socket_io = socket;
    loop {
        while connection.wants_write() {
            socket.set_write_timeout(Some(left()?))?;
            match connection.write_tls(&mut socket_io) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => drop(written?),
            }
        }
        if !connection.is_handshaking() {
            break socket.set_write_timeout(None);
        }
        socket.set_read_timeout(Some(left()?))?;
        match connection.read_tls(&mut socket_io) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "closed in the TLS handshake")),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => continue,
            Err(error) => return Err(error),
        }
        if let Err(error) = connection.process_new_packets() {
            // The peer is told by an alert, if it still listens.
            let _gone = connection.write_tls(&mut socket_io);
            return Err(broken(&error));
        }
    }
}

/// The certificates (DER) of the authorities in a PEM file, at least one, each fit to be believed.
///
/// # Errors
/// Names the setting, the file and what is wrong with it.
pub fn authorities(setting: &str, path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let certificates = files::certificates(setting, path)?;
    files::as_authorities(setting, path, &certificates)?;
    Ok(certificates.iter().map(|certificate| certificate.to_vec()).collect())
}

/// What an error of somebody else's TLS means, where it is of a kind that ends a handshake; fit to print.
pub fn words(error: &io::Error) -> Option<String> {
    use rustls::Error;
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    match error {
        Error::InvalidCertificate(_)
        | Error::InvalidMessage(_)
        | Error::AlertReceived(_)
        | Error::PeerIncompatible(_) => Some(in_words(error)),
        _ => None, // the peer may have had a request by then
    }
}

/// What went wrong, in words that say what to do.
fn broken(error: &rustls::Error) -> io::Error {
    io::Error::other(in_words(error))
}

fn in_words(error: &rustls::Error) -> String {
    let text = error.to_string(); // may hold names of the peer's certificate
    format!("TLS: {}{}", printable(&text), advice(error))
}

fn advice(error: &rustls::Error) -> &'static str {
    use rustls::{AlertDescription as Alert, CertificateError as Certificate, Error};
    match error {
        Error::InvalidCertificate(why) => match why {
            // A signature is bad where an authority has the name of the one that signed.
            Certificate::UnknownIssuer | Certificate::BadSignature => {
                "; set TLS_CA to the authority that signed it"
            }
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                "; the URL must name the machine as its certificate does"
            }
            Certificate::Expired | Certificate::ExpiredContext { .. } => {
                "; renew it, or set the clock of this machine right"
            }
            Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                "; set the clock of this machine right"
            }
            _ => "",
        },
        Error::InvalidMessage(_) => {
            "; what answers there does not speak TLS: is the port right, or is it a server without TLS?"
        }
        Error::AlertReceived(
            Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRevoked
            | Alert::UnsupportedCertificate
            | Alert::DecryptError,
        ) => {
            "; the peer does not take the certificate of this side: see TLS_CERT here, TLS_CA or TLS_CLIENT_CA there"
        }
        _ => "",
    }
}

/// Ring's ciphers, the fast ones of this machine first: AES with 128 bits where the processor has instructions for it,
/// ChaCha20 where not. Either is as safe as anything else here.
fn provider() -> Arc<CryptoProvider> {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let has_aes = std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    let has_aes = std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let name = format!("{:?}", suite.suite());
        let rank = match () {
            () if name.contains("AES_128") => 1,
            () if name.contains("CHACHA20") => {
                if has_aes {
                    2
                } else {
                    0
                }
            }
            () => 3,
        };
        (!name.starts_with("TLS13"), rank)
    });
    Arc::new(provider)
}
