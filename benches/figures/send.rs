//! Bare TCP over a link: what the kernel makes of it, and nothing of ours.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use rustix::net::sockopt::set_tcp_congestion;

use super::floor::hash_and_copy;
use super::link::Link;
use super::site::Source;
use super::support::temp::TempDir;

/// Sends a file over each of `count` connections at once: the near end's half.
pub fn run(address: &str, congestion: &str, path: &str, count: usize) {
    let send = || {
        let socket = TcpStream::connect(address)?;
        set_tcp_congestion(&socket, congestion)?;
        hash_and_copy(File::open(path)?, &socket)
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..count).map(|_| scope.spawn(send)).collect();
        for one in all {
            one.join().expect("no panic").expect("sent");
        }
    });
}

/// Seconds from the first connection to the last byte of all on the disk.
pub fn over(link: &Link, congestion: &str, source: &Source, count: usize) -> f64 {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
    let address = format!("10.99.0.2:{}", listener.local_addr().expect("bound").port());
    let path = source.path.to_str().expect("a plain name");
    let mut sender =
        link.again(&["send", &address, congestion, path, &count.to_string()]).spawn().expect("starts");
    let folder = TempDir::new();
    let mut started = None;
    thread::scope(|scope| {
        for number in 0..count {
            let (socket, _) = listener.accept().expect("a connection");
            started.get_or_insert_with(Instant::now);
            let path = folder.join(number.to_string());
            scope.spawn(move || {
                let file = File::create(path).expect("a file");
                let hash = hash_and_copy(socket, &file).expect("received");
                file.sync_all().expect("synced");
                assert_eq!(hash, source.hash);
            });
        }
    });
    let seconds = started.expect("connected").elapsed().as_secs_f64();
    assert!(sender.wait().expect("our child").success());
    seconds
}
