//! What was given to a program, and how its settings ask for it. Everything that is wrong with a value names the
//! setting, the value and where it came from here, and nowhere else.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::value::{self, BadValue};
use super::{Kind, Program, Setting, UsageError};

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Flag,
    Environment,
    File,
    Default,
}

/// What was given, as text.
pub struct Given {
    pub(super) program: &'static Program,
    pub(super) values: BTreeMap<&'static str, (String, Source)>,
    pub(super) flags: BTreeMap<&'static str, String>,
    pub(super) env_file: PathBuf,
    /// Relative paths start here; empty for the working directory.
    pub folder: PathBuf,
    /// The arguments that are no flags.
    pub arguments: Vec<String>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("program", &self.program.name).finish_non_exhaustive() // values may be secret
    }
}

impl Given {
    fn setting(&self, name: &str) -> &'static Setting {
        let known = self.program.settings.iter().find(|setting| setting.name == name);
        known.expect("a program asks for the settings of its own table")
    }

    fn value(&self, name: &str) -> (&str, Source) {
        match self.values.get(name) {
            Some((value, source)) => (value, *source),
            None => (self.setting(name).default, Source::Default),
        }
    }

    pub(super) fn from(&self, name: &str) -> String {
        match self.value(name).1 {
            Source::Flag => "from the command line".to_owned(),
            Source::Environment => "from the environment".to_owned(),
            Source::File => format!("from {}", self.env_file.display()),
            Source::Default => "the default".to_owned(),
        }
    }

    /// Whether the setting stands on the command line, where every user of the machine can read it.
    pub fn is_flag(&self, name: &str) -> bool {
        self.value(name).1 == Source::Flag
    }

    /// The text of a setting, or its default; nothing when there is neither, or it is `off` and may be.
    pub fn text(&self, name: &str) -> Option<&str> {
        let text = self.value(name).0;
        let off = text.is_empty() || (text == "off" && self.setting(name).default == "off");
        (!off).then_some(text)
    }

    /// The error for the value of setting `name`; shows no secret.
    pub fn bad(&self, name: &str, wanted: impl fmt::Display) -> UsageError {
        let secret = self.setting(name).kind == Kind::Secret;
        UsageError::Bad {
            name: name.to_owned(),
            value: (!secret).then(|| self.value(name).0.to_owned()),
            from: self.from(name),
            wanted: wanted.to_string(),
        }
    }

    /// As [`Given::bad`], for a value that may hold a secret in a place where none belongs.
    pub fn bad_unshown(&self, name: &str, wanted: impl fmt::Display) -> UsageError {
        match self.bad(name, wanted) {
            UsageError::Bad { name, from, wanted, .. } => UsageError::Bad { name, value: None, from, wanted },
            other => other,
        }
    }

    /// The setting read by `parse`, where it is set or has a default.
    ///
    /// # Errors
    /// When `parse` refuses it.
    pub fn parsed<T, E: fmt::Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, UsageError> {
        self.text(name).map(|text| parse(text.trim()).map_err(|wanted| self.bad(name, wanted))).transpose()
    }

    /// A whole number within `range`, of a setting that may be absent.
    ///
    /// # Errors
    /// When it is none.
    pub fn number_or_off<N: TryFrom<u64>>(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<N>, UsageError> {
        let off = if self.setting(name).default == "off" { ", or off" } else { "" };
        self.parsed(name, |text| {
            let number = value::whole(text).filter(|number| range.contains(number));
            number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| match *range.end() {
                u64::MAX => format!("a whole number of at least {}{off}", range.start()),
                most => format!("a whole number from {} to {most}{off}", range.start()),
            })
        })
    }

    /// A whole number within `range`, of a setting that has a default.
    ///
    /// # Errors
    /// When it is none.
    pub fn number<N: TryFrom<u64>>(&self, name: &str, range: RangeInclusive<u64>) -> Result<N, UsageError> {
        Ok(self.number_or_off(name, range)?.expect("it has a default"))
    }

    /// A size within `range`, in bytes.
    ///
    /// # Errors
    /// When it is none.
    pub fn size(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, UsageError> {
        self.parsed(name, |text| {
            let size = value::size(text).map_err(|wanted| wanted.to_string())?;
            match (range.contains(&size), *range.end()) {
                (true, _) => Ok(size),
                (false, u64::MAX) => Err(format!("at least {} bytes", range.start())),
                (false, most) => Err(format!("{} to {most} bytes", range.start())),
            }
        })
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn truth(&self, name: &str) -> Result<bool, UsageError> {
        let read = |text: &str| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(BadValue("true or false")),
        };
        Ok(self.parsed(name, read)?.expect("it has a default"))
    }

    /// Whether the flag, which takes no value, was given.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.contains_key(flag)
    }

    /// The value of a flag that is no setting.
    pub fn flag(&self, flag: &str) -> Option<&str> {
        self.flags.get(flag).map(String::as_str)
    }

    /// The value of a flag that is no setting, read by `parse`.
    ///
    /// # Errors
    /// When `parse` refuses it.
    pub fn parsed_flag<T, E: fmt::Display>(
        &self,
        flag: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, UsageError> {
        let bad = |text: &str, wanted: E| UsageError::Bad {
            name: flag.to_owned(),
            value: Some(text.to_owned()),
            from: "from the command line".to_owned(),
            wanted: wanted.to_string(),
        };
        self.flag(flag).map(|text| parse(text).map_err(|wanted| bad(text, wanted))).transpose()
    }

    /// `path` as it is when absolute, else from the working directory.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(Path::new(path))
    }

    /// Refuses arguments, for a program that takes none.
    ///
    /// # Errors
    /// When there is one.
    pub fn no_arguments(&self) -> Result<(), UsageError> {
        match self.arguments.first() {
            Some(text) => Err(UsageError::UnexpectedArgument { text: text.clone() }),
            None => Ok(()),
        }
    }
}
