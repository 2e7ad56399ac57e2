//! The settings of `towline-agent`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use serde_json::{Map, Value};

use super::tls::TLS_CA;
use super::value::{self, BadValue};
use super::{AgentTls, CongestionChoice, Given, Program, ProxyUrl, Secret, ServerUrl, Setting, UsageError};
use crate::compression;
use crate::gain::Wish;
use crate::limits;
use crate::names::{ClientId, ShareName, printable};

/// `towline-agent` as its user sees it.
pub const AGENT: Program = Program {
    name: "towline-agent",
    about: "Dials the server, holds the line, and sends the files that it shares when the server asks for them.",
    arguments: "",
    settings: &SETTINGS,
    flags: &[],
    notes: "\
Nothing outside FILE_PATH and SHARES can be read through it. It listens on no port.
SIGTERM and Ctrl-C end it in order, a second one at once.
Exit codes: 0 done, 1 failed, 2 bad usage or setting, 3 not authorised (with RECONNECT=false).",
};

/// What every agent of a swarm takes: all but its name, its files and its own end, which stand at the front of the table.
pub const SWARM_SETTINGS: &[Setting] = SETTINGS.split_at(OWN).1;

const OWN: usize = 5;
const SETTINGS: [Setting; 23] = [
    Setting::plain("CLIENT_ID", "ID", "", "this machine's name at the server; unless set, its host name"),
    Setting::plain("FILE_PATH", "FILE", "", "the file that is sent when none is named"),
    Setting::plain(
        "SHARES",
        "NAME=PATH,…",
        "",
        "files and folders that can be asked for by name, such as logs=/var/log/pos,db=/var/lib/pos/pos.db",
    ),
    Setting::plain(
        "AUDIT_FILE",
        "FILE",
        "off",
        "keep a record of what is taken, by whom and when; what can't be put there is refused",
    ),
    Setting::plain("STOP_SECONDS", "N", "20", "time that running transfers have when the agent is stopped"),
    Setting::plain("SERVER_URL", "URL", "ws://localhost:8080/ws", "where the server takes agents"),
    Setting::secret("AUTH_SECRET", "required; the secret that the server knows"),
    Setting::plain("META", "JSON", "{}", "labels of this machine, such as {\"region\":\"west\"}"),
    Setting::plain(
        "CHUNK_SIZE",
        "SIZE",
        "",
        "most bytes a message; where the server asks for fewer, it gets fewer",
    ),
    Setting::plain(
        "MAX_RATE",
        "RATE",
        "off",
        "most bytes a second, of all transfers together, such as 2M; 1Ki or more",
    ),
    Setting::plain(
        "CONGESTION_CONTROL",
        "NAME",
        "auto",
        "who finds out how fast the line takes bytes: auto (bbr where the kernel lets it), system, or a name",
    ),
    Setting::plain(
        "COMPRESS",
        "WHEN",
        "auto",
        "auto compresses what is sent where that is faster, always where it becomes smaller, off never",
    ),
    Setting::plain("RECONNECT", "BOOL", "true", "false ends the agent when its line does"),
    Setting::plain(
        "TOKEN_IN_URL",
        "BOOL",
        "false",
        "true sends the secret in the URL too, which a v1 server needs and its logs will show",
    ),
    Setting::plain("LOG_LEVEL", "LEVEL", "info", "off, error, warn, info or debug"),
    Setting::plain("MAX_PULLS_PER_HOUR", "N", "off", "most pulls that begin within an hour"),
    Setting::plain("MAX_BYTES_PER_DAY", "SIZE", "off", "most bytes of files that leave within a day"),
    TLS_CA,
    Setting::tls("TLS_CERT", "certificate chain of this agent (PEM), for a server that asks for one"),
    Setting::tls("TLS_KEY", "key of TLS_CERT (PEM)"),
    Setting::plain(
        "HTTPS_PROXY",
        "URL",
        "",
        "HTTP proxy towards wss://, such as http://proxy:3128; with user:password@ by environment or .env only",
    ),
    Setting::plain("HTTP_PROXY", "URL", "", "the same towards ws://"),
    Setting::plain(
        "NO_PROXY",
        "HOSTS",
        "",
        "servers that are dialled directly: *, or names, addresses, networks",
    ),
];

/// What `towline-agent` needs to know, checked.
#[derive(Debug, Clone)]
pub struct AgentSettings {
    /// The server.
    pub server_url: ServerUrl,
    /// This machine's name.
    pub client_id: ClientId,
    /// The secret that the server knows.
    pub auth_secret: Secret,
    /// What a file key of `null` means.
    pub file_path: Option<PathBuf>,
    /// Bytes a chunk, when set.
    pub chunk_size: Option<usize>,
    /// When to compress.
    pub compress: Wish,
    /// Whether to dial again when the line has ended.
    pub reconnect: bool,
    /// What can be asked for by name.
    pub shares: Vec<(ShareName, PathBuf)>,
    /// Where a record is kept of what is taken.
    pub audit_file: Option<PathBuf>,
    /// Time that running transfers have when the agent is stopped.
    pub stop: Duration,
    /// The labels of this machine.
    pub meta: Map<String, Value>,
    /// Most bytes a second.
    pub max_rate: Option<u64>,
    /// Who finds out how fast the socket may send.
    pub congestion_control: CongestionChoice,
    /// Whether the secret goes into the URL too, for a v1 server.
    pub token_in_url: bool,
    /// What proves server and agent to each other.
    pub tls: AgentTls,
    /// What is logged.
    pub log_level: LevelFilter,
    /// Most pulls an hour.
    pub max_pulls_per_hour: Option<usize>,
    /// Most bytes a day.
    pub max_bytes_per_day: Option<u64>,
    /// The proxy to dial through.
    pub proxy: Option<ProxyUrl>,
}

impl AgentSettings {
    /// Checks what was given.
    ///
    /// # Errors
    /// On the first setting that is missing, does not parse or cannot work.
    pub fn read(given: &Given) -> Result<AgentSettings, UsageError> {
        given.no_arguments()?;
        AgentSettings::read_on(given, &host_name())
    }

    /// As [`AgentSettings::read`], on a machine with this host name.
    fn read_on(given: &Given, host_name: &str) -> Result<AgentSettings, UsageError> {
        let shared = AgentSettings::read_nameless(given, client_id(given, host_name)?)?;
        Ok(AgentSettings {
            file_path: given.text("FILE_PATH").map(PathBuf::from),
            shares: given.parsed("SHARES", |text| shares(text, given))?.unwrap_or_default(),
            audit_file: given.path("AUDIT_FILE"),
            stop: Duration::from_secs(given.number("STOP_SECONDS", 0..=3600)?),
            ..shared
        })
    }

    /// Checks what [`SWARM_SETTINGS`] has, for an agent of this name without files.
    ///
    /// # Errors
    /// As above.
    pub fn read_nameless(given: &Given, client_id: ClientId) -> Result<AgentSettings, UsageError> {
        let server_url = ServerUrl::read(given)?;
        Ok(AgentSettings {
            client_id,
            file_path: None,
            shares: Vec::new(),
            audit_file: None,
            stop: Duration::ZERO, // nothing stops it in order
            auth_secret: given.auth_secret()?,
            proxy: ProxyUrl::read(given, &server_url)?,
            server_url,
            chunk_size: given.chunk_size()?,
            compress: given.parsed("COMPRESS", compress)?.expect("it has a default"),
            reconnect: given.text("RECONNECT") != Some("false"),
            meta: given.parsed("META", meta)?.unwrap_or_default(),
            max_rate: given.size("MAX_RATE", limits::MIN_RATE..=u64::MAX)?,
            congestion_control: given
                .parsed("CONGESTION_CONTROL", CongestionChoice::parse)?
                .unwrap_or(CongestionChoice::Auto),
            max_pulls_per_hour: given.number_or_off("MAX_PULLS_PER_HOUR", 1..=limits::MAX_COUNTED_PULLS)?,
            max_bytes_per_day: given.size("MAX_BYTES_PER_DAY", limits::MIN_RATE..=u64::MAX)?,
            token_in_url: given.truth("TOKEN_IN_URL")?,
            tls: given.agent_tls()?,
            log_level: given.log_level()?,
        })
    }
}

fn compress(text: &str) -> Result<Wish, BadValue> {
    match text {
        "auto" => Ok(Wish::Auto),
        "always" if !compression::IS_BUILT_IN => {
            Err(BadValue("auto or off: this program was built without compression"))
        }
        "always" => Ok(Wish::Always),
        "off" => Ok(Wish::Off),
        _ => Err(BadValue("auto, always or off")),
    }
}

/// This machine's name; empty where the kernel does not tell.
pub fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

fn client_id(given: &Given, host_name: &str) -> Result<ClientId, UsageError> {
    if let Some(id) = given.parsed("CLIENT_ID", value::name)? {
        return Ok(id);
    }
    host_name.parse().map_err(|wanted| UsageError::Missing {
        name: "CLIENT_ID",
        wanted: format!(
            "the host name, {}, cannot stand for it: {wanted}",
            printable(&format!("{host_name:?}"))
        ),
    })
}

fn shares(text: &str, given: &Given) -> Result<Vec<(ShareName, PathBuf)>, String> {
    let wanted = |why: &str| format!("NAME=PATH, or several with commas, such as logs=/var/log/pos; {why}");
    let mut names = BTreeSet::new();
    let mut shares = Vec::new();
    for share in text.split(',') {
        let (name, path) = share.split_once('=').ok_or_else(|| wanted("one of them is without ="))?;
        let (name, path) = (name.trim(), path.trim());
        let name: ShareName = name.parse().map_err(|why| wanted(&format!("{why}")))?;
        if path.is_empty() {
            return Err(wanted(&format!("{name} is without a path")));
        }
        if !names.insert(name.clone()) {
            return Err(wanted(&format!("{name} is there twice")));
        }
        shares.push((name, given.resolve(path)));
    }
    match shares.len() > limits::MAX_SHARES {
        true => Err(wanted(&format!("at most {} of them", limits::MAX_SHARES))),
        false => Ok(shares),
    }
}

fn meta(text: &str) -> Result<Map<String, Value>, BadValue> {
    let meta =
        serde_json::from_str(text).map_err(|_| BadValue("a JSON object such as {\"region\":\"west\"}"))?;
    let length = serde_json::to_string(&meta).map_or(usize::MAX, |json| json.len());
    if length > limits::MAX_META_BYTES { Err(BadValue("at most 4 KiB of JSON")) } else { Ok(meta) }
}

#[cfg(test)]
mod tests;
