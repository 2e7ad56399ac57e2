//! The way through an HTTP proxy: one CONNECT (RFC 9110, section 9.3.6) before anything else is said on the socket.
//!
//! The proxy resolves the server's name. It is no more trusted than the server: its answer has a bound in bytes and in
//! time, and is shown printable and without what we told it. A server says nothing before we do, so that whatever comes
//! behind the answer is the proxy's own, and ends it: not a byte of a tunnel can be lost here.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::encoding::base64;
use crate::limits;
use crate::names::printable;

/// Where the proxy is, and how to prove oneself to it.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `user:password`, sent as `Proxy-Authorization`.
    credentials: Option<String>,
}

impl ProxyAddress {
    /// A proxy; `credentials` are `user:password` (RFC 7617).
    pub fn new(host: String, port: u16, credentials: Option<&str>) -> ProxyAddress {
        ProxyAddress { host, port, credentials: credentials.map(str::to_owned) }
    }

    /// Whether `text` has what nobody else is to see: our credentials, or the password alone, plain or as they are sent.
    fn is_given_away_by(&self, text: &str) -> bool {
        let Some(credentials) = &self.credentials else { return false };
        let password = credentials.split_once(':').map_or("", |(_, password)| password);
        let sent = base64(credentials.as_bytes());
        let secrets = [credentials.as_str(), password, sent.trim_end_matches('=')];
        secrets.iter().any(|secret| !secret.is_empty() && text.contains(secret))
    }
}

impl fmt::Display for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

impl fmt::Debug for ProxyAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyAddress({self})") // the credentials are a secret
    }
}

/// Why a proxy is no way to the server.
#[derive(Debug)]
pub enum ProxyFault {
    /// It can't be reached, or the connection broke.
    Broken(io::Error),
    /// Its answer was not whole in time.
    Silent,
    /// Its answer is over [`limits::MAX_PROXY_HEAD_BYTES`].
    Endless,
    /// What answers is no HTTP proxy.
    NotHttp,
    /// It wants a user and password, and was told none.
    WantsPassword {
        /// Its status.
        status: u16,
    },
    /// It does not take the user and password that it was told.
    WrongPassword {
        /// Its status.
        status: u16,
    },
    /// It answered 407, and does not take the one method that we have.
    NotBasic,
    /// It does not make the connection.
    Refused {
        /// Its status.
        status: u16,
        /// Its words.
        reason: String,
    },
    /// It sent bytes of its own behind its answer.
    SpokeFirst,
}

impl fmt::Display for ProxyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyFault::Broken(error) => write!(f, "{error}"),
            ProxyFault::Silent => write!(f, "no whole answer within {} s", limits::DIAL_TIME.as_secs()),
            ProxyFault::Endless => f.write_str("an answer without end"),
            ProxyFault::NotHttp => f.write_str("what answers there is no HTTP proxy"),
            ProxyFault::WantsPassword { status } => {
                write!(f, "the proxy wants a user and password ({status})")
            }
            ProxyFault::WrongPassword { status } => {
                write!(f, "the proxy does not take the user and password ({status})")
            }
            ProxyFault::NotBasic => f.write_str(
                "the proxy wants a user and password by another method than Basic (407), which is not supported",
            ),
            ProxyFault::Refused { status, reason } => {
                let why = match status {
                    403 | 405 => "the proxy does not allow this connection",
                    500..600 => "the proxy can't reach the server",
                    _ => "the proxy does not connect",
                };
                write!(f, "{why} ({status} {})", printable(reason))
            }
            ProxyFault::SpokeFirst => f.write_str("the proxy sent data of its own behind its answer"),
        }
    }
}

/// `host:port`, as CONNECT, `Host` and a URL have it.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Asks the proxy at the other end of `socket` for a connection to the server at `host` and `port`. Afterwards the socket
/// is as one that was dialled directly.
///
/// # Errors
/// Says why there is no such connection, before `deadline`.
pub(super) fn tunnel(
    mut socket: &TcpStream,
    proxy: &ProxyAddress,
    host: &str,
    port: u16,
    deadline: Instant,
) -> Result<(), ProxyFault> {
    socket.set_write_timeout(Some(time_left(deadline)?)).map_err(ProxyFault::Broken)?;
    socket.write_all(request(proxy, host, port).as_bytes()).map_err(broken)?;
    let mut head = vec![0; limits::MAX_PROXY_HEAD_BYTES];
    let mut length = 0;
    let answer = loop {
        if length == head.len() {
            return Err(ProxyFault::Endless);
        }
        socket.set_read_timeout(Some(time_left(deadline)?)).map_err(ProxyFault::Broken)?;
        match socket.read(&mut head[length..]) {
            Ok(0) => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
        if let Some(answer) = Answer::read(&head[..length])? {
            break answer;
        }
    };
    answer.judge(proxy, length)?;
    socket.set_read_timeout(None).and_then(|()| socket.set_write_timeout(None)).map_err(ProxyFault::Broken)
}

fn time_left(deadline: Instant) -> Result<Duration, ProxyFault> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ProxyFault::Silent) } else { Ok(left) }
}

fn broken(error: io::Error) -> ProxyFault {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ProxyFault::Silent,
        io::ErrorKind::UnexpectedEof => ProxyFault::Broken(io::Error::new(
            error.kind(),
            "it closed the connection without a whole answer",
        )),
        _ => ProxyFault::Broken(error),
    }
}

fn request(proxy: &ProxyAddress, host: &str, port: u16) -> String {
    let server = authority(host, port);
    let authorization = proxy
        .credentials
        .as_ref()
        .map(|text| format!("Proxy-Authorization: Basic {}\r\n", base64(text.as_bytes())))
        .unwrap_or_default();
    let agent = concat!("towline-agent/", env!("CARGO_PKG_VERSION"));
    format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: {agent}\r\n{authorization}\r\n")
}

/// What of an answer counts.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    reason: String,
    offers_basic: bool,
    /// Bytes of its head.
    length: usize,
}

impl Answer {
    /// Reads the head of an answer; `None` when it is not whole yet.
    fn read(bytes: &[u8]) -> Result<Option<Answer>, ProxyFault> {
        const START: &[u8] = b"HTTP/1.";
        let known = bytes.len().min(START.len());
        if bytes[..known] != START[..known] {
            return Err(ProxyFault::NotHttp); // TLS, or another protocol: nothing more needs to come
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
        let head = String::from_utf8_lossy(&bytes[..end]);
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().splitn(3, ' ').skip(1);
        let status = words.next().filter(|text| text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit()));
        let status = status.and_then(|text| text.parse().ok()).ok_or(ProxyFault::NotHttp)?;
        let reason = words.next().unwrap_or_default().to_owned();
        let is_basic = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or_default();
            let methods = || value.split(',').filter_map(|method| method.split_whitespace().next());
            name.eq_ignore_ascii_case("proxy-authenticate")
                && methods().any(|method| method.eq_ignore_ascii_case("basic"))
        };
        Ok(Some(Answer { status, reason, offers_basic: lines.any(is_basic), length: end + 4 }))
    }

    /// Whether the connection is there; `received` is how much came, with the head.
    fn judge(self, proxy: &ProxyAddress, received: usize) -> Result<(), ProxyFault> {
        match self.status {
            200..300 if received == self.length => Ok(()),
            200..300 => Err(ProxyFault::SpokeFirst),
            407 if !self.offers_basic => Err(ProxyFault::NotBasic),
            // tinyproxy has 401 for a wrong password.
            status @ (401 | 407) if proxy.credentials.is_some() => Err(ProxyFault::WrongPassword { status }),
            status @ (401 | 407) => Err(ProxyFault::WantsPassword { status }),
            status if proxy.is_given_away_by(&self.reason) => {
                Err(ProxyFault::Refused { status, reason: "in words that hold the password".to_owned() })
            }
            status => Err(ProxyFault::Refused { status, reason: self.reason }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(credentials: Option<&str>) -> ProxyAddress {
        ProxyAddress::new("proxy".to_owned(), 3128, credentials)
    }

    #[test]
    fn requests() {
        let plain = request(&proxy(None), "shop.example.com", 8080);
        assert!(
            plain.starts_with("CONNECT shop.example.com:8080 HTTP/1.1\r\nHost: shop.example.com:8080\r\n")
        );
        assert!(plain.ends_with("\r\n\r\n") && !plain.contains("Authorization"));
        let known = request(&proxy(Some("Aladdin:open sesame")), "2001:db8::1", 443);
        assert!(known.starts_with("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n"));
        // RFC 7617, section 2.
        assert!(known.contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"), "{known}");
    }

    #[test]
    fn an_address_shows_no_password() {
        let proxy = ProxyAddress::new("::1".to_owned(), 3128, Some("me:hunter2"));
        assert_eq!(
            (proxy.to_string().as_str(), format!("{proxy:?}").as_str()),
            ("[::1]:3128", "ProxyAddress([::1]:3128)")
        );
    }

    /// What becomes of an answer: nothing when it is not whole.
    fn heard(answer: &str, credentials: Option<&str>) -> Option<String> {
        let judged = match Answer::read(answer.as_bytes()) {
            Ok(None) => return None,
            Ok(Some(read)) => read.judge(&proxy(credentials), answer.len()),
            Err(fault) => Err(fault),
        };
        Some(judged.map_or_else(|fault| fault.to_string(), |()| "connected".to_owned()))
    }

    #[test]
    fn answers() {
        let wants =
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\nbody";
        let ntlm = "HTTP/1.1 407 No\r\nproxy-authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n\r\n";
        let both = "HTTP/1.1 407 No\r\nProxy-Authenticate: NTLM, basic realm=x\r\n\r\n";
        for (answer, becomes) in [
            ("HTTP/1.1 200 OK\r\n\r\n", "connected"),
            ("HTTP/1.0 200\r\n\r\n", "connected"),
            ("HTTP/1.1 299 \r\nContent-Length: 5\r\n\r\n", "connected"),
            ("HTTP/1.1 200 OK\r\n\r\nx", "data of its own"),
            (wants, "wants a user and password (407)"),
            (both, "wants a user and password (407)"),
            (ntlm, "another method than Basic"),
            (
                "HTTP/1.1 403 Filtered\x1b[31m\r\n\r\n",
                "does not allow this connection (403 Filtered\\u{1b}[31m)",
            ),
            ("HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", "can't reach the server (502 Bad Gateway)"),
            ("HTTP/1.1 301 Moved\r\nLocation: x\r\n\r\n", "does not connect (301 Moved)"),
            ("HTTP/1.1 100 Continue\r\n\r\n", "does not connect (100 Continue)"),
            ("HTTP/1.1 2000 OK\r\n\r\n", "no HTTP proxy"),
            ("HTTP/1.1 +20 OK\r\n\r\n", "no HTTP proxy"),
            ("HTTP/1.1\r\n\r\n", "no HTTP proxy"),
            ("HTTP/2 200 OK\r\n\r\n", "no HTTP proxy"),
            ("SSH-2.0-OpenSSH", "no HTTP proxy"),
            ("\x15\x03\x01", "no HTTP proxy"),
        ] {
            let heard = heard(answer, None).unwrap();
            assert!(heard.contains(becomes), "{answer:?}: {heard}");
        }
        for refused in [wants, "HTTP/1.1 401 Unauthorized\r\n\r\n"] {
            let heard = heard(refused, Some("me:hunter2")).unwrap();
            assert!(heard.contains("does not take the user and password"), "{heard}");
        }
        for told in ["Basic bWU6aHVudGVyMg==", "bWU6aHVudGVyMg", "me:hunter2", "No to hunter2!"] {
            let heard = heard(&format!("HTTP/1.1 403 {told}\r\n\r\n"), Some("me:hunter2")).unwrap();
            assert!(heard.ends_with("(403 in words that hold the password)"), "{heard}");
        }
        for part in ["", "H", "HTTP/1.1", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\n"] {
            assert_eq!(heard(part, None), None, "{part:?}");
        }
    }
}
