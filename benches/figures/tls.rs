//! What TLS adds: a pull over `wss://` against a pull over `ws://`, and against a floor with the same cipher.

use std::fs::File;
use std::io::{self, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::floor::{PIECE, both_ends, hash_and_copy};
use super::site::{
    MIB, Pairs, ROUNDS, Rounds, Source, agent, print_peaks, pull, remove_downloads, server, timed, used,
};
use super::support::server::Server;
use super::support::temp::TempDir;

/// A certificate for 127.0.0.1, which is its own authority.
pub struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    /// The same as files.
    pub files: (PathBuf, PathBuf),
}

impl Identity {
    pub fn make(folder: &Path) -> Identity {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let files = (folder.join("server.pem"), folder.join("server.key"));
        std::fs::write(&files.0, made.cert.pem()).expect("room on the disk");
        std::fs::write(&files.1, made.signing_key.serialize_pem()).expect("room on the disk");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        Identity { certificate: made.cert.der().clone(), key, files }
    }
}

/// 100 MiB over TLS and without, and what the same cipher costs alone.
pub fn run() {
    let source = Source::random(100 * MIB);
    let folder = TempDir::new();
    let own = Identity::make(&folder);
    let (certificate, key) = (text(&own.files.0), text(&own.files.1));
    let plain = server(&[]);
    let secure = Server::start_secure(
        &own.files.0,
        &[("LOG_LEVEL", "error"), ("TLS_CERT", certificate), ("TLS_KEY", key)],
    );
    let _plain_agent = agent(&plain, "shop-001", &source, &[]);
    let secure_agent = agent(&secure, "shop-001", &source, &[("TLS_CA", certificate)]);
    let (mut pairs, mut to_plain) = (Pairs::default(), Rounds::default());
    for round in 0..=ROUNDS {
        let below = used(&[], || copy(&own, &source, &secure.uploads.join("floor")));
        let without = timed(|| drop(pull(&plain, "shop-001", &source)));
        let programs = [&secure.program, &secure_agent.program];
        let with = used(&programs, || drop(pull(&secure, "shop-001", &source)));
        remove_downloads(&plain);
        remove_downloads(&secure);
        if round > 0 {
            pairs.push(below, with);
            to_plain.push(with.wall / without);
        }
    }
    pairs.print("floor with the same cipher");
    println!("  ratio to towline over ws:// {to_plain}");
    print_peaks(&secure, &[secure_agent]);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// The cipher that a pull between two Towline programs gets on a processor that has AES, and no other.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(provider)
}

/// The same file over TCP and TLS, hashed at both ends, written and synced: rustls as it comes.
fn copy(own: &Identity, source: &Source, to: &Path) {
    let versions = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = versions.expect("ring knows them").with_no_client_auth();
    let accepting = config.with_single_cert(vec![own.certificate.clone()], own.key.clone_key());
    let mut accepting = accepting.expect("a pair");
    accepting.send_tls13_tickets = 0; // nobody reads them, and unread they would reset the connection
    let mut roots = RootCertStore::empty();
    roots.add(own.certificate.clone()).expect("an authority");
    let versions = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let dialling = versions.expect("ring knows them").with_root_certificates(roots).with_no_client_auth();
    let send = |from: File, socket: TcpStream| {
        let name = "127.0.0.1".try_into().expect("a name");
        let connection = ClientConnection::new(Arc::new(dialling), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        let hash = hash_and_copy(from, &mut stream)?;
        stream.conn.send_close_notify();
        stream.flush()?;
        Ok(hash)
    };
    both_ends(source, to, send, |socket, to| {
        let connection = ServerConnection::new(Arc::new(accepting)).map_err(io::Error::other)?;
        hash_and_copy(io::BufReader::with_capacity(PIECE, StreamOwned::new(connection, socket)), to)
    });
}
