//! TLS as a caller of another make speaks it: by rustls, and by nothing of ours.

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::authority::Identity;
use super::http::Wire;
use super::wait::SOON;

/// The certificates of a PEM file.
pub fn certificates(path: impl AsRef<Path>) -> Vec<CertificateDer<'static>> {
    let file = File::open(path).expect("the file is there");
    CertificateDer::pem_reader_iter(file).map(|certificate| certificate.expect("it is PEM")).collect()
}

/// What a caller shakes hands with: it believes the authorities in the file `ca`, and shows a certificate if it has one.
pub fn config(ca: &Path, own: Option<&Identity>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for authority in certificates(ca) {
        roots.add(authority).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.expect("ring knows them").with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_file(&own.key).expect("a key");
            builder.with_client_auth_cert(certificates(&own.certificate), key).expect("a pair")
        }
    }
}

/// The certificate that the server on this port shows now.
pub fn shown_certificate(port: u16, ca: &Path) -> CertificateDer<'static> {
    let name = "127.0.0.1".try_into().expect("an address is a name");
    let mut connection = ClientConnection::new(Arc::new(config(ca, None)), name).expect("a connection");
    let mut socket = Wire::connect(port).0;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).expect("the server shakes hands");
    }
    connection.peer_certificates().expect("a server has one")[0].clone().into_owned()
}

/// A connection to 127.0.0.1.
///
/// # Errors
/// What goes wrong in the handshake. That a certificate of our own is not taken shows at the first read only (TLS 1.3).
pub fn connect(port: u16, ca: &Path, own: Option<&Identity>) -> io::Result<Wire> {
    shake_hands(port, config(ca, own))
}

/// The same with a configuration of the test's own.
pub fn shake_hands(port: u16, config: ClientConfig) -> io::Result<Wire> {
    let wire = Wire::connect(port);
    wire.0.set_read_timeout(Some(SOON))?;
    let name = "127.0.0.1".try_into().expect("an address is a name");
    let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut socket: TcpStream = wire.0.try_clone()?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(Wire(wire.0, Some(Box::new(StreamOwned::new(connection, socket)))))
}
