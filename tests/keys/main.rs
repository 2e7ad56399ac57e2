//! Keys: who is let in, what each may do, and how they come and go, against real servers and agents.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod batches;
mod clients;
mod commands;
mod files;
mod limits;
mod record;
mod revoking;
mod scene;
mod scopes;
mod secrecy;
mod slowing;
#[path = "../support/mod.rs"]
mod support;
