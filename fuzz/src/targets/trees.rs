//! Tree nodes one by one, and trees of several nodes that are walked, searched and compared.
use std::cmp::Ordering;

use holdfast_engine::cursor::{Cursor, lookup};
use holdfast_engine::diff::{Change, Diff};
use holdfast_engine::entry::{Entry, compare_paths};
use holdfast_engine::node::Node;
use holdfast_engine::tree::{NodeSink, NodeSource, TreeBuilder};
use holdfast_engine::{Error, Location, Origin, Result, Role};

use crate::seal;

const NODES_MAX: usize = 64;
const ENTRIES_MAX: usize = 4096;
/// More than there can be parts of a tree in one input.
const STEPS_MAX: usize = 1 << 17;

/// Nodes by their number: node N is segment N of one origin.
struct Nodes(Vec<Vec<u8>>);

fn place(number: usize) -> Location {
    Location {
        origin: Origin([0; 16]),
        segment: number as u32,
        chunk: 0,
    }
}

impl NodeSource for Nodes {
    fn get(&mut self, _role: Role, location: &Location) -> Result<Vec<u8>> {
        let found = self
            .0
            .get(location.segment as usize)
            .filter(|_| location.origin.0 == [0; 16]);
        found.cloned().ok_or(Error::Missing { what: "a node" })
    }
}

impl NodeSink for Nodes {
    fn put(&mut self, _role: Role, bytes: &[u8]) -> Result<Location> {
        self.0.push(bytes.to_vec());
        Ok(place(self.0.len() - 1))
    }
}

/// One node: what a reader takes, a writer can write, and it comes back the same.
pub fn node(input: &[u8]) {
    match Node::parse(input) {
        Err(error) => seal::refused(&error),
        Ok(Node::Leaf(entries)) => rebuilt(&entries),
        Ok(inner @ Node::Inner { .. }) => {
            assert!(inner.level() > 0);
            assert!(inner.first_path().is_some());
        }
    }
}

fn rebuilt(entries: &[Entry]) {
    let mut nodes = Nodes(Vec::new());
    let mut builder = TreeBuilder::new(seal::keys());
    for entry in entries {
        builder
            .push(entry, &mut nodes)
            .expect("an entry that was read");
    }
    let root = builder
        .finish(&mut nodes)
        .expect("entries of one node make a tree");
    assert_eq!(root.entries, entries.len() as u64);
    let mut cursor = Cursor::new(root.location);
    for entry in entries {
        let found = cursor.next(&mut nodes).expect("a tree that was just built");
        assert_eq!(found.as_ref(), Some(entry));
    }
    assert_eq!(cursor.next(&mut nodes).expect("the end"), None);
    for entry in entries.iter().take(8) {
        let found =
            lookup(root.location, &entry.path, &mut nodes).expect("a tree that was just built");
        assert_eq!(found.as_ref(), Some(entry));
    }
}

/// Several nodes, each behind a `u16` length; the first is one tree's root, the second another's.
pub fn tree(input: &[u8]) {
    let mut nodes = Nodes(Vec::new());
    let mut rest = input;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (node, after) =
            behind.split_at(behind.len().min(usize::from(u16::from_le_bytes(*length))));
        nodes.0.push(node.to_vec());
        rest = after;
        if nodes.0.len() >= NODES_MAX {
            break;
        }
    }
    let walked = walk(&mut nodes);
    for path in walked.iter().take(4).map(|entry| &entry.path) {
        sought(path, &mut nodes);
        let mut cursor = Cursor::new(place(0));
        if let Err(error) = cursor.skip_under(path, &mut nodes) {
            seal::refused(&error);
        }
    }
    compare(&mut nodes);
}

/// Searches for a path past every part that cannot be read: it ends, and finds nothing before the path.
fn sought(path: &[u8], nodes: &mut Nodes) {
    let mut cursor = Cursor::new(place(0));
    for _ in 0..STEPS_MAX {
        let next = cursor.seek(path, nodes).and_then(|()| cursor.next(nodes));
        match next {
            Ok(found) => {
                let is_before = |entry: &Entry| compare_paths(&entry.path, path) == Ordering::Less;
                assert!(!found.as_ref().is_some_and(is_before), "what was passed");
                return;
            }
            Err(error) => {
                seal::refused(&error);
                if cursor.skip_lost().is_none() {
                    return;
                }
            }
        }
    }
    panic!("a search that never ends");
}

/// All that can be read of the first tree, past every part that cannot.
fn walk(nodes: &mut Nodes) -> Vec<Entry> {
    let mut cursor = Cursor::new(place(0));
    let mut found: Vec<Entry> = Vec::new();
    let mut lost = 0;
    while found.len() < ENTRIES_MAX {
        match cursor.next(nodes) {
            Ok(None) => break,
            Ok(Some(entry)) => {
                if let Some(last) = found.last() {
                    assert_eq!(
                        compare_paths(&last.path, &entry.path),
                        Ordering::Less,
                        "a walk is in order"
                    );
                }
                found.push(entry);
            }
            Err(error) => {
                seal::refused(&error);
                lost += 1;
                if lost > ENTRIES_MAX || cursor.skip_lost().is_none() {
                    break;
                }
            }
        }
    }
    found
}

fn compare(nodes: &mut Nodes) {
    let mut same = Diff::new(place(0), place(0));
    assert_eq!(same.next(nodes).expect("equal roots are not read"), None);
    let mut diff = Diff::new(place(0), place(1));
    let mut last: Option<Vec<u8>> = None;
    for _ in 0..ENTRIES_MAX {
        let path = match diff.next(nodes) {
            Err(error) => {
                seal::refused(&error);
                if diff.skip_lost().is_none() {
                    return;
                }
                continue;
            }
            Ok(None) => return,
            Ok(Some(Change::Added(entry) | Change::Removed(entry))) => entry.path,
            Ok(Some(Change::Changed { old, new })) => {
                assert_ne!(old, new);
                assert_eq!(old.path, new.path);
                new.path
            }
        };
        if let Some(last) = &last {
            assert_eq!(
                compare_paths(last, &path),
                Ordering::Less,
                "differences are in order"
            );
        }
        last = Some(path);
    }
}
