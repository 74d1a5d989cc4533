//! What the last run knew of each entry: a local file in walk order, read and written in one pass beside the scan.
//!
//! Private to this crate, rebuilt by reading everything once. Records are coded against their predecessors ([`record`]), packed
//! into checksummed frames ([`frames`]); a frame that rotted ends the cache there, and what follows is read again.
//! A new cache is written only from where it differs from the old one, and not at all if it does not.
mod frames;
pub(crate) mod record;

use std::path::Path;

use holdfast_engine::{ClassKeys, VaultId};

use crate::Error;
use frames::{FrameReader, FrameWriter};
use record::{Codec, Record};

const MAGIC: &[u8; 8] = b"HFCACH02";

/// The front of a cache: whose entries they are.
fn header(vault: VaultId, classes: &[(u16, u32)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&vault.0);
    out.push(classes.len() as u8);
    for (class, generation) in classes {
        out.extend_from_slice(&class.to_le_bytes());
        out.extend_from_slice(&generation.to_le_bytes());
    }
    out
}

/// The class generations of a run, in the order of their positions.
fn table<'a>(
    classes: impl Iterator<Item = &'a std::sync::Arc<ClassKeys>>,
) -> (VaultId, Vec<(u16, u32)>) {
    let mut vault = VaultId([0; 16]);
    let rows = classes.map(|keys| {
        vault = keys.vault();
        (keys.class().0, keys.generation().0)
    });
    let rows = rows.collect();
    (vault, rows)
}

/// Reads a cache from front to back.
pub(crate) struct CacheReader {
    frames: FrameReader,
    codec: Codec,
    record: Record,
    /// Whether `record` is the next one.
    ahead: bool,
    /// Position in this run of each class in the cache.
    classes: Vec<Option<u16>>,
    /// Records in the cache.
    pub records: u64,
}

impl CacheReader {
    /// Opens a cache; `None` if there is none that is whole and of this vault.
    pub fn open<'a>(
        path: &Path,
        classes: impl Iterator<Item = &'a std::sync::Arc<ClassKeys>>,
    ) -> Option<Self> {
        let (vault, rows) = table(classes);
        let mut frames = FrameReader::open(path)?;
        let records = frames.records;
        let front = frames.take(MAGIC.len() + 17)?;
        let (magic, rest) = front.split_first_chunk::<8>()?;
        let (stored, count) = rest.split_first_chunk::<16>()?;
        if magic != MAGIC || *stored != vault.0 {
            return None;
        }
        let count = usize::from(*count.first()?);
        let stored = frames.take(count * 6)?;
        let position = |row: &[u8]| {
            let (class, generation) = row.split_first_chunk::<2>()?;
            let row = (
                u16::from_le_bytes(*class),
                u32::from_le_bytes(*generation.first_chunk::<4>()?),
            );
            rows.iter()
                .position(|known| *known == row)
                .map(|position| position as u16)
        };
        let classes = stored.chunks_exact(6).map(position).collect();
        let mut reader = Self {
            frames,
            codec: Codec::default(),
            record: Record::default(),
            ahead: false,
            classes,
            records,
        };
        reader.advance();
        Some(reader)
    }

    /// The next record, if there is one.
    pub fn peek(&self) -> Option<&Record> {
        self.ahead.then_some(&self.record)
    }

    /// Takes what the next record holds, and goes on at the next [`Self::advance`].
    pub fn peek_mut(&mut self) -> Option<&mut Record> {
        self.ahead.then_some(&mut self.record)
    }

    /// Goes to the next record.
    pub fn advance(&mut self) {
        let Self {
            frames,
            codec,
            record,
            ..
        } = self;
        let decoded = frames
            .record()
            .and_then(|bytes| codec.decode(bytes, record).ok());
        self.ahead = decoded.is_some();
        if self.ahead {
            let here = |class: u16| self.classes.get(usize::from(class)).copied().flatten();
            let detected = self.record.detected.and_then(here);
            self.record.class = here(self.record.class).unwrap_or(u16::MAX);
            self.record.detected = detected;
        }
    }
}

/// Writes the next cache.
pub(crate) struct CacheWriter {
    frames: FrameWriter,
    codec: Codec,
    scratch: Vec<u8>,
}

impl CacheWriter {
    /// Begins a cache that will be at `out`; `old` is the one that the run began with.
    pub fn create<'a>(
        out: &Path,
        old: Option<&Path>,
        classes: impl Iterator<Item = &'a std::sync::Arc<ClassKeys>>,
    ) -> Result<Self, Error> {
        let (vault, rows) = table(classes);
        let mut frames = FrameWriter::create(out, old);
        frames.put(&header(vault, &rows))?;
        Ok(Self {
            frames,
            codec: Codec::default(),
            scratch: Vec::new(),
        })
    }

    /// Adds the next record, in path order.
    pub fn push(&mut self, record: &Record) -> Result<(), Error> {
        self.scratch.clear();
        self.codec.encode(record, &mut self.scratch);
        self.frames.record(&self.scratch)
    }

    /// Completes the file; `false` if it would be the old one again, and there is none at `out`.
    pub fn finish(self) -> Result<bool, Error> {
        self.frames.finish()
    }
}

#[cfg(test)]
mod tests;
