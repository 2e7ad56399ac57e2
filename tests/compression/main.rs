//! Compressed pulls between the real programs: fewer bytes on the line, the same file, whatever happens on the way.
#![cfg(feature = "compress")]
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod agreed;
mod pulls;
#[path = "../support/mod.rs"]
mod support;
