//! Who asked for what, when, and what came of it: on the server, and on the shop's own machine.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod agents;
mod day;
mod disk;
mod injection;
mod kills;
mod log;
#[path = "../support/mod.rs"]
mod support;
mod tampering;
