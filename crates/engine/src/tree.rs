//! Builds the tree of a snapshot from entries in order, in a stream.
use std::cmp::Ordering;
use std::sync::Arc;

use crate::entry::{Entry, EntryEncoder, compare_paths};
use crate::error::{Error, Result};
use crate::id::{Location, Role};
use crate::keys::ClassKeys;
use crate::limits::{NODE_BYTES_MAX, TREE_LEVELS_MAX};
use crate::node::{Child, encode_inner, encode_leaf};

/// A leaf ends here even if no name asks for it: it bounds memory, and what a change rewrites.
const LEAF_ENTRIES_MAX: u64 = 256;
const LEAF_BYTES_MAX: usize = 64 << 10;
/// An inner node ends here even if no name asks for it.
const INNER_CHILDREN_MAX: usize = 512;
const INNER_BYTES_MAX: usize = NODE_BYTES_MAX / 8;
/// Fewer children would let a tree grow without getting narrower.
const INNER_CHILDREN_MIN: usize = 2;

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
    last_path: Option<Vec<u8>>,
    leaf: EntryEncoder,
    leaf_first_path: Vec<u8>,
    levels: Vec<Level>,
}

/// The node being filled one level above its children.
#[derive(Default)]
struct Level {
    children: Vec<Child>,
    path_bytes: usize,
    /// Whether a node of this level was written already: then one child alone is not the root.
    written: bool,
}

impl TreeBuilder {
    /// An empty tree.
    pub fn new(keys: Arc<ClassKeys>) -> Self {
        Self {
            keys,
            last_path: None,
            leaf: EntryEncoder::default(),
            leaf_first_path: Vec::new(),
            levels: Vec::new(),
        }
    }

    /// Adds the next entry; refuses one that is not behind the last, or that [`Entry::check`] refuses (and stays usable).
    pub fn push(&mut self, entry: &Entry, sink: &mut dyn NodeSink) -> Result<()> {
        entry.check()?;
        if let Some(last) = &self.last_path
            && compare_paths(last, &entry.path) != Ordering::Less
        {
            return Err(Error::misuse("entries must come in order, each path once"));
        }
        let full = self.leaf.count() >= LEAF_ENTRIES_MAX || self.leaf.body_len() >= LEAF_BYTES_MAX;
        if self.leaf.count() > 0 && (full || self.keys.is_tree_boundary(&entry.path, 0)) {
            self.close_leaf(sink)?;
        }
        if self.leaf.count() == 0 {
            self.leaf_first_path.clone_from(&entry.path);
        }
        self.leaf.put(entry);
        self.last_path
            .get_or_insert_default()
            .clone_from(&entry.path);
        Ok(())
    }

    /// Writes the nodes that are still open.
    pub fn finish(mut self, sink: &mut dyn NodeSink) -> Result<Root> {
        if self.leaf.count() > 0 || self.levels.is_empty() {
            self.close_leaf(sink)?;
        }
        for at in 0..TREE_LEVELS_MAX {
            let Some(level) = self.levels.get_mut(at) else {
                break;
            };
            if !level.written
                && level.children.len() == 1
                && let Some(child) = level.children.pop()
            {
                return Ok(Root {
                    location: child.location,
                    entries: child.entries,
                    bytes: child.bytes,
                });
            }
            if !level.children.is_empty() {
                self.close_inner(at, sink)?;
            }
        }
        Err(Error::limit("levels of a tree"))
    }

    fn close_leaf(&mut self, sink: &mut dyn NodeSink) -> Result<()> {
        let entries = self.leaf.count();
        let bytes = self.leaf.content_bytes();
        let location = sink.put(Role::Node, &encode_leaf(&mut self.leaf))?;
        let first_path = std::mem::take(&mut self.leaf_first_path);
        self.add_child(
            0,
            Child {
                first_path,
                location,
                entries,
                bytes,
            },
            sink,
        )
    }

    /// Adds a child to the node being filled at `at` (0 is just above the leaves).
    fn add_child(&mut self, at: usize, child: Child, sink: &mut dyn NodeSink) -> Result<()> {
        if self.levels.len() <= at {
            if at + 1 >= TREE_LEVELS_MAX {
                return Err(Error::limit("levels of a tree"));
            }
            self.levels.push(Level::default());
        }
        if let Some(level) = self.levels.get(at) {
            let full =
                level.children.len() >= INNER_CHILDREN_MAX || level.path_bytes >= INNER_BYTES_MAX;
            let boundary = || self.keys.is_tree_boundary(&child.first_path, at as u8 + 1);
            if level.children.len() >= INNER_CHILDREN_MIN && (full || boundary()) {
                self.close_inner(at, sink)?;
            }
        }
        if let Some(level) = self.levels.get_mut(at) {
            level.path_bytes += child.first_path.len() + 32;
            level.children.push(child);
        }
        Ok(())
    }

    fn close_inner(&mut self, at: usize, sink: &mut dyn NodeSink) -> Result<()> {
        let Some(level) = self.levels.get_mut(at) else {
            return Ok(());
        };
        let children = std::mem::take(&mut level.children);
        level.path_bytes = 0;
        level.written = true;
        let location = sink.put(Role::Node, &encode_inner(at as u8 + 1, &children))?;
        let sum = |of: fn(&Child) -> u64| children.iter().map(of).fold(0, u64::saturating_add);
        let parent = Child {
            location,
            entries: sum(|child| child.entries),
            bytes: sum(|child| child.bytes),
            first_path: children
                .into_iter()
                .next()
                .map(|child| child.first_path)
                .unwrap_or_default(),
        };
        self.add_child(at + 1, parent, sink)
    }
}
