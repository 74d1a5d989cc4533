//! The secrets of one class generation, and every key and id derived from them (`docs/format/keys.md`).
use aws_lc_rs::{aead, hkdf, hmac};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

use crate::error::{Error, Result};
use crate::id::{ClassId, Generation, Id, PackKind, PackNonce, Role, VaultId};

/// A leaf starts at one path in this many.
const LEAF_ENTRIES_AVG: u64 = 32;
/// An inner node starts at one child in this many.
const INNER_CHILDREN_AVG: u64 = 64;

/// What a writer, pruner or reader holds of one class generation: names for content, and the key to directories.
pub struct ClassKeys {
    vault: VaultId,
    class: ClassId,
    generation: Generation,
    id_key: hmac::Key,
    index_key: [u8; 32],
    gear: Box<[u64; 256]>,
    boundary_key: [u8; 16],
    path_key: [u8; 16],
}

impl ClassKeys {
    /// Derives everything from the two secrets of a class generation.
    pub fn new(
        vault: VaultId,
        class: ClassId,
        generation: Generation,
        dedup_key: &[u8; 32],
        index_key: &[u8; 32],
    ) -> Self {
        let derive = |info: &[u8]| hkdf32(dedup_key, &vault.0, &[info]);
        Self {
            vault,
            class,
            generation,
            id_key: hmac::Key::new(hmac::HMAC_SHA256, &derive(b"holdfast/1 id")),
            index_key: *index_key,
            gear: gear_table(&derive(b"holdfast/1 cut")),
            boundary_key: first_half(&derive(b"holdfast/1 boundary")),
            path_key: first_half(&derive(b"holdfast/1 path")),
        }
    }

    /// The vault that the keys belong to.
    pub fn vault(&self) -> VaultId {
        self.vault
    }

    /// The class that the keys belong to.
    pub fn class(&self) -> ClassId {
        self.class
    }

    /// The generation that the keys belong to.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The id of content in a role; for [`Role::Pages`] use [`Self::pages_id`].
    pub fn id(&self, role: Role, content: &[u8]) -> Id {
        let mut mac = hmac::Context::with_key(&self.id_key);
        mac.update(&[role as u8]);
        mac.update(content);
        truncate(&mac.sign())
    }

    /// The id of one page of a page map.
    pub fn page_id(&self, page: &[u8]) -> Id {
        self.id(Role::Page, page)
    }

    /// The id of a chunk made of pages.
    pub fn pages_id(&self, page_bytes: u32, page_ids: &[Id]) -> Id {
        let mut mac = hmac::Context::with_key(&self.id_key);
        mac.update(&[Role::Pages as u8]);
        mac.update(&page_bytes.to_le_bytes());
        for id in page_ids {
            mac.update(&id.0);
        }
        truncate(&mac.sign())
    }

    /// A keyed hash of a path: the link id, and the key in a writer's state.
    pub fn path_hash(&self, path: &[u8]) -> u64 {
        SipHasher24::new_with_key(&self.path_key).hash(path)
    }

    /// Whether a node of `level` starts at this path (0: leaves). A function of the name alone.
    pub fn is_tree_boundary(&self, path: &[u8], level: u8) -> bool {
        let mut hasher = SipHasher24::new_with_key(&self.boundary_key);
        hasher.write(&[level]);
        hasher.write(path);
        let average = if level == 0 {
            LEAF_ENTRIES_AVG
        } else {
            INNER_CHILDREN_AVG
        };
        hasher.finish().is_multiple_of(average)
    }

    /// The secret table of the cutter.
    pub fn gear(&self) -> &[u64; 256] {
        &self.gear
    }

    /// The key of one pack's directory.
    pub(crate) fn directory_key(&self, nonce: &PackNonce) -> aead::LessSafeKey {
        gcm_key(&hkdf32(
            &self.index_key,
            &nonce.0,
            &[b"holdfast/1 directory"],
        ))
    }
}

/// The secret of one run in one class generation; every pack key comes from it. Map packs have one of their own.
pub struct RunKey(pub [u8; 32]);

impl RunKey {
    /// Makes the nonce of a new pack from 16 random bytes, so that no other run key can claim its origin.
    pub fn pack_nonce(&self, random: &[u8; 16]) -> PackNonce {
        let mut nonce = [0; 32];
        nonce[..16].copy_from_slice(&self.origin_of(random));
        nonce[16..].copy_from_slice(random);
        PackNonce(nonce)
    }

    fn origin_of(&self, random: &[u8]) -> [u8; 16] {
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        mac.update(b"holdfast/1 origin");
        mac.update(random);
        truncate(&mac.sign()).0
    }
}

/// The key of all segments of one origin.
pub struct PackKey(pub(crate) aead::LessSafeKey);

impl PackKey {
    /// Derives the key of a pack; refuses as damaged a nonce that this run key did not make.
    pub fn derive(
        run: &RunKey,
        vault: VaultId,
        class: ClassId,
        generation: Generation,
        kind: PackKind,
        nonce: &PackNonce,
    ) -> Result<Self> {
        if run.origin_of(&nonce.0[16..]) != nonce.origin().0 {
            return Err(Error::damaged("an origin that its run key did not make"));
        }
        let info: [&[u8]; 5] = [
            b"holdfast/1 segment",
            &vault.0,
            &class.0.to_le_bytes(),
            &generation.0.to_le_bytes(),
            &[kind as u8],
        ];
        Ok(Self(gcm_key(&hkdf32(&run.0, &nonce.0, &info))))
    }
}

/// A length for HKDF output that is not one of the library's own.
struct OutputBytes(usize);

impl hkdf::KeyType for OutputBytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// `HKDF(ikm, salt, info)` of the specification.
pub(crate) fn hkdf32(ikm: &[u8], salt: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    expand(
        &hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(ikm),
        info,
        &mut out,
    );
    out
}

fn expand(prk: &hkdf::Prk, info: &[&[u8]], out: &mut [u8]) {
    prk.expand(info, OutputBytes(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("HKDF-SHA-256 gives up to 8160 bytes");
}

fn gear_table(prk: &[u8; 32]) -> Box<[u64; 256]> {
    let mut bytes = [0; 2048];
    let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, prk);
    expand(&prk, &[b"holdfast/1 gear"], &mut bytes);
    let mut table = Box::new([0; 256]);
    for (value, bytes) in table.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *value = u64::from_le_bytes(*bytes);
    }
    table
}

pub(crate) fn gcm_key(key: &[u8; 32]) -> aead::LessSafeKey {
    aead::LessSafeKey::new(
        aead::UnboundKey::new(&aead::AES_256_GCM, key).expect("AES-256-GCM takes keys of 32 bytes"),
    )
}

fn truncate(tag: &hmac::Tag) -> Id {
    let mut id = [0; 16];
    id.copy_from_slice(&tag.as_ref()[..16]);
    Id(id)
}

fn first_half(key: &[u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&key[..16]);
    half
}
