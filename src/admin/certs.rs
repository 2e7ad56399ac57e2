//! `towline-server certs`: a private authority, and what it signs for a server and its agents, as PEM files in one folder.
//!
//! Each certificate is checked by the rules of TLS here before a file of it is written. Its file says above the PEM, in
//! words, for whom it is and until when; the line `Names:` tells a renewal for whom the server's was.

mod error;
mod folder;
mod issue;
mod names;

use std::io::{self, Write};

use crate::exit::Exit;
use crate::names::{ClientId, printable};
use crate::settings::{Flag, Given, Program, UsageError, host_name, value};
use crate::stream::tls::proof;
use crate::{clock, limits};
use error::CertsError;
use folder::{Folder, Fresh, Replace};
use issue::{Authority, Pair};
use names::{asked_names, default_names, host_in_url, server_name};

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const SERVER_CERT: &str = "server.pem";
const SERVER_KEY: &str = "server.key";
const NAMES: &str = "Names: ";

const FLAGS: &[Flag] = &[
    Flag { name: "--dir", takes: "DIR", help: "folder of the certificates [./certs]" },
    Flag { name: "--days", takes: "N", help: "days that the certificate holds, 1 to 825 [825]" },
    Flag { name: "--replace", takes: "", help: "replace what is there, which is left as it is otherwise" },
];

/// `towline-server certs init` as its user sees it.
pub(super) const INIT: Program = Program {
    name: "towline-server certs init",
    about: "Makes a private authority, and the server's certificate, for TLS.",
    arguments: "[NAME…]",
    settings: &[],
    flags: FLAGS,
    notes: "\
NAME is a DNS name or an IP address of the server as agents dial it; unless given, this machine's
name, localhost, 127.0.0.1 and ::1. The authority holds for ten years, and its key, ca.key, is all
that is needed to make more certificates: keep it private. With --replace, what the authority of
before has signed is not believed any more.",
};

/// `towline-server certs client` as its user sees it.
pub(super) const CLIENT: Program = Program {
    name: "towline-server certs client",
    about: "Makes the certificate of an agent, in the name of its client id.",
    arguments: "CLIENT_ID",
    settings: &[],
    flags: FLAGS,
    notes: "A server with TLS_CLIENT_CA takes agents with such a certificate only, each under its own client id.",
};

/// `towline-server certs server` as its user sees it.
pub(super) const SERVER: Program = Program {
    name: "towline-server certs server",
    about: "Makes the server's certificate anew, by the authority that is there.",
    arguments: "[NAME…]",
    settings: &[],
    flags: FLAGS,
    notes: "\
Unless NAMEs are given, it is for those of before. A running server takes it up by itself, and no
line is dropped.",
};

/// What all three are given.
struct Order {
    folder: Folder,
    /// As it was written, for the commands that are shown.
    dir: Option<String>,
    days: u64,
    replace: Replace,
}

impl Order {
    fn read(given: &Given) -> Result<Order, UsageError> {
        let most = limits::MAX_CERTIFICATE_DAYS;
        let days = given.parsed_flag("--days", |text| {
            let days = value::whole(text).filter(|days| (1..=most).contains(days));
            days.ok_or(format!("a whole number from 1 to {most}"))
        })?;
        let dir = given.flag("--dir").map(str::to_owned);
        let replace = if given.has_flag("--replace") { Replace::Yes } else { Replace::No };
        let folder = Folder::new(given.resolve(dir.as_deref().unwrap_or("certs")));
        Ok(Order { folder, dir, days: days.unwrap_or(most), replace })
    }

    /// The authority that is there.
    fn authority(&self) -> Result<(Authority, String), CertsError> {
        for name in [CA_KEY, CA] {
            if !self.folder.holds(name) {
                return Err(CertsError::NoAuthority(self.folder.path(name)));
            }
        }
        let certificate = self.folder.read(CA)?;
        match Authority::of(&self.folder.read_key(CA_KEY)?) {
            Some(authority) => Ok((authority, certificate)),
            None => Err(self.not_proven("no key of an authority".to_owned())),
        }
    }

    fn server_pair(&self, authority: &Authority, ca: &str, names: &[String]) -> Result<Pair, CertsError> {
        let mut pair = authority.server(names, self.days)?;
        proof::proves_server(&pair.certificate, ca, names).map_err(|why| self.not_proven(why))?;
        let head = format!("A Towline server, until {}\n{NAMES}{}\n", pair.until, names.join(" "));
        pair.certificate.insert_str(0, &head);
        Ok(pair)
    }

    fn not_proven(&self, why: String) -> CertsError {
        CertsError::NotProven { ca: self.folder.path(CA), why }
    }

    /// The names that the present certificate of the server was made for; none when it does not say.
    fn present_names(&self) -> Vec<String> {
        let text = self.folder.read(SERVER_CERT).unwrap_or_default(); // without one, NAMEs are needed
        let names = text.lines().find_map(|line| line.strip_prefix(NAMES)).unwrap_or_default();
        names.split(' ').filter_map(server_name).take(limits::MAX_CERTIFICATE_NAMES).collect()
    }
}

/// Does the work of `towline-server certs init`.
///
/// # Errors
/// When it was started wrongly.
pub(super) fn init(given: &Given) -> Result<Exit, UsageError> {
    let order = Order::read(given)?;
    let mut names = asked_names(given)?;
    if names.is_empty() {
        names = default_names(&host_name());
    }
    Ok(done(&INIT, make_all(&order, &names)))
}

/// Does the work of `towline-server certs client`.
///
/// # Errors
/// When it was started wrongly.
pub(super) fn client(given: &Given) -> Result<Exit, UsageError> {
    let order = Order::read(given)?;
    let wanted = |wanted: String| UsageError::Argument { wanted };
    let client: ClientId = match given.arguments.as_slice() {
        [id] => id.parse().map_err(|rule| wanted(format!("{} is none: {rule}", printable(id))))?,
        _ => return Err(wanted("expected the client id of one agent".to_owned())),
    };
    Ok(done(&CLIENT, make_client(&order, &client)))
}

/// Does the work of `towline-server certs server`.
///
/// # Errors
/// When it was started wrongly.
pub(super) fn server(given: &Given) -> Result<Exit, UsageError> {
    let order = Order::read(given)?;
    let mut names = asked_names(given)?;
    if names.is_empty() {
        names = order.present_names();
    }
    if names.is_empty() {
        return Err(UsageError::Argument {
            wanted: format!(
                "expected the server's names: {} does not tell for whom it was",
                order.folder.path(SERVER_CERT).display()
            ),
        });
    }
    Ok(done(&SERVER, make_server(&order, &names)))
}

fn make_all(order: &Order, names: &[String]) -> Result<String, CertsError> {
    check_clock()?;
    let (authority, mut ca) = Authority::make()?;
    let server = order.server_pair(&authority, &ca.certificate, names)?;
    ca.certificate.insert_str(0, &format!("{}, until {}\n", authority.name, ca.until));
    let files = [
        private(CA_KEY, &ca.key),
        public(CA, &ca.certificate),
        private(SERVER_KEY, &server.key),
        public(SERVER_CERT, &server.certificate),
    ];
    order.folder.put(&files, order.replace)?;
    let place = |name| order.folder.full_path(name).display().to_string();
    let url = format!("https://{}:8080", host_in_url(names));
    let dir = order.dir.as_ref().map_or(String::new(), |dir| format!("--dir {dir} "));
    Ok(format!(
        "\
{ca_pem}: {name}, until {ca_until}; a copy goes to every machine
{ca_key}: its key, which signs; no server and no agent needs it
{cert}: the server's certificate, until {until}, for {names}
{key}: its key

On the server, in .env; with TLS_CLIENT_CA, agents must show a certificate:

TLS_CERT={cert}
TLS_KEY={key}
TLS_CLIENT_CA={ca_pem}

Where its API is called, with a copy of {CA} (and the port that the server has):

export SERVER={url} TLS_CA={CA}
curl --cacert {CA} {url}/healthz

For each agent:

towline-server certs client {dir}CLIENT_ID
",
        ca_pem = place(CA),
        ca_key = place(CA_KEY),
        cert = place(SERVER_CERT),
        key = place(SERVER_KEY),
        name = authority.name,
        ca_until = ca.until,
        until = server.until,
        names = names.join(" "),
    ))
}

fn make_client(order: &Order, client: &ClientId) -> Result<String, CertsError> {
    check_clock()?;
    let (authority, ca) = order.authority()?;
    let pair = authority.client(client, order.days)?;
    let proven = proof::proven_names(&pair.certificate, &ca).map_err(|why| order.not_proven(why))?;
    if proven != [client.as_str()] {
        return Err(order.not_proven("it does not name the client".to_owned()));
    }
    let (name, key_name) = (format!("client-{client}.pem"), format!("client-{client}.key"));
    let certificate = format!("Towline agent {client}, until {}\n{}", pair.until, pair.certificate);
    order.folder.put(&[private(&key_name, &pair.key), public(&name, &certificate)], order.replace)?;
    let server = host_in_url(&order.present_names());
    Ok(format!(
        "\
{cert}: the certificate of {client}, until {until}
{key}: its key

Copy these two and {ca} to that machine.
In the agent's .env there (with the port and path that the server has):

SERVER_URL=wss://{server}:8080/ws
CLIENT_ID={client}
TLS_CA={CA}
TLS_CERT={name}
TLS_KEY={key_name}
",
        cert = order.folder.full_path(&name).display(),
        key = order.folder.full_path(&key_name).display(),
        ca = order.folder.full_path(CA).display(),
        until = pair.until,
    ))
}

fn make_server(order: &Order, names: &[String]) -> Result<String, CertsError> {
    check_clock()?;
    let (authority, ca) = order.authority()?;
    let pair = order.server_pair(&authority, &ca, names)?;
    order
        .folder
        .put(&[private(SERVER_KEY, &pair.key), public(SERVER_CERT, &pair.certificate)], order.replace)?;
    Ok(format!(
        "\
{}: the server's certificate, until {}, for {}
{}: its key

A running server with these as TLS_CERT and TLS_KEY takes them up with its next connections.
",
        order.folder.full_path(SERVER_CERT).display(),
        pair.until,
        names.join(" "),
        order.folder.full_path(SERVER_KEY).display(),
    ))
}

fn private<'a>(name: &str, text: &'a str) -> Fresh<'a> {
    Fresh { name: name.to_owned(), text, mode: 0o600 }
}

fn public<'a>(name: &str, text: &'a str) -> Fresh<'a> {
    Fresh { name: name.to_owned(), text, mode: 0o644 }
}

fn check_clock() -> Result<(), CertsError> {
    match clock::now_ms() {
        now if now < limits::EARLIEST_CLOCK_MS => Err(CertsError::Clock(clock::iso8601(now))),
        _ => Ok(()),
    }
}

/// Prints what was made, or what went wrong.
fn done(program: &Program, made: Result<String, CertsError>) -> Exit {
    match made {
        Ok(text) => {
            let _closed = io::stdout().write_all(text.as_bytes()); // the files are there
            Exit::Done
        }
        Err(error) => {
            eprintln!("{}: {error}", program.name);
            Exit::Failed
        }
    }
}

#[cfg(test)]
mod tests;
