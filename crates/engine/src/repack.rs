//! Copies live segments of old packs into a new one. Needs the index key, and no key to content.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aws_lc_rs::digest;

use crate::directory::{Directory, SegmentInfo};
use crate::error::{Error, Result};
use crate::id::{PackKind, PackNonce};
use crate::keys::ClassKeys;
use crate::limits;
use crate::pack::{
    Envelope, FinishedPack, PackHeader, PackOrigin, Tail, directory_bytes_max, finish_pack,
};

/// Collects sealed segments of other packs of the same kind, class and generation.
pub struct RepackBuilder {
    keys: Arc<ClassKeys>,
    header: PackHeader,
    envelopes: HashMap<Envelope, u16>,
    origins: HashMap<PackNonce, u16>,
    present: HashSet<(u16, u32)>,
    directory: Directory,
    directory_bytes: usize,
    segments: Vec<u8>,
}

impl RepackBuilder {
    /// A new pack; its nonce is 32 random bytes, for it seals no segment of its own.
    pub fn new(keys: Arc<ClassKeys>, kind: PackKind, nonce: PackNonce) -> Self {
        let header = PackHeader {
            kind,
            vault: keys.vault(),
            class: keys.class(),
            generation: keys.generation(),
            nonce,
            envelopes: Vec::new(),
            origins: vec![PackOrigin {
                nonce,
                envelope: None,
            }],
        };
        Self {
            keys,
            header,
            envelopes: HashMap::new(),
            origins: HashMap::new(),
            present: HashSet::new(),
            directory: Directory::default(),
            directory_bytes: 0,
            segments: Vec::new(),
        }
    }

    /// Copies one segment of the pack with this header; `false`: it is here already.
    ///
    /// Refuses with [`Error::LimitExceeded`], unchanged, what would make the pack too large.
    pub fn add(
        &mut self,
        source: &PackHeader,
        segment: &SegmentInfo,
        sealed: &[u8],
    ) -> Result<bool> {
        source.check_keys(&self.keys)?;
        if source.kind != self.header.kind || sealed.len() != segment.sealed_len as usize {
            return Err(Error::misuse(
                "a segment of another kind of pack, or not all of it",
            ));
        }
        let nonce = source.segment_head(segment)?.nonce;
        let known = self.origins.get(&nonce).copied();
        if known.is_some_and(|origin| self.present.contains(&(origin, segment.ordinal))) {
            return Ok(false);
        }
        let envelope = source.envelope_of(&nonce)?;
        let more = sealed.len() + directory_bytes_max(segment) + envelope.as_bytes().len() + 34;
        if self.bytes_len() + more > REPACK_BYTES_MAX {
            return Err(Error::limit("bytes of a pack"));
        }
        let origin_index = match known {
            Some(origin) => origin,
            None => self.add_origin(nonce, envelope)?,
        };
        self.present.insert((origin_index, segment.ordinal));
        self.directory_bytes += directory_bytes_max(segment);
        let offset = self.segments.len() as u64;
        self.segments.extend_from_slice(sealed);
        self.directory.segments.push(SegmentInfo {
            origin_index,
            offset,
            ..segment.clone()
        });
        Ok(true)
    }

    /// Bytes that the pack would have, at most, without padding.
    pub fn bytes_len(&self) -> usize {
        self.header.encoded_len() + self.segments.len() + self.directory_bytes + 64
    }

    /// Segments so far.
    pub fn segments_len(&self) -> usize {
        self.directory.segments.len()
    }

    /// Seals the directory and names the pack. Refuses a pack without segments.
    pub fn finish(mut self, padding: usize) -> Result<FinishedPack> {
        let mut bytes = self.header.encode()?;
        let header_len = bytes.len();
        for segment in &mut self.directory.segments {
            segment.offset += header_len as u64;
        }
        bytes.extend_from_slice(&self.segments);
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(&bytes);
        let Self {
            keys,
            header,
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

    fn add_origin(&mut self, nonce: PackNonce, envelope: &Envelope) -> Result<u16> {
        if self.header.origins.len() >= limits::PACK_ORIGINS_MAX || nonce == self.header.nonce {
            return Err(Error::limit("origins of a pack"));
        }
        let next = self.header.envelopes.len() as u16;
        let index = *self.envelopes.entry(envelope.clone()).or_insert(next);
        if index == next {
            self.header.envelopes.push(envelope.clone());
        }
        let origin = self.header.origins.len() as u16;
        self.header.origins.push(PackOrigin {
            nonce,
            envelope: Some(index),
        });
        self.origins.insert(nonce, origin);
        Ok(origin)
    }
}

/// Room is left for the largest padding.
const REPACK_BYTES_MAX: usize = limits::PACK_BYTES_MAX - limits::PACK_BYTES_MAX * 3 / 1000 - 4096;
