//! One segment: chunks in one plaintext, under one AES-256-GCM call.
use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};

use crate::compress::{Codec, Decompressor};
use crate::error::{Error, Result};
use crate::id::{ClassId, Generation, PackKind, PackNonce, VaultId};
use crate::keys::PackKey;

/// Bytes that sealing adds.
pub const TAG_BYTES: usize = 16;

const AAD_BYTES: usize = 4 + 1 + 1 + 2 + 4 + 16 + 32 + 4 + 1 + 4;

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

impl SegmentHead {
    fn aad(&self) -> [u8; AAD_BYTES] {
        let mut aad = [0; AAD_BYTES];
        let fields: [&[u8]; 9] = [
            b"HFSG\x01",
            &[self.kind as u8],
            &self.class.0.to_le_bytes(),
            &self.generation.0.to_le_bytes(),
            &self.vault.0,
            &self.nonce.0,
            &self.ordinal.to_le_bytes(),
            &[self.codec as u8],
            &self.plain_len.to_le_bytes(),
        ];
        let mut rest = aad.as_mut_slice();
        for field in fields {
            let (head, tail) = rest.split_at_mut(field.len());
            head.copy_from_slice(field);
            rest = tail;
        }
        aad
    }

    fn gcm_nonce(&self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.ordinal.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Seals coded plaintext in place and appends the tag. An ordinal must be sealed once per nonce.
pub fn seal_segment(key: &PackKey, head: &SegmentHead, mut coded: Vec<u8>) -> Result<Vec<u8>> {
    coded.reserve_exact(TAG_BYTES);
    seal(&key.0, head.gcm_nonce(), &head.aad(), &mut coded)?;
    Ok(coded)
}

/// Opens a segment in place and decodes it. Damaged if one bit of it, or of `head`, is not as it was sealed.
pub fn open_segment(
    key: &PackKey,
    head: &SegmentHead,
    mut sealed: Vec<u8>,
    decompressor: &mut Decompressor,
) -> Result<Vec<u8>> {
    open(
        &key.0,
        head.gcm_nonce(),
        &head.aad(),
        &mut sealed,
        "segment does not open",
    )?;
    decompressor.decode(head.codec, sealed, head.plain_len)
}

/// `GCM` of the specification, in place.
pub(crate) fn seal(key: &LessSafeKey, nonce: Nonce, aad: &[u8], plain: &mut Vec<u8>) -> Result<()> {
    key.seal_in_place_append_tag(nonce, Aad::from(aad), plain)
        .map_err(|_| Error::limit("plaintext to seal"))
}

/// The way back; `what` says what it was that does not open.
pub(crate) fn open(
    key: &LessSafeKey,
    nonce: Nonce,
    aad: &[u8],
    sealed: &mut Vec<u8>,
    what: &'static str,
) -> Result<()> {
    let opened = key
        .open_in_place(nonce, Aad::from(aad), sealed)
        .map_err(|_| Error::damaged(what))?;
    let plain_len = opened.len();
    sealed.truncate(plain_len);
    Ok(())
}
