//! Index runs: what the index says about packs, as it is stored in the vault.
use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::id::{PackKind, PackName, PackNonce};
use crate::limits;
use crate::wire::{Reader, put_bytes, put_varint};

/// The fewest bytes of a record: name, size, kind, one origin, an empty directory.
const RECORD_BYTES_MIN: usize = 32 + 1 + 1 + 1 + 32 + 3;

/// What an index run says about one pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRecord {
    /// The pack's name.
    pub name: PackName,
    /// Its length.
    pub size: u64,
    /// What it is for.
    pub kind: PackKind,
    /// The nonces of its origins.
    pub nonces: Vec<PackNonce>,
    /// Its directory.
    pub directory: Directory,
}

impl IndexRecord {
    /// The record's bytes, as they stand in a run.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.name.0);
        put_varint(&mut out, self.size);
        out.push(self.kind as u8);
        put_varint(&mut out, self.nonces.len() as u64);
        for nonce in &self.nonces {
            out.extend_from_slice(&nonce.0);
        }
        put_bytes(&mut out, &self.directory.encode());
        out
    }

    /// Parses the bytes of exactly one record.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let record = Self::read(&mut reader)?;
        reader.end("index record")?;
        Ok(record)
    }

    /// Reads the next record of a run.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let name = PackName(reader.array()?);
        let size = reader.count(limits::PACK_BYTES_MAX, "bytes of a pack")? as u64;
        let kind = PackKind::try_from(reader.u8()?)?;
        let count = reader.count(limits::PACK_ORIGINS_MAX, "origins of a pack")?;
        let nonces = (0..count)
            .map(|_| reader.array().map(PackNonce))
            .collect::<Result<Vec<_>>>()?;
        let directory = reader.bytes(limits::PACK_BYTES_MAX, "directory of a pack")?;
        let directory = Directory::parse(directory, count)?;
        if count == 0 || directory.span().is_some_and(|(_, end)| end > size) {
            return Err(Error::damaged("index record"));
        }
        Ok(Self {
            name,
            size,
            kind,
            nonces,
            directory,
        })
    }
}

/// The plaintext of an index run of one class and generation.
pub fn encode_run(records: &[IndexRecord]) -> Vec<u8> {
    join_records(records.iter().map(IndexRecord::encode))
}

/// The plaintext of an index run, from the bytes of its records.
pub fn join_records(records: impl ExactSizeIterator<Item = impl AsRef<[u8]>>) -> Vec<u8> {
    let mut out = vec![1];
    put_varint(&mut out, records.len() as u64);
    for record in records {
        out.extend_from_slice(record.as_ref());
    }
    out
}

/// Parses an index run's plaintext.
pub fn parse_run(bytes: &[u8]) -> Result<Vec<IndexRecord>> {
    let records = split_run(bytes)?;
    Ok(records.into_iter().map(|(record, _)| record).collect())
}

/// Parses an index run's plaintext; each record comes with the bytes it was read from.
pub fn split_run(bytes: &[u8]) -> Result<Vec<(IndexRecord, &[u8])>> {
    let mut reader = Reader::new(bytes);
    reader.version("index run")?;
    let count = reader.count(bytes.len() / RECORD_BYTES_MIN, "packs of an index run")?;
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        let before = reader.rest();
        let record = IndexRecord::read(&mut reader)?;
        let length = before.len() - reader.rest().len();
        records.push((record, before.get(..length).unwrap_or(before)));
    }
    reader.end("index run")?;
    Ok(records)
}
