//! The server's side: its certificate, whose certificates it takes, and the handshake.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{Connection, ServerConfig, ServerConnection};
use webpki::EndEntityCert;

use super::{Session, Stream, files, lock, provider, shake_hands};
use crate::keys::file::Stamp;
use crate::limits;

/// Takes TLS connections with the certificate of some files, and with that of newer ones when these have changed.
pub struct Acceptor {
    files: Files,
    /// Held for moments: a slow disk keeps no connection waiting.
    current: Mutex<Current>,
    /// Who reads the files has it, and it is taken before `current`.
    looking: Mutex<()>,
}

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// Of the files that were looked at last, good or not.
    stamps: Vec<Option<Stamp>>,
    looked: Instant,
    /// What they held could not be used: they are read again at each look.
    is_stale: bool,
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("certificate", &self.files.certificate).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Reads a certificate chain, its key, and the authorities whose clients are taken, if these are to show certificates.
    ///
    /// # Errors
    /// Names the setting, the file and what is wrong with it.
    pub fn load(certificate: PathBuf, key: PathBuf, client_ca: Option<PathBuf>) -> Result<Acceptor, String> {
        let files = Files { certificate, key, client_ca };
        let (stamps, config) = (files.stamps(), files.read()?);
        let current = Mutex::new(Current { config, stamps, looked: Instant::now(), is_stale: false });
        Ok(Acceptor { files, current, looking: Mutex::default() })
    }

    /// Whether clients must show a certificate.
    pub fn wants_certificates(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// Shakes hands, all of it before `deadline`.
    ///
    /// # Errors
    /// When the peer does not speak TLS, has a certificate that is not taken, or is too slow.
    pub fn accept(&self, socket: Arc<TcpStream>, deadline: Instant) -> io::Result<Stream> {
        let connection = ServerConnection::new(self.config()).map_err(io::Error::other)?;
        let mut connection = Connection::Server(connection);
        shake_hands(&mut connection, &socket, deadline)?;
        let names = connection.peer_certificates().and_then(<[_]>::first).map(names_in);
        let session = Session::new(connection, names);
        Ok(Stream { socket, tls: Some(session), arrived: Default::default() })
    }

    /// Takes up what the files hold, when they have changed. What can't be used is told once, and changes nothing.
    pub fn look(&self) {
        let _turn = lock(&self.looking);
        let stamps = self.files.stamps();
        let mut current = lock(&self.current);
        current.looked = Instant::now();
        let is_new = stamps != current.stamps;
        if !is_new && !current.is_stale {
            return;
        }
        drop(current);
        let read = self.files.read();
        let mut current = lock(&self.current);
        current.stamps = stamps;
        // When stale, again at the next look: certificate and key are two files, and one of them is written first.
        current.is_stale = read.is_err();
        let read = read.map(|config| current.config = config);
        drop(current);
        match read {
            Ok(()) => log::info!(
                "the certificate of {} has changed and is used from now on",
                self.files.certificate.display()
            ),
            Err(error) if is_new => log::error!("the certificate of before is kept: {error}"),
            Err(_) => {}
        }
    }

    fn config(&self) -> Arc<ServerConfig> {
        let mut current = lock(&self.current);
        if current.looked.elapsed() < limits::CERTIFICATE_LOOK_PAUSE {
            return current.config.clone();
        }
        current.looked = Instant::now(); // those who come meanwhile need not look as well
        drop(current);
        self.look();
        lock(&self.current).config.clone()
    }
}

impl Files {
    fn stamps(&self) -> Vec<Option<Stamp>> {
        [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()]
            .into_iter()
            .flatten()
            .map(|path| Stamp::of(path))
            .collect()
    }

    fn read(&self) -> Result<Arc<ServerConfig>, String> {
        let chain = files::certificates("TLS_CERT", &self.certificate)?;
        let key = files::private_key("TLS_KEY", &self.key)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = files::authorities("TLS_CLIENT_CA", path)?;
                // Whoever calls REST has no certificate; agents without one are refused in words, after the handshake.
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                    .allow_unauthenticated()
                    .build()
                    .map_err(|error| files::wrong("TLS_CLIENT_CA", path, &error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            files::wrong(
                "TLS_CERT",
                &self.certificate,
                &format!("with TLS_KEY={}: {error}", self.key.display()),
            )
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // No resumption: it would let in whoever held a certificate before that is not taken any more, and costs memory.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// The client ids that a certificate stands for: its DNS names, and the rest of URIs that begin with `towline:`.
/// The common name counts for nothing (RFC 9525, section 2).
pub(super) fn names_in(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let uris = certificate.valid_uri_names().filter_map(|uri| uri.strip_prefix(limits::CLIENT_URI_SCHEME));
    certificate.valid_dns_names().chain(uris).take(limits::MAX_CERTIFICATE_NAMES).map(str::to_owned).collect()
}
