//! Small chunks on their way into one segment.
use std::sync::Arc;

use holdfast_engine::Location;
use holdfast_engine::directory::ChunkInfo;
use holdfast_engine::limits::SEGMENT_CHUNKS_MAX;

use super::SealJob;
use super::pack::OpenPack;

/// A segment that still takes chunks.
pub(super) struct Bundle {
    pack: Arc<OpenPack>,
    ordinal: u32,
    promised: usize,
    plain: Vec<u8>,
    chunks: Vec<ChunkInfo>,
}

impl Bundle {
    pub fn new(pack: Arc<OpenPack>, ordinal: u32, promised: usize, bytes_max: usize) -> Self {
        let plain = Vec::with_capacity(bytes_max);
        Self {
            pack,
            ordinal,
            promised,
            plain,
            chunks: Vec::new(),
        }
    }

    pub fn has_room(&self, bytes: usize, bytes_max: usize) -> bool {
        self.plain.len() + bytes <= bytes_max && self.chunks.len() < SEGMENT_CHUNKS_MAX
    }

    pub fn append(&mut self, info: ChunkInfo, plain: &[u8]) -> Location {
        let chunk = self.chunks.len() as u32;
        self.plain.extend_from_slice(plain);
        self.chunks.push(info);
        Location {
            origin: self.pack.origin,
            segment: self.ordinal,
            chunk,
        }
    }

    pub fn into_job(self) -> SealJob {
        let Self {
            pack,
            ordinal,
            promised,
            plain,
            chunks,
        } = self;
        SealJob {
            pack,
            ordinal,
            promised,
            plain,
            chunks,
        }
    }
}
