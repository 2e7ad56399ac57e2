//! The floor: the best plain program for the work of a pull, and nothing but that work.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use towline::hash::Hasher;
use towline::names::Sha256Hash;

use super::site::Source;

/// What is read, hashed and written at once, in bytes.
pub const PIECE: usize = 256 << 10;

/// Read, SHA-256, send over bare TCP; receive, SHA-256, write, sync. A thread at each end.
pub fn copy(source: &Source, to: &Path) {
    both_ends(
        source,
        to,
        |from, socket| hash_and_copy(from, &socket),
        |socket, to| hash_and_copy(socket, to),
    );
}

/// Sends the source over TCP on loopback and writes what comes, syncs it, compares, and removes it.
pub fn both_ends(
    source: &Source,
    to: &Path,
    send: impl FnOnce(File, TcpStream) -> io::Result<Sha256Hash> + Send,
    receive: impl FnOnce(TcpStream, &File) -> io::Result<Sha256Hash>,
) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let (sent, received) = thread::scope(|scope| {
        let sender = scope.spawn(|| send(File::open(&source.path)?, TcpStream::connect(address)?));
        let received = listener.accept().and_then(|(socket, _)| {
            let file = File::create(to)?;
            let hash = receive(socket, &file)?;
            file.sync_all()?;
            Ok(hash)
        });
        (sender.join().expect("no panic"), received)
    });
    assert_eq!((sent.expect("sent"), received.expect("received")), (source.hash, source.hash));
    std::fs::remove_file(to).expect("it is there");
}

pub fn hash_and_copy(mut from: impl Read, mut to: impl Write) -> io::Result<Sha256Hash> {
    let (mut buffer, mut hasher) = (vec![0; PIECE], Hasher::default());
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.hash());
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
}
