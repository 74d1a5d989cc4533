//! The index that everyone asks: several sorted indexes, minus packs that must not be used.
use crate::compress::Codec;
use crate::error::Result;
use crate::id::{ClassId, Generation, Id, Location, Origin, PackKind, PackName, PackNonce, Role};
use crate::sorted::{Counts, PackRow, SortedIndex};

/// One chunk of a segment, as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSpan {
    /// Length of its plaintext.
    pub len: u32,
    /// What it holds.
    pub role: Role,
    /// Size of its pages, with [`Role::Pages`] only.
    pub page_bytes: Option<u32>,
}

/// Where a segment is now, and all that is needed to open it but the run key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPlace {
    /// The pack that holds it.
    pub pack: PackName,
    /// The pack's length.
    pub pack_bytes: u64,
    /// Where it starts in the pack.
    pub offset: u64,
    /// Its stored length, tag included.
    pub sealed_len: u32,
    /// How its plaintext is coded.
    pub codec: Codec,
    /// Length of its plaintext.
    pub plain_len: u32,
    /// Nonce of its origin.
    pub nonce: PackNonce,
    /// Its number in its origin.
    pub ordinal: u32,
    /// Kind of the pack.
    pub kind: PackKind,
    /// Class of the pack.
    pub class: ClassId,
    /// Generation of the class's keys.
    pub generation: Generation,
    /// Its chunks, in order.
    pub chunks: Vec<ChunkSpan>,
}

impl SegmentPlace {
    /// The bytes of a chunk within the segment's plaintext.
    pub fn chunk_range(&self, chunk: u32) -> Result<std::ops::Range<usize>> {
        todo!()
    }
}

/// Sorted indexes of all classes, and the packs excluded from them. Shared between threads behind an `Arc`; members
/// and exclusions may be added while others look things up.
#[derive(Default)]
pub struct IndexSet {}

impl IndexSet {
    /// An index without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member. `dedup`: its runs are trusted, so that new content may refer to what they list.
    pub fn add(&self, member: SortedIndex, dedup: bool) {
        todo!()
    }

    /// Excludes packs (condemned, damaged or missing) from every later answer.
    pub fn exclude(&self, packs: &[PackName]) {
        todo!()
    }

    /// Whether a pack is excluded.
    pub fn is_excluded(&self, pack: &PackName) -> bool {
        todo!()
    }

    /// Where content of this id is stored, by a trusted member and in a pack that is not excluded.
    pub fn lookup_id(&self, id: &Id) -> Result<Option<Location>> {
        todo!()
    }

    /// Every known copy of a segment outside excluded packs, trusted members first.
    pub fn lookup_segment(&self, origin: &Origin, ordinal: u32) -> Result<Vec<SegmentPlace>> {
        todo!()
    }

    /// Whether a copy of a segment exists outside excluded packs.
    pub fn has_segment(&self, origin: &Origin, ordinal: u32) -> Result<bool> {
        todo!()
    }

    /// All packs of all members, each once, excluded ones too, sorted by name.
    pub fn packs(&self) -> Result<Vec<PackRow>> {
        todo!()
    }

    /// Sums over the members.
    pub fn counts(&self) -> Counts {
        todo!()
    }
}
