//! What secures the agent's lines: read when it starts, and again for each line, for certificates are renewed.

use crate::settings::AgentSettings;
use crate::stream::tls::Connector;

/// What secures the next line.
pub(super) enum Tls {
    /// Nothing: `ws://`.
    Off,
    /// What the files held when they could last be used.
    On(Connector),
    /// They never could; why.
    Broken(String),
}

impl Tls {
    pub(super) fn new(settings: &AgentSettings) -> Tls {
        match settings.server_url.is_secure.then(|| read(settings)) {
            None => Tls::Off,
            Some(Ok(connector)) => Tls::On(connector),
            Some(Err(why)) => Tls::Broken(why),
        }
    }

    /// Reads the files again. When they can't be used, what they held before is.
    pub(super) fn renew(&mut self, settings: &AgentSettings) {
        match (Tls::new(settings), &*self) {
            (Tls::Broken(why), Tls::On(_)) => log::error!("the certificates of before are used: {why}"),
            (new, _) => *self = new,
        }
    }

    /// What opens a line; nothing for one without TLS.
    pub(super) fn connector(&self) -> Result<Option<&Connector>, &str> {
        match self {
            Tls::Off => Ok(None),
            Tls::On(connector) => Ok(Some(connector)),
            Tls::Broken(why) => Err(why),
        }
    }
}

fn read(settings: &AgentSettings) -> Result<Connector, String> {
    Connector::load(settings.tls.ca.as_deref(), settings.tls.own.as_ref())
}
