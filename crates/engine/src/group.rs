//! One group of a page map: what 256 pages of a file are, and where.
use crate::error::Result;
use crate::id::{Id, Location};

/// A run of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// How many.
    pub pages: u32,
    /// The chunk of role 6 that holds them and the first page's number in it; `None`: a hole.
    pub place: Option<(Location, u32)>,
}

/// Up to 256 pages of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageGroup {
    /// log2 of the page size.
    pub page_size_log2: u8,
    /// Length of the last page: less than a page only at the end of the file.
    pub last_page_bytes: u32,
    /// The pages' ids; 16 zero bytes for a page of a hole.
    pub ids: Vec<Id>,
    /// Where the pages are, in order.
    pub extents: Vec<Extent>,
}

impl PageGroup {
    /// The id that stands for a page of a hole.
    pub const HOLE: Id = Id([0; 16]);

    /// The group as a chunk of role 4.
    pub fn encode(&self) -> Result<Vec<u8>> {
        todo!()
    }

    /// Parses a group.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        todo!()
    }

    /// Bytes of the file that the group covers.
    pub fn bytes_len(&self) -> u64 {
        todo!()
    }
}
