//! The settings of `towline-server`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;

use super::access::{Access, KEYS_FILE};
use super::value::BadValue;
use super::{Given, Program, ServerTls, Setting, UsageError};

/// `towline-server` as its user sees it.
pub const SERVER: Program = Program {
    name: "towline-server",
    about: "Holds the lines of the agents, and pulls files over them when it is asked to by its REST API.",
    arguments: "",
    settings: &SETTINGS,
    flags: &[],
    notes: "\
Ready when it prints `Server running on port N`. Ends on Ctrl-C.
Subcommands: keys add, keys list, keys revoke, keys rotate; `keys add --help` tells more.
`towline-server certs init --help` tells how to make certificates for TLS.
Exit codes: 0 done, 1 failed, 2 bad usage or setting.",
};

const SETTINGS: [Setting; 27] = [
    Setting::secret(
        "AUTH_SECRET",
        "the secret of the agents, and the key of the REST API; required unless KEYS_FILE is set",
    ),
    KEYS_FILE,
    Setting::plain("HOST", "ADDRESS", "0.0.0.0", "IP address to listen on"),
    Setting::plain("PORT", "PORT", "8080", "port to listen on, for agents and REST; 0 for any free one"),
    Setting::plain("WS_PATH", "PATH", "/ws", "path that agents dial"),
    Setting::plain(
        "CONTROL_LISTEN",
        "HOST:PORT",
        "off",
        "serve REST here only, and agents alone on PORT; a bare port means 127.0.0.1",
    ),
    UPLOAD_DIR,
    Setting::plain("CHUNK_SIZE", "SIZE", "", "bytes a message that agents are asked for; 64Ki unless set"),
    Setting::plain("COMPRESS", "WHEN", "auto", "auto lets agents compress what they send; off does not"),
    Setting::plain("MAX_CONCURRENT_TRANSFERS", "N", "5", "transfers that run at once; the rest wait in turn"),
    Setting::plain("MAX_TRANSFERS_PER_CLIENT", "N", "2", "transfers of one client that run at once"),
    Setting::plain("MAX_QUEUED_TRANSFERS", "N", "1000", "transfers that may wait; more are refused (429)"),
    Setting::plain("MAX_CLIENTS", "N", "off", "agents that may be connected; more are refused (503)"),
    Setting::plain("MAX_FILE_SIZE", "SIZE", "off", "largest file that is taken"),
    Setting::plain("MIN_FREE_BYTES", "SIZE", "64Mi", "room that is left on the disk of UPLOAD_DIR"),
    Setting::plain("MAX_SPOOL_BYTES", "SIZE", "100G", "room for parts of transfers that wait to go on"),
    Setting::plain(
        "HEARTBEAT_SECONDS",
        "N",
        "15",
        "time between signs of life; three silent beats end a line",
    ),
    Setting::plain(
        "STALL_SECONDS",
        "N",
        "60",
        "time without a byte after which an attempt ends, to be tried again",
    ),
    Setting::plain("STOP_SECONDS", "N", "20", "time that running transfers have when the server is stopped"),
    Setting::plain("KEEP_TRANSFERS", "N", "10000", "ended transfers that are remembered"),
    Setting::plain("KEEP_TRANSFERS_DAYS", "N", "90", "days that ended transfers are remembered; 0 for ever"),
    Setting::plain("KEEP_DOWNLOADS_DAYS", "N", "off", "days after which downloads are removed"),
    Setting::plain(
        "AUDIT_ROTATE_BYTES",
        "SIZE",
        "64Mi",
        "bytes of the audit log after which it begins a file",
    ),
    Setting::plain("LOG_LEVEL", "LEVEL", "info", "off, error, warn, info or debug"),
    Setting::tls("TLS_CERT", "certificate chain (PEM): agents and REST come by TLS then, on every port"),
    Setting::tls("TLS_KEY", "key of TLS_CERT (PEM)"),
    Setting::tls(
        "TLS_CLIENT_CA",
        "authorities (PEM) one of which must have signed each agent's certificate, in its client id's name",
    ),
];

const UPLOAD_DIR: Setting =
    Setting::plain("UPLOAD_DIR", "DIR", "./downloads", "folder for the verified files; made when missing");

/// What `towline-server audit` takes.
pub const AUDIT_SETTINGS: &[Setting] = &[UPLOAD_DIR];

/// What `towline-server` needs to know, checked.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 for any.
    pub port: u16,
    /// Path that agents dial.
    pub ws_path: String,
    /// Who may dial in, and who may ask.
    pub access: Access,
    /// Folder of the downloads.
    pub upload_dir: PathBuf,
    /// Bytes a chunk, when set.
    pub chunk_size: Option<usize>,
    /// Whether agents may compress what they send.
    pub compress: bool,
    /// Transfers that hold a slot at once.
    pub max_concurrent_transfers: usize,
    /// Transfers of one client that hold a slot at once.
    pub max_transfers_per_client: usize,
    /// Transfers that may wait for a slot.
    pub max_queued_transfers: usize,
    /// Where REST is served, when not on the port of the agents.
    pub control_listen: Option<SocketAddr>,
    /// What is logged.
    pub log_level: LevelFilter,
    /// Time between signs of life.
    pub heartbeat: Duration,
    /// Time without progress after which an attempt ends.
    pub stall: Duration,
    /// Time that running transfers have when the server is stopped.
    pub stop: Duration,
    /// Agents that may be connected.
    pub max_clients: Option<usize>,
    /// Largest file, in bytes.
    pub max_file_size: Option<u64>,
    /// Room to leave on the disk, in bytes.
    pub min_free_bytes: u64,
    /// Room for parts of transfers that wait to go on, in bytes.
    pub max_spool_bytes: u64,
    /// Ended transfers to remember.
    pub keep_transfers: usize,
    /// Days to remember them; nothing for ever.
    pub keep_transfers_days: Option<u32>,
    /// Days to keep downloads; nothing for ever.
    pub keep_downloads_days: Option<u32>,
    /// Bytes of the audit log after which it begins a file.
    pub audit_rotate_bytes: u64,
    /// Its certificate; nothing for no TLS.
    pub tls: Option<ServerTls>,
}

impl ServerSettings {
    /// Checks what was given.
    ///
    /// # Errors
    /// On the first setting that is missing, does not parse or cannot work.
    pub fn read(given: &Given) -> Result<ServerSettings, UsageError> {
        given.no_arguments()?;
        let seconds = |name, range| Ok(Duration::from_secs(given.number(name, range)?));
        Ok(ServerSettings {
            access: given.access()?,
            host: given.parsed("HOST", host)?.expect("it has a default"),
            port: given.number("PORT", 0..=65_535)?,
            ws_path: given.parsed("WS_PATH", ws_path)?.expect("it has a default"),
            control_listen: given.parsed("CONTROL_LISTEN", control_listen)?,
            upload_dir: given.text("UPLOAD_DIR").expect("it has a default").into(),
            chunk_size: given.chunk_size()?,
            compress: given.parsed("COMPRESS", compress)?.expect("it has a default"),
            max_concurrent_transfers: given.number("MAX_CONCURRENT_TRANSFERS", 1..=10_000)?,
            max_transfers_per_client: given.number("MAX_TRANSFERS_PER_CLIENT", 1..=10_000)?,
            max_queued_transfers: given.number("MAX_QUEUED_TRANSFERS", 0..=100_000)?,
            max_clients: given.number_or_off("MAX_CLIENTS", 1..=1_000_000)?,
            max_file_size: given.size("MAX_FILE_SIZE", 1..=u64::MAX)?,
            min_free_bytes: given.size("MIN_FREE_BYTES", 0..=u64::MAX)?.expect("it has a default"),
            max_spool_bytes: given.size("MAX_SPOOL_BYTES", 0..=u64::MAX)?.expect("it has a default"),
            heartbeat: seconds("HEARTBEAT_SECONDS", 1..=3600)?,
            stall: seconds("STALL_SECONDS", 1..=86_400)?,
            stop: seconds("STOP_SECONDS", 0..=3600)?,
            keep_transfers: given.number("KEEP_TRANSFERS", 1..=10_000_000)?,
            keep_transfers_days: given.days("KEEP_TRANSFERS_DAYS")?,
            keep_downloads_days: given.number_or_off("KEEP_DOWNLOADS_DAYS", 1..=36_500)?, // 0 may mean at once, or for ever
            tls: given.server_tls()?,
            audit_rotate_bytes: given.size("AUDIT_ROTATE_BYTES", 4096..=u64::MAX)?.expect("it has a default"),
            log_level: given.log_level()?,
        })
    }
}

fn compress(text: &str) -> Result<bool, BadValue> {
    match text {
        "auto" => Ok(true),
        "off" => Ok(false),
        _ => Err(BadValue("auto or off")),
    }
}

fn host(text: &str) -> Result<IpAddr, BadValue> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text.parse().map_err(|_| BadValue("an IP address of this machine, such as 0.0.0.0 or ::")),
    }
}

/// `HOST:PORT`, or a bare port for this machine alone.
fn control_listen(text: &str) -> Result<SocketAddr, BadValue> {
    let wanted =
        BadValue("HOST:PORT with an IP address or localhost, such as 127.0.0.1:8081, or a port, or off");
    match text.strip_prefix("localhost:").unwrap_or(text).parse::<u16>() {
        // `parse` would take a plus sign.
        Ok(port) if !text.contains('+') => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ => text.parse().map_err(|_| wanted),
    }
}

/// First parts of the paths that REST has for itself.
const REST_PATHS: [&str; 9] =
    ["", "clients", "download", "downloads", "transfers", "healthz", "readyz", "metrics", "openapi.json"];

fn ws_path(text: &str) -> Result<String, BadValue> {
    let rest = text
        .strip_prefix('/')
        .filter(|rest| rest.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#')))
        .ok_or(BadValue("a path such as /ws, without ?, # or white space"))?;
    if REST_PATHS.contains(&rest.split('/').next().unwrap_or_default()) {
        return Err(BadValue("a path that the REST API does not use, such as /ws"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
