//! What every program does: read its settings, do its work, end with an exit code. Whatever is wrong with how it was
//! started is printed here, once, in one line.

use std::ffi::OsString;
use std::io::{self, Write};

use crate::admin;
use crate::exit::Exit;
use crate::logging;
use crate::settings::{
    self, AgentSettings, Asked, Given, Program, ServerSettings, Surroundings, UsageError, gather, help,
};

/// Gathers what was given to `program` and hands it to `work`; prints help, version and what is wrong.
pub fn start(
    program: &'static Program,
    args: impl Iterator<Item = OsString>,
    work: impl FnOnce(&Given) -> Result<Exit, UsageError>,
) -> Exit {
    let asked = gather(program, Surroundings::of_process(args));
    let ended = asked.and_then(|asked| match asked {
        Asked::Help => Ok(print(&help(program))),
        Asked::Version => Ok(print(&format!("{} {}\n", program.name, env!("CARGO_PKG_VERSION")))),
        Asked::Run(given) => work(&given),
    });
    ended.unwrap_or_else(|wrong| {
        eprintln!("{}: {wrong}", program.name);
        Exit::BadUsage
    })
}

/// Prints `text`; whoever reads it may have gone, as `| head` does, and then there is nobody to tell.
fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}

/// Says once, when nothing stands in the way of the start any more, that this runs with more rights than it needs.
pub fn warn_of_root(needs: &str) {
    if rustix::process::geteuid().is_root() {
        log::warn!(
            "this runs as root, with the right to read and change all of this machine: give it a user of its own, {needs}, and no more"
        );
    }
}

/// `towline-server`, which is also `towline server`: a subcommand, or the server itself.
pub fn server(args: impl Iterator<Item = OsString>) -> Exit {
    let mut args = args.peekable();
    if let Some(ended) = admin::run(&mut args) {
        return ended;
    }
    start(&settings::SERVER, args, |given| {
        given.no_arguments()?;
        let settings = ServerSettings::read(given)?;
        logging::start(settings.log_level);
        Ok(crate::server::run(settings))
    })
}

/// `towline-agent`, which is also `towline agent`.
pub fn agent(args: impl Iterator<Item = OsString>) -> Exit {
    start(&settings::AGENT, args, |given| {
        given.no_arguments()?;
        let settings = AgentSettings::read(given)?;
        logging::start(settings.log_level);
        warn_of_root("it needs to read what it shares");
        Ok(crate::agent::run(settings))
    })
}
