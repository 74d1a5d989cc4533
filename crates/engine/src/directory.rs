//! What a pack holds: its segments and their chunks, sealed under the index key.
use crate::compress::Codec;
use crate::error::Result;
use crate::id::{Id, Role};

/// One chunk of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkInfo {
    /// The id of its content in its role.
    pub id: Id,
    /// What it holds.
    pub role: Role,
    /// Size of its pages, a power of two from 512 to 65536; with [`Role::Pages`] only.
    pub page_bytes: Option<u32>,
    /// Length of its plaintext.
    pub len: u32,
}

/// One segment of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Which of the pack's origins sealed it.
    pub origin_index: u16,
    /// Its number in that origin.
    pub ordinal: u32,
    /// Where it starts in the pack.
    pub offset: u64,
    /// Its stored length, tag included.
    pub sealed_len: u32,
    /// How its plaintext is coded.
    pub codec: Codec,
    /// Length of its plaintext.
    pub plain_len: u32,
    /// Its chunks, whose lengths add up to `plain_len`.
    pub chunks: Vec<ChunkInfo>,
}

/// All segments of one pack, back to back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// In the order of their offsets.
    pub segments: Vec<SegmentInfo>,
}

impl Directory {
    /// The plaintext of the directory.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// Parses a plaintext; checks every limit, that segments are back to back, and that no segment is there twice.
    pub fn parse(bytes: &[u8], origins: usize) -> Result<Self> {
        todo!()
    }
}
