//! One segment: chunks in one plaintext, under one AES-256-GCM call.
use crate::compress::{Codec, Decompressor};
use crate::error::Result;
use crate::id::{ClassId, Generation, PackKind, PackNonce, VaultId};
use crate::keys::PackKey;

/// Bytes that sealing adds.
pub const TAG_BYTES: usize = 16;

/// What a segment is, as its seal proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHead {
    /// Kind of the pack.
    pub kind: PackKind,
    /// Class of the pack.
    pub class: ClassId,
    /// Generation of the class's keys.
    pub generation: Generation,
    /// The vault.
    pub vault: VaultId,
    /// Nonce of the origin.
    pub nonce: PackNonce,
    /// Number of the segment in its origin.
    pub ordinal: u32,
    /// How the plaintext is coded.
    pub codec: Codec,
    /// Length of the plaintext before coding.
    pub plain_len: u32,
}

/// Seals coded plaintext in place and appends the tag. An ordinal must be sealed once per nonce.
pub fn seal_segment(key: &PackKey, head: &SegmentHead, coded: Vec<u8>) -> Result<Vec<u8>> {
    todo!()
}

/// Opens a segment in place and decodes it. Damaged if one bit of it, or of `head`, is not as it was sealed.
pub fn open_segment(
    key: &PackKey,
    head: &SegmentHead,
    sealed: Vec<u8>,
    decompressor: &mut Decompressor,
) -> Result<Vec<u8>> {
    todo!()
}
