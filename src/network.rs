//! What counts as one address when callers are counted.

use std::net::{IpAddr, Ipv6Addr};

/// Where an address belongs: an IPv4 address to itself, an IPv6 one to its /64, which is the least that a customer gets
/// (RFC 6177).
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_customer_of_ipv6_is_one_address() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(network(ip("2001:db8:1:2:3::4")), network(ip("2001:db8:1:2::9")));
        assert_ne!(network(ip("2001:db8:1:3::4")), network(ip("2001:db8:1:2::4")));
        assert_eq!(network(ip("::ffff:10.0.0.1")), ip("10.0.0.1"), "IPv4 on a socket for both");
        assert_ne!(network(ip("10.0.0.1")), network(ip("10.0.0.2")));
    }
}
