//! The HTTP proxy that an agent dials through: `HTTP_PROXY` towards `ws://`, `HTTPS_PROXY` towards `wss://`.
//!
//! Only the one that would be used is read: the other one, in everybody's environment, may be for other programs. Its
//! password is a secret. Whatever is wrong with a value that may hold one is said without it.

use super::server_url::host_and_port;
use super::{Given, Secret, ServerUrl, UsageError, no_proxy};
use crate::encoding::percent_decoded;
use crate::limits;
use crate::names::printable;

/// A proxy that takes CONNECT.
#[derive(Debug, Clone)]
pub struct ProxyUrl {
    /// Its name or address; an IPv6 address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `user:password`, decoded.
    pub credentials: Option<Secret>,
    /// The setting that it stands in.
    pub setting: &'static str,
}

const EXAMPLE: &str =
    "a URL such as http://proxy.example.com:3128 or http://user:password@proxy.example.com:3128";

impl ProxyUrl {
    /// The proxy for `server`, unless `NO_PROXY` has it.
    ///
    /// # Errors
    /// When it is no `http://` URL, when a flag holds a password, or when `NO_PROXY` can't be read.
    pub(super) fn read(given: &Given, server: &ServerUrl) -> Result<Option<ProxyUrl>, UsageError> {
        let setting = if server.is_secure { "HTTPS_PROXY" } else { "HTTP_PROXY" };
        let Some(text) = given.text(setting) else { return Ok(None) };
        let listed = given.text("NO_PROXY").map_or(Ok(false), |list| {
            no_proxy::is_listed(list, &server.host, server.port).map_err(|part| {
                given.bad("NO_PROXY", format!("{}, and not {}", no_proxy::WANTED, printable(part)))
            })
        })?;
        if listed {
            return Ok(None);
        }
        ProxyUrl::parse(text.trim(), setting, given).map(Some)
    }

    fn parse(text: &str, setting: &'static str, given: &Given) -> Result<ProxyUrl, UsageError> {
        let bad = |wanted: &str| match text.contains('@') {
            true => given.bad_unshown(setting, wanted),
            false => given.bad(setting, wanted),
        };
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err(bad(
                    "http://, because a proxy that is itself spoken to over TLS is not supported",
                ));
            }
            Some((scheme, _)) if scheme.to_ascii_lowercase().starts_with("socks") => {
                return Err(bad("http://, because SOCKS is not supported"));
            }
            Some(_) => return Err(bad(EXAMPLE)),
            None => text,
        };
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        if user.is_some() && given.is_flag(setting) {
            return Err(bad(
                "no user and password in a flag, where every user of this machine could read them: set it in the \
                 environment or in .env",
            ));
        }
        let (host, port) = host_and_port(authority.strip_suffix('/').unwrap_or(authority), 80)
            .ok_or_else(|| bad(EXAMPLE))?;
        let credentials = user.map(|user| credentials(user).map_err(|wanted| bad(&wanted))).transpose()?;
        Ok(ProxyUrl { host, port, credentials, setting })
    }
}

/// Reads `user:password`; a user without a password has an empty one.
fn credentials(text: &str) -> Result<Secret, String> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text: &str| {
        let text =
            percent_decoded(text).map_err(|why| format!("user and password as a URL has them: {why}"))?;
        match text.chars().any(char::is_control) {
            true => Err("no control characters in user and password".to_owned()),
            false => Ok(text),
        }
    };
    let (user, password) = (decoded(user)?, decoded(password)?);
    if user.contains(':') {
        return Err("no colon in the user's name, which ends it (RFC 7617)".to_owned());
    }
    match user.len() + password.len() < limits::MAX_SECRET_BYTES {
        true => Ok(Secret::new(format!("{user}:{password}"))),
        false => Err(format!("a user and password of less than {} bytes", limits::MAX_SECRET_BYTES)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::AGENT;
    use super::super::testing::{error, given};
    use super::*;

    fn read_with(args: &[&str], env: &[(&str, &str)]) -> Result<Option<ProxyUrl>, UsageError> {
        let given = given(&AGENT, args, env)?;
        ProxyUrl::read(&given, &ServerUrl::read(&given)?)
    }

    fn read(proxy: &str) -> Result<Option<ProxyUrl>, UsageError> {
        read_with(&[], &[("HTTP_PROXY", proxy)])
    }

    #[test]
    fn proxies() {
        for (text, host, port, credentials) in [
            ("http://proxy:3128", "proxy", 3128, None),
            ("HTTP://proxy.example.com:3128/", "proxy.example.com", 3128, None),
            ("proxy:3128", "proxy", 3128, None),
            (" http://10.0.0.1 ", "10.0.0.1", 80, None),
            ("http://[::1]:8080", "::1", 8080, None),
            ("http://me:hunter2@proxy:1", "proxy", 1, Some("me:hunter2")),
            ("me:hunter2@proxy:1", "proxy", 1, Some("me:hunter2")),
            ("http://me@proxy:1", "proxy", 1, Some("me:")),
            ("http://dom%5Cme:p%40%3A%2F%25+x@proxy:1", "proxy", 1, Some("dom\\me:p@:/%+x")),
            ("http://me:p@ss:word@proxy:1", "proxy", 1, Some("me:p@ss:word")),
            ("http://ü:ß@proxy:1", "proxy", 1, Some("ü:ß")),
        ] {
            let proxy = read(text).unwrap().unwrap();
            assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{text}");
            assert_eq!(proxy.credentials.as_ref().map(Secret::expose), credentials, "{text}");
            assert!(!format!("{proxy:?}").contains("hunter2"));
        }
        assert!(read("").unwrap().is_none());
    }

    #[test]
    fn what_can_be_no_proxy() {
        let long = format!("http://me:{}@proxy:1", "hunter2".repeat(200));
        for (text, wanted) in [
            ("https://proxy:3128", "TLS is not supported"),
            ("https://me:hunter2@proxy:3128", "TLS is not supported"),
            ("socks5h://proxy:1080", "SOCKS is not supported"),
            ("SOCKS4://me:hunter2@proxy:1080", "SOCKS is not supported"),
            ("ftp://proxy", "such as http://proxy"),
            ("http://", "such as"),
            ("http://proxy:0", "such as"),
            ("http://proxy:x", "such as"),
            ("http://proxy/path", "such as"),
            ("http://pro xy", "such as"),
            ("http://me:hunter2@", "such as"),
            ("http://me:hunt/er2@proxy:1/x", "such as"),
            ("http://me:hunter2%@proxy:1", "two hexadecimal digits"),
            ("http://me:hunter2%ff@proxy:1", "UTF-8"),
            ("http://me:hunter2%0d%0aX-Y:%20z@proxy:1", "no control characters"),
            ("http://m%3Ae:hunter2@proxy:1", "no colon"),
            (long.as_str(), "less than 1024 bytes"),
        ] {
            let text = error(read(text));
            assert!(text.starts_with("HTTP_PROXY") && text.contains(wanted), "{text}");
            assert!(!text.contains("hunt"), "{text}");
        }
    }

    #[test]
    fn a_password_is_taken_from_no_flag() {
        let proxy = read_with(&["--http-proxy", "http://proxy:3128"], &[]).unwrap().unwrap();
        assert_eq!((proxy.host.as_str(), proxy.setting), ("proxy", "HTTP_PROXY"));
        let text = error(read_with(&["--http-proxy=http://me:hunter2@proxy:3128"], &[]));
        assert!(
            text.contains("from the command line, not shown): expected no user and password in a flag"),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn which_setting_counts() {
        let host = |env: &[(&str, &str)]| read_with(&[], env).unwrap().map(|proxy| proxy.host);
        let is = |name: &str| Some(name.to_owned());
        // The one for the other scheme is not even read.
        assert_eq!(host(&[("HTTPS_PROXY", "socks5://x")]), None);
        assert_eq!(host(&[("http_proxy", "a:1")]), is("a"));
        assert_eq!(host(&[("http_proxy", "a:1"), ("HTTP_PROXY", "b:1")]), is("b"));
        assert_eq!(host(&[("http_proxy", "a:1"), ("HTTP_PROXY", "")]), is("a"));
        if crate::stream::tls::IS_BUILT_IN {
            let wss = ("SERVER_URL", "wss://server.example.com/ws");
            assert_eq!(host(&[wss, ("HTTP_PROXY", "socks5://x")]), None);
            assert_eq!(host(&[wss, ("https_proxy", "a:1"), ("HTTP_PROXY", "b:1")]), is("a"));
            assert_eq!(host(&[wss, ("HTTPS_PROXY", "a:1"), ("NO_PROXY", "example.com:443")]), None);
        }
        // The server is at localhost:8080.
        for (list, direct) in
            [("localhost", true), ("other,local", false), ("localhost:8080", true), ("*", true)]
        {
            for name in ["NO_PROXY", "no_proxy"] {
                assert_eq!(
                    host(&[("HTTP_PROXY", "a:1"), (name, list)]),
                    (!direct).then(|| "a".to_owned()),
                    "{list}"
                );
            }
        }
        assert_eq!(host(&[("HTTP_PROXY", "socks5://x"), ("NO_PROXY", "*")]), None, "it is not used");
        let text = error(read_with(&[], &[("HTTP_PROXY", "a:1"), ("no_proxy", "x,10.0.0.0/40")]));
        assert!(
            text.starts_with("NO_PROXY=x,10.0.0.0/40 (") && text.ends_with("and not 10.0.0.0/40"),
            "{text}"
        );
    }
}
