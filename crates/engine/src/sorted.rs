//! The local form of index runs: sorted tables in one file, searched where they lie. Not part of the format.
use std::io::Write;

use crate::error::Result;
use crate::id::{ClassId, Generation, PackKind, PackName};
use crate::record::IndexRecord;

/// Bytes that an index is searched in: a mapped file, or a vector.
pub type Backing = Box<dyn AsRef<[u8]> + Send + Sync>;

/// One pack as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRow {
    /// Its name.
    pub name: PackName,
    /// Its length.
    pub size: u64,
    /// What it is for.
    pub kind: PackKind,
    /// Its class.
    pub class: ClassId,
    /// The generation of its keys.
    pub generation: Generation,
    /// How many segments it holds.
    pub segments: u32,
    /// Bytes of plaintext in them.
    pub plain_bytes: u64,
}

/// Sorted tables over some bytes. Every row that is returned has passed its own check: a rotten file is an error, not an answer.
pub struct SortedIndex {
    bytes: Backing,
}

impl SortedIndex {
    /// Takes a file written by [`write_sorted`] or [`crate::merge::merge`]; reads its front only.
    pub fn open(bytes: Backing) -> Result<Self> {
        todo!()
    }

    /// How many packs, segments and chunks it lists.
    pub fn counts(&self) -> Counts {
        todo!()
    }

    /// All packs, sorted by name.
    pub fn packs(&self) -> impl Iterator<Item = Result<PackRow>> + '_ {
        std::iter::empty()
    }
}

/// How much an index lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packs.
    pub packs: u64,
    /// Segments, copies counted apart.
    pub segments: u64,
    /// Chunks, copies counted apart.
    pub chunks: u64,
}

/// Writes the records of one class generation in sorted form.
pub fn write_sorted(
    records: &[IndexRecord],
    class: ClassId,
    generation: Generation,
    out: &mut impl Write,
) -> Result<()> {
    todo!()
}
