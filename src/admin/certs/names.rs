//! The names that a server's certificate is made for.

use std::net::IpAddr;

use crate::limits;
use crate::names::printable;
use crate::settings::{Given, UsageError};

/// The names that were given, each once.
///
/// # Errors
/// When one of them can't be that of a server.
pub(super) fn asked_names(given: &Given) -> Result<Vec<String>, UsageError> {
    let wanted = |wanted: String| UsageError::Argument { wanted };
    let mut names: Vec<String> = Vec::new();
    for text in &given.arguments {
        let name = server_name(text).ok_or_else(|| {
            let example = "a DNS name or an IP address of the server, such as towline.example.com, without a scheme or a port";
            wanted(format!("{} is none: expected {example}", printable(text)))
        })?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.len() > limits::MAX_CERTIFICATE_NAMES {
        true => Err(wanted(format!("expected at most {} names", limits::MAX_CERTIFICATE_NAMES))),
        false => Ok(names),
    }
}

/// The names of a machine that is called `host_name`, if that can stand in a certificate.
pub(super) fn default_names(host_name: &str) -> Vec<String> {
    let own = server_name(host_name).filter(|name| name != "localhost");
    own.into_iter().chain(["localhost", "127.0.0.1", "::1"].map(str::to_owned)).collect()
}

/// `text` as it stands in a certificate: an address, or a DNS name with perhaps a star as its first part; nothing when
/// it is neither.
pub(super) fn server_name(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return (!address.is_unspecified()).then(|| address.to_string());
    }
    let labels: Vec<&str> = text.strip_prefix("*.").unwrap_or(text).split('.').collect();
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // An address with a part too many ends in a number, and so does no name.
    let ends_in_number = labels.last().is_none_or(|label| label.bytes().all(|b| b.is_ascii_digit()));
    (text.len() <= 253 && !ends_in_number && labels.iter().all(is_label)).then(|| text.to_ascii_lowercase())
}

/// The host of a URL for whoever has one of `names`.
pub(super) fn host_in_url(names: &[String]) -> String {
    match names.iter().find(|name| !name.starts_with('*')) {
        Some(address) if address.contains(':') => format!("[{address}]"),
        Some(name) => name.clone(),
        None => "SERVER".to_owned(), // for a person to fill in
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_servers() {
        for (text, name) in [
            ("towline.example.com", "towline.example.com"),
            ("Shop_1", "shop_1"),
            ("*.example.com", "*.example.com"),
            ("203.0.113.9", "203.0.113.9"),
            ("0:0::1", "::1"),
        ] {
            assert_eq!(server_name(text).as_deref(), Some(name));
        }
        let long = format!("{}.com", "x".repeat(64));
        let longer = format!("{}com", "x.".repeat(126));
        for text in [
            "",
            ".",
            "a..b",
            "example.com.",
            "host:8080",
            "[::1]",
            "https://host",
            "a/b",
            "a b",
            "a\nNames: b",
            "münchen.de",
            "-a.com",
            "a-.com",
            "a.*.com",
            "*",
            "*.",
            "1.2.3.256",
            "0.0.0.0",
            "::",
            &long,
            &longer,
        ] {
            assert_eq!(server_name(text), None, "{text:?}");
        }
    }

    #[test]
    fn names_of_this_machine() {
        assert_eq!(default_names("till-7"), ["till-7", "localhost", "127.0.0.1", "::1"]);
        for host_name in ["localhost", "", "(none)"] {
            assert_eq!(default_names(host_name), ["localhost", "127.0.0.1", "::1"]);
        }
    }

    #[test]
    fn hosts_of_urls() {
        for (names, host) in [
            (["*.example.com", "a.example.com"], "a.example.com"),
            (["::1", "a"], "[::1]"),
            (["*.a", "*.b"], "SERVER"),
        ] {
            assert_eq!(host_in_url(&names.map(str::to_owned)), host);
        }
    }
}
