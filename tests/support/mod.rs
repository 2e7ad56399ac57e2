//! What the black-box tests share: the real programs, peers of both kinds that can misbehave at any step,
//! HTTP and WebSocket down to the byte, files, and a proxy that can fall silent.
//!
//! Nothing here sleeps for a fixed time in the hope that something has happened: every wait is for an event
//! and has a deadline. Every program, thread and folder goes away with the value that owns it.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod addresses;
pub mod agent;
pub mod audit;
#[cfg(feature = "tls")]
pub mod authority;
pub mod beside;
pub mod connect_proxy;
pub mod fault_proxy;
pub mod files;
pub mod healthy;
pub mod http;
pub mod kill_run;
pub mod program;
pub mod proxy;
pub mod raw_line;
#[cfg(feature = "tls")]
pub mod secure;
pub mod server;
pub mod temp;
pub mod v1_client;
pub mod v1_server;
pub mod wait;
