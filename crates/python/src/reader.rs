//! Trees and files of snapshots.
#![allow(
    clippy::needless_pass_by_value,
    reason = "PyO3 hands over what it extracted"
)]
use std::collections::VecDeque;
use std::sync::Arc;

use holdfast_engine::cursor::{Cursor, lookup};
use holdfast_engine::diff::{Change as EngineChange, Diff};
use holdfast_engine::entry::{Entry as EngineEntry, EntryKind, is_under};
use holdfast_engine::tree::NodeSource;
use holdfast_engine::{Error as EngineError, Location, Role};
use holdfast_pipeline as pipeline;
use holdfast_pipeline::reader::{CACHE_BYTES, SegmentCache};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::catalog::CatalogRows;
use crate::errors;
use crate::index::Index;
use crate::left::Left;
use crate::refs::RefSet;
use crate::source::{KeyRing, PackSource};

/// Entries that are fetched at once, without the interpreter.
const BATCH: usize = 512;

/// Nodes read lately.
pub type Cache = Arc<Mutex<SegmentCache>>;

/// A cache that several walks share, locked for each node.
pub struct Shared(pub Cache);

impl NodeSource for Shared {
    fn get(&mut self, role: Role, location: &Location) -> Result<Vec<u8>, EngineError> {
        self.0.lock().get(role, location)
    }
}

/// An entry of a tree.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Entry {
    /// The engine's own.
    pub inner: EngineEntry,
}

#[pymethods]
impl Entry {
    #[getter]
    fn path<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.path)
    }

    #[getter]
    fn kind(&self) -> &'static str {
        match self.inner.kind {
            EntryKind::File { .. } => "file",
            EntryKind::Folder => "folder",
            EntryKind::Symlink { .. } => "symlink",
            EntryKind::Fifo => "fifo",
            EntryKind::CharDevice { .. } => "char-device",
            EntryKind::BlockDevice { .. } => "block-device",
        }
    }

    #[getter]
    fn mode(&self) -> u16 {
        self.inner.mode
    }

    #[getter]
    fn uid(&self) -> u32 {
        self.inner.uid
    }

    #[getter]
    fn gid(&self) -> u32 {
        self.inner.gid
    }

    #[getter]
    fn user(&self) -> String {
        String::from_utf8_lossy(&self.inner.user).into_owned()
    }

    #[getter]
    fn group(&self) -> String {
        String::from_utf8_lossy(&self.inner.group).into_owned()
    }

    #[getter]
    fn mtime_ns(&self) -> i128 {
        i128::from(self.inner.mtime.0) * 1_000_000_000 + i128::from(self.inner.mtime.1)
    }

    #[getter]
    fn size(&self) -> u64 {
        self.inner.content_bytes()
    }

    #[getter]
    fn target<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        match &self.inner.kind {
            EntryKind::Symlink { target } => Some(PyBytes::new(py, target)),
            _ => None,
        }
    }

    #[getter]
    fn device(&self) -> Option<(u32, u32)> {
        match self.inner.kind {
            EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
                Some((major, minor))
            }
            _ => None,
        }
    }

    #[getter]
    fn xattrs<'py>(&self, py: Python<'py>) -> Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let pair =
            |(name, value): &(Vec<u8>, Vec<u8>)| (PyBytes::new(py, name), PyBytes::new(py, value));
        self.inner.xattrs.iter().map(pair).collect()
    }

    #[getter]
    fn link_id(&self) -> Option<u64> {
        self.inner.link_id
    }

    #[getter]
    fn content(&self) -> &'static str {
        use holdfast_engine::content::Content;
        match &self.inner.kind {
            EntryKind::File { content, .. } => match content {
                Content::Inline(_) => "inline",
                Content::Pieces(_) => "pieces",
                Content::PiecesAt(_) => "pieces-at",
                Content::PageMap { .. } => "page-map",
                Content::PageMapAt { .. } => "page-map-at",
            },
            _ => "",
        }
    }

    fn locations(&self) -> Vec<String> {
        match &self.inner.kind {
            EntryKind::File { content, .. } => {
                content.locations().map(ToString::to_string).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// One difference between two trees.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct Change {
    kind: &'static str,
    path: Py<PyBytes>,
    before: Option<Py<Entry>>,
    after: Option<Py<Entry>>,
}

/// Reads snapshots.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Reader {
    /// The pipeline's own.
    pub inner: Arc<pipeline::reader::Reader>,
    cache: Cache,
}

#[pymethods]
impl Reader {
    #[new]
    fn new(index: &Index, keys: &KeyRing, source: &PackSource) -> PyResult<Self> {
        let inner = Arc::new(pipeline::reader::Reader {
            index: Arc::clone(&index.inner),
            keys: Arc::clone(&keys.inner),
            source: Arc::clone(&source.inner),
        });
        let cache = SegmentCache::new(Arc::clone(&inner), CACHE_BYTES).map_err(errors::pipeline)?;
        Ok(Self {
            inner,
            cache: Arc::new(Mutex::new(cache)),
        })
    }

    fn tree(&self, root: &str) -> PyResult<Tree> {
        Ok(Tree {
            root: root.parse().map_err(errors::engine)?,
            reader: Arc::clone(&self.inner),
            cache: Arc::clone(&self.cache),
        })
    }
}

/// A tree of one class.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Tree {
    /// Where its root node is.
    pub root: Location,
    reader: Arc<pipeline::reader::Reader>,
    cache: Cache,
}

#[pymethods]
impl Tree {
    fn lookup(&self, py: Python<'_>, path: &[u8]) -> PyResult<Option<Entry>> {
        let found = py.detach(|| lookup(self.root, path, &mut Shared(Arc::clone(&self.cache))));
        Ok(found.map_err(errors::engine)?.map(|inner| Entry { inner }))
    }

    fn list(&self, folder: Vec<u8>) -> Entries {
        self.entries(folder, true)
    }

    #[pyo3(signature = (prefix=Vec::new()))]
    fn walk(&self, prefix: Vec<u8>) -> Entries {
        self.entries(prefix, false)
    }

    fn diff(&self, other: &Self) -> Changes {
        Changes {
            state: Mutex::new((Diff::new(self.root, other.root), VecDeque::new())),
            lost: Mutex::default(),
            cache: Arc::clone(&self.cache),
            other: Arc::clone(&other.cache),
        }
    }

    #[pyo3(signature = (base, batch))]
    fn catalog_rows(&self, base: Option<&Self>, batch: usize) -> CatalogRows {
        match base {
            None => CatalogRows::whole(Cursor::new(self.root), &self.cache, batch),
            Some(base) => {
                CatalogRows::difference(Diff::new(base.root, self.root), &self.cache, batch)
            }
        }
    }

    fn references(&self, py: Python<'_>) -> PyResult<RefSet> {
        let found = py.detach(|| pipeline::references::references(&self.reader, self.root));
        Ok(RefSet::from(found.map_err(errors::pipeline)?))
    }
}

impl Tree {
    fn entries(&self, path: Vec<u8>, children: bool) -> Entries {
        let walk = Walk {
            cursor: Cursor::new(self.root),
            path,
            children,
            is_begun: false,
            is_ended: false,
        };
        Entries {
            state: Mutex::new((walk, VecDeque::new())),
            lost: Mutex::default(),
            cache: Arc::clone(&self.cache),
        }
    }
}

/// A walk of a folder: everything at and under it, or its children only.
struct Walk {
    cursor: Cursor,
    path: Vec<u8>,
    children: bool,
    is_begun: bool,
    is_ended: bool,
}

impl Walk {
    fn fill(
        &mut self,
        batch: &mut VecDeque<EngineEntry>,
        source: &mut dyn NodeSource,
    ) -> Result<(), EngineError> {
        if !self.is_begun {
            self.cursor.seek(&self.path, source)?;
            self.is_begun = true;
        }
        while batch.len() < BATCH && !self.is_ended {
            let Some(entry) = self
                .cursor
                .next(source)?
                .filter(|entry| is_under(&entry.path, &self.path))
            else {
                self.is_ended = true;
                break;
            };
            if !self.children {
                batch.push_back(entry);
                continue;
            }
            let path = entry.path.clone();
            let start = if self.path.is_empty() {
                0
            } else {
                self.path.len() + 1
            };
            let below = path.get(start..).unwrap_or_default();
            if below.is_empty() {
                continue;
            }
            if let Some(end) = below.iter().position(|byte| *byte == b'/') {
                // A child that this tree does not hold itself: its descendants are no children.
                let child = path.get(..start + end).unwrap_or_default();
                self.cursor.skip_under(child, source)?;
                continue;
            }
            let is_folder = matches!(entry.kind, EntryKind::Folder);
            batch.push_back(entry);
            if is_folder {
                self.cursor.skip_under(&path, source)?;
            }
        }
        Ok(())
    }
}

/// Entries in order. Parts that cannot be read are passed over; damage is the last answer then.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Entries {
    state: Mutex<(Walk, VecDeque<EngineEntry>)>,
    lost: Mutex<Left>,
    cache: Cache,
}

#[pymethods]
impl Entries {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Entry>> {
        if let Some(inner) = self
            .state
            .try_lock()
            .and_then(|mut state| state.1.pop_front())
        {
            return Ok(Some(Entry { inner }));
        }
        let next = py.detach(|| {
            let mut state = self.state.lock();
            let (walk, batch) = &mut *state;
            let mut lost = self.lost.lock();
            while batch.is_empty() {
                match walk.fill(batch, &mut Shared(Arc::clone(&self.cache))) {
                    Ok(()) => break,
                    Err(error) => lost.note(error, || walk.cursor.skip_lost())?,
                }
            }
            if batch.is_empty() {
                lost.end()?;
            }
            Ok(batch.pop_front())
        });
        Ok(next.map_err(errors::engine)?.map(|inner| Entry { inner }))
    }
}

/// Differences in order. Parts that cannot be read are passed over, in both trees; damage is the last answer then.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Changes {
    state: Mutex<(Diff, VecDeque<EngineChange>)>,
    lost: Mutex<Left>,
    cache: Cache,
    other: Cache,
}

/// Two trees may be read by different readers: what one does not find, the other may.
struct Either(Cache, Cache);

impl NodeSource for Either {
    fn get(&mut self, role: Role, location: &Location) -> Result<Vec<u8>, EngineError> {
        let first = self.0.lock().get(role, location);
        match first {
            Err(_) if !Arc::ptr_eq(&self.0, &self.1) => self.1.lock().get(role, location),
            first => first,
        }
    }
}

#[pymethods]
impl Changes {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Change>> {
        let next = py.detach(|| {
            let mut state = self.state.lock();
            let (diff, batch) = &mut *state;
            let mut lost = self.lost.lock();
            let mut source = Either(Arc::clone(&self.cache), Arc::clone(&self.other));
            while batch.len() < BATCH {
                match diff.next(&mut source) {
                    Ok(Some(change)) => batch.push_back(change),
                    Ok(None) => break,
                    Err(error) => lost.note(error, || diff.skip_lost())?,
                }
            }
            if batch.is_empty() {
                lost.end()?;
            }
            Ok(batch.pop_front())
        });
        next.map_err(errors::engine)?
            .map(|change| change_of(py, change))
            .transpose()
    }
}

fn change_of(py: Python<'_>, change: EngineChange) -> PyResult<Change> {
    let (kind, before, after) = match change {
        EngineChange::Added(new) => ("added", None, Some(new)),
        EngineChange::Removed(old) => ("removed", Some(old), None),
        EngineChange::Changed { old, new } => (
            if is_same_content(&old, &new) {
                "metadata"
            } else {
                "changed"
            },
            Some(old),
            Some(new),
        ),
    };
    let path = after
        .as_ref()
        .or(before.as_ref())
        .map_or(&[][..], |entry| &entry.path);
    let path = PyBytes::new(py, path).unbind();
    let entry =
        |entry: Option<EngineEntry>| entry.map(|inner| Py::new(py, Entry { inner })).transpose();
    Ok(Change {
        kind,
        path,
        before: entry(before)?,
        after: entry(after)?,
    })
}

fn is_same_content(old: &EngineEntry, new: &EngineEntry) -> bool {
    old.kind == new.kind
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Entry>()?;
    module.add_class::<Change>()?;
    module.add_class::<Reader>()?;
    module.add_class::<Tree>()?;
    module.add_class::<Entries>()?;
    module.add_class::<Changes>()
}
