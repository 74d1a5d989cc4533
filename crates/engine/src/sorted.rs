//! The local form of index runs: sorted tables in one file, searched where they lie. Not part of the format.
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::id::{ClassId, Generation, Id, Origin, PackKind, PackName, PackNonce};
use crate::index_set::ChunkSpan;
use crate::record::IndexRecord;
use crate::tables::{
    HEADER_BYTES, Header, ID_ROW, IdRow, NONCE_ROW, PACK_ROW, SEGMENT_ROW, SPAN_ROW, SegmentRow,
    checksum, put_nonce, put_span, read_nonce, read_span, rotten,
};

/// Bytes that an index is searched in: a mapped file, or a vector.
pub type Backing = Box<dyn AsRef<[u8]> + Send + Sync>;

/// One pack as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRow {
    /// Its name.
    pub name: PackName,
    /// Its length.
    pub size: u64,
    /// What it is for.
    pub kind: PackKind,
    /// Its class.
    pub class: ClassId,
    /// The generation of its keys.
    pub generation: Generation,
    /// How many segments it holds.
    pub segments: u32,
    /// Bytes of plaintext in them.
    pub plain_bytes: u64,
}

/// Sorted tables over some bytes. Every row that is returned has passed its own check: a rotten file is an error, not an answer.
pub struct SortedIndex {
    bytes: Backing,
    header: Header,
    packs_at: usize,
    nonces_at: usize,
    segments_at: usize,
    spans_at: usize,
    ids_at: usize,
}

impl SortedIndex {
    /// Takes a file written by [`write_sorted`] or [`crate::merge::merge`]; reads its front only.
    pub fn open(bytes: Backing) -> Result<Self> {
        let all = (*bytes).as_ref();
        let header = Header::read(all)?;
        let mut at = HEADER_BYTES;
        let mut table = |count: u64, row: usize| -> Result<usize> {
            let start = at;
            let bytes = usize::try_from(count)
                .ok()
                .and_then(|count| count.checked_mul(row));
            at = bytes
                .and_then(|bytes| at.checked_add(bytes))
                .ok_or(rotten())?;
            Ok(start)
        };
        let packs_at = table(header.packs, PACK_ROW)?;
        let nonces_at = table(header.nonces, NONCE_ROW)?;
        let segments_at = table(header.segments, SEGMENT_ROW)?;
        let spans_at = table(header.chunks, SPAN_ROW)?;
        let ids_at = table(header.chunks, ID_ROW)?;
        if at != all.len() {
            return Err(rotten());
        }
        Ok(Self {
            bytes,
            header,
            packs_at,
            nonces_at,
            segments_at,
            spans_at,
            ids_at,
        })
    }

    /// How many packs, segments and chunks it lists.
    pub fn counts(&self) -> Counts {
        Counts {
            packs: self.header.packs,
            segments: self.header.segments,
            chunks: self.header.chunks,
        }
    }

    /// All packs, sorted by name.
    pub fn packs(&self) -> impl Iterator<Item = Result<PackRow>> + '_ {
        (0..self.header.packs).map(|at| self.pack(at))
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    fn row(&self, table: usize, width: usize, at: u64) -> Result<&[u8]> {
        let start = usize::try_from(at)
            .ok()
            .and_then(|at| at.checked_mul(width))
            .and_then(|at| at.checked_add(table));
        let start = start.ok_or(rotten())?;
        let row = start
            .checked_add(width)
            .and_then(|end| (*self.bytes).as_ref().get(start..end));
        row.ok_or(rotten())
    }

    pub(crate) fn pack(&self, at: u64) -> Result<PackRow> {
        PackRow::read(self.row(self.packs_at, PACK_ROW, at)?)
    }

    pub(crate) fn nonce(&self, at: u64) -> Result<PackNonce> {
        read_nonce(self.row(self.nonces_at, NONCE_ROW, at)?)
    }

    pub(crate) fn segment(&self, at: u64) -> Result<SegmentRow> {
        SegmentRow::read(self.row(self.segments_at, SEGMENT_ROW, at)?)
    }

    pub(crate) fn id_row(&self, at: u64) -> Result<IdRow> {
        IdRow::read(self.row(self.ids_at, ID_ROW, at)?)
    }

    /// The bytes of a segment's spans, checked.
    pub(crate) fn span_bytes(&self, segment: &SegmentRow) -> Result<&[u8]> {
        let width = segment.spans as usize * SPAN_ROW;
        let at = segment
            .spans_at
            .checked_mul(SPAN_ROW as u64)
            .ok_or(rotten())?;
        let at = usize::try_from(at)
            .ok()
            .and_then(|at| at.checked_add(self.spans_at))
            .ok_or(rotten())?;
        let bytes = at
            .checked_add(width)
            .filter(|end| *end <= self.ids_at)
            .and_then(|end| (*self.bytes).as_ref().get(at..end));
        let bytes = bytes.ok_or(rotten())?;
        if checksum(b'c', bytes) == segment.spans_check {
            Ok(bytes)
        } else {
            Err(rotten())
        }
    }

    pub(crate) fn spans(&self, segment: &SegmentRow) -> Result<Vec<ChunkSpan>> {
        let rows = self.span_bytes(segment)?.as_chunks::<SPAN_ROW>().0;
        rows.iter().map(|row| read_span(*row)).collect()
    }

    /// The rows with this id.
    pub(crate) fn find_id(&self, id: &Id) -> Result<Vec<IdRow>> {
        let mut at = self.first_id(id)?;
        let mut found = Vec::new();
        while at < self.header.chunks {
            let row = self.id_row(at)?;
            if row.id != *id {
                break;
            }
            found.push(row);
            at += 1;
        }
        Ok(found)
    }

    /// The position of the first row whose id is not smaller. Ids are evenly spread, so the first guess is close.
    fn first_id(&self, id: &Id) -> Result<u64> {
        let count = self.header.chunks;
        let smaller = |at: u64| -> Result<bool> {
            Ok(self
                .row(self.ids_at, ID_ROW, at)?
                .get(..16)
                .ok_or(rotten())?
                < id.0.as_slice())
        };
        let front =
            id.0.first_chunk::<8>()
                .map_or(0, |front| u64::from_be_bytes(*front));
        let guess = ((u128::from(front) * u128::from(count)) >> 64) as u64;
        let (mut low, mut high) = (guess, guess);
        let mut step = 16;
        while low > 0 && !smaller(low - 1)? {
            low = low.saturating_sub(step);
            step *= 4;
        }
        step = 16;
        while high < count && smaller(high)? {
            low = low.max(high + 1);
            high = high.saturating_add(step).min(count);
            step *= 4;
        }
        search(low..high, smaller)
    }

    /// The rows of a segment: one per copy. Several nonces may begin with one origin, for an index believes what runs say:
    /// one that was forged must not hide the one that was made, so all of them are looked at.
    pub(crate) fn find_segment(&self, origin: &Origin, ordinal: u32) -> Result<Vec<SegmentRow>> {
        let mut nonce = self.first_nonce(origin)?;
        let mut found = Vec::new();
        while nonce < self.header.nonces && self.nonce(nonce)?.origin() == *origin {
            self.find_row(nonce as u32, ordinal, &mut found)?;
            nonce += 1;
        }
        Ok(found)
    }

    /// Calls with every row whose origin and ordinal are in a range of ordinals: as many steps as there are rows, however
    /// long the range.
    pub(crate) fn each_between(
        &self,
        origin: &Origin,
        ordinals: Range<u64>,
        found: &mut dyn FnMut(SegmentRow) -> Result<()>,
    ) -> Result<()> {
        let mut nonce = self.first_nonce(origin)?;
        while nonce < self.header.nonces && self.nonce(nonce)?.origin() == *origin {
            let key = |row: &SegmentRow| (u64::from(row.nonce), u64::from(row.ordinal));
            let mut at = search(0..self.header.segments, |at| {
                Ok(key(&self.segment(at)?) < (nonce, ordinals.start))
            })?;
            while at < self.header.segments {
                let row = self.segment(at)?;
                if key(&row) >= (nonce, ordinals.end) {
                    break;
                }
                found(row)?;
                at += 1;
            }
            nonce += 1;
        }
        Ok(())
    }

    fn first_nonce(&self, origin: &Origin) -> Result<u64> {
        search(0..self.header.nonces, |at| {
            Ok(self
                .row(self.nonces_at, NONCE_ROW, at)?
                .get(..16)
                .ok_or(rotten())?
                < origin.0.as_slice())
        })
    }

    fn find_row(&self, nonce: u32, ordinal: u32, found: &mut Vec<SegmentRow>) -> Result<()> {
        let mut at = search(0..self.header.segments, |at| {
            let row = self.segment(at)?;
            Ok((row.nonce, row.ordinal) < (nonce, ordinal))
        })?;
        while at < self.header.segments {
            let row = self.segment(at)?;
            if (row.nonce, row.ordinal) != (nonce, ordinal) {
                break;
            }
            found.push(row);
            at += 1;
        }
        Ok(())
    }
}

/// The first position in a sorted range for which `smaller` is false.
fn search(range: Range<u64>, smaller: impl Fn(u64) -> Result<bool>) -> Result<u64> {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low + (high - low) / 2;
        if smaller(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// How much an index lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packs.
    pub packs: u64,
    /// Segments, copies counted apart.
    pub segments: u64,
    /// Chunks, copies counted apart.
    pub chunks: u64,
}

/// Writes the records of one class generation in sorted form. A pack listed twice counts once.
pub fn write_sorted(
    records: &[IndexRecord],
    class: ClassId,
    generation: Generation,
    out: &mut impl Write,
) -> Result<()> {
    let packs: BTreeMap<PackName, &IndexRecord> =
        records.iter().map(|record| (record.name, record)).collect();
    let mut nonces: Vec<PackNonce> = packs
        .values()
        .flat_map(|record| record.nonces.iter().copied())
        .collect();
    nonces.sort_unstable();
    nonces.dedup();
    let mut rows = Rows::default();
    for (pack, record) in packs.values().enumerate() {
        rows.add(pack as u32, record, &nonces)?;
    }
    rows.segments
        .sort_unstable_by_key(|(row, _)| (row.nonce, row.ordinal, row.pack));
    let header = Header {
        packs: packs.len() as u64,
        nonces: nonces.len() as u64,
        segments: rows.segments.len() as u64,
        chunks: rows.chunks,
    };
    let mut bytes = Vec::new();
    header.put(&mut bytes);
    for record in packs.values() {
        pack_row(record, class, generation).put(&mut bytes);
    }
    for nonce in &nonces {
        put_nonce(nonce, &mut bytes);
    }
    let mut spans = Vec::with_capacity(rows.chunks as usize * SPAN_ROW);
    let mut ids = Vec::with_capacity(rows.chunks as usize);
    for (number, (row, chunks)) in rows.segments.iter_mut().enumerate() {
        let start = spans.len();
        for (chunk, info) in chunks.iter().enumerate() {
            put_span(
                &ChunkSpan {
                    len: info.len,
                    role: info.role,
                    page_bytes: info.page_bytes,
                },
                &mut spans,
            );
            ids.push(IdRow {
                id: info.id,
                segment: number as u32,
                chunk: chunk as u32,
            });
        }
        row.spans_at = (start / SPAN_ROW) as u64;
        row.spans_check = checksum(b'c', spans.get(start..).unwrap_or_default());
        row.put(&mut bytes);
    }
    out.write_all(&bytes)?;
    out.write_all(&spans)?;
    ids.sort_unstable();
    for rows in ids.chunks(4096) {
        bytes.clear();
        for row in rows {
            row.put(&mut bytes);
        }
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// Segments on their way into a sorted index, each with its chunks.
#[derive(Default)]
struct Rows<'a> {
    segments: Vec<(SegmentRow, &'a [crate::directory::ChunkInfo])>,
    chunks: u64,
}

impl<'a> Rows<'a> {
    fn add(&mut self, pack: u32, record: &'a IndexRecord, nonces: &[PackNonce]) -> Result<()> {
        for segment in &record.directory.segments {
            if segment.chunks.iter().any(|chunk| chunk.len == 0) {
                return Err(Error::damaged("a chunk without bytes"));
            }
            let nonce = record.nonces.get(usize::from(segment.origin_index));
            let nonce = nonce.and_then(|nonce| nonces.binary_search(nonce).ok());
            let nonce = nonce.ok_or(Error::damaged("origin of a segment"))?;
            self.chunks += segment.chunks.len() as u64;
            let row = SegmentRow {
                nonce: nonce as u32,
                ordinal: segment.ordinal,
                pack,
                offset: segment.offset as u32,
                sealed_len: segment.sealed_len,
                plain_len: segment.plain_len,
                spans_at: 0,
                spans: segment.chunks.len() as u32,
                spans_check: 0,
                codec: segment.codec,
            };
            self.segments.push((row, &segment.chunks));
        }
        Ok(())
    }
}

fn pack_row(record: &IndexRecord, class: ClassId, generation: Generation) -> PackRow {
    let segments = &record.directory.segments;
    PackRow {
        name: record.name,
        size: record.size,
        kind: record.kind,
        class,
        generation,
        segments: segments.len() as u32,
        plain_bytes: segments
            .iter()
            .map(|segment| u64::from(segment.plain_len))
            .sum(),
    }
}
