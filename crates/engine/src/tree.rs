//! Builds the tree of a snapshot from entries in order, in a stream.
use std::sync::Arc;

use crate::entry::Entry;
use crate::error::Result;
use crate::id::{Location, Role};
use crate::keys::ClassKeys;

/// Where a builder's nodes go: deduplicated by id, bundled into segments.
pub trait NodeSink {
    /// Stores the bytes of a node or list, or finds them stored, and says where they are.
    ///
    /// Equal bytes must give an equal location within one run, and between runs while what is stored stays usable.
    fn put(&mut self, role: Role, bytes: &[u8]) -> Result<Location>;
}

/// Where a reader's nodes come from.
pub trait NodeSource {
    /// The bytes of the chunk at a location, which must have the role asked for.
    fn get(&mut self, role: Role, location: &Location) -> Result<Vec<u8>>;
}

/// A finished tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Where its root node is.
    pub location: Location,
    /// Entries in it.
    pub entries: u64,
    /// Bytes of file content in it.
    pub bytes: u64,
}

/// Takes entries in the order of [`crate::entry::compare_paths`] and writes nodes as they fill.
pub struct TreeBuilder {
    keys: Arc<ClassKeys>,
}

impl TreeBuilder {
    /// An empty tree.
    pub fn new(keys: Arc<ClassKeys>) -> Self {
        todo!()
    }

    /// Adds the next entry; refuses one that is not behind the last, or that [`Entry::check`] refuses (and stays usable).
    pub fn push(&mut self, entry: &Entry, sink: &mut dyn NodeSink) -> Result<()> {
        todo!()
    }

    /// Writes the nodes that are still open.
    pub fn finish(self, sink: &mut dyn NodeSink) -> Result<Root> {
        todo!()
    }
}
