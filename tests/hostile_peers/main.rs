//! Peers that break the rules of the wire: a clear refusal or a closed line each, no file, no part, and the
//! client beside them is pulled from as if nothing had been.

mod admission;
mod frames;
mod order;
mod second_protocol;
#[path = "../support/mod.rs"]
mod support;
