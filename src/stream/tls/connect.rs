//! The agent's side: whose certificates it believes, its own, and the handshake.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore};

use super::{Session, Stream, files, provider, shake_hands};

/// Opens TLS connections.
pub struct Connector {
    config: Arc<ClientConfig>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// Believes the authorities in the file `ca`, and nobody else; without one, those that browsers believe. Shows
    /// the certificate of `own`, a chain and its key, if the server asks.
    ///
    /// # Errors
    /// Names the setting, the file and what is wrong with it.
    pub fn load(ca: Option<&Path>, own: Option<&(PathBuf, PathBuf)>) -> Result<Connector, String> {
        let roots = match ca {
            Some(path) => files::authorities("TLS_CA", path)?,
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = files::certificates("TLS_CERT", certificate)?;
                let private = files::private_key("TLS_KEY", key)?;
                builder.with_client_auth_cert(chain, private).map_err(|error| {
                    files::wrong("TLS_CERT", certificate, &format!("with TLS_KEY={}: {error}", key.display()))
                })?
            }
        };
        config.resumption = Resumption::disabled(); // a line lasts for days
        Ok(Connector { config: Arc::new(config) })
    }

    /// Shakes hands with `host`, all of it before `deadline`.
    ///
    /// # Errors
    /// When what answers does not speak TLS, or is not proven to be `host`, or is too slow.
    pub fn connect(&self, socket: TcpStream, host: &str, deadline: Instant) -> io::Result<Stream> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the host's name can't stand in a certificate")
        })?;
        let connection = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        let mut connection = Connection::Client(connection);
        shake_hands(&mut connection, &socket, deadline)?;
        let session = Session::new(connection, None);
        Ok(Stream { socket: socket.into(), tls: Some(session), arrived: Default::default() })
    }
}
