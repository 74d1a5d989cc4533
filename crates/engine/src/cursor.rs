//! Walks a tree in order, from any path.
use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::entry::{Entry, compare_paths};
use crate::error::{Error, Result};
use crate::id::{Location, Role};
use crate::node::{Child, Node};
use crate::tree::NodeSource;

/// What comes next in a tree: an entry, or a subtree not opened yet.
#[derive(Debug)]
pub(crate) enum Item {
    /// A child of an inner node, and its level.
    Node(Child, u8),
    /// The root: nothing is known of it but where it is.
    Root(Location),
    /// An entry of a leaf.
    Entry(Entry),
}

impl Item {
    pub(crate) fn first_path(&self) -> &[u8] {
        match self {
            Self::Node(child, _) => &child.first_path,
            Self::Root(_) => &[],
            Self::Entry(entry) => &entry.path,
        }
    }
}

/// What is left of a tree: per level, the items of the open node that were not taken. Checks all it opens.
#[derive(Debug)]
pub(crate) struct Walk {
    levels: Vec<VecDeque<Item>>,
    last_path: Option<Vec<u8>>,
}

impl Walk {
    pub(crate) fn new(root: Location) -> Self {
        Self {
            levels: vec![VecDeque::from([Item::Root(root)])],
            last_path: None,
        }
    }

    /// The next item, left where it is.
    pub(crate) fn peek(&mut self) -> Option<&Item> {
        while self.levels.last()?.is_empty() {
            self.levels.pop();
        }
        self.levels.last()?.front()
    }

    /// Drops the next item, and all under it.
    pub(crate) fn skip(&mut self) {
        if self.peek().is_some()
            && let Some(level) = self.levels.last_mut()
        {
            level.pop_front();
        }
    }

    /// Drops the next item if it is a node, and says what was under it. What is behind it is still in order.
    pub(crate) fn skip_lost(&mut self) -> Option<Lost> {
        let lost = match self.peek()? {
            Item::Entry(_) => return None,
            Item::Root(_) => Lost {
                first_path: Vec::new(),
                entries: None,
                bytes: None,
            },
            Item::Node(child, _) => Lost {
                first_path: child.first_path.clone(),
                entries: Some(child.entries),
                bytes: Some(child.bytes),
            },
        };
        self.skip();
        Some(lost)
    }

    /// Takes the next item, which must be an entry.
    pub(crate) fn take_entry(&mut self) -> Result<Option<Entry>> {
        self.peek();
        match self.levels.last_mut().and_then(VecDeque::pop_front) {
            None => Ok(None),
            Some(Item::Entry(entry)) => {
                if let Some(last) = &self.last_path
                    && compare_paths(last, &entry.path) != Ordering::Less
                {
                    return Err(Error::damaged("a tree out of order"));
                }
                self.last_path
                    .get_or_insert_default()
                    .clone_from(&entry.path);
                Ok(Some(entry))
            }
            Some(Item::Node(..) | Item::Root(_)) => Err(Error::misuse("a node is not an entry")),
        }
    }

    /// Opens the next item if it is a node; its items come next.
    pub(crate) fn open(&mut self, source: &mut dyn NodeSource) -> Result<()> {
        let (location, expected) = match self.peek() {
            None | Some(Item::Entry(_)) => return Ok(()),
            Some(Item::Root(location)) => (*location, None),
            Some(Item::Node(child, level)) => (child.location, Some((child.clone(), *level))),
        };
        let node = Node::parse(&source.get(Role::Node, &location)?)?;
        if let Some((child, level)) = expected {
            let as_said = node.level() == level
                && node.first_path() == Some(child.first_path.as_slice())
                && node.totals() == (child.entries, child.bytes);
            if !as_said {
                return Err(Error::damaged("a node that is not what its parent says"));
            }
        }
        self.skip();
        self.levels.push(match node {
            Node::Leaf(entries) => entries.into_iter().map(Item::Entry).collect(),
            Node::Inner { level, children } => children
                .into_iter()
                .map(|child| Item::Node(child, level - 1))
                .collect(),
        });
        Ok(())
    }

    /// Drops everything before the first entry that is not smaller than `path`.
    fn seek_forward(&mut self, path: &[u8], source: &mut dyn NodeSource) -> Result<()> {
        let reaches = |item: Option<&Item>| {
            item.is_some_and(|item| compare_paths(item.first_path(), path) != Ordering::Greater)
        };
        // Where the next item of a level does not start behind the path, nothing below that level is needed.
        if let Some(at) = self.levels.iter().position(|level| reaches(level.front())) {
            self.levels.truncate(at + 1);
        }
        loop {
            let Some(level) = self.levels.last_mut() else {
                return Ok(());
            };
            while reaches(level.get(1)) {
                level.pop_front();
            }
            match self.peek() {
                Some(Item::Entry(entry)) if compare_paths(&entry.path, path) == Ordering::Less => {
                    self.skip();
                }
                Some(Item::Node(child, _))
                    if compare_paths(&child.first_path, path) != Ordering::Less =>
                {
                    return Ok(());
                }
                Some(Item::Node(..) | Item::Root(_)) => self.open(source)?,
                Some(Item::Entry(_)) | None => return Ok(()),
            }
        }
    }
}

/// A position in a tree: before an entry, or at the end. Holds one node per level.
pub struct Cursor {
    root: Location,
    walk: Walk,
    /// The path last sought: what is smaller was dropped, what is not is still to come, or lost.
    sought: Option<Vec<u8>>,
    /// All was dropped unread, by [`Self::skip_under`] of the root.
    is_dropped: bool,
}

/// A subtree that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its first path; of a whole tree empty.
    pub first_path: Vec<u8>,
    /// How many entries are under it; `None` for a whole tree: only its root could say.
    pub entries: Option<u64>,
    /// How many bytes of content its files have; `None` for a whole tree.
    pub bytes: Option<u64>,
}

impl Cursor {
    /// Before the first entry. Reads nothing yet.
    pub fn new(root: Location) -> Self {
        Self {
            root,
            walk: Walk::new(root),
            sought: None,
            is_dropped: false,
        }
    }

    /// Moves before the first entry that is not smaller than `path`; only forward is cheap.
    pub fn seek(&mut self, path: &[u8], source: &mut dyn NodeSource) -> Result<()> {
        // Judged by what was passed, not by what comes next: a part that is lost must not send a seek back to the root.
        let passed = |at: &Option<Vec<u8>>, order: Ordering| {
            at.as_ref()
                .is_some_and(|at| compare_paths(at, path) >= order)
        };
        if passed(&self.walk.last_path, Ordering::Equal)
            || passed(&self.sought, Ordering::Greater)
            || std::mem::take(&mut self.is_dropped)
        {
            self.walk = Walk::new(self.root);
        }
        self.sought = Some(path.to_vec());
        self.walk.seek_forward(path, source)
    }

    /// Moves behind `folder` and everything under it.
    pub fn skip_under(&mut self, folder: &[u8], source: &mut dyn NodeSource) -> Result<()> {
        if folder.is_empty() {
            self.walk.levels.clear();
            self.is_dropped = true;
            return Ok(());
        }
        // 1 is the smallest byte that a name may hold, and `/` is smaller: nothing lies between.
        let mut behind = folder.to_vec();
        behind.push(1);
        if self
            .sought
            .as_ref()
            .is_none_or(|at| compare_paths(at, &behind) == Ordering::Less)
        {
            self.sought = Some(behind.clone());
        }
        self.walk.seek_forward(&behind, source)
    }

    /// After an error: drops the subtree that cannot be read, and says what it was; `None` if nothing is left to drop.
    pub fn skip_lost(&mut self) -> Option<Lost> {
        self.walk.skip_lost()
    }

    /// The next entry. Refuses a tree whose order, levels or first paths are not as the format says.
    #[allow(clippy::should_implement_trait)] // Needs the source, which an iterator could not be given.
    pub fn next(&mut self, source: &mut dyn NodeSource) -> Result<Option<Entry>> {
        while let Some(Item::Node(..) | Item::Root(_)) = self.walk.peek() {
            self.walk.open(source)?;
        }
        self.walk.take_entry()
    }
}

/// The entry of a path.
pub fn lookup(root: Location, path: &[u8], source: &mut dyn NodeSource) -> Result<Option<Entry>> {
    let mut cursor = Cursor::new(root);
    cursor.seek(path, source)?;
    Ok(cursor.next(source)?.filter(|entry| entry.path == path))
}
