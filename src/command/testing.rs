//! What the tests of the subcommands share.

use crate::settings::{Asked, Given, Program, Surroundings, UsageError, gather};

/// What is gathered from `args`, without environment and `.env`.
pub fn given(program: &'static Program, args: &[&str]) -> Result<Given, UsageError> {
    let args = args.iter().map(Into::into).collect();
    match gather(program, Surroundings { args, env: &|_| None, folder: "/nonexistent".into() })? {
        Asked::Run(given) => Ok(given),
        asked @ (Asked::Help | Asked::Version) => panic!("asked for {asked:?}"),
    }
}

/// The text of the error that is expected.
pub fn error<T: std::fmt::Debug>(result: Result<T, UsageError>) -> String {
    result.unwrap_err().to_string()
}
