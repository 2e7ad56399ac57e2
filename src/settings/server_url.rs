//! The URL of the server, as an agent is given it.

use std::net::{IpAddr, Ipv6Addr};

use super::value::whole;
use super::{Given, UsageError};
use crate::stream::tls::IS_BUILT_IN;

/// Where the server takes agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// Whether it is dialled with TLS.
    pub is_secure: bool,
    /// Its name or address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path that is dialled, with the query if there is one.
    pub path_and_query: String,
    /// The URL for messages: without the query, which may hold a secret.
    pub text: String,
}

impl ServerUrl {
    /// Whether it names this very machine, so that nothing leaves it.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    }

    /// Reads `SERVER_URL`; what is refused is shown only where no secret can stand in it.
    ///
    /// # Errors
    /// When it is no `ws://` or `wss://` URL, or holds a user or a fragment.
    pub(super) fn read(given: &Given) -> Result<ServerUrl, UsageError> {
        const NAME: &str = "SERVER_URL";
        let text = given.text(NAME).expect("it has a default").trim();
        if text.contains(['@', '#']) {
            return Err(
                given.bad_unshown(NAME, "no user, password or # in it: the secret goes into AUTH_SECRET")
            );
        }
        let example = "a URL such as wss://server.example.com:8080/ws";
        let shown = |wanted: &str| match text.contains('?') {
            true => given.bad_unshown(NAME, wanted),
            false => given.bad(NAME, wanted),
        };
        let Some((scheme, rest)) = text.split_once("://") else { return Err(shown(example)) };
        let is_secure = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" if IS_BUILT_IN => true,
            "wss" => return Err(shown("ws://, because this program was built without TLS")),
            _ => return Err(shown(example)),
        };
        if !rest.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(shown("no white space, and nothing but ASCII"));
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (name, default) = if is_secure { ("wss", 443) } else { ("ws", 80) };
        let Some((host, port)) = host_and_port(authority, default) else { return Err(shown(example)) };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let bare = path.split('?').next().unwrap_or_default();
        Ok(ServerUrl {
            text: format!("{name}://{authority}{bare}"),
            is_secure,
            host,
            port,
            path_and_query: path,
        })
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`; the port is `usual` unless given.
pub(super) fn host_and_port(authority: &str, usual: u16) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if host.is_empty() || !(authority.starts_with('[') || host.bytes().all(name)) {
        return None;
    }
    let port = match port {
        Some(port) => whole(port).and_then(|port| u16::try_from(port).ok()).filter(|p| *p > 0)?,
        None => usual,
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::super::AGENT;
    use super::super::testing::{error, given};
    use super::*;

    fn read(text: &str) -> Result<ServerUrl, UsageError> {
        ServerUrl::read(&given(&AGENT, &[], &[("SERVER_URL", text)])?)
    }

    #[test]
    #[cfg(feature = "tls")]
    fn secure_urls() {
        let url = read("WSS://shop.example.com/ws").unwrap();
        assert_eq!((url.is_secure, url.port, url.text.as_str()), (true, 443, "wss://shop.example.com/ws"));
        assert_eq!(read("wss://h:8443").unwrap().port, 8443);
    }

    #[test]
    fn server_urls() {
        for (text, host, port, path, shown) in [
            ("ws://h", "h", 80, "/", "ws://h/"),
            (
                "WS://shop.example.com:9000/a/b",
                "shop.example.com",
                9000,
                "/a/b",
                "ws://shop.example.com:9000/a/b",
            ),
            ("ws://[::1]:8080/ws?tenant=x", "::1", 8080, "/ws?tenant=x", "ws://[::1]:8080/ws"),
            ("ws://[::1]?x", "::1", 80, "/?x", "ws://[::1]/"),
            ("ws://10.0.0.1:1/ws", "10.0.0.1", 1, "/ws", "ws://10.0.0.1:1/ws"),
        ] {
            let url = read(text).unwrap();
            assert_eq!((url.host.as_str(), url.port), (host, port));
            assert_eq!((url.path_and_query.as_str(), url.text.as_str()), (path, shown));
        }
        for (text, wanted) in [
            ("http://h/ws", "wss://server.example.com:8080/ws"),
            ("localhost:8080/ws", "wss://server.example.com:8080/ws"),
            ("ws://", "wss://server.example.com:8080/ws"),
            ("ws:///ws", "such as"),
            ("ws://:80/ws", "such as"),
            ("ws://h:/ws", "such as"),
            ("ws://h:0/ws", "such as"),
            ("ws://h:65536/ws", "such as"),
            ("ws://::1/ws", "such as"),
            ("ws://[::1/ws", "such as"),
            ("ws://[h]/ws", "such as"),
            ("ws://[::1]80/ws", "such as"),
            ("ws://a%b/ws", "such as"),
            ("ws://h/a b", "no white space"),
            ("ws://h/ü", "ASCII"),
        ] {
            let text = error(read(text));
            assert!(text.starts_with("SERVER_URL=") && text.contains(wanted), "{text}");
        }
        for text in ["ws://me:hunter2@h/ws", "ws://h/ws#hunter2", "http://h/?token=hunter2"] {
            let text = error(read(text));
            assert!(text.starts_with("SERVER_URL (") && !text.contains("hunter2"), "{text}");
        }
    }
}
