//! TLS between real programs: who is believed, who is let in, and what is said to those who are not.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "clippy's leave for tests does not reach their helpers")]

mod certs;
mod duplex;
mod handshakes;
mod operator;
mod secured;
#[path = "../support/mod.rs"]
mod support;
mod trust;
