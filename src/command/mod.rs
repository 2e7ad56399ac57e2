//! The operator's command, `towline`: its subcommands talk to a server over its REST API, and to nothing else.
//!
//! Results go to stdout, progress and what went wrong to stderr; errors are printed once, in one line. Not here:
//! `towline server` and `towline agent`, which are the other two programs, see [`crate::program`].

mod api;
mod ask;
mod crew;
mod demo;
mod fetch;
mod follow;
mod human;
mod list;
mod progress;
mod pull;
mod sample;
mod swarm;
#[cfg(test)]
mod testing;
mod view;

use std::ffi::OsString;
use std::io::{self, Write};

use crate::exit::Exit;
use crate::names::printable;
use crate::program;
use crate::settings::{AGENT, Given, Program, SERVER, UsageError, help};
use api::ApiError;

/// A subcommand: its table, and what does its work.
struct Command {
    program: &'static Program,
    work: fn(&Given) -> Result<Exit, UsageError>,
}

static COMMANDS: [Command; 7] = [
    Command { program: &demo::DEMO, work: demo::run },
    Command { program: &list::CLIENTS, work: list::clients },
    Command { program: &pull::PULL, work: pull::run },
    Command { program: &list::TRANSFERS, work: list::transfers },
    Command { program: &list::SHOW, work: list::show },
    Command { program: &list::CANCEL, work: list::cancel },
    Command { program: &swarm::SWARM, work: swarm::run },
];

impl Command {
    fn name(&self) -> &'static str {
        self.program.name.strip_prefix("towline ").expect("every table of a subcommand is named after it")
    }
}

/// Runs the subcommand `name` with `args`; prints the overview where there is none.
pub fn run(name: Option<OsString>, mut args: impl Iterator<Item = OsString>) -> Exit {
    let name = name.map(|name| name.to_string_lossy().into_owned());
    match name.as_deref() {
        None | Some("--help" | "-h") => say(&overview()),
        Some("help") => match args.next().map(|name| name.to_string_lossy().into_owned()).as_deref() {
            None | Some("help") => say(&overview()),
            Some("server") => say(help(&SERVER).trim_end()),
            Some("agent") => say(help(&AGENT).trim_end()),
            Some(name) => match find(name) {
                Some(command) => say(help(command.program).trim_end()),
                None => return no_such(name),
            },
        },
        Some("--version" | "-V") => say(concat!("towline ", env!("CARGO_PKG_VERSION"))),
        Some(name) => match find(name) {
            Some(command) => return program::start(command.program, args, command.work),
            None => return no_such(name),
        },
    }
    Exit::Done
}

fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name() == name)
}

fn no_such(name: &str) -> Exit {
    eprintln!("towline: no such command: {}; see `towline --help`", printable(name));
    Exit::BadUsage
}

fn overview() -> String {
    let mut text = "\
Pulls files from machines behind NAT, over the lines that their agents hold: verified, or with a
stated reason.

Usage: towline COMMAND [FLAGS]

Commands:
"
    .to_owned();
    for command in &COMMANDS {
        let arguments = command.program.arguments;
        text.push_str(&format!(
            "  {:<18}{}\n",
            format!("{} {arguments}", command.name()),
            command.program.about
        ));
    }
    text.push_str(
        "  server            Runs the server, as towline-server does.
  agent             Runs an agent, as towline-agent does.

`towline COMMAND --help` tells more. The server's address is SERVER (http://localhost:8080 unless
set), the key API_KEY or AUTH_SECRET, each in the environment or in .env.
Exit codes: 0 done, 1 failed, 2 bad usage or setting, 3 not authorised, 4 no such client, or it is
not connected.",
    );
    text
}

/// Prints a line of results.
fn say(line: &str) {
    // Whoever read stdout may have gone, as `| head` does; the work goes on, and the exit code tells how it ended.
    let _ = writeln!(io::stdout(), "{line}");
}

/// The exit code of a subcommand; prints what went wrong.
fn done(name: &str, result: Result<(), ApiError>) -> Exit {
    match result {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("{name}: {error}");
            error.exit()
        }
    }
}

/// Of two ends, the one that is told: the higher code.
fn worse(one: Exit, other: Exit) -> Exit {
    if other.code() > one.code() { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_the_overview_and_has_help() {
        let text = overview();
        for command in &COMMANDS {
            assert!(text.contains(&format!("\n  {}", command.name())), "{text}");
            let help = help(command.program);
            assert!(help.contains(&format!("Usage: {} ", command.program.name)), "{help}");
            for flag in command.program.flags {
                assert!(help.contains(flag.name), "{help}");
            }
        }
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn the_worst_end_is_told() {
        assert_eq!(worse(Exit::Done, Exit::Failed), Exit::Failed);
        assert_eq!(worse(Exit::NoSuchClient, Exit::Failed), Exit::NoSuchClient);
    }
}
