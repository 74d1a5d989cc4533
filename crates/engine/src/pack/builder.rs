//! Collects sealed segments of one run into a pack.
use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::aead::Nonce;
use aws_lc_rs::digest;

use super::header::{Envelope, PackHeader, PackOrigin};
use super::{END_MAGIC, TRAILER_BYTES, sha256, to_array};
use crate::compress::Codec;
use crate::directory::{ChunkInfo, Directory, SegmentInfo};
use crate::error::{Error, Result};
use crate::id::{PackKind, PackName, PackNonce};
use crate::keys::{ClassKeys, PackKey, RunKey};
use crate::limits;
use crate::record::IndexRecord;
use crate::segment::{self, SegmentHead, TAG_BYTES};

/// A pack ready to be stored.
pub struct FinishedPack {
    /// SHA-256 of `bytes`.
    pub name: PackName,
    /// The whole object.
    pub bytes: Vec<u8>,
    /// What the pack is for.
    pub kind: PackKind,
    /// What an index run says about it.
    pub record: IndexRecord,
}

/// Collects sealed segments of one run into a pack.
pub struct PackBuilder {
    keys: Arc<ClassKeys>,
    key: Arc<PackKey>,
    header: PackHeader,
    header_len: usize,
    bytes: Vec<u8>,
    hash: digest::Context,
    directory: Directory,
    directory_bytes: usize,
    next_ordinal: u32,
    outstanding: BTreeSet<u32>,
}

impl PackBuilder {
    /// A pack of its own nonce ([`RunKey::pack_nonce`]); `capacity_bytes` is set aside at once.
    pub fn new(
        keys: Arc<ClassKeys>,
        run: &RunKey,
        envelope: Envelope,
        kind: PackKind,
        nonce: PackNonce,
        capacity_bytes: usize,
    ) -> Result<Self> {
        let (vault, class, generation) = (keys.vault(), keys.class(), keys.generation());
        let key = Arc::new(PackKey::derive(
            run, vault, class, generation, kind, &nonce,
        )?);
        let origins = vec![PackOrigin {
            nonce,
            envelope: Some(0),
        }];
        let header = PackHeader {
            kind,
            vault,
            class,
            generation,
            nonce,
            envelopes: vec![envelope],
            origins,
        };
        let encoded = header.encode()?;
        let mut bytes = Vec::with_capacity(
            capacity_bytes
                .min(limits::PACK_BYTES_MAX)
                .max(encoded.len()),
        );
        bytes.extend_from_slice(&encoded);
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&encoded);
        Ok(Self {
            keys,
            key,
            header,
            header_len: encoded.len(),
            bytes,
            hash,
            directory: Directory::default(),
            directory_bytes: 0,
            next_ordinal: 0,
            outstanding: BTreeSet::new(),
        })
    }

    /// The key that segments of this pack are sealed with, to hand to a worker.
    pub fn key(&self) -> Arc<PackKey> {
        self.key.clone()
    }

    /// The pack's nonce, whose first half is the origin of its segments.
    pub fn nonce(&self) -> PackNonce {
        self.header.nonce
    }

    /// The number of the next segment; each is given out once.
    pub fn reserve(&mut self) -> Result<u32> {
        let ordinal = self.next_ordinal;
        self.next_ordinal = ordinal
            .checked_add(1)
            .ok_or(Error::limit("segments of a pack"))?;
        self.outstanding.insert(ordinal);
        Ok(ordinal)
    }

    /// The head to seal a reserved segment with.
    pub fn head(&self, ordinal: u32, codec: Codec, plain_len: u32) -> SegmentHead {
        SegmentHead {
            kind: self.header.kind,
            class: self.header.class,
            generation: self.header.generation,
            vault: self.header.vault,
            nonce: self.header.nonce,
            ordinal,
            codec,
            plain_len,
        }
    }

    /// Appends a sealed segment. Reserved segments may arrive in any order, each once; some may never arrive.
    pub fn add(
        &mut self,
        ordinal: u32,
        sealed: &[u8],
        codec: Codec,
        plain_len: u32,
        chunks: Vec<ChunkInfo>,
    ) -> Result<()> {
        let segment = SegmentInfo {
            origin_index: 0,
            ordinal,
            offset: self.bytes.len() as u64,
            sealed_len: u32::try_from(sealed.len())
                .map_err(|_| Error::limit("stored length of a segment"))?,
            codec,
            plain_len,
            chunks,
        };
        check_segment(&segment)?;
        let directory_bytes = self.directory_bytes + directory_bytes_max(&segment);
        let total = self.bytes.len() + sealed.len() + directory_bytes;
        if total + tail_bytes_max(total) > limits::PACK_BYTES_MAX {
            return Err(Error::limit("bytes of a pack"));
        }
        if !self.outstanding.remove(&ordinal) {
            return Err(Error::misuse(
                "a segment that was not reserved, or is here already",
            ));
        }
        self.directory_bytes = directory_bytes;
        self.bytes.extend_from_slice(sealed);
        self.hash.update(sealed);
        self.directory.segments.push(segment);
        Ok(())
    }

    /// Header and segments so far.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Segments added so far.
    pub fn segments_len(&self) -> usize {
        self.directory.segments.len()
    }

    /// Segments reserved and not added yet.
    pub fn outstanding_len(&self) -> usize {
        self.outstanding.len()
    }

    /// The most padding that [`Self::finish`] accepts now.
    pub fn padding_max(&self) -> usize {
        padding_max(self.bytes.len() as u64) as usize
    }

    /// Seals the directory and names the pack. Refuses a pack without segments.
    pub fn finish(self, padding: usize) -> Result<FinishedPack> {
        let Self {
            keys,
            header,
            header_len,
            bytes,
            hash,
            directory,
            ..
        } = self;
        finish_pack(Tail {
            keys: &keys,
            header: &header,
            header_len,
            bytes,
            hash,
            directory,
            padding,
        })
    }
}

/// All that the end of a pack is made from.
pub(crate) struct Tail<'a> {
    pub keys: &'a ClassKeys,
    pub header: &'a PackHeader,
    pub header_len: usize,
    /// Header and segments.
    pub bytes: Vec<u8>,
    /// Over `bytes`.
    pub hash: digest::Context,
    pub directory: Directory,
    pub padding: usize,
}

/// Appends padding, directory and trailer, and names the pack.
pub(crate) fn finish_pack(tail: Tail<'_>) -> Result<FinishedPack> {
    let Tail {
        keys,
        header,
        header_len,
        mut bytes,
        mut hash,
        directory,
        padding,
    } = tail;
    if directory.segments.is_empty() {
        return Err(Error::misuse("a pack without segments"));
    }
    let segments_end = bytes.len();
    if padding as u64 > padding_max(segments_end as u64) {
        return Err(Error::misuse("padding beyond what the format allows"));
    }
    let mut sealed = directory.encode();
    let aad = sha256(bytes.get(..header_len).unwrap_or_default());
    let key = keys.directory_key(&header.nonce);
    segment::seal(
        &key,
        Nonce::assume_unique_for_key([0; 12]),
        &aad,
        &mut sealed,
    )?;
    bytes.reserve_exact(padding + sealed.len() + TRAILER_BYTES);
    bytes.resize(segments_end + padding, 0);
    bytes.extend_from_slice(&sealed);
    bytes.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&END_MAGIC);
    if bytes.len() > limits::PACK_BYTES_MAX {
        return Err(Error::limit("bytes of a pack"));
    }
    hash.update(bytes.get(segments_end..).unwrap_or_default());
    let name = PackName(to_array(&hash.finish()));
    let record = IndexRecord {
        name,
        size: bytes.len() as u64,
        kind: header.kind,
        nonces: header.origins.iter().map(|origin| origin.nonce).collect(),
        directory,
    };
    Ok(FinishedPack {
        name,
        bytes,
        kind: header.kind,
        record,
    })
}

/// The most padding in a pack of so many bytes.
pub(crate) fn padding_max(pack_bytes: u64) -> u64 {
    (pack_bytes * 3 / 1000).max(4096)
}

/// What a segment adds to the directory, at most.
pub(crate) fn directory_bytes_max(segment: &SegmentInfo) -> usize {
    27 + 21 * segment.chunks.len()
}

/// Padding, the directory's own fields and the trailer, at most.
pub(crate) fn tail_bytes_max(bytes: usize) -> usize {
    padding_max(bytes as u64) as usize + 11 + TAG_BYTES + TRAILER_BYTES
}

/// What [`Directory::parse`] would refuse, refused before it is written.
fn check_segment(segment: &SegmentInfo) -> Result<()> {
    if segment.plain_len as usize > limits::SEGMENT_PLAIN_BYTES_MAX {
        return Err(Error::limit("plaintext of a segment"));
    }
    if segment.chunks.len() > limits::SEGMENT_CHUNKS_MAX {
        return Err(Error::limit("chunks of a segment"));
    }
    segment.chunks.iter().try_for_each(ChunkInfo::check)?;
    let total: u64 = segment
        .chunks
        .iter()
        .map(|chunk| u64::from(chunk.len))
        .sum();
    let raw = u64::from(segment.plain_len) + TAG_BYTES as u64;
    let length_fits = segment.sealed_len as usize >= TAG_BYTES
        && (segment.codec != Codec::Raw || u64::from(segment.sealed_len) == raw);
    if total == u64::from(segment.plain_len) && length_fits {
        Ok(())
    } else {
        Err(Error::misuse("lengths of a segment and its chunks"))
    }
}
