//! What TLS adds: a pull over `wss://` against a pull over `ws://`, and against a floor with the same cipher.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use towline::names::Sha256Hash;
use towline::stream::Stream;
use towline::stream::tls::Connector;

use super::{CHUNK, ROUNDS, Server, hash_and_copy, mib, peak, spread, timed};

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
pub fn one_pull(folder: &Path, source: &Path, hash: Sha256Hash) {
    let own = Identity::make(folder);
    let (plain, secure) = (Server::start(folder, 5, None), Server::start(folder, 5, Some(&own)));
    let (_plain_agent, agent) = (plain.agent("shop-001", source), secure.agent("shop-001", source));
    let (mut floor, mut ours, mut to_floor, mut to_plain) = (vec![], vec![], vec![], vec![]);
    for round in 0..=ROUNDS {
        let below = run_floor(&own, source, &folder.join("floor"), hash);
        let without = timed(|| plain.pull("shop-001", hash));
        let with = timed(|| secure.pull("shop-001", hash));
        if round > 0 {
            floor.push(below);
            ours.push(with);
            to_floor.push(with / below);
            to_plain.push(with / without);
        }
        plain.remove_downloads();
        secure.remove_downloads();
    }
    println!("one pull of 100 MiB over TLS, {ROUNDS} rounds: median (least to most)");
    println!("  floor with the same cipher  {} s", spread(floor));
    println!("  towline over wss://         {} s", spread(ours));
    println!("  ratio to that floor         {}", spread(to_floor));
    println!("  ratio to towline over ws:// {}", spread(to_plain));
    println!("  peak resident: server {} MiB, agent {} MiB", mib(peak(&secure.child)), mib(peak(&agent.0)));
}

/// The cipher that a pull between two Towline programs gets on a processor that has AES, and no other.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(provider)
}

/// The same file over TCP and TLS, hashed at both ends, written and synced: rustls as it comes.
fn run_floor(own: &Identity, source: &Path, to: &Path, expected: Sha256Hash) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let versions = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = versions.expect("ring knows them").with_no_client_auth();
    let accepting =
        config.with_single_cert(vec![own.certificate.clone()], own.key.clone_key()).expect("a pair");
    let mut roots = RootCertStore::empty();
    roots.add(own.certificate.clone()).expect("an authority");
    let versions = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let dialling = versions.expect("ring knows them").with_root_certificates(roots).with_no_client_auth();
    timed(|| {
        let (sent, received) = thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let name = "127.0.0.1".try_into().expect("a name");
                let connection = ClientConnection::new(Arc::new(dialling), name).map_err(io::Error::other)?;
                let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
                let hash = hash_and_copy(File::open(source)?, &mut stream)?;
                stream.conn.send_close_notify();
                stream.flush()?;
                Ok::<_, io::Error>(hash)
            });
            let received = listener.accept().and_then(|(socket, _)| {
                let connection = ServerConnection::new(Arc::new(accepting)).map_err(io::Error::other)?;
                let file = File::create(to)?;
                let stream = io::BufReader::with_capacity(CHUNK, StreamOwned::new(connection, socket));
                let hash = hash_and_copy(stream, &file)?;
                file.sync_all()?;
                Ok(hash)
            });
            (sender.join().expect("no panic"), received)
        });
        assert_eq!((sent.expect("sent"), received.expect("received")), (expected, expected));
    })
}

/// What the server answers over TLS.
pub fn ask(port: u16, own: &Identity, request: &str) -> String {
    let connector = Connector::load(Some(&own.files.0), None).expect("an authority");
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    let deadline = Instant::now() + Duration::from_secs(20);
    let stream = connector.connect(socket, "127.0.0.1", deadline).expect("it shakes hands");
    (&stream).write_all(request.as_bytes()).expect("sent");
    stream.set_read_timeout(None).expect("a socket takes options");
    read_all(&stream)
}

fn read_all(mut stream: &Stream) -> String {
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return String::from_utf8(answer).expect("JSON"),
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {} // a part of a record
            Err(error) => panic!("no answer: {error}"),
        }
    }
}
