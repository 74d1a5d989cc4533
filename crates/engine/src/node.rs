//! The bytes of one tree node.
use crate::entry::Entry;
use crate::error::Result;
use crate::id::Location;

/// A child of an inner node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The first path under it.
    pub first_path: Vec<u8>,
    /// Where its node is.
    pub location: Location,
    /// Entries under it.
    pub entries: u64,
    /// Bytes of file content under it.
    pub bytes: u64,
}

/// A parsed node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Entries, in order.
    Leaf(Vec<Entry>),
    /// Children of the level below, in order.
    Inner {
        /// 1 is just above the leaves.
        level: u8,
        /// In order.
        children: Vec<Child>,
    },
}

impl Node {
    /// Parses a node; checks limits, order and every entry.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        todo!()
    }

    /// 0 for a leaf.
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner { level, .. } => *level,
        }
    }
}
