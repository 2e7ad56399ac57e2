//! The API of CONTRACT §3, as an operator's `curl` sees it.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod batches;
mod bodies;
mod bounds;
mod files;
mod fleet;
mod later;
mod queue;
mod ranges;
mod routes;
#[path = "../support/mod.rs"]
mod support;
mod transfers;
mod waiting;
