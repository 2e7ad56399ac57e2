//! The API, as an operator's `curl` sees it.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod batches;
mod bodies;
mod bounds;
mod files;
mod fleet;
mod idempotency;
mod later;
mod queue;
mod ranges;
mod repeated_batches;
mod retention;
mod routes;
#[path = "../support/mod.rs"]
mod support;
mod transfers;
mod waiting;
