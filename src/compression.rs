//! Compressing chunks with zstd (RFC 8878), and decompressing them: one frame for chunks that follow each other.
//!
//! Memory is bounded by the window, [`WINDOW_LOG`]: 1 MiB finds most of what a till's log repeats (its articles), and
//! is what a server can spare for each transfer; half of it makes such a log 8 % larger. The frame goes on over chunks, so that small ones (a slow `MAX_RATE`, the pages that changed of a database) become
//! about as much smaller as large ones.
//!
//! What comes is hostile. A frame is decompressed into a buffer of the length that its chunk states, which the caller has
//! checked, and one byte more that must stay empty; so it is cut off there, however far it would expand. A window above ours and a
//! dictionary are refused before anything is allocated for them. The time is bounded by the length of what came
//! and of what it states.
//!
//! `compression/zstd.rs` is the only file that names zstd-safe. Without the feature `compress` its place is taken by
//! `no_zstd.rs`: nothing is offered then, and nothing asked for.

#[cfg_attr(feature = "compress", path = "compression/zstd.rs")]
#[cfg_attr(not(feature = "compress"), path = "compression/no_zstd.rs")]
mod zstd;

pub use zstd::{Compressor, Decompressor, IS_BUILT_IN};

/// The largest window of a frame, as a power of two: what both sides keep of what was compressed before. Fixed by the wire.
pub const WINDOW_LOG: u32 = 20;

#[cfg(all(test, feature = "compress"))]
mod tests;
