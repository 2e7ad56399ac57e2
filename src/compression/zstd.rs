//! zstd, by way of zstd-safe, which wraps the library of its makers (C).

use std::fmt;

use zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
use zstd_safe::{CCtx, CParameter, DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, get_error_name};

use super::WINDOW_LOG;
use crate::protocol::Violation;

/// Whether this build can compress.
pub const IS_BUILT_IN: bool = true;

/// The best of the fast ones: within this window, level 1 makes a log a tenth larger, and 3 hardly smaller with twice
/// the work.
const LEVEL: i32 = 2;
/// A chunk must become smaller by such a part, or it is not worth decompressing.
const LEAST_GAIN: usize = 16;

/// Compresses the chunks of one attempt.
pub struct Compressor {
    context: CCtx<'static>,
    is_open: bool,
    frame: Vec<u8>,
}

impl Compressor {
    /// One that has begun nothing; `None` when there is no memory for it.
    pub fn new() -> Option<Compressor> {
        let mut context = CCtx::try_create()?;
        context.set_parameter(CParameter::CompressionLevel(LEVEL)).ok()?;
        context.set_parameter(CParameter::WindowLog(WINDOW_LOG)).ok()?;
        Some(Compressor { context, is_open: false, frame: Vec::new() })
    }

    /// Compresses a chunk behind those before it. `None` when it does not become smaller to speak of: it must go plain
    /// then.
    pub fn compress(&mut self, chunk: &[u8]) -> Option<&[u8]> {
        let goes_on = std::mem::replace(&mut self.is_open, false);
        if chunk.len() < LEAST_GAIN {
            return None;
        }
        let most = chunk.len() - chunk.len() / LEAST_GAIN;
        self.frame.resize(self.frame.len().max(most), 0);
        if !goes_on {
            self.context.reset(ResetDirective::SessionOnly).ok()?;
        }
        let mut from = InBuffer::around(chunk);
        let mut into = OutBuffer::around(&mut self.frame[..most]);
        let left = self.context.compress_stream2(&mut into, &mut from, ZSTD_e_flush);
        self.is_open = left == Ok(0) && from.pos() == chunk.len();
        let length = into.pos();
        self.is_open.then(|| &self.frame[..length])
    }

    /// The next chunk begins a frame: a plain one goes before it.
    pub fn end_frame(&mut self) {
        self.is_open = false;
    }
}

/// Decompresses the chunks of one attempt. It costs nothing before the first.
#[derive(Default)]
pub struct Decompressor {
    context: Option<DCtx<'static>>,
    is_open: bool,
    chunk: Vec<u8>,
}

impl Decompressor {
    /// Decompresses a chunk that states `length`, behind those before it.
    ///
    /// # Errors
    /// [`Violation::BadFrame`]; it is of no more use then.
    pub fn decompress(&mut self, came: &[u8], length: usize) -> Result<&[u8], Violation> {
        let context = match &mut self.context {
            Some(context) => context,
            none => none.insert(new_context().ok_or_else(|| bad("there is no memory for it"))?),
        };
        if !std::mem::replace(&mut self.is_open, true) {
            context.reset(ResetDirective::SessionOnly).map_err(named)?;
        }
        self.chunk.resize(self.chunk.len().max(length + 1), 0);
        let mut from = InBuffer::around(came);
        let mut into = OutBuffer::around(&mut self.chunk[..=length]);
        loop {
            let before = (from.pos(), into.pos());
            let goes_on = context.decompress_stream(&mut into, &mut from).map_err(named)?;
            if into.pos() > length {
                return Err(bad("it holds more than it states"));
            }
            if goes_on == 0 {
                return Err(bad("its frame ends"));
            }
            if from.pos() == came.len() || (from.pos(), into.pos()) == before {
                break;
            }
        }
        if into.pos() < length || from.pos() < came.len() {
            return Err(bad("it holds less than it states"));
        }
        Ok(&self.chunk[..length])
    }

    /// A plain chunk came: the next one begins a frame.
    pub fn end_frame(&mut self) {
        self.is_open = false;
    }
}

fn new_context() -> Option<DCtx<'static>> {
    let mut context = DCtx::try_create()?;
    context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).ok()?;
    Some(context)
}

fn bad(why: &str) -> Violation {
    Violation::BadFrame { why: why.to_owned() }
}

fn named(code: usize) -> Violation {
    bad(get_error_name(code))
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("is_open", &self.is_open).finish_non_exhaustive()
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").field("is_open", &self.is_open).finish_non_exhaustive()
    }
}
