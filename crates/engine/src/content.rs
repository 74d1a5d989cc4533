//! How the content of a file is named: inline, in pieces, or as a page map. And the coding of locations.
use crate::error::Result;
use crate::id::{Location, Origin};
use crate::wire::Reader;

/// A run of a file's bytes: one whole chunk, or a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes.
    pub len: u64,
    /// The chunk that holds them; `None`: a hole.
    pub place: Option<Location>,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In the entry itself; at most 64 bytes.
    Inline(Vec<u8>),
    /// In these chunks; at most 32 pieces.
    Pieces(Vec<Piece>),
    /// In the chunks that these piece lists name, one after the other.
    PiecesAt(Vec<Location>),
    /// In pages: one group per 256 pages.
    PageMap {
        /// log2 of the page size.
        page_size_log2: u8,
        /// The groups, in order.
        groups: Vec<Location>,
    },
    /// In pages, with the list of groups elsewhere.
    PageMapAt {
        /// log2 of the page size.
        page_size_log2: u8,
        /// The group lists, in order.
        lists: Vec<Location>,
    },
}

/// The table of origins of one node or list, while it is written.
#[derive(Debug, Default)]
pub struct LocationEncoder {}

impl LocationEncoder {
    /// Appends a location, relative to the one before.
    pub fn put(&mut self, out: &mut Vec<u8>, location: &Location) {
        todo!()
    }

    /// Appends the origin table (`varint count`, then the origins), which stands before the locations.
    pub fn put_table(&self, out: &mut Vec<u8>) {
        todo!()
    }

    /// Starts anew, keeping the memory.
    pub fn clear(&mut self) {
        todo!()
    }
}

/// Reads locations behind their origin table.
#[derive(Debug)]
pub struct LocationDecoder {
    origins: Vec<Origin>,
}

impl LocationDecoder {
    /// Reads the origin table.
    pub fn read_table(reader: &mut Reader<'_>) -> Result<Self> {
        todo!()
    }

    /// Reads the next location.
    pub fn read(&mut self, reader: &mut Reader<'_>) -> Result<Location> {
        todo!()
    }
}

impl Content {
    /// Appends the content of a file, as it stands in an entry.
    pub fn encode(&self, out: &mut Vec<u8>, locations: &mut LocationEncoder) -> Result<()> {
        todo!()
    }

    /// Reads the content of a file of `size` bytes, as it stands in an entry.
    pub fn read(
        reader: &mut Reader<'_>,
        size: u64,
        locations: &mut LocationDecoder,
    ) -> Result<Self> {
        todo!()
    }
}

/// A piece list as a chunk of its own (role 3).
pub fn encode_piece_list(pieces: &[Piece]) -> Result<Vec<u8>> {
    todo!()
}

/// Parses a chunk of role 3 that holds pieces.
pub fn parse_piece_list(bytes: &[u8]) -> Result<Vec<Piece>> {
    todo!()
}

/// A group list as a chunk of its own (role 3).
pub fn encode_group_list(groups: &[Location]) -> Result<Vec<u8>> {
    todo!()
}

/// Parses a chunk of role 3 that holds the locations of groups.
pub fn parse_group_list(bytes: &[u8]) -> Result<Vec<Location>> {
    todo!()
}
