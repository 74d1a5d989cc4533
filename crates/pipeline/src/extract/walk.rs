//! The trees of a snapshot walked as one, in order of path: what is selected, and nothing else is opened.
use std::cmp::Ordering;
use std::sync::Arc;

use holdfast_engine::cursor::{Cursor, lookup};
use holdfast_engine::entry::{Entry, EntryKind, check_path, compare_paths, is_under};
use holdfast_engine::tree::NodeSource;
use holdfast_engine::{Error as EngineError, Location};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::Error;
use crate::reader::{
    CACHE_BYTES, Reader, SegmentCache, is_not_listed, is_of_one_segment, unwrap_outside,
};

/// A part of a tree that cannot be read.
pub struct Lost {
    /// Its first path.
    pub first_path: Vec<u8>,
    /// Entries in it, as far as that is known.
    pub entries: Option<u64>,
    /// Bytes of content of its files.
    pub bytes: Option<u64>,
    /// The class of the tree.
    pub class: u16,
    /// Why.
    pub why: String,
    /// It is only not listed: the packs may have it.
    pub is_unlisted: bool,
}

impl Lost {
    /// What a finding says of it.
    pub fn detail(&self) -> String {
        let so = if self.is_unlisted {
            "not restored, for the index does not list"
        } else {
            "lost with"
        };
        match (self.entries, self.bytes) {
            (Some(entries), Some(bytes)) => format!(
                "{entries} entries from this path on ({bytes} bytes) are {so} the part of the tree that names them: {}",
                self.why
            ),
            _ => format!(
                "all entries of this class are {so} the root of the tree that names them: {}",
                self.why
            ),
        }
    }
}

/// A tree of one class.
struct Tree {
    lost: Vec<Lost>,
    class: u16,
    root: Location,
    cursor: Cursor,
    head: Option<Entry>,
    nodes: SegmentCache,
}

/// What is restored of the trees.
pub struct Selection {
    /// Paths, each standing for itself and everything under it; none: everything.
    pub include: Vec<Vec<u8>>,
    /// Patterns as in `.gitignore`.
    pub exclude: Gitignore,
}

impl Selection {
    /// Takes paths and patterns; the position of a pattern that cannot be understood.
    pub fn new(mut include: Vec<Vec<u8>>, exclude: &[String]) -> Result<Self, usize> {
        include.sort_by(|a, b| compare_paths(a, b));
        include.dedup_by(|later, earlier| is_under(later, earlier));
        let mut builder = GitignoreBuilder::new("");
        for (position, pattern) in exclude.iter().enumerate() {
            builder.add_line(None, pattern).map_err(|_| position)?;
        }
        let exclude = builder.build().map_err(|_| 0_usize)?;
        if include.is_empty() {
            include.push(Vec::new());
        }
        Ok(Self { include, exclude })
    }

    /// Whether it leaves nothing out.
    pub fn is_everything(&self) -> bool {
        self.exclude.is_empty() && self.include.iter().any(Vec::is_empty)
    }

    fn is_excluded(&self, entry: &Entry) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(&entry.path));
        let is_folder = matches!(entry.kind, EntryKind::Folder);
        !self.exclude.is_empty()
            && !entry.path.is_empty()
            && self.exclude.matched(path, is_folder).is_ignore()
    }
}

/// Entries of several trees in order of path; of equal paths, the first tree's.
pub struct Walk {
    trees: Vec<Tree>,
    selection: Selection,
    /// Position of the include being walked.
    at: usize,
    /// Folders above the include, still to be given.
    above: std::vec::IntoIter<(Entry, usize)>,
    is_begun: bool,
}

impl Walk {
    /// Walks trees given as (class, root), the first before the others.
    pub fn new(
        reader: &Arc<Reader>,
        trees: &[(u16, Location)],
        selection: Selection,
    ) -> Result<Self, Error> {
        let cache_bytes = CACHE_BYTES / trees.len().max(1);
        let trees = trees
            .iter()
            .map(|(class, root)| {
                let nodes = SegmentCache::new(Arc::clone(reader), cache_bytes)?;
                Ok(Tree {
                    lost: Vec::new(),
                    class: *class,
                    root: *root,
                    cursor: Cursor::new(*root),
                    head: None,
                    nodes,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            trees,
            selection,
            at: 0,
            above: Vec::new().into_iter(),
            is_begun: false,
        })
    }

    /// Parts of the trees that turned out to be unreadable since the last call.
    pub fn take_lost(&mut self) -> Vec<Lost> {
        self.trees
            .iter_mut()
            .flat_map(|tree| tree.lost.drain(..))
            .collect()
    }

    /// The class of a tree.
    pub fn class(&self, tree: usize) -> u16 {
        self.trees.get(tree).map_or(0, |tree| tree.class)
    }

    /// Where a tree's lists and groups are read.
    pub fn nodes(&mut self, tree: usize) -> Result<&mut SegmentCache, Error> {
        self.trees
            .get_mut(tree)
            .map(|tree| &mut tree.nodes)
            .ok_or(Error::Internal("no such tree"))
    }

    /// The next selected entry, and which tree it is of. Folders above an include come before it.
    pub fn next_entry(&mut self) -> Result<Option<(Entry, usize)>, Error> {
        loop {
            let Some(include) = self.selection.include.get(self.at).cloned() else {
                return Ok(None);
            };
            if !self.is_begun {
                self.begin(&include)?;
            }
            if let Some(entry) = self.above.next() {
                return Ok(Some(entry));
            }
            let Some((entry, tree)) = self.take_first(&include)? else {
                self.at += 1;
                self.is_begun = false;
                continue;
            };
            check_path(&entry.path)?;
            if !self.selection.is_excluded(&entry) {
                return Ok(Some((entry, tree)));
            }
            if matches!(entry.kind, EntryKind::Folder) {
                for tree in &mut self.trees {
                    tree.skip_under(&entry.path)?;
                }
            }
        }
    }

    fn begin(&mut self, include: &[u8]) -> Result<(), Error> {
        self.is_begun = true;
        let mut above = Vec::new();
        let ends = include
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at);
        let ends = std::iter::once(0)
            .chain(ends)
            .filter(|_| !include.is_empty());
        for end in ends {
            let path = include.get(..end).unwrap_or_default();
            let mut lost = None;
            let mut found = None;
            for (position, tree) in self.trees.iter_mut().enumerate() {
                match lookup(tree.root, path, &mut tree.nodes).map_err(unwrap_outside) {
                    Ok(Some(entry)) => {
                        found = Some((entry, position));
                        break;
                    }
                    Ok(None) => {}
                    Err(error) if is_of_one_segment(&error) => lost = lost.or(Some(position)),
                    Err(error) => return Err(error),
                }
            }
            // A folder above what was asked for is made all the same, without its attributes.
            if let (None, Some(position)) = (&found, lost)
                && let Some(tree) = self.trees.get_mut(position)
            {
                tree.lost.push(Lost {
                    first_path: path.to_vec(),
                    entries: Some(1),
                    bytes: Some(0),
                    class: tree.class,
                    why: "the folder's owner and mode cannot be read".to_owned(),
                    is_unlisted: false,
                });
            }
            above.extend(found);
        }
        self.above = above.into_iter();
        for tree in &mut self.trees {
            tree.seek(include)?;
        }
        Ok(())
    }

    /// Takes the smallest head under `include`, and drops equal ones of later trees.
    fn take_first(&mut self, include: &[u8]) -> Result<Option<(Entry, usize)>, Error> {
        let mut first: Option<(usize, &Entry)> = None;
        for (position, tree) in self.trees.iter().enumerate() {
            let Some(head) = tree
                .head
                .as_ref()
                .filter(|head| is_under(&head.path, include))
            else {
                continue;
            };
            if first.is_none_or(|(_, best)| compare_paths(&head.path, &best.path) == Ordering::Less)
            {
                first = Some((position, head));
            }
        }
        let Some((position, _)) = first else {
            return Ok(None);
        };
        let tree = self
            .trees
            .get_mut(position)
            .ok_or(Error::Internal("no such tree"))?;
        let Some(entry) = tree.take()? else {
            return Ok(None);
        };
        for tree in self.trees.iter_mut().skip(position + 1) {
            if tree
                .head
                .as_ref()
                .is_some_and(|head| head.path == entry.path)
            {
                tree.take()?;
            }
        }
        Ok(Some((entry, position)))
    }
}

impl Tree {
    fn take(&mut self) -> Result<Option<Entry>, Error> {
        let next = self.past_lost(Cursor::next)?;
        Ok(std::mem::replace(&mut self.head, next))
    }

    fn seek(&mut self, path: &[u8]) -> Result<(), Error> {
        let is_there = |head: &Entry| compare_paths(&head.path, path) != Ordering::Less;
        if self.head.as_ref().is_some_and(is_there) {
            return Ok(());
        }
        self.past_lost(|cursor, nodes| cursor.seek(path, nodes))?;
        self.take()?;
        Ok(())
    }

    fn skip_under(&mut self, folder: &[u8]) -> Result<(), Error> {
        let head = self.head.as_ref();
        if head.is_some_and(|head| is_under(&head.path, folder)) {
            self.past_lost(|cursor, nodes| cursor.skip_under(folder, nodes))?;
            self.take()?;
        }
        Ok(())
    }

    /// Does a step, and does it again behind each part of the tree that cannot be read.
    fn past_lost<T>(
        &mut self,
        mut step: impl FnMut(&mut Cursor, &mut dyn NodeSource) -> Result<T, EngineError>,
    ) -> Result<T, Error> {
        loop {
            let error = match step(&mut self.cursor, &mut self.nodes) {
                Ok(done) => return Ok(done),
                Err(error) => unwrap_outside(error),
            };
            if !is_of_one_segment(&error) {
                return Err(error);
            }
            let Some(lost) = self.cursor.skip_lost() else {
                return Err(error);
            };
            self.lost.push(Lost {
                first_path: lost.first_path,
                entries: lost.entries,
                bytes: lost.bytes,
                class: self.class,
                why: error.to_string(),
                is_unlisted: is_not_listed(&error),
            });
        }
    }
}
