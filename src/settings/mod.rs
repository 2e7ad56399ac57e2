//! Settings: from flags, the environment and `.env` to values that have been checked.
//!
//! Each program has a [`Program`]: a table of [`Setting`]s, from which its flags, its `--help` and its defaults come.
//! [`gather`] collects what was given, [`ServerSettings`], [`AgentSettings`] and [`OperatorSettings`] check it. The first
//! thing that is wrong ends it: one [`UsageError`], one line.
//!
//! Invariants: a secret is taken from no flag and is in no message. A setting that this version does not act on is
//! refused when it is set. What is in the environment or in `.env` and in no table is nobody's business here.

mod access;
mod agent;
mod both;
mod congestion;
pub mod dotenv;
mod error;
mod gather;
mod given;
mod help;
mod no_proxy;
mod operator;
mod proxy;
mod server;
mod server_url;
#[cfg(test)]
mod testing;
mod tls;
pub mod value;

pub use access::{Access, KEYS_SETTINGS};
pub use agent::{AGENT, AgentSettings, SWARM_SETTINGS, host_name};
pub use congestion::CongestionChoice;
pub use error::UsageError;
pub use gather::{Asked, Surroundings, gather};
pub use given::Given;
pub use help::help;
pub use operator::{OPERATOR_SETTINGS, OperatorSettings};
pub use proxy::ProxyUrl;
pub use server::{AUDIT_SETTINGS, SERVER, ServerSettings};
pub use server_url::ServerUrl;
pub use tls::{AgentTls, ServerTls};
pub use value::Secret;

use crate::stream::tls::IS_BUILT_IN;

/// A program, or a subcommand of `towline`, as its user sees it.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// What its user calls it, such as `towline pull`.
    pub name: &'static str,
    /// One sentence on what it does.
    pub about: &'static str,
    /// Its arguments that are no flags, such as `CLIENT…`; empty when it takes none.
    pub arguments: &'static str,
    /// What can be set.
    pub settings: &'static [Setting],
    /// Flags that are not settings, beside `--help`, `--version` and `--env-file`.
    pub flags: &'static [Flag],
    /// The end of its help: examples, what else there is to know.
    pub notes: &'static str,
}

/// One setting: an environment variable, a line of `.env`, and a flag of the same name unless it is a secret.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name in the environment, such as `UPLOAD_DIR`.
    pub name: &'static str,
    /// What its value is called in the help, such as `DIR`.
    pub takes: &'static str,
    /// What holds unless it is set; `off` and nothing at all mean that nothing does.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    /// How it is treated.
    pub kind: Kind,
}

/// How a setting is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By flag, environment or file.
    Plain,
    /// By environment or file; never shown.
    Secret,
    /// This build cannot do it: to go on without it would be a hole, so it ends the program.
    Unsupported,
}

/// A flag that is no setting.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Its name, such as `--json`.
    pub name: &'static str,
    /// What its value is called in the help; empty when it takes none.
    pub takes: &'static str,
    /// What it does.
    pub help: &'static str,
}

impl Setting {
    const fn plain(
        name: &'static str,
        takes: &'static str,
        default: &'static str,
        help: &'static str,
    ) -> Setting {
        Setting { name, takes, default, help, kind: Kind::Plain }
    }

    const fn secret(name: &'static str, help: &'static str) -> Setting {
        Setting { name, takes: "KEY", default: "", help, kind: Kind::Secret }
    }

    /// A setting of TLS, which a build without TLS refuses.
    const fn tls(name: &'static str, help: &'static str) -> Setting {
        let kind = if IS_BUILT_IN { Kind::Plain } else { Kind::Unsupported };
        Setting { name, takes: "FILE", default: "off", help, kind }
    }

    /// Its names in the environment and in `.env`. Everybody's environment has the proxies in lower case, so these are
    /// read too, where the upper-case one is not set.
    pub fn names(&self) -> Vec<String> {
        let mut names = vec![self.name.to_owned()];
        if self.name.ends_with("_PROXY") {
            names.push(self.name.to_ascii_lowercase());
        }
        names
    }

    /// Its flag: `--upload-dir` for `UPLOAD_DIR`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.to_ascii_lowercase().replace('_', "-"))
    }
}
