//! What a pack holds: its segments and their chunks, sealed under the index key.
use std::collections::HashSet;

use crate::compress::Codec;
use crate::error::{Error, Result};
use crate::id::{Id, Role};
use crate::limits;
use crate::segment::TAG_BYTES;
use crate::wire::{Reader, put_varint};

/// The fewest bytes that a segment takes in a directory: seven fields.
const SEGMENT_BYTES_MIN: usize = 7;
/// The fewest bytes that a chunk takes: id, role, length.
const CHUNK_BYTES_MIN: usize = 18;

/// One chunk of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkInfo {
    /// The id of its content in its role.
    pub id: Id,
    /// What it holds.
    pub role: Role,
    /// Size of its pages, a power of two from 512 to 65536; with [`Role::Pages`] only.
    pub page_bytes: Option<u32>,
    /// Length of its plaintext.
    pub len: u32,
}

/// One segment of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Which of the pack's origins sealed it.
    pub origin_index: u16,
    /// Its number in that origin.
    pub ordinal: u32,
    /// Where it starts in the pack.
    pub offset: u64,
    /// Its stored length, tag included.
    pub sealed_len: u32,
    /// How its plaintext is coded.
    pub codec: Codec,
    /// Length of its plaintext.
    pub plain_len: u32,
    /// Its chunks, whose lengths add up to `plain_len`.
    pub chunks: Vec<ChunkInfo>,
}

/// All segments of one pack, back to back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// In the order of their offsets.
    pub segments: Vec<SegmentInfo>,
}

impl Directory {
    /// The plaintext of the directory.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        put_varint(&mut out, self.segments.len() as u64);
        for segment in &self.segments {
            segment.put(&mut out);
        }
        out
    }

    /// Parses a plaintext; checks every limit, that segments are back to back, and that no segment is there twice.
    pub fn parse(bytes: &[u8], origins: usize) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        reader.version("directory")?;
        let count = reader.count(bytes.len() / SEGMENT_BYTES_MIN, "segments of a pack")?;
        let mut segments: Vec<SegmentInfo> = Vec::with_capacity(count);
        let mut seen = HashSet::with_capacity(count);
        for _ in 0..count {
            let segment = SegmentInfo::read(&mut reader)?;
            let next = segments.last().map_or(segment.offset, SegmentInfo::end);
            if segment.offset != next {
                return Err(Error::damaged("segments are not back to back"));
            }
            if usize::from(segment.origin_index) >= origins {
                return Err(Error::damaged("origin of a segment"));
            }
            if !seen.insert((segment.origin_index, segment.ordinal)) {
                return Err(Error::damaged("a segment listed twice"));
            }
            segments.push(segment);
        }
        reader.end("directory")?;
        Ok(Self { segments })
    }

    /// Where the first segment starts and the last one ends; `None` without segments.
    pub fn span(&self) -> Option<(u64, u64)> {
        Some((self.segments.first()?.offset, self.segments.last()?.end()))
    }
}

impl SegmentInfo {
    /// Where the next segment starts.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.sealed_len)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.origin_index));
        put_varint(out, u64::from(self.ordinal));
        put_varint(out, self.offset);
        put_varint(out, u64::from(self.sealed_len));
        out.push(self.codec as u8);
        put_varint(out, u64::from(self.plain_len));
        put_varint(out, self.chunks.len() as u64);
        for chunk in &self.chunks {
            chunk.put(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let origin_index = reader.count(limits::PACK_ORIGINS_MAX - 1, "origins of a pack")? as u16;
        let ordinal = reader.varint_u32("ordinal of a segment")?;
        let offset = reader.count(limits::PACK_BYTES_MAX, "offset of a segment")? as u64;
        let sealed_len = reader.count(limits::PACK_BYTES_MAX, "stored length of a segment")? as u32;
        let codec = Codec::try_from(reader.u8()?)?;
        let plain_len =
            reader.count(limits::SEGMENT_PLAIN_BYTES_MAX, "plaintext of a segment")? as u32;
        let raw_len = u64::from(plain_len) + TAG_BYTES as u64;
        if (sealed_len as usize) < TAG_BYTES
            || (codec == Codec::Raw && u64::from(sealed_len) != raw_len)
        {
            return Err(Error::damaged("stored length of a segment"));
        }
        let most = limits::SEGMENT_CHUNKS_MAX.min(reader.rest().len() / CHUNK_BYTES_MIN);
        let count = reader.count(most, "chunks of a segment")?;
        let mut chunks = Vec::with_capacity(count);
        let mut total = 0;
        for _ in 0..count {
            let chunk = ChunkInfo::read(reader)?;
            total += u64::from(chunk.len);
            chunks.push(chunk);
        }
        if total != u64::from(plain_len) {
            return Err(Error::damaged("chunks of a segment do not add up"));
        }
        Ok(Self {
            origin_index,
            ordinal,
            offset,
            sealed_len,
            codec,
            plain_len,
            chunks,
        })
    }
}

impl ChunkInfo {
    /// Refuses a chunk that a directory cannot hold.
    pub(crate) fn check(&self) -> Result<()> {
        let paged = match self.page_bytes {
            None => self.role != Role::Pages,
            Some(size) => {
                self.role == Role::Pages && size.is_power_of_two() && (512..=65536).contains(&size)
            }
        };
        // A page alone is no chunk: its id stands in a group, its bytes in a chunk of pages.
        if paged && self.len > 0 && self.role != Role::Page {
            Ok(())
        } else {
            Err(Error::misuse("page size or length of a chunk"))
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let high = self.page_bytes.map_or(0, |size| size.ilog2() as u8 - 8);
        out.extend_from_slice(&self.id.0);
        out.push(self.role as u8 | high << 4);
        put_varint(out, u64::from(self.len));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let id = Id(reader.array()?);
        let byte = reader.u8()?;
        let role = Role::try_from(byte & 15)?;
        let page_bytes = match (role, byte >> 4) {
            (Role::Pages, high @ 1..=8) => Some(1 << (high + 8)),
            (Role::Pages, _) | (_, 1..) => return Err(Error::damaged("page size of a chunk")),
            (Role::Page, 0) => return Err(Error::damaged("role of a chunk")),
            (_, 0) => None,
        };
        let len = reader.count(limits::SEGMENT_PLAIN_BYTES_MAX, "length of a chunk")? as u32;
        if len == 0 {
            return Err(Error::damaged("a chunk without bytes"));
        }
        Ok(Self {
            id,
            role,
            page_bytes,
            len,
        })
    }
}
