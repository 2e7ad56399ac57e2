//! `towline-server keys …`: makes, lists, revokes and rotates the keys in `KEYS_FILE`.
//!
//! The text of a new key is the only thing that `add` and `rotate` print on stdout, so that a script can take it; it is
//! not to be had again. A server that runs takes a change at once by itself.

use std::fmt;
use std::path::Path;

use crate::clock;
use crate::exit::Exit;
use crate::keys::file::{self, KeysError};
use crate::keys::{Key, KeyName, NewKey, Operator, Owner, Pattern, Ring, Scope};
use crate::names::printable;
use crate::program::print;
use crate::random;
use crate::settings::{Flag, Given, KEYS_SETTINGS, Program, UsageError};

pub(super) static ADD: Program = Program {
    name: "towline-server keys add",
    about: "Makes a key for a client or an operator, and prints it: this once, it is not kept.",
    arguments: "client ID | operator NAME",
    settings: KEYS_SETTINGS,
    flags: &[
        Flag {
            name: "--scope",
            takes: "SCOPES",
            help: "what an operator may do: read, pull, cancel, several with commas; or admin for all",
        },
        Flag { name: "--clients", takes: "IDS", help: "clients that it reaches, `*` for any characters [*]" },
        Flag { name: "--files", takes: "KEYS", help: "file keys that it reaches, such as 'logs/*' [*]" },
    ],
    notes: "\
The file is made when it is missing. It holds hashes only, and nobody but its owner may read it.
A client's key goes into its AUTH_SECRET, an operator's into API_KEY. Pulling with `towline pull`
takes read,pull. The file key null, a client's FILE_PATH, is reached by --files '*' alone.

  towline-server keys add client shop-001
  towline-server keys add operator nightly --scope read,pull --clients 'shop-*' --files 'logs/*'

Exit codes: 0 done, 1 failed, 2 bad usage or setting.",
};

pub(super) static LIST: Program = Program {
    name: "towline-server keys list",
    about: "Lists the keys: their ids and what they may, no secrets.",
    arguments: "",
    settings: KEYS_SETTINGS,
    flags: &[],
    notes: "Exit codes: 0 done, 1 failed, 2 bad usage or setting.",
};

pub(super) static REVOKE: Program = Program {
    name: "towline-server keys revoke",
    about: "Takes a key out. A server that runs refuses it at once, and closes the line that came in with it.",
    arguments: "ID",
    settings: KEYS_SETTINGS,
    flags: &[],
    notes: "`towline-server keys list` has the ids.\nExit codes: 0 done, 1 failed, 2 bad usage or setting.",
};

pub(super) static ROTATE: Program = Program {
    name: "towline-server keys rotate",
    about: "Makes a second key with the rights of the first, and prints it: this once, it is not kept.",
    arguments: "NAME|ID",
    settings: KEYS_SETTINGS,
    flags: &[],
    notes: "\
Both are valid until the old one is revoked. NAME is a client's id or an operator's name.

  towline-server keys rotate shop-001       then put the new key in its place, and
  towline-server keys revoke 0f3a…          with the id of the old one

Exit codes: 0 done, 1 failed, 2 bad usage or setting.",
};

/// Why a key was not made or revoked.
enum No {
    File(KeysError),
    /// It has a key already.
    HasKey(String),
    /// It has two keys already.
    HasTwo(String),
    /// No key has this id, or nothing this name.
    Unknown(String),
    /// A client and an operator are called this.
    Ambiguous(String),
    /// It is a name, and these are the ids of its keys.
    NotAnId(String, String),
}

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            No::File(error) => write!(f, "{error}"),
            No::HasKey(name) => {
                write!(f, "{name} has a key; `keys rotate {name}` makes a second one, `keys list` shows them")
            }
            No::HasTwo(name) => write!(f, "{name} has two keys already; revoke one of them first"),
            No::Unknown(name) => write!(f, "there is no key {}; `keys list` shows them", printable(name)),
            No::Ambiguous(name) => {
                write!(f, "a client and an operator are called {name}; name the id of the key")
            }
            No::NotAnId(name, ids) => write!(f, "{name} is no id of a key; its keys are {ids}"),
        }
    }
}

pub(super) fn add(given: &Given) -> Result<Exit, UsageError> {
    let path = given.keys_file()?;
    let owner = wanted(given)?;
    let made = change(&path, |ring| {
        let name = owner.name().to_owned();
        match ring.keys().iter().any(|key| is_same_owner(&key.owner, &owner)) {
            true => Err(No::HasKey(name)),
            false => Ok(make(ring, owner.clone())),
        }
    });
    Ok(show("keys add", made.map(|new| (new, said(&owner)))))
}

pub(super) fn rotate(given: &Given) -> Result<Exit, UsageError> {
    let path = given.keys_file()?;
    let wanted = one_argument(given, "expected one name or id: `keys rotate NAME|ID`")?;
    let made = change(&path, |ring| {
        let owner = find(ring, wanted)?;
        match ring.keys().iter().filter(|key| is_same_owner(&key.owner, &owner)).count() {
            2.. => Err(No::HasTwo(owner.name().to_owned())),
            _ => Ok((make(ring, owner.clone()), said(&owner))),
        }
    });
    Ok(show("keys rotate", made))
}

pub(super) fn revoke(given: &Given) -> Result<Exit, UsageError> {
    let path = given.keys_file()?;
    let wanted = one_argument(given, "expected the id of one key: `keys revoke ID`")?;
    let revoked = change(&path, |ring| {
        let id = wanted.parse().ok();
        if let Some(key) = id.and_then(|id| ring.remove(&id)) {
            return Ok(key);
        }
        let named = ring.keys().iter().filter(|key| key.owner.name() == wanted);
        let ids: Vec<&str> = named.map(|key| key.id.as_str()).collect();
        match ids.is_empty() {
            true => Err(No::Unknown(wanted.to_owned())),
            false => Err(No::NotAnId(wanted.to_owned(), ids.join(", "))),
        }
    });
    Ok(match revoked {
        Ok(key) => print(&format!("revoked {} of {}\n", key.id, said(&key.owner))),
        Err(no) => failed("keys revoke", &no),
    })
}

pub(super) fn list(given: &Given) -> Result<Exit, UsageError> {
    given.no_arguments()?;
    let path = given.keys_file()?;
    Ok(match file::load(&path) {
        Ok(ring) => print(&table(&ring)),
        Err(error) => failed("keys list", &No::File(error)),
    })
}

/// Whose key `add` is to make.
fn wanted(given: &Given) -> Result<Owner, UsageError> {
    let argument = |wanted: String| UsageError::Argument { wanted };
    let arguments: Vec<&str> = given.arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["client", id] => {
            if let Some(flag) = ["--scope", "--clients", "--files"].iter().find(|flag| given.has_flag(flag)) {
                return Err(argument(format!("{flag} is for operators: a client's key is for its own line")));
            }
            id.parse().map(Owner::Client).map_err(|bad| argument(format!("{}: {bad}", printable(id))))
        }
        ["operator", name] => {
            let name: KeyName =
                name.parse().map_err(|bad| argument(format!("{}: {bad}", printable(name))))?;
            let scopes = given.parsed_flag("--scope", scopes)?.ok_or_else(|| {
                argument(
                    "expected --scope with read, pull, cancel (several with commas), or admin".to_owned(),
                )
            })?;
            let everything = || vec![Pattern::everything()];
            let clients = given.parsed_flag("--clients", client_patterns)?.unwrap_or_else(everything);
            let files = given.parsed_flag("--files", patterns)?.unwrap_or_else(everything);
            Ok(Owner::Operator(Operator { name, scopes, clients, files }.into()))
        }
        _ => Err(argument("expected `keys add client ID` or `keys add operator NAME --scope …`".to_owned())),
    }
}

fn scopes(text: &str) -> Result<Vec<Scope>, &'static str> {
    let scope = |word: &str| Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
    let scopes: Option<Vec<Scope>> = text.split(',').map(scope).collect();
    let mut scopes = scopes.ok_or("read, pull, cancel, several with commas, or admin")?;
    scopes.sort();
    scopes.dedup();
    Ok(scopes)
}

fn patterns(text: &str) -> Result<Vec<Pattern>, String> {
    let pattern = |text: &str| Pattern::try_from(text.to_owned()).map_err(|bad| bad.to_string());
    let patterns = text.split(',').map(pattern).collect::<Result<Vec<Pattern>, _>>()?;
    match patterns.len() > crate::limits::MAX_KEY_PATTERNS {
        true => Err(format!("at most {} patterns", crate::limits::MAX_KEY_PATTERNS)),
        false => Ok(patterns),
    }
}

fn client_patterns(text: &str) -> Result<Vec<Pattern>, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-*,".contains(c);
    match text.chars().all(plain) {
        true => patterns(text),
        false => {
            Err("client ids with commas between them, * for any characters, such as shop-001,pos-*"
                .to_owned())
        }
    }
}

fn one_argument<'g>(given: &'g Given, wanted: &str) -> Result<&'g str, UsageError> {
    match &given.arguments[..] {
        [one] => Ok(one),
        _ => Err(UsageError::Argument { wanted: wanted.to_owned() }),
    }
}

fn change<T>(path: &Path, change: impl FnOnce(&mut Ring) -> Result<T, No>) -> Result<T, No> {
    file::edit(path, change).map_err(No::File).and_then(|changed| changed)
}

fn make(ring: &mut Ring, owner: Owner) -> NewKey {
    loop {
        let new = NewKey::from_random(random::bytes(), random::bytes());
        if ring.add(&new, owner.clone(), clock::now_ms()) {
            return new;
        }
    }
}

/// Whose key is meant, by its id or by the owner's name; with the rights that the newest key has.
fn find(ring: &Ring, wanted: &str) -> Result<Owner, No> {
    if let Some(key) = wanted.parse().ok().and_then(|id| ring.key(&id)) {
        return Ok(key.owner.clone());
    }
    let named: Vec<&Key> = ring.keys().iter().filter(|key| key.owner.name() == wanted).collect();
    match named.last() {
        None => Err(No::Unknown(wanted.to_owned())),
        Some(newest) if named.iter().all(|key| is_same_owner(&key.owner, &newest.owner)) => {
            Ok(newest.owner.clone())
        }
        Some(_) => Err(No::Ambiguous(wanted.to_owned())),
    }
}

fn is_same_owner(one: &Owner, other: &Owner) -> bool {
    match (one, other) {
        (Owner::Client(one), Owner::Client(other)) => one == other,
        (Owner::Operator(one), Owner::Operator(other)) => one.name == other.name,
        (Owner::Client(_), Owner::Operator(_)) | (Owner::Operator(_), Owner::Client(_)) => false,
    }
}

fn said(owner: &Owner) -> String {
    match owner {
        Owner::Client(client) => format!("client {client}"),
        Owner::Operator(operator) => format!("operator {}", operator.name),
    }
}

fn table(ring: &Ring) -> String {
    let titles = ["ID", "KIND", "NAME", "SCOPES", "CLIENTS", "FILES", "CREATED"].map(str::to_owned);
    let mut rows = vec![titles];
    for key in ring.keys() {
        let join = |patterns: &[Pattern]| patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(",");
        let (kind, [scopes, clients, files]) = match &key.owner {
            Owner::Client(_) => ("client", ["-", "-", "-"].map(str::to_owned)),
            Owner::Operator(operator) => {
                let scopes: Vec<&str> = operator.scopes.iter().map(|scope| scope.as_str()).collect();
                ("operator", [scopes.join(","), join(&operator.clients), join(&operator.files)])
            }
        };
        let (id, name) = (key.id.to_string(), key.owner.name().to_owned());
        rows.push([id, kind.to_owned(), name, scopes, clients, files, clock::iso8601(key.created_at)]);
    }
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(wide);
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Prints a new key, or why there is none.
fn show(doing: &str, made: Result<(NewKey, String), No>) -> Exit {
    match made {
        Err(no) => failed(doing, &no),
        Ok((new, owner)) => {
            eprintln!("key {} for {owner}; it is shown this once, and only its hash is kept:", new.id);
            match print(&format!("{}\n", new.text)) {
                Exit::Done => Exit::Done,
                failed => {
                    eprintln!(
                        "towline-server {doing}: the key could not be printed: `keys revoke {}`",
                        new.id
                    );
                    failed
                }
            }
        }
    }
}

fn failed(doing: &str, no: &No) -> Exit {
    eprintln!("towline-server {doing}: {no}");
    Exit::Failed
}
