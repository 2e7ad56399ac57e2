//! What goes over a line: message types by direction, packed chunks and hashes, violations. Pure: no socket, no file, no clock.
//!
//! `WIRE.md` beside this file is the specification; its examples are tested. Unknown fields of a
//! message are ignored, unknown types are [`ToServer::Unknown`] and [`ToAgent::Unknown`].

mod dialect;
mod messages;
mod packed;
mod violation;

pub use dialect::Dialect;
pub use messages::{Entry, Kind, ToAgent, ToServer, parse_text, to_text};
pub use packed::{ChunkHeader, HashesHeader, HashesOf, ZSTD, pack_head, unpack};
pub use violation::{Ends, Violation};
