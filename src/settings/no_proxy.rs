//! `NO_PROXY`: which servers are dialled directly. The rules are curl's (7.86 and later), with ports.

use std::net::IpAddr;

use super::server_url::host_and_port;
use super::value::whole;

/// What each part of the list has to be, for whoever wrote another one.
pub(super) const WANTED: &str = "*, or hosts with commas between: a name, which stands for all beneath it too, an address, \
                                 or a network such as 10.0.0.0/8; a name or an address may have a :port";

/// Whether the server at `host` and `port` is on the list. A name is not looked up: it is no address here.
///
/// # Errors
/// With the part that is none of what [`WANTED`] says.
pub(super) fn is_listed<'a>(list: &'a str, host: &str, port: u16) -> Result<bool, &'a str> {
    let mut found = false;
    for part in list.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|part| !part.is_empty()) {
        found |= matches(part, host, port).ok_or(part)?;
    }
    Ok(found)
}

/// `None` when the part can't be read.
fn matches(part: &str, host: &str, port: u16) -> Option<bool> {
    if part == "*" {
        return Some(true);
    }
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    if let Some((network, bits)) = part.split_once('/') {
        let network = bare(network).parse::<IpAddr>().ok()?;
        let bits = whole(bits).filter(|bits| *bits <= u64::from(width(network)))? as u32;
        return Some(address.is_some_and(|address| is_within(address, network, bits)));
    }
    if let Ok(listed) = bare(part).parse::<IpAddr>() {
        return Some(address == Some(listed.to_canonical()));
    }
    let (listed, on_port) = match part.contains(':') {
        true => host_and_port(part, 0).map(|(host, port)| (host, Some(port)))?,
        false => (part.to_owned(), None),
    };
    if on_port.is_some_and(|on_port| on_port != port) {
        return Some(false);
    }
    if let Ok(listed) = listed.parse::<IpAddr>() {
        return Some(address == Some(listed.to_canonical()));
    }
    let listed = listed.strip_prefix('*').unwrap_or(&listed);
    let listed = listed.strip_prefix('.').unwrap_or(listed).trim_end_matches('.');
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if listed.is_empty() || !listed.bytes().all(is_name) {
        return None;
    }
    Some(address.is_none() && is_beneath(host.trim_end_matches('.'), listed))
}

/// An address may stand in brackets.
fn bare(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

fn is_beneath(host: &str, listed: &str) -> bool {
    let Some(split) = host.len().checked_sub(listed.len()).filter(|at| host.is_char_boundary(*at)) else {
        return false;
    };
    let (front, end) = host.split_at(split);
    end.eq_ignore_ascii_case(listed) && (front.is_empty() || front.ends_with('.'))
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    let rest = width(network) - bits;
    width(address) == width(network) && number(address).checked_shr(rest) == number(network).checked_shr(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed() {
        for (list, host, port, listed) in [
            ("*", "anything", 80, true),
            ("a.example, *", "b", 80, true),
            ("example.com", "example.com", 80, true),
            ("example.com", "EXAMPLE.com.", 80, true),
            ("example.com", "www.example.com", 80, true),
            ("example.com", "notexample.com", 80, false),
            ("example.com", "example.com.evil", 80, false),
            (".example.com", "www.example.com", 80, true),
            (".example.com", "example.com", 80, true),
            ("*.example.com", "a.b.example.com", 80, true),
            ("example.com.", "www.example.com", 80, true),
            ("www.example.com", "example.com", 80, false),
            ("x, ,\texample.com,", "example.com", 80, true),
            ("example.com:8080", "www.example.com", 8080, true),
            ("example.com:8080", "www.example.com", 80, false),
            ("localhost", "localhost", 8080, true),
            ("localhost", "127.0.0.1", 8080, false),
            ("127.0.0.1", "127.0.0.1", 8080, true),
            ("127.0.0.1:8080", "127.0.0.1", 8080, true),
            ("127.0.0.1:8080", "127.0.0.1", 8081, false),
            ("10.1.2.3", "10.1.2.33", 80, false),
            ("1.2.3", "10.1.2.3", 80, false),
            ("10.0.0.0/8", "10.255.0.1", 80, true),
            ("10.0.0.0/8", "11.0.0.1", 80, false),
            ("10.0.0.0/8", "10.example.com", 80, false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", 80, true),
            ("10.0.0.7/32", "10.0.0.7", 80, true),
            ("10.0.0.7/32", "10.0.0.6", 80, false),
            ("0.0.0.0/0", "192.0.2.1", 80, true),
            ("0.0.0.0/0", "2001:db8::1", 80, false),
            ("0.0.0.0/0", "example.com", 80, false),
            ("::/0", "2001:db8::1", 80, true),
            ("::/0", "10.0.0.1", 80, false),
            ("2001:db8::/32", "2001:db8:ffff::1", 80, true),
            ("2001:db8::/32", "2001:db9::1", 80, false),
            ("[2001:db8::]/32", "2001:db8::1", 80, true),
            ("::1", "::1", 80, true),
            ("[::1]", "::1", 80, true),
            ("[::1]:8080", "::1", 8080, true),
            ("[::1]:8080", "::1", 80, false),
            ("", "example.com", 80, false),
        ] {
            assert_eq!(is_listed(list, host, port), Ok(listed), "{list} {host}:{port}");
        }
    }

    #[test]
    fn what_is_no_list() {
        for part in [
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/x",
            "name/8",
            "::/129",
            "a:0",
            "a:x",
            "a:65536",
            "127.*",
            "ü",
            "<local>",
        ] {
            assert_eq!(is_listed(&format!("example.com,{part},x"), "x", 1), Err(part));
        }
    }
}
