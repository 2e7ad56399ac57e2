//! Peers that break the rules of the wire: a clear refusal or a closed line each, no file, no part, and the
//! client beside them is pulled from as if nothing had been.
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod admission;
mod attempts;
#[cfg(feature = "compress")]
mod compressed;
mod frames;
mod held;
mod order;
mod scene;
mod second_protocol;
#[path = "../support/mod.rs"]
mod support;
