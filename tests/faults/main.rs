//! Real agent, real server, and between them a line on which everything goes wrong that can: each fault ends in a verified
//! file or in a stated failure, disturbs nobody else, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod audits;
mod ends;
mod flipped;
mod kills;
mod lines;
mod pair;
mod proxy;
mod resume;
#[path = "../support/mod.rs"]
mod support;
mod wedged;
