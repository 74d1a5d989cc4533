//! The segments that a snapshot's tree needs.
use crate::error::Result;
use crate::id::{Location, Origin};

/// A set of segments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefSet {}

/// A stored reference set, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredRefs {
    /// The whole set.
    Full(RefSet),
    /// A difference to another set.
    Delta {
        /// SHA of the parent's object.
        parent: [u8; 32],
        /// In this set only.
        added: RefSet,
        /// In the parent only.
        removed: RefSet,
    },
}

impl RefSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a segment.
    pub fn add(&mut self, origin: Origin, segment: u32) {
        todo!()
    }

    /// Adds the segment of a location.
    pub fn add_location(&mut self, location: &Location) {
        self.add(location.origin, location.segment);
    }

    /// Whether a segment is in the set.
    pub fn contains(&self, origin: &Origin, segment: u32) -> bool {
        todo!()
    }

    /// How many segments.
    pub fn segments_len(&self) -> u64 {
        todo!()
    }

    /// Adds every segment of another set.
    pub fn union(&mut self, other: &Self) {
        todo!()
    }

    /// Removes every segment of another set.
    pub fn subtract(&mut self, other: &Self) {
        todo!()
    }

    /// All segments, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, u32)> + '_ {
        std::iter::empty()
    }

    /// The set as it is.
    pub fn encode_full(&self) -> Vec<u8> {
        todo!()
    }

    /// The set as a difference to a parent set, whose object has the SHA given.
    pub fn encode_delta(&self, parent: &Self, parent_sha: [u8; 32]) -> Vec<u8> {
        todo!()
    }
}

impl StoredRefs {
    /// Parses the plaintext of a reference set.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        todo!()
    }
}
