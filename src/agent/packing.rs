//! The step between reading a chunk and sending it: compressed where that was agreed on and gains, else as it is.

use std::time::Instant;

use super::session::Session;
use crate::compression::Compressor;
use crate::gain::{Gain, Wish};
use crate::limits;

/// How the chunks of one attempt are packed. It costs no memory before one is compressed.
pub(super) struct Packing {
    gain: Gain,
    compressor: Option<Compressor>,
}

impl Packing {
    /// For a file of `size` bytes; `is_asked` is whether the server asked for compressed chunks.
    pub(super) fn new(session: &Session<'_>, is_asked: bool, size: u64) -> Packing {
        let wish = match session.agent.settings.compress {
            _ if !is_asked => Wish::Off,
            Wish::Auto if size < limits::MIN_COMPRESSED_FILE => Wish::Off,
            wish => wish,
        };
        Packing { gain: Gain::new(wish, session.line_speed()), compressor: None }
    }

    /// A chunk as it goes over the line, when it becomes smaller and that gains.
    pub(super) fn pack(&mut self, chunk: &[u8]) -> Option<&[u8]> {
        let tries = self.gain.tries();
        if tries && self.compressor.is_none() {
            self.compressor = Compressor::new();
        }
        let compressor = self.compressor.as_mut()?;
        if !tries {
            compressor.end_frame();
            return None;
        }
        let began = Instant::now();
        let smaller = compressor.compress(chunk);
        self.gain.compressed(chunk.len(), smaller.map(<[u8]>::len), began.elapsed());
        smaller
    }

    /// Notes that the line took `bytes` of a chunk, and since when it kept us.
    pub(super) fn sent(&mut self, bytes: usize, began: Instant) {
        self.gain.sent(bytes, began.elapsed());
    }

    /// The attempt is over: what it learnt of the line, unless it was a rate of its own that kept it.
    pub(super) fn leave(&self, session: &Session<'_>, is_slowed: bool) {
        if !is_slowed {
            session.note_line_speed(self.gain.line());
        }
    }
}
