//! What the tests of the settings share.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Debug;

use super::{Asked, Given, Kind, Program, Surroundings, UsageError, dotenv, gather};

/// What is gathered from `args` and `env`, where the first of two wins, in a folder without `.env`.
pub fn given(program: &'static Program, args: &[&str], env: &[(&str, &str)]) -> Result<Given, UsageError> {
    let look_up =
        |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    let args = args.iter().map(OsString::from).collect();
    match gather(program, Surroundings { args, env: &look_up, folder: "/nonexistent".into() })? {
        Asked::Run(given) => Ok(given),
        asked @ (Asked::Help | Asked::Version) => panic!("asked for {asked:?}"),
    }
}

/// The text of the error that is expected.
pub fn error<T: Debug>(result: Result<T, UsageError>) -> String {
    let text = result.unwrap_err().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

/// The example file holds every setting of the table and no other, each with its default; those without one, and those
/// that this version does not support, as a comment.
pub fn check_example(program: &Program, file: &str) {
    let path = format!("{}/test-data/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let active = dotenv::parse(&text);
    let is_commented = |line: &&str| {
        let name = line.strip_prefix('#').and_then(|line| line.split_once('=')).map_or("", |(name, _)| name);
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let commented: String = text.lines().filter(is_commented).flat_map(|line| [&line[1..], "\n"]).collect();
    let commented: BTreeMap<String, String> = dotenv::parse(&commented);
    let names: BTreeSet<&str> = active.keys().chain(commented.keys()).map(String::as_str).collect();
    assert_eq!(names, program.settings.iter().map(|setting| setting.name).collect());
    for setting in program.settings {
        match (setting.kind, setting.default) {
            (Kind::Secret, _) => assert_eq!(active[setting.name], "", "{}", setting.name),
            (Kind::Plain, default) if !matches!(default, "" | "off") => {
                assert_eq!(active[setting.name], default, "{}", setting.name);
            }
            (Kind::Plain | Kind::Unsupported, _) => {
                assert!(commented.contains_key(setting.name), "{}", setting.name);
            }
        }
    }
}
