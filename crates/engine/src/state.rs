//! What a writer remembers of its last snapshot, without names: the records of `state/ID/SOURCE/N`.
use crate::content::Content;
use crate::error::{Error, Result};
use crate::id::ClassId;
use crate::limits;
use crate::locations::{LocationDecoder, LocationEncoder};
use crate::wire::{Reader, put_varint, put_zigzag};

/// The fewest bytes of a record.
const RECORD_BYTES_MIN: usize = 9;

/// What was stored under a path, by the keyed hash of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRecord {
    /// [`crate::ClassKeys::path_hash`] of the path.
    pub path_hash: u64,
    /// `None`: the path is gone (in a delta).
    pub file: Option<StateFile>,
}

/// A file as it was when it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile {
    /// The class it was stored in.
    pub class: ClassId,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Seconds and nanoseconds.
    pub ctime: (i64, u32),
    /// Its inode number.
    pub inode: u64,
    /// Its length.
    pub size: u64,
    /// Where its bytes are; never inline.
    pub content: Content,
}

/// A writer state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterState {
    /// Upon state N−1, or complete.
    pub delta: bool,
    /// In any order, each path once.
    pub records: Vec<StateRecord>,
}

impl WriterState {
    /// The plaintext.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = vec![1, u8::from(self.delta)];
        put_varint(&mut out, self.records.len() as u64);
        for record in &self.records {
            record.put(&mut out)?;
        }
        if out.len() > limits::SEALED_BYTES_MAX {
            Err(Error::limit("bytes of a writer state"))
        } else {
            Ok(out)
        }
    }

    /// Parses a plaintext.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        reader.version("writer state")?;
        let delta = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Error::damaged("mode of a writer state")),
        };
        let count = reader.count(
            reader.rest().len() / RECORD_BYTES_MIN,
            "records of a writer state",
        )?;
        let records = (0..count)
            .map(|_| StateRecord::read(&mut reader))
            .collect::<Result<_>>()?;
        reader.end("writer state")?;
        Ok(Self { delta, records })
    }
}

impl StateRecord {
    fn put(&self, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(&self.path_hash.to_le_bytes());
        out.push(u8::from(self.file.is_some()));
        let Some(file) = &self.file else {
            return Ok(());
        };
        if matches!(file.content, Content::Inline(_)) {
            return Err(Error::misuse("inline content in a writer state"));
        }
        file.content.check(file.size)?;
        out.extend_from_slice(&file.class.0.to_le_bytes());
        for (seconds, nanoseconds) in [file.mtime, file.ctime] {
            put_zigzag(out, seconds);
            put_varint(out, u64::from(nanoseconds));
        }
        put_varint(out, file.inode);
        put_varint(out, file.size);
        let mut locations = LocationEncoder::default();
        let mut content = Vec::new();
        file.content.encode(&mut content, &mut locations);
        locations.put_table(out);
        out.extend_from_slice(&content);
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let path_hash = reader.u64()?;
        let file = match reader.u8()? {
            0 => None,
            1 => Some(StateFile::read(reader)?),
            _ => return Err(Error::damaged("record of a writer state")),
        };
        Ok(Self { path_hash, file })
    }
}

impl StateFile {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let class = ClassId(reader.u16()?);
        let mtime = read_time(reader)?;
        let ctime = read_time(reader)?;
        let (inode, size) = (reader.varint()?, reader.varint()?);
        let mut locations = LocationDecoder::read_table(reader)?;
        let content = Content::read(reader, size, &mut locations)?;
        if matches!(content, Content::Inline(_)) {
            return Err(Error::damaged("inline content in a writer state"));
        }
        Ok(Self {
            class,
            mtime,
            ctime,
            inode,
            size,
            content,
        })
    }
}

fn read_time(reader: &mut Reader<'_>) -> Result<(i64, u32)> {
    let seconds = reader.zigzag()?;
    Ok((seconds, reader.count(999_999_999, "nanoseconds")? as u32))
}
