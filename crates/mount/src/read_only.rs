//! Snapshots as a read-only file system: one of them, or all below folders that say whose and of when they are.
use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fuser::{Errno, FileAttr, FileHandle, FileType, INodeNo};
use holdfast_engine::Location;
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_pipeline::Error;
use holdfast_pipeline::extract::attributes::Owners;
use parking_lot::Mutex;
use siphasher::sip::SipHasher13;

use crate::attributes::{of_entry, of_implied};
use crate::content::Lower;
use crate::listing::{Found, Listing, TreeSet};
use crate::segments::Segments;
use crate::unread::Unread;

mod filesystem;

/// A snapshot does not change: the kernel may remember what it was told.
const KEPT: Duration = Duration::from_hours(24);
/// The kernel's number of the root.
const ROOT: u64 = 1;
/// Longest name that a folder is asked for.
const NAME_BYTES_MAX: u32 = 255;

/// What stands at a path of the folders above the snapshots.
#[derive(Debug, Clone)]
pub enum Shown {
    /// A snapshot, by its number.
    Snapshot(usize),
    /// A symbolic link.
    Link(Vec<u8>),
}

/// One row of what is mounted.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where; empty: the mount's own root.
    pub path: Vec<u8>,
    /// What.
    pub shown: Shown,
    /// The time that its folder bears.
    pub mtime: (i64, u32),
}

/// Opens a snapshot when it is first looked into.
pub trait Opener: Send + Sync + 'static {
    /// The roots of its trees that can be read.
    fn open(&self, snapshot: usize) -> Result<Vec<Location>, Error>;
}

/// Which thing a number of the kernel's stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Virtual(Vec<u8>),
    Path(usize, Vec<u8>),
    /// All names of one file are one: snapshot, tree, link.
    Linked(usize, usize, u64),
}

struct Node {
    key: Key,
    what: What,
    attr: FileAttr,
    lookups: AtomicU64,
}

enum What {
    Virtual(Vec<u8>),
    Link(Vec<u8>),
    Tree {
        snapshot: usize,
        path: Vec<u8>,
        entry: Option<Box<Entry>>,
    },
}

struct OpenFolder {
    children: Children,
    /// Children handed out.
    at: u64,
    /// One that did not fit the last answer.
    pending: Option<(Vec<u8>, Child)>,
}

/// Takes a child with its place and name; true if there is no room for it.
type Add<'a> = dyn FnMut(&ReadOnly, u64, &[u8], &Child) -> Result<bool, Errno> + 'a;

enum Children {
    Virtual(std::vec::IntoIter<Vec<u8>>, Vec<u8>),
    Tree(Box<Listing>, usize, Vec<u8>),
}

enum Child {
    Virtual(Vec<u8>),
    Tree(usize, Vec<u8>, Found),
}

/// The file system.
pub struct ReadOnly {
    segments: Arc<Segments>,
    opener: Box<dyn Opener>,
    opened: Mutex<HashMap<usize, Arc<TreeSet>>>,
    shown: BTreeMap<Vec<u8>, (Shown, (i64, u32))>,
    folders: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    owners: Mutex<Owners>,
    nodes: Mutex<HashMap<u64, Arc<Node>>>,
    files: Mutex<HashMap<u64, (usize, Arc<Lower>)>>,
    unread: Arc<Unread>,
    open_folders: Mutex<HashMap<u64, Arc<Mutex<OpenFolder>>>>,
    handles: AtomicU64,
    totals: (u64, u64),
}

impl ReadOnly {
    /// Shows snapshots in rows; `totals`: entries and bytes, as `statfs` tells.
    pub fn new(
        segments: Arc<Segments>,
        opener: Box<dyn Opener>,
        rows: Vec<Row>,
        owners: Owners,
        totals: (u64, u64),
    ) -> Self {
        let mut shown = BTreeMap::new();
        let mut folders: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
        folders.entry(Vec::new()).or_default();
        for row in rows {
            let mut path = row.path.clone();
            while !path.is_empty() {
                let end = path.iter().rposition(|byte| *byte == b'/');
                let parent = path.get(..end.unwrap_or(0)).unwrap_or_default().to_vec();
                let start = end.map_or(0, |end| end + 1);
                let name = path.get(start..).unwrap_or_default().to_vec();
                folders.entry(parent.clone()).or_default().insert(name);
                path = parent;
            }
            shown.insert(row.path, (row.shown, row.mtime));
        }
        Self {
            segments,
            opener,
            opened: Mutex::default(),
            shown,
            folders,
            owners: Mutex::new(owners),
            nodes: Mutex::default(),
            files: Mutex::default(),
            unread: Arc::default(),
            open_folders: Mutex::default(),
            handles: AtomicU64::new(1),
            totals,
        }
    }

    /// What could not be read of it, as it goes on.
    pub fn unread(&self) -> Arc<Unread> {
        Arc::clone(&self.unread)
    }

    fn trees(&self, snapshot: usize) -> Result<Arc<TreeSet>, Errno> {
        if let Some(known) = self.opened.lock().get(&snapshot) {
            return Ok(Arc::clone(known));
        }
        let roots = self
            .opener
            .open(snapshot)
            .map_err(|error| self.unread.told(snapshot, &error))?;
        let trees = Arc::new(TreeSet::new(roots, Arc::clone(&self.segments)));
        let mut opened = self.opened.lock();
        Ok(Arc::clone(opened.entry(snapshot).or_insert(trees)))
    }

    fn node(&self, ino: INodeNo) -> Result<Arc<Node>, Errno> {
        if let Some(node) = self.nodes.lock().get(&ino.0) {
            return Ok(Arc::clone(node));
        }
        if ino.0 == ROOT {
            return self.node_of(&Child::Virtual(Vec::new()));
        }
        Err(Errno::ESTALE)
    }

    /// What stands at a path above the snapshots.
    fn child_at(&self, path: Vec<u8>) -> Option<Child> {
        let known = self.shown.contains_key(&path) || self.folders.contains_key(&path);
        known.then_some(Child::Virtual(path))
    }

    /// The number and attributes of a child, which the kernel may refer to from now on only if it is `remembered`.
    fn node_of(&self, child: &Child) -> Result<Arc<Node>, Errno> {
        let (key, what) = self.resolve(child)?;
        let attr = |ino| self.attr(ino, &what, child);
        let mut ino = if key == Key::Virtual(Vec::new()) || self.is_root(&key) {
            ROOT
        } else {
            number_of(&key)
        };
        let attr = attr(ino);
        let mut nodes = self.nodes.lock();
        loop {
            match nodes.entry(ino) {
                Slot::Occupied(known) if known.get().key == key => {
                    return Ok(Arc::clone(known.get()));
                }
                // Two things of one number: the later one takes the next.
                Slot::Occupied(_) => ino = ino.wrapping_add(1).max(ROOT + 1),
                Slot::Vacant(free) => {
                    let mut attr = attr;
                    attr.ino = INodeNo(ino);
                    let node = Node {
                        key,
                        what,
                        attr,
                        lookups: AtomicU64::new(0),
                    };
                    return Ok(Arc::clone(free.insert(Arc::new(node))));
                }
            }
        }
    }

    /// A snapshot mounted alone is the root itself.
    fn is_root(&self, key: &Key) -> bool {
        matches!(key, Key::Path(snapshot, path) if path.is_empty()
            && matches!(self.shown.get(path), Some((Shown::Snapshot(root), _)) if root == snapshot))
    }

    fn resolve(&self, child: &Child) -> Result<(Key, What), Errno> {
        match child {
            Child::Virtual(path) => match self.shown.get(path) {
                Some((Shown::Link(target), _)) => {
                    Ok((Key::Virtual(path.clone()), What::Link(target.clone())))
                }
                Some((Shown::Snapshot(snapshot), _)) => {
                    let found = self
                        .trees(*snapshot)?
                        .lookup(b"")
                        .map_err(|error| self.unread.told(*snapshot, &error))?;
                    let entry = match found {
                        Some(Found::Entry(entry, _)) if matches!(entry.kind, EntryKind::Folder) => {
                            Some(entry)
                        }
                        _ => None,
                    };
                    let what = What::Tree {
                        snapshot: *snapshot,
                        path: Vec::new(),
                        entry,
                    };
                    Ok((Key::Path(*snapshot, Vec::new()), what))
                }
                None => Ok((Key::Virtual(path.clone()), What::Virtual(path.clone()))),
            },
            Child::Tree(snapshot, path, found) => {
                let (entry, link) = match found {
                    Found::Entry(entry, tree) => {
                        (Some(entry.clone()), entry.link_id.map(|id| (*tree, id)))
                    }
                    Found::Implied => (None, None),
                };
                let key = match link {
                    Some((tree, id)) => Key::Linked(*snapshot, tree, id),
                    None => Key::Path(*snapshot, path.clone()),
                };
                let what = What::Tree {
                    snapshot: *snapshot,
                    path: path.clone(),
                    entry,
                };
                Ok((key, what))
            }
        }
    }

    fn attr(&self, ino: u64, what: &What, child: &Child) -> FileAttr {
        match what {
            What::Tree {
                entry: Some(entry), ..
            } => of_entry(ino, entry, &self.owners.lock().attributes(entry, false)),
            What::Link(target) => {
                let mut attr = of_implied(ino, self.mtime(child));
                attr.kind = FileType::Symlink;
                attr.size = target.len() as u64;
                attr.perm = 0o777;
                attr
            }
            What::Tree { .. } | What::Virtual(_) => of_implied(ino, self.mtime(child)),
        }
    }

    fn mtime(&self, child: &Child) -> (i64, u32) {
        match child {
            Child::Virtual(path) => self.shown.get(path).map_or((0, 0), |(_, mtime)| *mtime),
            Child::Tree(..) => (0, 0),
        }
    }

    fn find(&self, parent: INodeNo, name: &[u8]) -> Result<Arc<Node>, Errno> {
        let node = self.node(parent)?;
        match &node.what {
            What::Virtual(folder) => {
                let child = self.child_at(join(folder, name)).ok_or(Errno::ENOENT)?;
                self.node_of(&child)
            }
            What::Tree { snapshot, path, .. } => {
                let path = join(path, name);
                let found = self
                    .trees(*snapshot)?
                    .lookup(&path)
                    .map_err(|error| self.unread.told(*snapshot, &error))?
                    .ok_or(Errno::ENOENT)?;
                self.node_of(&Child::Tree(*snapshot, path, found))
            }
            What::Link(_) => Err(Errno::ENOTDIR),
        }
    }

    fn open_file(&self, ino: INodeNo) -> Result<u64, Errno> {
        let node = self.node(ino)?;
        let What::Tree {
            snapshot,
            entry: Some(entry),
            ..
        } = &node.what
        else {
            return Err(Errno::EISDIR);
        };
        let EntryKind::File { size, content } = &entry.kind else {
            return Err(Errno::EINVAL);
        };
        let lower = Lower::open(*size, content, &self.segments)
            .map_err(|error| self.unread.told(*snapshot, &error))?;
        let handle = self.handles.fetch_add(1, Ordering::Relaxed);
        self.files
            .lock()
            .insert(handle, (*snapshot, Arc::new(lower)));
        Ok(handle)
    }

    fn file(&self, handle: FileHandle) -> Result<(usize, Arc<Lower>), Errno> {
        let files = self.files.lock();
        files.get(&handle.0).cloned().ok_or(Errno::EBADF)
    }

    fn children(&self, ino: INodeNo) -> Result<OpenFolder, Errno> {
        let node = self.node(ino)?;
        let children = match &node.what {
            What::Virtual(path) => {
                let names = self.folders.get(path).cloned().unwrap_or_default();
                let names: Vec<Vec<u8>> = names.into_iter().collect();
                Children::Virtual(names.into_iter(), path.clone())
            }
            What::Tree { snapshot, path, .. } => {
                let listing = self.trees(*snapshot)?.list(path);
                Children::Tree(Box::new(listing), *snapshot, path.clone())
            }
            What::Link(_) => return Err(Errno::ENOTDIR),
        };
        Ok(OpenFolder {
            children,
            at: 0,
            pending: None,
        })
    }

    /// Hands children to `add` from `offset` on until it is full.
    fn read_folder(
        &self,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        add: &mut Add<'_>,
    ) -> Result<(), Errno> {
        let known = self.open_folders.lock().get(&handle.0).cloned();
        let folder = known.ok_or(Errno::EBADF)?;
        let mut folder = folder.lock();
        if offset < folder.at {
            *folder = self.children(ino)?;
        }
        while let Some((name, child)) = folder.next(&self.unread)? {
            let at = folder.at + 1;
            if at > offset && add(self, at, &name, &child)? {
                folder.pending = Some((name, child));
                return Ok(());
            }
            folder.at = at;
        }
        Ok(())
    }
}

impl OpenFolder {
    fn next(&mut self, unread: &Unread) -> Result<Option<(Vec<u8>, Child)>, Errno> {
        if let Some(pending) = self.pending.take() {
            return Ok(Some(pending));
        }
        match &mut self.children {
            Children::Virtual(names, folder) => Ok(names.next().map(|name| {
                let child = Child::Virtual(join(folder, &name));
                (name, child)
            })),
            Children::Tree(listing, snapshot, folder) => {
                let next = listing
                    .next()
                    .map_err(|error| unread.told(*snapshot, &error))?;
                let Some((name, found)) = next else {
                    // What could be listed was; that it is not all must be said.
                    return if listing.is_lost() {
                        Err(unread.noted(*snapshot, Errno::EIO))
                    } else {
                        Ok(None)
                    };
                };
                let child = Child::Tree(*snapshot, join(folder, &name), found);
                Ok(Some((name, child)))
            }
        }
    }
}

impl ReadOnly {
    /// The kind and number of a child, without the kernel being allowed to refer to it.
    fn glimpse(&self, child: &Child) -> (u64, FileType) {
        match child {
            Child::Virtual(path) => {
                let kind = match self.shown.get(path) {
                    Some((Shown::Link(_), _)) => FileType::Symlink,
                    _ => FileType::Directory,
                };
                (number_of(&Key::Virtual(path.clone())), kind)
            }
            Child::Tree(snapshot, path, found) => {
                let kind = match found {
                    Found::Implied => FileType::Directory,
                    Found::Entry(entry, _) => kind_of(entry),
                };
                let key = match found {
                    Found::Entry(entry, tree) => entry
                        .link_id
                        .map(|id| Key::Linked(*snapshot, *tree, id))
                        .unwrap_or(Key::Path(*snapshot, path.clone())),
                    Found::Implied => Key::Path(*snapshot, path.clone()),
                };
                (number_of(&key), kind)
            }
        }
    }
}

fn kind_of(entry: &Entry) -> FileType {
    match entry.kind {
        EntryKind::File { .. } => FileType::RegularFile,
        EntryKind::Folder => FileType::Directory,
        EntryKind::Symlink { .. } => FileType::Symlink,
        EntryKind::Fifo => FileType::NamedPipe,
        EntryKind::CharDevice { .. } => FileType::CharDevice,
        EntryKind::BlockDevice { .. } => FileType::BlockDevice,
    }
}

fn number_of(key: &Key) -> u64 {
    let mut hasher = SipHasher13::new();
    key.hash(&mut hasher);
    hasher.finish().max(ROOT + 1)
}

/// The path of a name in a folder.
pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        name.to_vec()
    } else {
        [folder, b"/", name].concat()
    }
}
