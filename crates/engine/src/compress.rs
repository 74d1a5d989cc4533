//! Whether and how plaintext is compressed, and the way back within its declared length.
use crate::error::Result;

/// How the plaintext of a segment is coded before it is sealed.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// As it is.
    Raw = 0,
    /// One zstd frame that records its content size.
    Zstd = 1,
}

/// The result of [`Compressor::code`].
pub struct Coded {
    /// How `bytes` are coded.
    pub codec: Codec,
    /// The coded plaintext, with room for the tag behind it.
    pub bytes: Vec<u8>,
    /// The other of the two buffers, empty, to be used again.
    pub spare: Vec<u8>,
}

/// A compression context for one thread.
pub struct Compressor {
    context: zstd::bulk::Compressor<'static>,
}

impl Compressor {
    /// The level that backups use.
    pub const LEVEL: i32 = 1;

    /// A context of the given zstd level.
    pub fn new(level: i32) -> Result<Self> {
        todo!()
    }

    /// Codes `plain`: as it is (moved, not copied) if a sample or the result shows that compression saves under 3 %.
    pub fn code(&mut self, plain: Vec<u8>, spare: Vec<u8>) -> Result<Coded> {
        todo!()
    }
}

/// A decompression context for one thread.
pub struct Decompressor {
    context: zstd::bulk::Decompressor<'static>,
}

impl Decompressor {
    /// A context for any segment.
    pub fn new() -> Result<Self> {
        todo!()
    }

    /// The plaintext of exactly `plain_len` bytes; anything else, or any more, is damage.
    pub fn decode(&mut self, codec: Codec, coded: Vec<u8>, plain_len: u32) -> Result<Vec<u8>> {
        todo!()
    }
}
