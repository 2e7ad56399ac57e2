//! What is wrong with how a program was started: one line, exit code 2.

use std::fmt;

use crate::names::printable;

/// What is wrong with the arguments or the settings. No variant holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageError {
    /// No such flag.
    UnknownFlag {
        /// The flag, without a value.
        flag: String,
    },
    /// A flag stands at the end, without its value.
    FlagWithoutValue {
        /// The flag.
        flag: String,
        /// What its value is called.
        takes: &'static str,
    },
    /// A flag that takes no value has one.
    FlagWithValue {
        /// The flag.
        flag: String,
    },
    /// A secret stands on the command line.
    SecretAsFlag {
        /// The setting.
        name: &'static str,
    },
    /// An argument that is not expected here.
    UnexpectedArgument {
        /// The argument.
        text: String,
    },
    /// An argument is missing, or there is no such thing as the one given.
    Argument {
        /// What was expected.
        wanted: String,
    },
    /// A value is not UTF-8.
    NotUtf8 {
        /// Which one.
        what: String,
    },
    /// A setting that must be set is not.
    Missing {
        /// The setting.
        name: &'static str,
        /// What was expected.
        wanted: String,
    },
    /// A value does not parse, or cannot work.
    Bad {
        /// The setting or flag.
        name: String,
        /// Its value; nothing when that is, or may hold, a secret.
        value: Option<String>,
        /// Where it came from.
        from: String,
        /// What was expected.
        wanted: String,
    },
    /// This build cannot do it.
    Unsupported {
        /// The setting.
        name: &'static str,
        /// Where it came from.
        from: String,
    },
    /// The settings file cannot be read.
    EnvFile {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UsageError::UnknownFlag { flag } => write!(f, "no such flag: {}; see --help", printable(flag)),
            UsageError::FlagWithoutValue { flag, takes } => {
                write!(f, "{flag} is without its value: expected {flag} {takes}")
            }
            UsageError::FlagWithValue { flag } => write!(f, "{flag} takes no value"),
            UsageError::SecretAsFlag { name } => write!(
                f,
                "{name} is never taken from a flag, where every user of this machine could read it: set it in the environment or in .env"
            ),
            UsageError::UnexpectedArgument { text } => {
                write!(f, "unexpected argument: {}; see --help", printable(text))
            }
            UsageError::Argument { wanted } => f.write_str(wanted),
            UsageError::NotUtf8 { what } => write!(f, "{what} is not UTF-8"),
            UsageError::Missing { name, wanted } => write!(f, "{name} is not set: {wanted}"),
            UsageError::Bad { name, value: Some(value), from, wanted } => {
                write!(f, "{name}={} ({from}): expected {wanted}", printable(value))
            }
            UsageError::Bad { name, value: None, from, wanted } => {
                write!(f, "{name} ({from}, not shown): expected {wanted}")
            }
            UsageError::Unsupported { name, from } => write!(
                f,
                "{name} is set ({from}), and this program was built without it: unset it, or use one that was built with it"
            ),
            UsageError::EnvFile { path, why } => {
                write!(f, "cannot read the settings in {}: {why}", printable(path))
            }
        }
    }
}

impl std::error::Error for UsageError {}
