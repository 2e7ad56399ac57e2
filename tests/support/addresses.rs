//! Callers from other addresses of this machine: all of 127.0.0.0/8 is its own.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::http::Wire;
use super::wait::SOON;

/// A connection from this address.
pub fn connect_from(address: Ipv4Addr, port: u16) -> Wire {
    let ours = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    bind(&ours, &SocketAddrV4::new(address, 0)).expect("an address of this machine");
    connect(&ours, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).expect("the port is open");
    let stream = TcpStream::from(ours);
    stream.set_nodelay(true).expect("a socket takes options");
    stream.set_write_timeout(Some(SOON)).expect("a socket takes options");
    Wire(stream, None)
}

/// As many descriptors as this process may have.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the maximum");
    limit.maximum.unwrap_or(u64::MAX)
}
