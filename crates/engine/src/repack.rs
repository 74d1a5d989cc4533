//! Copies live segments of old packs into a new one. Needs the index key, and no key to content.
use std::sync::Arc;

use crate::directory::SegmentInfo;
use crate::error::Result;
use crate::id::{PackKind, PackNonce};
use crate::keys::ClassKeys;
use crate::pack::{FinishedPack, PackHeader};

/// Collects sealed segments of other packs of the same kind, class and generation.
pub struct RepackBuilder {
    keys: Arc<ClassKeys>,
    kind: PackKind,
    nonce: PackNonce,
}

impl RepackBuilder {
    /// A new pack; its nonce is 32 random bytes, for it seals no segment of its own.
    pub fn new(keys: Arc<ClassKeys>, kind: PackKind, nonce: PackNonce) -> Self {
        todo!()
    }

    /// Copies one segment of the pack with this header. A segment that is here already is left out.
    pub fn add(&mut self, source: &PackHeader, segment: &SegmentInfo, sealed: &[u8]) -> Result<()> {
        todo!()
    }

    /// Bytes that the pack would have, about.
    pub fn bytes_len(&self) -> usize {
        todo!()
    }

    /// Seals the directory and names the pack.
    pub fn finish(self, padding: usize) -> Result<FinishedPack> {
        todo!()
    }
}
