//! The trees of one snapshot, one per data class, read as the one folder tree that a restore would make of them.
use std::sync::Arc;

use holdfast_engine::cursor::{Cursor, lookup};
use holdfast_engine::entry::{Entry, EntryKind, check_path, is_under};
use holdfast_engine::{Error as EngineError, Location};
use holdfast_pipeline::Error;
use holdfast_pipeline::reader::{is_of_one_segment, unwrap_outside};

use crate::segments::{Nodes, Segments};

/// What is at a path.
#[derive(Debug, Clone)]
pub enum Found {
    /// An entry, and the position of its tree.
    Entry(Box<Entry>, usize),
    /// A folder that no readable tree holds itself, with something under it.
    Implied,
}

impl Found {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        match self {
            Self::Entry(entry, _) => matches!(entry.kind, EntryKind::Folder),
            Self::Implied => true,
        }
    }
}

/// The readable trees of a snapshot, the first before the others where two have the same path.
pub struct TreeSet {
    trees: Vec<Location>,
    segments: Arc<Segments>,
}

impl TreeSet {
    /// Trees by their roots.
    pub fn new(trees: Vec<Location>, segments: Arc<Segments>) -> Self {
        Self { trees, segments }
    }

    /// Where their segments are kept.
    pub fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// What is at a path; empty: the root folder, which is always there.
    ///
    /// A part of a tree that cannot be read is an error only where nothing else says what is there.
    pub fn lookup(&self, path: &[u8]) -> Result<Option<Found>, Error> {
        let mut nodes = Nodes(&self.segments);
        let mut lost = None;
        for (position, root) in self.trees.iter().enumerate() {
            match lookup(*root, path, &mut nodes).map_err(unwrap_outside) {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    check_path(&entry.path)?;
                    return Ok(Some(Found::Entry(Box::new(entry), position)));
                }
                Err(error) if is_of_one_segment(&error) => lost = lost.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        if path.is_empty() {
            return Ok(Some(Found::Implied));
        }
        for root in &self.trees {
            match has_under(*root, path, &mut nodes) {
                Ok(false) => {}
                Ok(true) => return Ok(Some(Found::Implied)),
                Err(error) if is_of_one_segment(&error) => lost = lost.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        lost.map_or(Ok(None), Err)
    }

    /// The children of a folder, by name.
    pub fn list(&self, folder: &[u8]) -> Listing {
        Listing {
            folder: folder.to_vec(),
            segments: Arc::clone(&self.segments),
            trees: self
                .trees
                .iter()
                .map(|root| Children {
                    cursor: Cursor::new(*root),
                    head: None,
                    is_begun: false,
                    is_sought: false,
                })
                .collect(),
            is_lost: false,
        }
    }
}

/// Whether a tree has something under a path.
fn has_under(root: Location, path: &[u8], nodes: &mut Nodes<'_>) -> Result<bool, Error> {
    let mut cursor = Cursor::new(root);
    cursor.seek(path, nodes).map_err(unwrap_outside)?;
    let next = cursor.next(nodes).map_err(unwrap_outside)?;
    Ok(next.is_some_and(|entry| is_under(&entry.path, path)))
}

/// The children of a folder, one after the other.
pub struct Listing {
    folder: Vec<u8>,
    segments: Arc<Segments>,
    trees: Vec<Children>,
    is_lost: bool,
}

/// A child's name, and its entry unless the tree does not hold it itself.
type Head = (Vec<u8>, Option<Entry>);

struct Children {
    cursor: Cursor,
    /// Its next child: the name, and the entry unless the tree does not hold it itself.
    head: Option<Head>,
    is_begun: bool,
    /// Only once: a second seek would go back to the root.
    is_sought: bool,
}

impl Listing {
    /// Whether something could not be listed: its part of the tree cannot be read.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// The next child and its name; what cannot be read is left out, and [`Self::is_lost`] says so.
    #[allow(clippy::should_implement_trait)] // It fails, which an iterator would hide in its items.
    pub fn next(&mut self) -> Result<Option<(Vec<u8>, Found)>, Error> {
        for tree in &mut self.trees {
            if !tree.is_begun {
                tree.is_begun = true;
                self.is_lost |= tree.advance(&self.folder, &self.segments)?;
            }
        }
        let least = self
            .trees
            .iter()
            .filter_map(|tree| tree.head.as_ref().map(|(name, _)| name))
            .min()
            .cloned();
        let Some(name) = least else { return Ok(None) };
        let mut found = Found::Implied;
        for (position, tree) in self.trees.iter_mut().enumerate() {
            if tree.head.as_ref().is_none_or(|(head, _)| *head != name) {
                continue;
            }
            if let (Found::Implied, Some((_, Some(entry)))) = (&found, tree.head.take()) {
                found = Found::Entry(Box::new(entry), position);
            }
            self.is_lost |= tree.advance(&self.folder, &self.segments)?;
        }
        Ok(Some((name, found)))
    }
}

impl Children {
    /// Moves to the next child; true if something on the way could not be read.
    fn advance(&mut self, folder: &[u8], segments: &Segments) -> Result<bool, Error> {
        let mut is_lost = false;
        loop {
            match self.step(folder, segments) {
                Ok(head) => {
                    self.head = head;
                    return Ok(is_lost);
                }
                Err(error) => {
                    let error = unwrap_outside(error);
                    if !is_of_one_segment(&error) || self.cursor.skip_lost().is_none() {
                        return Err(error);
                    }
                    is_lost = true;
                }
            }
        }
    }

    fn step(&mut self, folder: &[u8], segments: &Segments) -> Result<Option<Head>, EngineError> {
        let mut nodes = Nodes(segments);
        if !self.is_sought {
            self.is_sought = true;
            self.cursor.seek(folder, &mut nodes)?;
        }
        let start = if folder.is_empty() {
            0
        } else {
            folder.len() + 1
        };
        loop {
            let Some(entry) = self
                .cursor
                .next(&mut nodes)?
                .filter(|entry| is_under(&entry.path, folder))
            else {
                return Ok(None);
            };
            check_path(&entry.path)?;
            let below = entry.path.get(start..).unwrap_or_default();
            if below.is_empty() {
                continue;
            }
            if let Some(end) = below.iter().position(|byte| *byte == b'/') {
                let name = below.get(..end).unwrap_or_default().to_vec();
                let child = entry.path.get(..start + end).unwrap_or_default();
                self.skip(child, &mut nodes)?;
                return Ok(Some((name, None)));
            }
            let name = below.to_vec();
            if matches!(entry.kind, EntryKind::Folder) {
                self.skip(&entry.path, &mut nodes)?;
            }
            return Ok(Some((name, Some(entry))));
        }
    }

    /// Moves behind a child; what cannot be read there will be met again by the next step.
    fn skip(&mut self, child: &[u8], nodes: &mut Nodes<'_>) -> Result<(), EngineError> {
        match self.cursor.skip_under(child, nodes) {
            Err(error) if !is_of_one_segment(&unwrap_outside(error.clone())) => Err(error),
            _ => Ok(()),
        }
    }
}
