//! The settings of the operator's command.

use std::path::PathBuf;

use super::tls::TLS_CA;
use super::value::BadValue;
use super::{Given, Secret, Setting, UsageError};
use crate::stream::tls::IS_BUILT_IN;

/// What every subcommand that talks to a server takes.
pub const OPERATOR_SETTINGS: &[Setting] = &[
    Setting::plain("SERVER", "URL", "http://localhost:8080", "the server's REST API"),
    TLS_CA,
    Setting::secret("API_KEY", "key of the REST API; unless set, AUTH_SECRET"),
    Setting::secret("AUTH_SECRET", "taken for API_KEY when that is not set"),
];

/// Where the server is, and the key for it.
#[derive(Debug, Clone)]
pub struct OperatorSettings {
    /// Base URL of the REST API, without a slash at its end.
    pub server: String,
    /// The key.
    pub key: Secret,
    /// `TLS_CA`.
    pub tls_ca: Option<PathBuf>,
}

impl OperatorSettings {
    /// Checks what was given.
    ///
    /// # Errors
    /// When there is no key, or the server's URL cannot work.
    pub fn read(given: &Given) -> Result<OperatorSettings, UsageError> {
        let text = given.text("SERVER").expect("it has a default");
        if text.contains('@') {
            return Err(given.bad_unshown("SERVER", "no user or password in it: the key goes into API_KEY"));
        }
        let server = given.parsed("SERVER", server)?.expect("it has a default");
        match given.key("API_KEY")?.map_or_else(|| given.key("AUTH_SECRET"), |key| Ok(Some(key)))? {
            Some(key) => Ok(OperatorSettings { server, key, tls_ca: given.path("TLS_CA") }),
            None => Err(UsageError::Missing {
                name: "API_KEY",
                wanted: "set it, or AUTH_SECRET, in the environment or in .env, to the key of the server"
                    .to_owned(),
            }),
        }
    }
}

fn server(text: &str) -> Result<String, BadValue> {
    let example = BadValue("a URL such as http://localhost:8080");
    let (scheme, rest) = text.split_once("://").ok_or(example.clone())?;
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => "http",
        "https" if IS_BUILT_IN => "https",
        "https" => return Err(BadValue("http://, because this program was built without TLS")),
        _ => return Err(example),
    };
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#');
    if rest.starts_with(['/', ':']) || rest.is_empty() || !rest.bytes().all(plain) {
        return Err(example);
    }
    Ok(format!("{scheme}://{}", rest.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{error, given};
    use super::super::{Program, UsageError};
    use super::*;

    const OPERATOR: Program = Program {
        name: "towline",
        about: "",
        arguments: "",
        settings: OPERATOR_SETTINGS,
        flags: &[],
        notes: "",
    };

    fn read(env: &[(&str, &str)]) -> Result<OperatorSettings, UsageError> {
        OperatorSettings::read(&given(&OPERATOR, &[], env)?)
    }

    #[test]
    fn servers() {
        assert_eq!(read(&[("API_KEY", "k")]).unwrap().server, "http://localhost:8080");
        for (text, server) in [
            ("http://shop.example.com", "http://shop.example.com"),
            ("HTTP://[::1]:8080/", "http://[::1]:8080"),
            ("http://proxy/towline//", "http://proxy/towline"),
        ] {
            assert_eq!(read(&[("API_KEY", "k"), ("SERVER", text)]).unwrap().server, server);
        }
        for (text, wanted) in [
            ("localhost:8080", "such as http://localhost:8080"),
            ("ws://localhost:8080/ws", "such as http://"),
            ("http://", "such as"),
            ("http:///x", "such as"),
            ("http://h?x=1", "such as"),
            ("http://h/#x", "such as"),
            ("http://a b", "such as"),
        ] {
            let text = error(read(&[("API_KEY", "k"), ("SERVER", text)]));
            assert!(text.starts_with("SERVER=") && text.contains(wanted), "{text}");
        }
        let text = error(read(&[("API_KEY", "k"), ("SERVER", "http://me:hunter2@h")]));
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    #[cfg(feature = "tls")]
    fn secure_servers() {
        let env = [("API_KEY", "k"), ("SERVER", "HTTPS://shop.example.com:8443/"), ("TLS_CA", "ca.pem")];
        let settings = read(&env).unwrap();
        assert_eq!(settings.server, "https://shop.example.com:8443");
        assert_eq!(settings.tls_ca, Some("/nonexistent/ca.pem".into()));
        assert_eq!(read(&[("API_KEY", "k"), ("TLS_CA", "off")]).unwrap().tls_ca, None);
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn no_secure_servers() {
        let text = error(read(&[("API_KEY", "k"), ("SERVER", "https://localhost")]));
        assert!(text.contains("without TLS"), "{text}");
    }

    #[test]
    fn keys() {
        let key = |env: &[(&str, &str)]| read(env).unwrap().key;
        assert!(key(&[("API_KEY", "a"), ("AUTH_SECRET", "b")]).matches("a"));
        assert!(key(&[("AUTH_SECRET", "b")]).matches("b"));
        assert!(key(&[("API_KEY", ""), ("AUTH_SECRET", "b")]).matches("b"));
        assert!(error(read(&[])).starts_with("API_KEY is not set: "));
        let text = error(read(&[("API_KEY", "hunter2\n")]));
        assert!(text.starts_with("API_KEY (") && !text.contains("hunter2"), "{text}");
    }
}
