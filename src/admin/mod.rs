//! What `towline-server` does beside serving: its subcommands, `towline-server keys add …` and the like, by the one who
//! may log in on the server's machine. They work on files, not on a running server.
//!
//! A subcommand's name is one word or two. Results go to stdout; what went wrong is printed once, in one line.

mod audit;
#[cfg(feature = "tls")]
mod certs;
mod keys;

use std::ffi::OsString;
use std::iter::Peekable;

use crate::exit::Exit;
use crate::program;
use crate::settings::{Given, Program, UsageError};

/// A subcommand: its table, and what does its work.
struct Command {
    program: &'static Program,
    work: fn(&Given) -> Result<Exit, UsageError>,
}

/// Each is named `towline-server <one word or two>`.
static COMMANDS: &[Command] = &[
    Command { program: &keys::ADD, work: keys::add },
    Command { program: &keys::LIST, work: keys::list },
    Command { program: &keys::REVOKE, work: keys::revoke },
    Command { program: &keys::ROTATE, work: keys::rotate },
    Command { program: &audit::VERIFY, work: audit::verify },
    #[cfg(feature = "tls")]
    Command { program: &certs::INIT, work: certs::init },
    #[cfg(feature = "tls")]
    Command { program: &certs::CLIENT, work: certs::client },
    #[cfg(feature = "tls")]
    Command { program: &certs::SERVER, work: certs::server },
];

impl Command {
    fn words(&self) -> impl Iterator<Item = &'static str> {
        self.program.name.split(' ').skip(1)
    }
}

/// Runs the subcommand that `args` begin with; `None`, with nothing taken, when they begin with none: then they are the
/// server's own.
pub fn run(args: &mut Peekable<impl Iterator<Item = OsString>>) -> Option<Exit> {
    let first = args.peek()?.to_str()?.to_owned();
    let family: Vec<&Command> =
        COMMANDS.iter().filter(|command| command.words().next() == Some(&first)).collect();
    if family.is_empty() {
        return None;
    }
    args.next();
    let second = args.peek().and_then(|word| word.to_str()).map(str::to_owned);
    for command in &family {
        let wanted = command.words().nth(1);
        if wanted.is_none() || wanted == second.as_deref() {
            if wanted.is_some() {
                args.next();
            }
            return Some(program::start(command.program, args, command.work));
        }
    }
    if matches!(second.as_deref(), Some("--help" | "-h")) {
        let rows =
            family.iter().map(|command| format!("{}\n    {}\n", command.program.name, command.program.about));
        return Some(program::print(&rows.collect::<String>()));
    }
    let usages: Vec<String> =
        family.iter().map(|command| format!("`{} --help`", command.program.name)).collect();
    eprintln!("towline-server: {first} what? See {}", usages.join(", "));
    Some(Exit::BadUsage)
}
