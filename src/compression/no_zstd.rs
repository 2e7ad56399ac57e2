//! What stands in the place of zstd in a build without it: nothing is compressed, and nothing of it is compiled.

use std::convert::Infallible;

use crate::protocol::Violation;

/// Whether this build can compress.
pub const IS_BUILT_IN: bool = false;

/// Compresses chunks: never.
#[derive(Debug)]
pub struct Compressor(Infallible);

impl Compressor {
    /// None.
    pub fn new() -> Option<Compressor> {
        None
    }

    /// Never called.
    pub fn compress(&mut self, _: &[u8]) -> Option<&[u8]> {
        match self.0 {}
    }

    /// Never called.
    pub fn end_frame(&mut self) {
        match self.0 {}
    }
}

/// Decompresses chunks: none is asked for.
#[derive(Debug, Default)]
pub struct Decompressor(());

impl Decompressor {
    /// # Errors
    /// Always.
    pub fn decompress(&mut self, _: &[u8], _: usize) -> Result<&[u8], Violation> {
        Err(Violation::NotAgreed)
    }

    /// Nothing to do.
    pub fn end_frame(&mut self) {}
}
