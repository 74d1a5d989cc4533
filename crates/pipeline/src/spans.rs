//! The content of a file as spans in order, lists and page maps followed. Reads metadata only; proves that all adds up.
use std::sync::Arc;

use holdfast_engine::content::{Content, Piece, parse_group_list, parse_piece_list};
use holdfast_engine::group::PageGroup;
use holdfast_engine::limits::MAP_GROUP_PAGES;
use holdfast_engine::tree::NodeSource;
use holdfast_engine::{ClassKeys, Error, Id, Location, Result, Role};

/// A run of a file's bytes.
#[derive(Debug, Clone)]
pub struct Span {
    /// Where in the file.
    pub offset: u64,
    /// How many bytes; never 0.
    pub len: u64,
    /// Where they come from.
    pub from: From,
}

/// Where bytes of a file come from.
#[derive(Debug, Clone)]
pub enum From {
    /// Zeros, restored as a hole.
    Hole,
    /// The entry itself.
    Inline(Vec<u8>),
    /// A whole chunk of role 1.
    Chunk(Location),
    /// Some pages of a chunk of role 6.
    Pages(Pages),
}

/// Some pages of a chunk of role 6.
#[derive(Debug, Clone)]
pub struct Pages {
    /// The chunk.
    pub location: Location,
    /// The first page's number in it.
    pub first_page: u32,
    /// The group that names the pages.
    pub group: Arc<PageGroup>,
    /// The first page's number in the group.
    pub first_id: u32,
}

impl Pages {
    /// The bytes of the span within the chunk, with each page's id recomputed and compared.
    pub fn check<'a>(
        &self,
        keys: &ClassKeys,
        page_bytes: Option<u32>,
        chunk: &'a [u8],
        len: u64,
    ) -> Result<&'a [u8]> {
        const WRONG: Error = Error::Damaged {
            what: "a page is not what its map says",
        };
        let page = 1_usize << self.group.page_size_log2;
        if page_bytes != Some(page as u32) {
            return Err(WRONG);
        }
        let start = self.first_page as usize * page;
        let bytes = chunk.get(start..start + len as usize).ok_or(WRONG)?;
        let ids: &[Id] = self.group.ids.get(self.first_id as usize..).ok_or(WRONG)?;
        for (count, page) in bytes.chunks(page).enumerate() {
            if ids.get(count) != Some(&keys.page_id(page)) {
                return Err(WRONG);
            }
        }
        Ok(bytes)
    }
}

const NO_FIT: Error = Error::Damaged {
    what: "the pieces of a file do not add up to its size",
};

/// The spans of a file, in order, handed out one list or group at a time.
pub struct Spans {
    size: u64,
    offset: u64,
    parts: std::vec::IntoIter<Part>,
    page_size_log2: u8,
}

enum Part {
    Inline(Vec<u8>),
    Pieces(Vec<Piece>),
    PieceList(Location),
    GroupList(Location),
    Group(Location),
}

impl Spans {
    /// The spans of a file of `size` bytes.
    pub fn new(size: u64, content: &Content) -> Self {
        let (parts, page_size_log2): (Vec<Part>, u8) = match content {
            Content::Inline(bytes) => (vec![Part::Inline(bytes.clone())], 0),
            Content::Pieces(pieces) => (vec![Part::Pieces(pieces.clone())], 0),
            Content::PiecesAt(lists) => (lists.iter().copied().map(Part::PieceList).collect(), 0),
            Content::PageMap {
                page_size_log2,
                groups,
            } => (
                groups.iter().copied().map(Part::Group).collect(),
                *page_size_log2,
            ),
            Content::PageMapAt {
                page_size_log2,
                lists,
            } => (
                lists.iter().copied().map(Part::GroupList).collect(),
                *page_size_log2,
            ),
        };
        Self {
            size,
            offset: 0,
            parts: parts.into_iter(),
            page_size_log2,
        }
    }

    /// The next spans (perhaps none), or `None` at the end of the file. What was handed out before an error stays right.
    pub fn next(&mut self, nodes: &mut dyn NodeSource) -> Result<Option<Vec<Span>>> {
        let Some(part) = self.parts.next() else {
            return if self.offset == self.size {
                Ok(None)
            } else {
                Err(NO_FIT)
            };
        };
        let mut spans = Vec::new();
        match part {
            Part::Inline(bytes) => {
                let len = bytes.len() as u64;
                self.push(&mut spans, len, From::Inline(bytes))?;
            }
            Part::Pieces(pieces) => self.pieces(&mut spans, &pieces)?,
            Part::PieceList(list) => {
                let bytes = nodes.get(Role::Pieces, &list)?;
                self.pieces(&mut spans, &parse_piece_list(&bytes)?)?;
            }
            Part::GroupList(list) => {
                let groups = parse_group_list(&nodes.get(Role::Pieces, &list)?)?;
                let rest = std::mem::take(&mut self.parts);
                let parts: Vec<Part> = groups.into_iter().map(Part::Group).chain(rest).collect();
                self.parts = parts.into_iter();
            }
            Part::Group(group) => {
                let bytes = nodes.get(Role::Group, &group)?;
                self.group(&mut spans, &Arc::new(PageGroup::parse(&bytes)?))?;
            }
        }
        Ok(Some(spans))
    }

    fn push(&mut self, spans: &mut Vec<Span>, len: u64, from: From) -> Result<()> {
        let end = self
            .offset
            .checked_add(len)
            .filter(|end| *end <= self.size)
            .ok_or(NO_FIT)?;
        if len > 0 {
            spans.push(Span {
                offset: self.offset,
                len,
                from,
            });
        }
        self.offset = end;
        Ok(())
    }

    fn pieces(&mut self, spans: &mut Vec<Span>, pieces: &[Piece]) -> Result<()> {
        for piece in pieces {
            self.push(
                spans,
                piece.len,
                piece.place.map_or(From::Hole, From::Chunk),
            )?;
        }
        Ok(())
    }

    fn group(&mut self, spans: &mut Vec<Span>, group: &Arc<PageGroup>) -> Result<()> {
        let end = self.offset.checked_add(group.bytes_len()).ok_or(NO_FIT)?;
        let full =
            group.ids.len() == MAP_GROUP_PAGES && group.last_page_bytes == 1 << self.page_size_log2;
        if group.page_size_log2 != self.page_size_log2 || (end != self.size && !full) {
            return Err(NO_FIT);
        }
        let mut first_id = 0;
        for extent in &group.extents {
            let bytes = u64::from(extent.pages) << self.page_size_log2;
            let len = bytes.min(end.saturating_sub(self.offset));
            let from = match extent.place {
                None => From::Hole,
                Some((location, first_page)) => From::Pages(Pages {
                    location,
                    first_page,
                    group: Arc::clone(group),
                    first_id,
                }),
            };
            self.push(spans, len, from)?;
            first_id += extent.pages;
        }
        if self.offset == end {
            Ok(())
        } else {
            Err(NO_FIT)
        }
    }
}
