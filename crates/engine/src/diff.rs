//! What changed between two trees, skipping what they share.
use crate::entry::Entry;
use crate::error::Result;
use crate::id::Location;
use crate::tree::NodeSource;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only in the new tree.
    Added(Entry),
    /// Only in the old tree.
    Removed(Entry),
    /// In both, not equal.
    Changed {
        /// As it was.
        old: Entry,
        /// As it is.
        new: Entry,
    },
}

/// The differences of two trees, in order of path. Reads only nodes that are not shared.
pub struct Diff {}

impl Diff {
    /// Compares an old tree with a new one. Reads nothing yet.
    pub fn new(old: Location, new: Location) -> Self {
        todo!()
    }

    /// The next difference.
    pub fn next(&mut self, source: &mut dyn NodeSource) -> Result<Option<Change>> {
        todo!()
    }
}
