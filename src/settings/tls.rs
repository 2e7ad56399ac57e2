//! The settings about TLS: which files. What stands in them is read by `stream/tls`.

use std::path::PathBuf;

use super::{Given, Setting, UsageError};

/// Of whoever dials a server.
pub(super) const TLS_CA: Setting = Setting::tls(
    "TLS_CA",
    "authorities (PEM) that alone may have signed the server's certificate; unless set, those of browsers",
);

/// The server's certificate, and whose certificates its agents must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// `TLS_CERT`: its chain.
    pub certificate: PathBuf,
    /// `TLS_KEY`.
    pub key: PathBuf,
    /// `TLS_CLIENT_CA`.
    pub client_ca: Option<PathBuf>,
}

/// What proves server and agent to each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentTls {
    /// `TLS_CA`; without it, the authorities that browsers believe.
    pub ca: Option<PathBuf>,
    /// `TLS_CERT` and `TLS_KEY`.
    pub own: Option<(PathBuf, PathBuf)>,
}

impl Given {
    pub(super) fn server_tls(&self) -> Result<Option<ServerTls>, UsageError> {
        let client_ca = self.path("TLS_CLIENT_CA");
        match self.certificate()? {
            Some((certificate, key)) => Ok(Some(ServerTls { certificate, key, client_ca })),
            None if client_ca.is_some() => Err(self.bad(
                "TLS_CLIENT_CA",
                "TLS_CERT and TLS_KEY beside it: agents prove who they are within TLS",
            )),
            None => Ok(None),
        }
    }

    pub(super) fn agent_tls(&self) -> Result<AgentTls, UsageError> {
        Ok(AgentTls { ca: self.path("TLS_CA"), own: self.certificate()? })
    }

    /// A file; relative to where the program was started.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(|path| self.resolve(path))
    }

    fn certificate(&self) -> Result<Option<(PathBuf, PathBuf)>, UsageError> {
        match (self.path("TLS_CERT"), self.path("TLS_KEY")) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(self.bad("TLS_CERT", "TLS_KEY beside it: the file of the certificate's key"))
            }
            (None, Some(_)) => {
                Err(self.bad("TLS_KEY", "TLS_CERT beside it: the file of the key's certificate"))
            }
        }
    }
}
