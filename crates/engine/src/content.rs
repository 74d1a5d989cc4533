//! How the content of a file is named: inline, in pieces, or as a page map.
use crate::error::{Error, Result};
use crate::id::Location;
use crate::limits;
use crate::locations::{LOCATION_BYTES_MAX, LOCATION_BYTES_MIN, LocationDecoder, LocationEncoder};
use crate::wire::{Reader, put_varint};

/// log2 of the page sizes that a page map may have.
pub const PAGE_SIZES_LOG2: std::ops::RangeInclusive<u8> = 9..=16;

/// A run of a file's bytes: one whole chunk, or a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Piece {
    /// How many bytes; never 0.
    pub len: u64,
    /// The chunk that holds them; `None`: a hole.
    pub place: Option<Location>,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

impl Content {
    /// Refuses content that cannot be that of a file of `size` bytes, as far as can be told without reading it.
    pub fn check(&self, size: u64) -> Result<()> {
        let fits = match self {
            Self::Inline(bytes) => {
                bytes.len() as u64 == size && bytes.len() <= limits::INLINE_BYTES_MAX
            }
            Self::Pieces(pieces) => {
                pieces.len() <= limits::PIECES_INLINE_MAX && total_len(pieces)? == size
            }
            Self::PiecesAt(lists) => lists.len() <= limits::LIST_ITEMS_MAX,
            Self::PageMap {
                page_size_log2,
                groups,
            } => {
                PAGE_SIZES_LOG2.contains(page_size_log2)
                    && groups.len() as u64 == groups_of(size, *page_size_log2)
                    && groups.len() <= limits::LIST_ITEMS_MAX
            }
            Self::PageMapAt {
                page_size_log2,
                lists,
            } => PAGE_SIZES_LOG2.contains(page_size_log2) && lists.len() <= limits::LIST_ITEMS_MAX,
        };
        if fits {
            Ok(())
        } else {
            Err(Error::misuse("content that does not fit its file"))
        }
    }

    /// Every location that the content names.
    pub fn locations(&self) -> impl Iterator<Item = &Location> + '_ {
        let (pieces, places): (&[Piece], &[Location]) = match self {
            Self::Inline(_) => (&[], &[]),
            Self::Pieces(pieces) => (pieces, &[]),
            Self::PiecesAt(places)
            | Self::PageMap { groups: places, .. }
            | Self::PageMapAt { lists: places, .. } => (&[], places),
        };
        pieces
            .iter()
            .filter_map(|piece| piece.place.as_ref())
            .chain(places)
    }

    /// Bytes that [`Self::encode`] appends, at most, with what it adds to the origin table.
    pub(crate) fn encoded_len_max(&self) -> usize {
        match self {
            Self::Inline(bytes) => 1 + bytes.len(),
            Self::Pieces(pieces) => 11 + pieces.len() * (10 + LOCATION_BYTES_MAX),
            Self::PiecesAt(places)
            | Self::PageMap { groups: places, .. }
            | Self::PageMapAt { lists: places, .. } => 12 + places.len() * LOCATION_BYTES_MAX,
        }
    }

    /// Appends the content as it stands in an entry. [`Self::check`] comes first.
    pub fn encode(&self, out: &mut Vec<u8>, locations: &mut LocationEncoder) {
        match self {
            Self::Inline(bytes) => {
                out.push(0);
                out.extend_from_slice(bytes);
            }
            Self::Pieces(pieces) => {
                out.push(1);
                put_pieces(out, pieces, locations);
            }
            Self::PiecesAt(lists) => {
                out.push(2);
                put_locations(out, lists, locations);
            }
            Self::PageMap {
                page_size_log2,
                groups,
            } => {
                out.extend_from_slice(&[3, *page_size_log2]);
                put_locations(out, groups, locations);
            }
            Self::PageMapAt {
                page_size_log2,
                lists,
            } => {
                out.extend_from_slice(&[4, *page_size_log2]);
                put_locations(out, lists, locations);
            }
        }
    }

    /// Reads the content of a file of `size` bytes, as it stands in an entry.
    pub fn read(
        reader: &mut Reader<'_>,
        size: u64,
        locations: &mut LocationDecoder,
    ) -> Result<Self> {
        let content = match reader.u8()? {
            0 => {
                let length = usize::try_from(size)
                    .ok()
                    .filter(|length| *length <= limits::INLINE_BYTES_MAX);
                Self::Inline(
                    reader
                        .take(length.ok_or(Error::limit("inline content"))?)?
                        .to_vec(),
                )
            }
            1 => Self::Pieces(read_pieces(reader, limits::PIECES_INLINE_MAX, locations)?),
            2 => Self::PiecesAt(read_locations(reader, locations)?),
            3 => {
                let page_size_log2 = read_page_size(reader)?;
                Self::PageMap {
                    page_size_log2,
                    groups: read_locations(reader, locations)?,
                }
            }
            4 => {
                let page_size_log2 = read_page_size(reader)?;
                Self::PageMapAt {
                    page_size_log2,
                    lists: read_locations(reader, locations)?,
                }
            }
            _ => return Err(Error::damaged("tag of a content")),
        };
        content
            .check(size)
            .map_err(|_| Error::damaged("content does not fit its file"))?;
        Ok(content)
    }
}

/// How many groups a page map of a file has.
pub fn groups_of(size: u64, page_size_log2: u8) -> u64 {
    size.div_ceil(1 << page_size_log2)
        .div_ceil(limits::MAP_GROUP_PAGES as u64)
}

/// Bytes of a file that pieces cover; refuses an empty piece and a total beyond 63 bits.
pub fn total_len(pieces: &[Piece]) -> Result<u64> {
    let sum = pieces.iter().try_fold(0_u64, |sum, piece| {
        let sum = sum.checked_add(piece.len)?;
        (piece.len > 0 && sum.leading_zeros() > 0).then_some(sum)
    });
    sum.ok_or(Error::damaged("lengths of pieces"))
}

/// A piece list as a chunk of its own (role 3).
pub fn encode_piece_list(pieces: &[Piece]) -> Result<Vec<u8>> {
    if pieces.len() > limits::LIST_ITEMS_MAX {
        return Err(Error::limit("pieces of a list"));
    }
    total_len(pieces)?;
    with_table(|out, locations| put_pieces(out, pieces, locations))
}

/// Parses a chunk of role 3 that holds pieces.
pub fn parse_piece_list(bytes: &[u8]) -> Result<Vec<Piece>> {
    let (mut reader, mut locations) = open_list(bytes)?;
    let pieces = read_pieces(&mut reader, limits::LIST_ITEMS_MAX, &mut locations)?;
    reader.end("piece list")?;
    total_len(&pieces)?;
    Ok(pieces)
}

/// A group list as a chunk of its own (role 3).
pub fn encode_group_list(groups: &[Location]) -> Result<Vec<u8>> {
    if groups.len() > limits::LIST_ITEMS_MAX {
        return Err(Error::limit("groups of a list"));
    }
    with_table(|out, locations| put_locations(out, groups, locations))
}

/// Parses a chunk of role 3 that holds the locations of groups.
pub fn parse_group_list(bytes: &[u8]) -> Result<Vec<Location>> {
    let (mut reader, mut locations) = open_list(bytes)?;
    let groups = read_locations(&mut reader, &mut locations)?;
    reader.end("group list")?;
    Ok(groups)
}

fn with_table(write: impl FnOnce(&mut Vec<u8>, &mut LocationEncoder)) -> Result<Vec<u8>> {
    let mut locations = LocationEncoder::default();
    let mut body = Vec::new();
    write(&mut body, &mut locations);
    let mut out = vec![1];
    locations.put_table(&mut out);
    out.extend_from_slice(&body);
    if out.len() > limits::NODE_BYTES_MAX {
        Err(Error::limit("bytes of a list"))
    } else {
        Ok(out)
    }
}

fn open_list(bytes: &[u8]) -> Result<(Reader<'_>, LocationDecoder)> {
    if bytes.len() > limits::NODE_BYTES_MAX {
        return Err(Error::limit("bytes of a list"));
    }
    let mut reader = Reader::new(bytes);
    reader.version("list")?;
    let locations = LocationDecoder::read_table(&mut reader)?;
    Ok((reader, locations))
}

fn put_pieces(out: &mut Vec<u8>, pieces: &[Piece], locations: &mut LocationEncoder) {
    put_varint(out, pieces.len() as u64);
    for piece in pieces {
        put_varint(out, piece.len << 1 | u64::from(piece.place.is_none()));
        if let Some(place) = &piece.place {
            locations.put(out, place);
        }
    }
}

fn read_pieces(
    reader: &mut Reader<'_>,
    max: usize,
    locations: &mut LocationDecoder,
) -> Result<Vec<Piece>> {
    let count = reader.count(max.min(reader.rest().len()), "pieces of a list")?;
    (0..count)
        .map(|_| {
            let coded = reader.varint()?;
            let place = if coded & 1 == 0 {
                Some(locations.read(reader)?)
            } else {
                None
            };
            Ok(Piece {
                len: coded >> 1,
                place,
            })
        })
        .collect()
}

fn put_locations(out: &mut Vec<u8>, places: &[Location], locations: &mut LocationEncoder) {
    put_varint(out, places.len() as u64);
    for place in places {
        locations.put(out, place);
    }
}

fn read_locations(
    reader: &mut Reader<'_>,
    locations: &mut LocationDecoder,
) -> Result<Vec<Location>> {
    let max = limits::LIST_ITEMS_MAX.min(reader.rest().len() / LOCATION_BYTES_MIN);
    let count = reader.count(max, "locations of a list")?;
    (0..count).map(|_| locations.read(reader)).collect()
}

fn read_page_size(reader: &mut Reader<'_>) -> Result<u8> {
    let size = reader.varint()?;
    u8::try_from(size)
        .ok()
        .filter(|size| PAGE_SIZES_LOG2.contains(size))
        .ok_or(Error::damaged("page size"))
}
