//! A thin line: so many bytes a second and so much delay each way, with a router's buffer of 50 ms before it. What does
//! not fit waits in the sender's socket, as it does before a real one.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

const PIECE: usize = 4 << 10;
const BUFFER: Duration = Duration::from_millis(50);

/// A line to one port; it lives as long as the process.
pub struct Line {
    pub port: u16,
    carried: Arc<AtomicU64>,
}

impl Line {
    pub fn to(target: u16, rate: f64, delay: Duration) -> Line {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        // Connections inherit it: what has arrived here is on the line already, so it must be little.
        set_socket_recv_buffer_size(&listener, 32 << 10).expect("a socket takes options");
        let port = listener.local_addr().expect("a bound socket").port();
        let carried = Arc::new(AtomicU64::new(0));
        let count = carried.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                let (near, far) = (Arc::new(near), Arc::new(far));
                for (from, into) in [(near.clone(), far.clone()), (far, near)] {
                    let count = count.clone();
                    thread::spawn(move || carry(&from, &into, rate, delay, &count));
                }
            }
        });
        Line { port, carried }
    }

    /// Bytes so far, both ways.
    pub fn carried(&self) -> u64 {
        self.carried.load(Relaxed)
    }
}

fn carry(from: &TcpStream, into: &TcpStream, rate: f64, delay: Duration, count: &AtomicU64) {
    set_socket_recv_buffer_size(from, 32 << 10).expect("a socket takes options");
    into.set_nodelay(true).expect("a socket takes options");
    let on_the_way = rate * (delay + BUFFER).as_secs_f64();
    let (sender, arriving) = sync_channel::<(Instant, Vec<u8>)>((on_the_way / PIECE as f64) as usize + 1);
    thread::scope(|scope| {
        scope.spawn(move || {
            for (due, bytes) in arriving {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                let mut into = into;
                if into.write_all(&bytes).is_err() {
                    break;
                }
            }
            // One of both may be gone already.
            let _ = into.shutdown(Shutdown::Write);
        });
        let (mut buffer, mut free_at) = ([0; PIECE], Instant::now());
        let mut from = from;
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            count.fetch_add(length as u64, Relaxed);
            free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(length as f64 / rate);
            if sender.send((free_at + delay, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
        drop(sender);
    });
}
