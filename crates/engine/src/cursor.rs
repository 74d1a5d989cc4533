//! Walks a tree in order, from any path.
use crate::entry::Entry;
use crate::error::Result;
use crate::id::Location;
use crate::tree::NodeSource;

/// A position in a tree: before an entry, or at the end. Holds one node per level.
pub struct Cursor {}

impl Cursor {
    /// Before the first entry. Reads nothing yet.
    pub fn new(root: Location) -> Self {
        todo!()
    }

    /// Moves before the first entry that is not smaller than `path`; only forward is cheap.
    pub fn seek(&mut self, path: &[u8], source: &mut dyn NodeSource) -> Result<()> {
        todo!()
    }

    /// Moves behind `folder` and everything under it.
    pub fn skip_under(&mut self, folder: &[u8], source: &mut dyn NodeSource) -> Result<()> {
        todo!()
    }

    /// The next entry. Refuses a tree whose order, levels or first paths are not as the format says.
    pub fn next(&mut self, source: &mut dyn NodeSource) -> Result<Option<Entry>> {
        todo!()
    }
}

/// The entry of a path.
pub fn lookup(root: Location, path: &[u8], source: &mut dyn NodeSource) -> Result<Option<Entry>> {
    todo!()
}
