//! The bytes of one tree node.
use std::cmp::Ordering;

use crate::entry::{
    Entry, EntryEncoder, check_expanded, compare_paths, put_path, read_entries, read_path,
};
use crate::error::{Error, Result};
use crate::id::Location;
use crate::limits::{NODE_BYTES_MAX, TREE_LEVELS_MAX};
use crate::locations::{LocationDecoder, LocationEncoder};
use crate::wire::{Reader, put_varint};

const NODE_VERSION: u8 = 1;

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
        if bytes.len() > NODE_BYTES_MAX {
            return Err(Error::limit("bytes of a node"));
        }
        let mut reader = Reader::new(bytes);
        let found = reader.u8()?;
        if found != NODE_VERSION {
            return Err(Error::UnknownVersion {
                what: "a tree node",
                found: found.into(),
            });
        }
        let level = reader.u8()?;
        let node = match level {
            0 => Self::Leaf(read_entries(&mut reader)?),
            _ if usize::from(level) >= TREE_LEVELS_MAX => {
                return Err(Error::limit("levels of a tree"));
            }
            _ => Self::Inner {
                level,
                children: read_children(&mut reader)?,
            },
        };
        reader.end("bytes behind a node")?;
        Ok(node)
    }

    /// The first path under the node.
    pub fn first_path(&self) -> Option<&[u8]> {
        match self {
            Self::Leaf(entries) => entries.first().map(|entry| entry.path.as_slice()),
            Self::Inner { children, .. } => {
                children.first().map(|child| child.first_path.as_slice())
            }
        }
    }

    /// Entries and bytes of file content under the node.
    pub fn totals(&self) -> (u64, u64) {
        let add = |sum: (u64, u64), one: (u64, u64)| {
            (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1))
        };
        match self {
            Self::Leaf(entries) => entries
                .iter()
                .map(|entry| (1, entry.content_bytes()))
                .fold((0, 0), add),
            Self::Inner { children, .. } => children
                .iter()
                .map(|child| (child.entries, child.bytes))
                .fold((0, 0), add),
        }
    }

    /// 0 for a leaf.
    pub fn level(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner { level, .. } => *level,
        }
    }
}

/// The bytes of a leaf, out of an encoder that starts anew.
pub(crate) fn encode_leaf(entries: &mut EntryEncoder) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.body_len() + 256);
    out.extend_from_slice(&[NODE_VERSION, 0]);
    entries.finish(&mut out);
    out
}

/// The bytes of an inner node.
pub(crate) fn encode_inner(level: u8, children: &[Child]) -> Vec<u8> {
    let mut locations = LocationEncoder::default();
    let mut body = Vec::new();
    let mut previous: &[u8] = &[];
    for child in children {
        put_path(&mut body, previous, &child.first_path);
        previous = &child.first_path;
        locations.put(&mut body, &child.location);
        put_varint(&mut body, child.entries);
        put_varint(&mut body, child.bytes);
    }
    let mut out = vec![NODE_VERSION, level];
    locations.put_table(&mut out);
    put_varint(&mut out, children.len() as u64);
    out.extend_from_slice(&body);
    out
}

fn read_children(reader: &mut Reader<'_>) -> Result<Vec<Child>> {
    let mut locations = LocationDecoder::read_table(reader)?;
    let count = reader.count(reader.rest().len() / 7, "children of a node")?;
    if count == 0 {
        return Err(Error::damaged("an inner node without children"));
    }
    let mut path = Vec::new();
    let mut children: Vec<Child> = Vec::with_capacity(count.min(1024));
    let mut expanded = 0;
    for _ in 0..count {
        read_path(reader, &mut path)?;
        expanded += path.len();
        check_expanded(expanded)?;
        if let Some(previous) = children.last()
            && compare_paths(&previous.first_path, &path) != Ordering::Less
        {
            return Err(Error::damaged("children out of order"));
        }
        children.push(Child {
            first_path: path.clone(),
            location: locations.read(reader)?,
            entries: reader.varint()?,
            bytes: reader.varint()?,
        });
    }
    Ok(children)
}
