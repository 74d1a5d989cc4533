//! One pack: header, segments, padding, sealed directory, trailer (`docs/format/packs.md`).
use std::sync::Arc;

use crate::compress::Codec;
use crate::directory::{ChunkInfo, Directory};
use crate::error::Result;
use crate::id::{ClassId, Generation, PackKind, PackName, PackNonce, VaultId};
use crate::keys::{ClassKeys, PackKey, RunKey};
use crate::record::IndexRecord;
use crate::segment::SegmentHead;

/// Bytes of the header before the envelopes.
pub const HEADER_FIXED_BYTES: usize = 76;
/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 16;

/// One run key, wrapped to its recipients: the encoded form, checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Envelope(Vec<u8>);

/// One recipient of an [`Envelope`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// 1: HPKE to the class; 2: the writer's state key.
    pub kind: u8,
    /// The wrapped run key.
    pub wrapped: &'a [u8],
}

impl Envelope {
    /// Takes an encoded envelope (`u16 count`, then the recipients); refuses bytes that are not exactly one.
    pub fn new(encoded: Vec<u8>) -> Result<Self> {
        todo!()
    }

    /// Encodes recipients.
    pub fn from_recipients(recipients: &[Recipient<'_>]) -> Result<Self> {
        todo!()
    }

    /// The encoded form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its recipients.
    pub fn recipients(&self) -> Vec<Recipient<'_>> {
        todo!()
    }
}

/// A pack whose segments are in this pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOrigin {
    /// Its nonce.
    pub nonce: PackNonce,
    /// Which envelope of this pack carries its run key; `None` only for a pack without segments of its own.
    pub envelope: Option<u16>,
}

/// The clear front of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackHeader {
    /// What the pack is for.
    pub kind: PackKind,
    /// The vault.
    pub vault: VaultId,
    /// The class.
    pub class: ClassId,
    /// The generation of the class's keys.
    pub generation: Generation,
    /// The pack's own nonce, which is also that of origin 0.
    pub nonce: PackNonce,
    /// The run keys that the segments need.
    pub envelopes: Vec<Envelope>,
    /// Whose segments are here; the first is the pack itself.
    pub origins: Vec<PackOrigin>,
}

impl PackHeader {
    /// The header's bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        todo!()
    }

    /// How many bytes the header has, from the first [`HEADER_FIXED_BYTES`] (or more) of a pack.
    pub fn length(prefix: &[u8]) -> Result<usize> {
        todo!()
    }

    /// Parses the header at the start of a pack; also gives its length, where the first segment starts.
    pub fn parse(prefix: &[u8]) -> Result<(Self, usize)> {
        todo!()
    }

    /// The head of a segment of one of the origins, as [`crate::segment::open_segment`] needs it.
    pub fn segment_head(&self, segment: &crate::directory::SegmentInfo) -> Result<SegmentHead> {
        todo!()
    }

    /// The envelope that carries the run key of an origin.
    pub fn envelope_of(&self, nonce: &PackNonce) -> Result<&Envelope> {
        todo!()
    }
}

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
    bytes: Vec<u8>,
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
        todo!()
    }

    /// The key that segments of this pack are sealed with, to hand to a worker.
    pub fn key(&self) -> Arc<PackKey> {
        self.key.clone()
    }

    /// The number of the next segment; each is given out once.
    pub fn reserve(&mut self) -> Result<u32> {
        todo!()
    }

    /// The head to seal a reserved segment with.
    pub fn head(&self, ordinal: u32, codec: Codec, plain_len: u32) -> SegmentHead {
        todo!()
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
        todo!()
    }

    /// Header and segments so far.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Segments added so far.
    pub fn segments_len(&self) -> usize {
        todo!()
    }

    /// The most padding that [`Self::finish`] accepts now.
    pub fn padding_max(&self) -> usize {
        todo!()
    }

    /// Seals the directory and names the pack.
    pub fn finish(self, padding: usize) -> Result<FinishedPack> {
        todo!()
    }
}

/// The length of the sealed directory, from the last [`TRAILER_BYTES`] (or more) of a pack.
pub fn parse_trailer(tail: &[u8]) -> Result<usize> {
    todo!()
}

/// Opens the directory of a pack of `pack_bytes` bytes. `header` is the pack up to its first segment.
pub fn open_directory(
    keys: &ClassKeys,
    header: &[u8],
    sealed: &[u8],
    pack_bytes: u64,
) -> Result<(PackHeader, Directory)> {
    todo!()
}

/// What a whole pack says about itself.
pub struct PackContents {
    /// The clear front.
    pub header: PackHeader,
    /// The opened directory.
    pub directory: Directory,
    /// The record for an index run, named by the SHA-256 of the bytes read.
    pub record: IndexRecord,
}

/// Reads a whole pack: header, directory, padding; not its segments.
pub fn read_pack(keys: &ClassKeys, pack: &[u8]) -> Result<PackContents> {
    todo!()
}
