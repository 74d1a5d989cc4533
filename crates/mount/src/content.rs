//! The content of one file of a snapshot at any offset. Every byte handed out was proved: by its segment's seal, and a page by its id.
use std::sync::Arc;

use holdfast_engine::content::{Content, Piece, parse_group_list, parse_piece_list};
use holdfast_engine::group::PageGroup;
use holdfast_engine::limits::MAP_GROUP_PAGES;
use holdfast_engine::tree::NodeSource;
use holdfast_engine::{Error as EngineError, Location, Role};
use holdfast_pipeline::Error;
use holdfast_pipeline::reader::unwrap_outside;
use holdfast_pipeline::spans::Pages;
use parking_lot::Mutex;

use crate::segments::{Nodes, Segments};

/// Groups of a page map kept for one open file: 32 of 2 MiB each at 8 KiB pages.
const GROUPS_KEPT: usize = 32;

const NO_FIT: EngineError = EngineError::Damaged {
    what: "the pieces of a file do not add up to its size",
};

/// Which kind of range a seek looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// Bytes.
    Data,
    /// A hole, or the end of the file.
    Hole,
}

/// A file of a snapshot, opened for reading at any offset.
pub struct Lower {
    size: u64,
    layout: Layout,
}

enum Layout {
    Inline(Vec<u8>),
    /// Pieces, and where each ends in the file.
    Pieces(Vec<(u64, Piece)>),
    Map {
        log2: u8,
        groups: Vec<Location>,
        parsed: Mutex<Vec<(usize, Arc<PageGroup>)>>,
    },
}

impl Lower {
    /// Reads what says where the bytes are; not the bytes.
    pub fn open(size: u64, content: &Content, segments: &Segments) -> Result<Self, Error> {
        let mut nodes = Nodes(segments);
        let layout = match content {
            Content::Inline(bytes) => Layout::Inline(bytes.clone()),
            Content::Pieces(pieces) => Layout::Pieces(ends(pieces.iter().copied())),
            Content::PiecesAt(lists) => {
                let mut pieces = Vec::new();
                for list in lists {
                    let bytes = nodes.get(Role::Pieces, list).map_err(unwrap_outside)?;
                    pieces.extend(parse_piece_list(&bytes)?);
                }
                Layout::Pieces(ends(pieces.into_iter()))
            }
            Content::PageMap {
                page_size_log2,
                groups,
            } => Layout::map(*page_size_log2, groups.clone()),
            Content::PageMapAt {
                page_size_log2,
                lists,
            } => {
                let mut groups = Vec::new();
                for list in lists {
                    let bytes = nodes.get(Role::Pieces, list).map_err(unwrap_outside)?;
                    groups.extend(parse_group_list(&bytes)?);
                }
                Layout::map(*page_size_log2, groups)
            }
        };
        let lower = Self { size, layout };
        let fits = match &lower.layout {
            Layout::Inline(bytes) => bytes.len() as u64 == size,
            Layout::Pieces(pieces) => pieces.last().map_or(0, |(end, _)| *end) == size,
            Layout::Map { log2, groups, .. } => {
                groups.len() as u64 == size.div_ceil(group_bytes(*log2))
            }
        };
        if fits { Ok(lower) } else { Err(NO_FIT.into()) }
    }

    /// Its length.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Up to `len` bytes from `offset` on: fewer only at the end of the file.
    pub fn read(&self, segments: &Segments, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let end = offset.saturating_add(len as u64).min(self.size);
        let mut out = vec![0; end.saturating_sub(offset) as usize];
        let mut at = offset;
        while at < end {
            let rest = out
                .get_mut((at - offset) as usize..)
                .ok_or(Error::Internal("range of a read"))?;
            at += self.read_some(segments, at, rest)? as u64;
        }
        Ok(out)
    }

    /// Fills the front of `out` (zeros before) from one piece or run of pages; how much.
    fn read_some(&self, segments: &Segments, at: u64, out: &mut [u8]) -> Result<usize, Error> {
        match &self.layout {
            Layout::Inline(bytes) => copy(out, bytes.get(at as usize..).unwrap_or_default()),
            Layout::Pieces(pieces) => {
                let position = pieces.partition_point(|(end, _)| *end <= at);
                let (end, piece) = pieces.get(position).ok_or(NO_FIT)?;
                let Some(place) = piece.place else {
                    return Ok(((end - at) as usize).min(out.len()));
                };
                let segment = segments.segment(&place.origin, place.segment)?;
                let bytes = segment.chunk(Role::Chunk, place.chunk)?;
                if bytes.len() as u64 != piece.len {
                    return Err(EngineError::Damaged {
                        what: "length of a piece",
                    }
                    .into());
                }
                let skip = at - (end - piece.len);
                copy(out, bytes.get(skip as usize..).unwrap_or_default())
            }
            Layout::Map { log2, .. } => {
                let number = (at / group_bytes(*log2)) as usize;
                let group = self.group(segments, number)?;
                Self::read_pages(
                    segments,
                    &group,
                    at - number as u64 * group_bytes(*log2),
                    out,
                )
            }
        }
    }

    /// Fills the front of `out` from the extent of a group that holds its byte `at`.
    fn read_pages(
        segments: &Segments,
        group: &Arc<PageGroup>,
        at: u64,
        out: &mut [u8],
    ) -> Result<usize, Error> {
        let log2 = group.page_size_log2;
        let wanted = (at >> log2) as u32;
        let mut first_id = 0;
        for extent in &group.extents {
            if wanted >= first_id + extent.pages {
                first_id += extent.pages;
                continue;
            }
            let end = (u64::from(first_id + extent.pages) << log2).min(group.bytes_len());
            let len = ((end - at) as usize).min(out.len());
            let Some((location, first_page)) = extent.place else {
                return Ok(len);
            };
            // Whole pages around what is asked for: each is proved by its id.
            let begin = u64::from(wanted) << log2;
            let stop = (at + len as u64).next_multiple_of(1 << log2).min(end);
            let pages = Pages {
                location,
                first_page: first_page + (wanted - first_id),
                group: Arc::clone(group),
                first_id: wanted,
            };
            let segment = segments.segment(&location.origin, location.segment)?;
            let chunk = segment.chunk(Role::Pages, location.chunk)?;
            let page_bytes = segment
                .place
                .chunks
                .get(location.chunk as usize)
                .and_then(|chunk| chunk.page_bytes);
            let place = &segment.place;
            let keys = segments
                .reader()
                .keys
                .class(place.class, place.generation)?;
            let bytes = pages.check(keys, page_bytes, chunk, stop - begin)?;
            return copy(
                out.get_mut(..len).unwrap_or_default(),
                bytes.get((at - begin) as usize..).unwrap_or_default(),
            );
        }
        Err(NO_FIT.into())
    }

    fn group(&self, segments: &Segments, number: usize) -> Result<Arc<PageGroup>, Error> {
        let Layout::Map {
            log2,
            groups,
            parsed,
        } = &self.layout
        else {
            return Err(Error::Internal("no page map"));
        };
        if let Some((_, group)) = parsed.lock().iter().find(|(known, _)| *known == number) {
            return Ok(Arc::clone(group));
        }
        let location = groups.get(number).ok_or(NO_FIT)?;
        let bytes = Nodes(segments)
            .get(Role::Group, location)
            .map_err(unwrap_outside)?;
        let group = PageGroup::parse(&bytes)?;
        let start = number as u64 * group_bytes(*log2);
        let expected = (self.size - start).min(group_bytes(*log2));
        if group.page_size_log2 != *log2 || group.bytes_len() != expected {
            return Err(NO_FIT.into());
        }
        let group = Arc::new(group);
        let mut parsed = parsed.lock();
        if parsed.len() >= GROUPS_KEPT {
            parsed.remove(0);
        }
        parsed.push((number, Arc::clone(&group)));
        Ok(group)
    }

    /// The next offset of data or of a hole, from `offset` on; `None` if there is no data any more.
    pub fn seek(&self, segments: &Segments, offset: u64, what: Seek) -> Result<Option<u64>, Error> {
        let mut at = offset;
        while at < self.size {
            let (end, is_hole) = self.run_at(segments, at)?;
            if is_hole == (what == Seek::Hole) {
                return Ok(Some(at));
            }
            at = end;
        }
        Ok((what == Seek::Hole).then_some(self.size))
    }

    /// Where the piece or extent that holds a byte ends, and whether it is a hole.
    fn run_at(&self, segments: &Segments, at: u64) -> Result<(u64, bool), Error> {
        match &self.layout {
            Layout::Inline(_) => Ok((self.size, false)),
            Layout::Pieces(pieces) => {
                let position = pieces.partition_point(|(end, _)| *end <= at);
                let (end, piece) = pieces.get(position).ok_or(NO_FIT)?;
                Ok((*end, piece.place.is_none()))
            }
            Layout::Map { log2, .. } => {
                let number = (at / group_bytes(*log2)) as usize;
                let start = number as u64 * group_bytes(*log2);
                let group = self.group(segments, number)?;
                let mut pages = 0;
                for extent in &group.extents {
                    pages += extent.pages;
                    let end = start + (u64::from(pages) << log2).min(group.bytes_len());
                    if at < end {
                        return Ok((end, extent.place.is_none()));
                    }
                }
                Err(NO_FIT.into())
            }
        }
    }
}

impl Layout {
    fn map(log2: u8, groups: Vec<Location>) -> Self {
        Self::Map {
            log2,
            groups,
            parsed: Mutex::default(),
        }
    }
}

/// Bytes of a file that an entry itself says are a hole.
pub fn hole_bytes(content: &Content) -> u64 {
    match content {
        Content::Pieces(pieces) => pieces
            .iter()
            .filter(|piece| piece.place.is_none())
            .map(|piece| piece.len)
            .sum(),
        _ => 0,
    }
}

fn group_bytes(log2: u8) -> u64 {
    (MAP_GROUP_PAGES as u64) << log2
}

fn ends(pieces: impl Iterator<Item = Piece>) -> Vec<(u64, Piece)> {
    pieces
        .scan(0_u64, |end, piece| {
            *end = end.saturating_add(piece.len);
            Some((*end, piece))
        })
        .collect()
}

fn copy(out: &mut [u8], bytes: &[u8]) -> Result<usize, Error> {
    let len = out.len().min(bytes.len());
    match (out.get_mut(..len), bytes.get(..len)) {
        (Some(out), Some(bytes)) if len > 0 => out.copy_from_slice(bytes),
        _ => return Err(NO_FIT.into()),
    }
    Ok(len)
}
