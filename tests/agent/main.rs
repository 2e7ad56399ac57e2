//! Our agent: what it serves and what it never does, how it holds its line, and how it works with a v1 server.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod changing;
mod chaos;
mod congestion;
mod files;
mod floods;
mod hostile_frames;
mod hostile_servers;
mod lines;
mod load;
mod owner_limits;
mod proxies;
mod rates;
mod silence;
mod stopping;
#[path = "../support/mod.rs"]
mod support;
mod thin;
mod v1_servers;
mod v2_server;
