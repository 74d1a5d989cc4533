//! What is restored in one go: files and the pieces they need, bounded in number, to be sorted by where they are read.
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use holdfast_engine::entry::Entry;
use holdfast_engine::index_set::{IndexSet, SegmentPlace};
use holdfast_engine::{Location, Origin};

use super::attributes::Attributes;
use super::folders::Folder;
use super::large::LargeFile;
use crate::Error;
use crate::spans::{From, Pages, Span};

const SMALL_MAX: usize = 150_000;
const LARGE_MAX: usize = 16_384;
const PIECES_MAX: usize = 600_000;
const PAGES_MAX: usize = 65_536;
const GROUPS_MAX: usize = 4_096;
const FOLDERS_MAX: usize = 50_000;
const INLINE_BYTES_MAX: usize = 8 << 20;
const CHUNK_ROWS_MAX: usize = 1_500_000;
/// Bytes of a pack that may be read for nothing to save a read.
const GAP_BYTES_MAX: u64 = 64 << 10;

/// A file, as it is to stand in the target.
pub struct Place {
    /// Where.
    pub folder: Arc<Folder>,
    /// Under which name.
    pub name: Box<[u8]>,
    /// What takes the name now is to be replaced.
    pub is_replaced: bool,
    /// The class it comes from, for findings.
    pub class: u16,
}

impl Place {
    /// The path in the tree.
    pub fn path(&self) -> Vec<u8> {
        join(&self.folder.path, &self.name)
    }
}

/// The path of a name in a folder.
pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() {
        name.to_vec()
    } else {
        [folder, b"/", name].concat()
    }
}

/// The path of the folder that a path is in.
pub fn parent_of(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path.get(..end).unwrap_or_default()
}

/// The name at the end of a path.
pub fn last_name(path: &[u8]) -> &[u8] {
    let start = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |at| at + 1);
    path.get(start..).unwrap_or(path)
}

/// The first file of a group of hard links; the others are linked to it once it is whole.
pub struct FirstLink {
    /// Where it stands.
    pub folder: Arc<Folder>,
    /// Its name.
    pub name: Box<[u8]>,
    /// It is whole, and of this restore.
    pub is_done: AtomicBool,
}

/// A file of at most one chunk, made in one go.
pub struct SmallFile {
    /// Where to.
    pub place: Place,
    /// What it has besides content.
    pub attributes: Attributes,
    /// Set if others are links to it.
    pub first: Option<Arc<FirstLink>>,
}

/// What needs no segment.
pub enum Direct {
    /// A small file with its content.
    File(SmallFile, Vec<u8>),
    /// A link, pipe or device.
    Special(Place, Attributes, Box<Entry>),
}

/// A further name of a file.
pub struct Link {
    /// Where.
    pub place: Place,
    /// The file.
    pub first: Arc<FirstLink>,
}

/// Who a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A small file of the window, which it fills.
    Small(u32),
    /// A part of a large file of the window.
    Large(u32),
}

/// A span of a file that a segment holds.
pub struct Piece {
    /// Position among the window's segments.
    pub need: u32,
    /// The chunk in the segment.
    pub chunk: u32,
    /// The file.
    pub owner: Owner,
    /// Where in the file.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
    /// Position among the window's page runs.
    pub pages: Option<u32>,
}

/// A segment that the window needs.
pub struct Need {
    /// Its origin.
    pub origin: Origin,
    /// Its number in the origin.
    pub ordinal: u32,
    /// Its first copy, if any is known.
    pub place: Option<SegmentPlace>,
}

/// What is restored in one go.
#[derive(Default)]
pub struct Window {
    /// Files of one chunk.
    pub small: Vec<SmallFile>,
    /// Files of many, some begun in an earlier window.
    pub large: Vec<Arc<LargeFile>>,
    /// What needs no segment.
    pub direct: Vec<Direct>,
    /// Made when the files are.
    pub links: Vec<Link>,
    /// Folders that nothing more goes into, deepest first.
    pub folders: Vec<(Arc<Folder>, Attributes, u16)>,
    /// Segments.
    pub needs: Vec<Need>,
    /// Spans, sorted by [`Self::batches`].
    pub pieces: Vec<Piece>,
    /// Runs of pages.
    pub pages: Vec<Pages>,
    known: HashMap<(Origin, u32), u32>,
    chunk_rows: usize,
    inline_bytes: usize,
    groups: usize,
}

/// Neighbouring segments of one pack, read at once.
pub struct Batch {
    /// Positions in [`Window::pieces`].
    pub pieces: Range<usize>,
    /// The bytes of the pack; empty if no copy is known.
    pub bytes: Range<u64>,
}

impl Window {
    /// Whether it is time to restore what is here.
    pub fn is_full(&self) -> bool {
        self.small.len() + self.direct.len() >= SMALL_MAX
            || self.large.len() >= LARGE_MAX
            || self.pieces.len() >= PIECES_MAX
            || self.pages.len() >= PAGES_MAX
            || self.groups >= GROUPS_MAX
            || self.folders.len() + self.links.len() >= FOLDERS_MAX
            || self.inline_bytes >= INLINE_BYTES_MAX
            || self.chunk_rows >= CHUNK_ROWS_MAX
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.small.is_empty()
            && self.large.is_empty()
            && self.direct.is_empty()
            && self.links.is_empty()
            && self.folders.is_empty()
    }

    /// Adds a file or other thing that needs no segment.
    pub fn add_direct(&mut self, direct: Direct) {
        self.inline_bytes += match &direct {
            Direct::File(_, bytes) => bytes.len(),
            Direct::Special(..) => 0,
        };
        self.direct.push(direct);
    }

    /// Adds a span of a file, unless it is a hole. True if it was added.
    pub fn add_span(&mut self, span: &Span, owner: Owner, index: &IndexSet) -> Result<bool, Error> {
        let (location, pages) = match &span.from {
            From::Hole | From::Inline(_) => return Ok(false),
            From::Chunk(location) => (*location, None),
            From::Pages(pages) => (pages.location, Some(self.add_pages(pages))),
        };
        let need = self.need(&location, index)?;
        self.pieces.push(Piece {
            need,
            chunk: location.chunk,
            owner,
            offset: span.offset,
            len: span.len,
            pages,
        });
        Ok(true)
    }

    fn add_pages(&mut self, pages: &Pages) -> u32 {
        let same = self
            .pages
            .last()
            .is_some_and(|last| Arc::ptr_eq(&last.group, &pages.group));
        self.groups += usize::from(!same);
        self.pages.push(pages.clone());
        self.pages.len() as u32 - 1
    }

    fn need(&mut self, location: &Location, index: &IndexSet) -> Result<u32, Error> {
        let key = (location.origin, location.segment);
        if let Some(need) = self.known.get(&key) {
            return Ok(*need);
        }
        let place = index.lookup_segment(&key.0, key.1)?.into_iter().next();
        self.chunk_rows += place.as_ref().map_or(0, |place| place.chunks.len());
        self.needs.push(Need {
            origin: key.0,
            ordinal: key.1,
            place,
        });
        let need = self.needs.len() as u32 - 1;
        self.known.insert(key, need);
        Ok(need)
    }

    /// Sorts the pieces by where they lie, and says what is read at once: up to `span_bytes`, at least one segment.
    pub fn batches(&mut self, span_bytes: u64) -> Vec<Batch> {
        self.known = HashMap::new();
        let mut order: Vec<u32> = (0..self.needs.len() as u32).collect();
        let key = |need: &u32| {
            let place = self
                .needs
                .get(*need as usize)
                .and_then(|need| need.place.as_ref());
            place.map(|place| (place.pack, place.offset))
        };
        order.sort_unstable_by_key(key);
        let mut rank = vec![0_u32; order.len()];
        for (position, need) in order.iter().enumerate() {
            if let Some(rank) = rank.get_mut(*need as usize) {
                *rank = position as u32;
            }
        }
        let rank_of = |need: u32| rank.get(need as usize).copied().unwrap_or(0);
        self.pieces.sort_unstable_by_key(|piece| {
            (rank_of(piece.need), piece.chunk, piece.owner, piece.offset)
        });
        let mut batches: Vec<Batch> = Vec::new();
        let mut start = 0;
        for run in self.pieces.chunk_by(|a, b| a.need == b.need) {
            let pieces = start..start + run.len();
            start = pieces.end;
            let need = run.first().map_or(0, |piece| piece.need);
            self.add_run(&mut batches, pieces, need, span_bytes);
        }
        batches
    }

    /// Lengthens the last batch by the pieces of one segment, or begins another.
    fn add_run(&self, batches: &mut Vec<Batch>, pieces: Range<usize>, need: u32, span_bytes: u64) {
        let place_of = |need: u32| {
            self.needs
                .get(need as usize)
                .and_then(|need| need.place.as_ref())
        };
        let bytes = place_of(need).map_or(0..0, |place| {
            place.offset..place.offset + u64::from(place.sealed_len)
        });
        if let (Some(last), Some(place)) = (batches.last_mut(), place_of(need)) {
            let before = self
                .pieces
                .get(last.pieces.start)
                .and_then(|piece| place_of(piece.need));
            let same = before.is_some_and(|before| before.pack == place.pack);
            let near =
                bytes.start >= last.bytes.end && bytes.start - last.bytes.end <= GAP_BYTES_MAX;
            if same && near && bytes.end - last.bytes.start <= span_bytes {
                last.pieces.end = pieces.end;
                last.bytes.end = bytes.end;
                return;
            }
        }
        batches.push(Batch { pieces, bytes });
    }
}
