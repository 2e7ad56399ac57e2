//! Towline pulls a file from a machine behind NAT over the WebSocket line that the machine's agent holds.
//!
//! Five floors; each module names only what is below it. `ARCHITECTURE.md` beside this file has the thread
//! table and the invariants, `protocol/WIRE.md` what goes over the line.
//!
//! | floor | modules |
//! |---|---|
//! | 0 names and bounds | [`names`], [`limits`], [`clock`], [`transfer`], [`refusal`] |
//! | 1 protocol | [`protocol`] |
//! | 2 machines, pure | [`inbound`], [`outbound`], [`hub`], [`backoff`], [`pace`] |
//! | 3 edges | [`line`], [`spool`], [`shares`], [`door`], [`settings`] |
//! | 4 shells | [`server`], [`agent`], [`command`] |

pub mod clock;
pub mod door;
pub mod exit;
pub mod limits;
pub mod names;
pub mod refusal;
pub mod shares;
pub mod transfer;
