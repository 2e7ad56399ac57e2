//! Towline pulls a file from a machine behind NAT over the WebSocket line that the machine's agent holds.
//!
//! Five floors; each module names only what is below it. `ARCHITECTURE.md` beside this file has the thread
//! table and the invariants, `protocol/WIRE.md` what goes over the line.
//!
//! | floor | modules |
//! |---|---|
//! | 0 names and bounds | [`names`], [`limits`], [`clock`], [`transfer`], [`record`], [`refusal`], [`glob`] |
//! | 1 protocol | [`protocol`], [`compression`] |
//! | 2 machines, pure | [`inbound`], [`outbound`], [`hub`], [`backoff`], [`pace`], [`gain`], [`allowance`], [`keys`] |
//! | 3 edges | [`stream`], [`mod@line`], [`spool`], [`audit`], [`shares`], [`settings`], [`complaints`], [`watch`] |
//! | 4 shells | [`server`], [`admin`], [`agent`], [`command`] |

pub mod admin;
pub mod agent;
pub mod allowance;
pub mod audit;
pub mod backoff;
pub mod blocks;
pub mod clock;
pub mod command;
pub mod complaints;
pub mod compression;
pub mod door;
pub mod encoding;
pub mod exit;
pub mod folder;
pub mod gain;
pub mod glob;
pub mod hash;
pub mod hub;
pub mod inbound;
pub mod keys;
pub mod limits;
pub mod line;
pub mod lock;
pub mod logging;
pub mod names;
pub mod network;
pub mod outbound;
pub mod pace;
pub mod program;
pub mod protocol;
pub mod random;
pub mod record;
pub mod refusal;
pub mod server;
pub mod settings;
pub mod shares;
pub mod signals;
pub mod spool;
pub mod stream;
pub mod threads;
pub mod transfer;
pub mod watch;
