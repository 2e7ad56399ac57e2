//! The proxy itself: a fault that does not strike as it says would prove nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::support::fault_proxy::Fault::{Cut, Delay, DieAfter, FlipBit, Reset, Silence, Throttle};
use crate::support::fault_proxy::Toward::{Agent, Server};
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::wait::{Deadline, SOON};

/// Both ends of a connection through a proxy with these faults.
fn ends(faults: Vec<Fault>) -> (FaultProxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = FaultProxy::start(port, move |_| faults.clone());
    let agent = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    let server = listener.accept().unwrap().0;
    for end in [&agent, &server] {
        end.set_read_timeout(Some(SOON)).unwrap();
    }
    (proxy, agent, server)
}

/// What comes until the end, and how it ends.
fn read_all(mut end: &TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = end.read_to_end(&mut bytes).map(drop).map_err(|error| error.kind());
    (bytes, ended)
}

#[test]
fn a_cut_comes_after_its_bytes_as_an_end_on_both_sides() {
    let (proxy, mut agent, server) = ends(vec![Cut(Server, 3)]);
    agent.write_all(b"12345").unwrap();
    assert_eq!(read_all(&server), (b"123".to_vec(), Ok(())));
    assert_eq!(read_all(&agent).0, b"");
    proxy.wait_struck(1);
    assert_eq!(proxy.carried(), 3);
}

#[test]
fn a_reset_is_one_on_both_sides() {
    let (proxy, agent, mut server) = ends(vec![Reset(Agent, 3)]);
    server.write_all(b"12345").unwrap();
    assert_eq!(read_all(&agent).1, Err(ErrorKind::ConnectionReset));
    assert_eq!(read_all(&server).1, Err(ErrorKind::ConnectionReset));
    proxy.wait_struck(1);
    assert_eq!(proxy.carried(), 3);
}

#[test]
fn after_silence_nothing_comes_and_nothing_ends() {
    let (proxy, mut agent, mut server) = ends(vec![Silence(Server, 3)]);
    agent.write_all(b"12345").unwrap();
    let mut heard = [0; 3];
    server.read_exact(&mut heard).unwrap();
    proxy.wait_struck(1);
    server.write_all(b"1").unwrap();
    for end in [&agent, &server] {
        end.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert_eq!(read_all(end), (Vec::new(), Err(ErrorKind::WouldBlock)));
    }
    assert_eq!((&heard, proxy.carried()), (b"123", 3));
}

#[test]
fn one_bit_is_flipped_and_the_rest_is_not() {
    let (_proxy, mut agent, server) = ends(vec![FlipBit(Server, 4)]);
    agent.write_all(b"abc").unwrap();
    agent.write_all(b"def").unwrap();
    drop(agent);
    assert_eq!(read_all(&server), (b"abcduf".to_vec(), Ok(())));
}

#[test]
fn a_delay_is_that_of_the_way_and_not_of_each_byte() {
    let (proxy, mut agent, server) = ends(vec![Delay(Duration::from_millis(200))]);
    let begun = Instant::now();
    for _ in 0..100 {
        agent.write_all(&[0; 10_000]).unwrap();
    }
    drop(agent);
    assert_eq!(read_all(&server).0.len(), 1_000_000);
    let took = begun.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_secs(2)).contains(&took), "{took:?}");
    assert!(proxy.wait_carried(1_000_000, Deadline::soon()));
}

#[test]
fn a_throttle_lets_so_many_bytes_through_a_second() {
    let (_proxy, mut agent, server) = ends(vec![Throttle(Server, 500_000)]);
    let begun = Instant::now();
    agent.write_all(&[0; 250_000]).unwrap();
    drop(agent);
    assert_eq!(read_all(&server).0.len(), 250_000);
    let took = begun.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(2)).contains(&took), "{took:?}");
}

#[test]
fn a_connection_dies_when_its_time_is_over() {
    let (_proxy, agent, server) = ends(vec![DieAfter(Duration::from_millis(200))]);
    let begun = Instant::now();
    assert_eq!(read_all(&server), (Vec::new(), Ok(())));
    assert_eq!(read_all(&agent), (Vec::new(), Ok(())));
    assert!((Duration::from_millis(150)..Duration::from_secs(2)).contains(&begun.elapsed()));
}
