//! What every program does: read its settings, do its work, end with an exit code. Whatever is wrong with how it was
//! started is printed here, once, in one line.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
pub(crate) fn print(text: &str) -> Exit {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
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

/// What is to be said, once at the start, when anybody on this machine may read or change the key. Its group may: many
/// systems have one for that.
fn is_open_to_all(key: &Path) -> Option<String> {
    let mode = std::fs::metadata(key).ok()?.mode() & 0o777;
    (mode & 0o006 != 0).then(|| {
        format!(
            "TLS_KEY={}: every user of this machine may read or change it (mode {mode:03o}): run `chmod 600` on it",
            key.display()
        )
    })
}

fn warn_of_open_key(key: &Path) {
    if let Some(warning) = is_open_to_all(key) {
        log::warn!("{warning}");
    }
}

/// `towline-server`, which is also `towline server`: a subcommand, or the server itself.
pub fn server(args: impl Iterator<Item = OsString>) -> Exit {
    let mut args = args.peekable();
    if let Some(ended) = admin::run(&mut args) {
        return ended;
    }
    start(&settings::SERVER, args, |given| {
        let settings = ServerSettings::read(given)?;
        logging::start(settings.log_level);
        settings.tls.iter().for_each(|tls| warn_of_open_key(&tls.key));
        Ok(crate::server::run(settings))
    })
}

/// `towline-agent`, which is also `towline agent`.
pub fn agent(args: impl Iterator<Item = OsString>) -> Exit {
    start(&settings::AGENT, args, |given| {
        let settings = AgentSettings::read(given)?;
        logging::start(settings.log_level);
        warn_of_root("it needs to read what it shares");
        settings.tls.own.iter().for_each(|(_, key)| warn_of_open_key(key));
        Ok(crate::agent::run(settings))
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_anybody_may_read_is_told_of() {
        let key = std::env::temp_dir().join(format!("towline-key-{}.pem", std::process::id()));
        assert_eq!(is_open_to_all(&key), None, "that it is not there is said by others");
        fs::write(&key, "").unwrap();
        for (mode, is_open) in [(0o600, false), (0o400, false), (0o640, false), (0o644, true), (0o602, true)]
        {
            fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
            let told = is_open_to_all(&key);
            assert_eq!(told.is_some(), is_open, "{mode:o}");
            assert!(told.is_none_or(|told| told.contains(&format!("(mode {mode:o}): run `chmod 600`"))));
        }
        fs::remove_file(&key).unwrap();
    }
}
