//! The door: the first thing that a stranger's bytes meet. Slow, silent, broken and hostile callers get a clear
//! answer or a closed connection in stated time; others notice nothing; no thread stays behind.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod heads;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod ways;
