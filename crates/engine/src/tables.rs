//! The rows of a sorted index: fixed widths, each with a check of its own. Private to the machine that wrote them.
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::compress::Codec;
use crate::error::{Error, Result};
use crate::id::{ClassId, Generation, Id, PackKind, PackName, PackNonce, Role};
use crate::index_set::ChunkSpan;
use crate::sorted::PackRow;
use crate::wire::Reader;

pub(crate) const HEADER_BYTES: usize = 56;
pub(crate) const PACK_ROW: usize = 64;
pub(crate) const NONCE_ROW: usize = 36;
pub(crate) const SEGMENT_ROW: usize = 48;
pub(crate) const SPAN_ROW: usize = 4;
pub(crate) const ID_ROW: usize = 28;

const MAGIC: &[u8; 8] = b"HFSORT01";

pub(crate) const fn rotten() -> Error {
    Error::damaged("the local index")
}

/// 32 bits over a row: enough to tell rot from data, and to keep a rotten row from being an answer.
pub(crate) fn checksum(table: u8, bytes: &[u8]) -> u32 {
    let mut hasher = SipHasher13::new();
    hasher.write(&[table]);
    hasher.write(bytes);
    hasher.finish() as u32
}

/// Appends the check of what was appended since `start`.
fn seal(out: &mut Vec<u8>, table: u8, start: usize) {
    let check = checksum(table, out.get(start..).unwrap_or_default());
    out.extend_from_slice(&check.to_le_bytes());
}

/// Reads the fields of a row whose last four bytes are its check.
fn unseal(table: u8, row: &[u8]) -> Result<Reader<'_>> {
    let (fields, check) = row.split_last_chunk::<4>().ok_or(rotten())?;
    if checksum(table, fields) != u32::from_le_bytes(*check) {
        return Err(rotten());
    }
    Ok(Reader::new(fields))
}

/// Lengths of the tables, in the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub packs: u64,
    pub nonces: u64,
    pub segments: u64,
    pub chunks: u64,
}

impl Header {
    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(MAGIC);
        for count in [self.packs, self.nonces, self.segments, self.chunks] {
            out.extend_from_slice(&count.to_le_bytes());
        }
        out.resize(start + HEADER_BYTES - 4, 0);
        seal(out, b'h', start);
    }

    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut reader = unseal(b'h', bytes.get(..HEADER_BYTES).ok_or(rotten())?)?;
        if reader.take(8)? != MAGIC {
            return Err(rotten());
        }
        Ok(Self {
            packs: reader.u64()?,
            nonces: reader.u64()?,
            segments: reader.u64()?,
            chunks: reader.u64()?,
        })
    }
}

impl PackRow {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.name.0);
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.plain_bytes.to_le_bytes());
        out.extend_from_slice(&self.segments.to_le_bytes());
        out.extend_from_slice(&self.generation.0.to_le_bytes());
        out.extend_from_slice(&self.class.0.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, 0]);
        seal(out, b'p', start);
    }

    pub(crate) fn read(row: &[u8]) -> Result<Self> {
        let mut reader = unseal(b'p', row)?;
        Ok(Self {
            name: PackName(reader.array()?),
            size: reader.u64()?,
            plain_bytes: reader.u64()?,
            segments: reader.u32()?,
            generation: Generation(reader.u32()?),
            class: ClassId(reader.u16()?),
            kind: PackKind::try_from(reader.u8()?)?,
        })
    }
}

pub(crate) fn put_nonce(nonce: &PackNonce, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&nonce.0);
    seal(out, b'n', start);
}

pub(crate) fn read_nonce(row: &[u8]) -> Result<PackNonce> {
    unseal(b'n', row)?.array().map(PackNonce)
}

/// A segment: rows are sorted by nonce, then ordinal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentRow {
    pub nonce: u32,
    pub ordinal: u32,
    pub pack: u32,
    pub offset: u32,
    pub sealed_len: u32,
    pub plain_len: u32,
    pub spans_at: u64,
    pub spans: u32,
    pub spans_check: u32,
    pub codec: Codec,
}

impl SegmentRow {
    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let words = [
            self.nonce,
            self.ordinal,
            self.pack,
            self.offset,
            self.sealed_len,
            self.plain_len,
        ];
        for word in words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.spans_at.to_le_bytes());
        out.extend_from_slice(&self.spans.to_le_bytes());
        out.extend_from_slice(&self.spans_check.to_le_bytes());
        out.extend_from_slice(&[self.codec as u8, 0, 0, 0]);
        seal(out, b's', start);
    }

    pub fn read(row: &[u8]) -> Result<Self> {
        let mut reader = unseal(b's', row)?;
        Ok(Self {
            nonce: reader.u32()?,
            ordinal: reader.u32()?,
            pack: reader.u32()?,
            offset: reader.u32()?,
            sealed_len: reader.u32()?,
            plain_len: reader.u32()?,
            spans_at: reader.u64()?,
            spans: reader.u32()?,
            spans_check: reader.u32()?,
            codec: Codec::try_from(reader.u8()?)?,
        })
    }
}

/// A chunk's length, role and page size in four bytes; the segment's row has the check.
pub(crate) fn put_span(span: &ChunkSpan, out: &mut Vec<u8>) {
    let page = span.page_bytes.map_or(0, |bytes| bytes.ilog2() as u8 - 8);
    // A chunk fits a segment, whose plaintext is at most 2^24 bytes: one less is kept, as none is empty.
    let [a, b, c, _] = span.len.wrapping_sub(1).to_le_bytes();
    out.extend_from_slice(&[a, b, c, span.role as u8 | page << 4]);
}

pub(crate) fn read_span(row: [u8; SPAN_ROW]) -> Result<ChunkSpan> {
    let [a, b, c, kind] = row;
    Ok(ChunkSpan {
        len: u32::from_le_bytes([a, b, c, 0]) + 1,
        role: Role::try_from(kind & 15)?,
        page_bytes: match kind >> 4 {
            0 => None,
            page => Some(1 << (page + 8)),
        },
    })
}

/// An id and the chunk that holds its content: rows are sorted by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdRow {
    pub id: Id,
    pub segment: u32,
    pub chunk: u32,
}

impl IdRow {
    pub fn put(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.chunk.to_le_bytes());
        seal(out, b'i', start);
    }

    pub fn read(row: &[u8]) -> Result<Self> {
        let mut reader = unseal(b'i', row)?;
        Ok(Self {
            id: Id(reader.array()?),
            segment: reader.u32()?,
            chunk: reader.u32()?,
        })
    }
}
