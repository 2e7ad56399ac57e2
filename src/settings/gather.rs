//! Collects what was given: flag beats environment beats `.env`, and for each value where it came from.
//!
//! The process's own environment is touched in [`Surroundings::of_process`] alone, so tests need none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::given::{Given, Source};
use super::{Kind, Program, UsageError, dotenv};

/// What a program finds where it is started.
pub struct Surroundings<'a> {
    /// Its arguments, without its name.
    pub args: Vec<OsString>,
    /// Looks a variable up in the environment.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Where `.env` is looked for and relative paths start; empty for the working directory.
    pub folder: PathBuf,
}

impl Surroundings<'static> {
    /// Those of this process, with `args` as its arguments.
    pub fn of_process(args: impl Iterator<Item = OsString>) -> Surroundings<'static> {
        Surroundings { args: args.collect(), env: &|name| std::env::var_os(name), folder: PathBuf::new() }
    }
}

/// What its user asks of a program.
#[derive(Debug)]
pub enum Asked {
    /// `--help`.
    Help,
    /// `--version`.
    Version,
    /// To do its work.
    Run(Given),
}

const ENV_FILE: &str = "--env-file";

/// Collects what was given to `program`.
///
/// # Errors
/// On an unknown flag, a flag without its value, a secret in a flag, text that is not UTF-8, a file that cannot be read,
/// a setting that this version cannot follow.
pub fn gather(program: &'static Program, around: Surroundings<'_>) -> Result<Asked, UsageError> {
    let mut given = Given {
        program,
        values: BTreeMap::new(),
        flags: BTreeMap::new(),
        env_file: around.folder.join(".env"),
        folder: around.folder,
        arguments: Vec::new(),
    };
    let mut args = around.args.into_iter();
    while let Some(arg) = args.next() {
        let arg = utf8(arg, || "an argument".to_owned())?;
        match arg.as_str() {
            "--help" | "-h" => return Ok(Asked::Help),
            "--version" | "-V" => return Ok(Asked::Version),
            "--" => {
                for rest in args.by_ref() {
                    given.arguments.push(utf8(rest, || "an argument".to_owned())?);
                }
            }
            "-" => given.arguments.push(arg),
            flag if flag.starts_with('-') => given.take_flag(flag, &mut args)?,
            _ => given.arguments.push(arg),
        }
    }
    given.take_environment(around.env)?;
    given.take_file()?;
    given.refuse_unsupported()?;
    Ok(Asked::Run(given))
}

fn utf8(text: OsString, what: impl FnOnce() -> String) -> Result<String, UsageError> {
    text.into_string().map_err(|_| UsageError::NotUtf8 { what: what() })
}

impl Given {
    fn take_flag(&mut self, arg: &str, rest: &mut impl Iterator<Item = OsString>) -> Result<(), UsageError> {
        let (flag, inline) = match arg.split_once('=') {
            Some((flag, value)) => (flag, Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value = |takes| match inline.clone() {
            Some(value) => Ok(value),
            None => match rest.next() {
                Some(next) => utf8(next, || format!("the value of {flag}")),
                None => Err(UsageError::FlagWithoutValue { flag: flag.to_owned(), takes }),
            },
        };
        if flag == ENV_FILE {
            self.env_file = self.folder.join(value("PATH")?);
            self.flags.insert(ENV_FILE, String::new());
        } else if let Some(known) = self.program.flags.iter().find(|known| known.name == flag) {
            let value = match (known.takes, &inline) {
                ("", Some(_)) => return Err(UsageError::FlagWithValue { flag: flag.to_owned() }),
                ("", None) => String::new(),
                (takes, _) => value(takes)?,
            };
            self.flags.insert(known.name, value);
        } else if let Some(setting) = self.program.settings.iter().find(|setting| setting.flag() == flag) {
            if setting.kind == Kind::Secret {
                return Err(UsageError::SecretAsFlag { name: setting.name });
            }
            let value = value(setting.takes)?;
            if value.is_empty() {
                return Err(UsageError::FlagWithoutValue { flag: flag.to_owned(), takes: setting.takes });
            }
            self.values.insert(setting.name, (value, Source::Flag));
        } else {
            return Err(UsageError::UnknownFlag { flag: flag.to_owned() });
        }
        Ok(())
    }

    fn take_environment(&mut self, env: &dyn Fn(&str) -> Option<OsString>) -> Result<(), UsageError> {
        for setting in self.program.settings {
            for name in setting.names() {
                let Some(value) = env(&name) else { continue };
                let value = utf8(value, || format!("{name} (from the environment)"))?;
                if !value.is_empty() {
                    self.values.entry(setting.name).or_insert((value, Source::Environment));
                }
            }
        }
        Ok(())
    }

    fn take_file(&mut self) -> Result<(), UsageError> {
        let broken = |why: String| UsageError::EnvFile { path: self.env_file.display().to_string(), why };
        let mut found = match dotenv::read(&self.env_file) {
            Ok(Some(found)) => found,
            Ok(None) if self.flags.contains_key(ENV_FILE) => {
                return Err(broken("there is no such file".to_owned()));
            }
            Ok(None) => return Ok(()),
            Err(e) => return Err(broken(e.to_string())),
        };
        for setting in self.program.settings {
            for name in setting.names() {
                if let Some(value) = found.remove(&name).filter(|value| !value.is_empty()) {
                    self.values.entry(setting.name).or_insert((value, Source::File));
                }
            }
        }
        Ok(())
    }

    fn refuse_unsupported(&self) -> Result<(), UsageError> {
        for setting in self.program.settings {
            if setting.kind == Kind::Unsupported
                && self.text(setting.name).is_some_and(|value| value != setting.default)
            {
                return Err(UsageError::Unsupported { name: setting.name, from: self.from(setting.name) });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::{error, given};
    use super::super::{Flag, SERVER, Setting};
    use super::*;

    const PROGRAM: Program = Program {
        name: "test",
        about: "",
        arguments: "THING…",
        settings: &[
            Setting::plain("UPLOAD_DIR", "DIR", "./downloads", ""),
            Setting::secret("AUTH_SECRET", ""),
        ],
        flags: &[
            Flag { name: "--json", takes: "", help: "" },
            Flag { name: "--file-key", takes: "KEY", help: "" },
        ],
        notes: "",
    };

    #[test]
    fn flags_and_arguments() {
        let g =
            given(&PROGRAM, &["a", "--json", "--file-key", "-x", "-", "--upload-dir=/x=y", "--", "--b"], &[]);
        let g = g.unwrap();
        assert_eq!(g.arguments, ["a", "-", "--b"]);
        assert!(g.has_flag("--json"));
        assert_eq!((g.flag("--file-key"), g.text("UPLOAD_DIR")), (Some("-x"), Some("/x=y")));
        assert_eq!(g.resolve("rel"), PathBuf::from("/nonexistent/rel"));
        for (args, wanted) in [
            (&["--upload-dri", "/x"][..], "no such flag: --upload-dri; see --help"),
            (&["-v"], "no such flag: -v; see --help"),
            (&["--api-secret=hunter2"], "no such flag: --api-secret; see --help"),
            (&["--upload-dir"], "--upload-dir is without its value: expected --upload-dir DIR"),
            (&["--upload-dir="], "--upload-dir is without its value: expected --upload-dir DIR"),
            (&["--file-key"], "--file-key is without its value: expected --file-key KEY"),
            (&["--json=1"], "--json takes no value"),
            (&["--env-file"], "--env-file is without its value: expected --env-file PATH"),
            (&["--auth-secret", "hunter2"], "AUTH_SECRET is never taken from a flag, where every user"),
            (&["--auth-secret=hunter2"], "AUTH_SECRET is never taken from a flag, where every user"),
        ] {
            let text = error(given(&PROGRAM, args, &[]));
            assert!(text.starts_with(wanted) && !text.contains("hunter2"), "{text}");
        }
        assert_eq!(
            error(given(&SERVER, &["x"], &[]).unwrap().no_arguments()),
            "unexpected argument: x; see --help"
        );
    }

    #[test]
    fn help_and_version_need_nothing_else() {
        let ask = |args: &[&str]| {
            let args = args.iter().map(OsString::from).collect();
            gather(&SERVER, Surroundings { args, env: &|_| None, folder: "/nonexistent".into() }).unwrap()
        };
        for flag in ["--help", "-h"] {
            assert!(matches!(ask(&["--port", "x", flag, "--nonsense"]), Asked::Help));
        }
        for flag in ["--version", "-V"] {
            assert!(matches!(ask(&[flag]), Asked::Version));
        }
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        use std::os::unix::ffi::OsStringExt;
        let broken = || OsString::from_vec(vec![b'x', 0xff]);
        let gather = |args, env: &dyn Fn(&str) -> Option<OsString>| {
            gather(&PROGRAM, Surroundings { args, env, folder: "/nonexistent".into() })
        };
        assert_eq!(error(gather(vec![broken()], &|_| None)), "an argument is not UTF-8");
        assert_eq!(
            error(gather(vec!["--upload-dir".into(), broken()], &|_| None)),
            "the value of --upload-dir is not UTF-8"
        );
        assert_eq!(
            error(gather(vec![], &|_| Some(broken()))),
            "UPLOAD_DIR (from the environment) is not UTF-8"
        );
    }

    #[test]
    fn flag_beats_environment_beats_file() {
        let folder = std::env::temp_dir().join(format!("towline-gather-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let upload_dir = |args: &[&str], env: &str| {
            let env = |name: &str| (name == "UPLOAD_DIR").then(|| OsString::from(env));
            let args = args.iter().map(OsString::from).collect();
            match gather(&PROGRAM, Surroundings { args, env: &env, folder: folder.clone() })? {
                Asked::Run(given) => Ok(given.text("UPLOAD_DIR").map(str::to_owned)),
                asked @ (Asked::Help | Asked::Version) => panic!("{asked:?}"),
            }
        };
        let is = |value: &str| Ok(Some(value.to_owned()));
        assert_eq!(upload_dir(&[], ""), is("./downloads"));
        fs::write(folder.join(".env"), "UPLOAD_DIR=from file\nUNKNOWN=1\n").unwrap();
        assert_eq!(upload_dir(&[], ""), is("from file"));
        assert_eq!(upload_dir(&[], "from environment"), is("from environment"));
        assert_eq!(upload_dir(&["--upload-dir", "from flag"], "from environment"), is("from flag"));
        fs::write(folder.join("other.env"), "UPLOAD_DIR=").unwrap();
        assert_eq!(upload_dir(&["--env-file", "other.env"], ""), is("./downloads"));
        let text = error(upload_dir(&["--env-file", "absent.env"], ""));
        assert!(text.contains("absent.env") && text.contains("no such file"), "{text}");
        fs::write(folder.join(".env"), b"UPLOAD_DIR=\xff").unwrap();
        assert!(error(upload_dir(&[], "")).contains(".env: not UTF-8"));
        fs::remove_file(folder.join(".env")).unwrap();
        fs::create_dir(folder.join(".env")).unwrap();
        assert!(error(upload_dir(&[], "")).contains(".env: "));
        fs::remove_dir_all(folder).unwrap();
    }
}
