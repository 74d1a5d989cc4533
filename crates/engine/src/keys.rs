//! The secrets of one class generation, and every key and id derived from them (`docs/format/keys.md`).
use aws_lc_rs::{aead, hmac};

use crate::error::Result;
use crate::id::{ClassId, Generation, Id, PackKind, PackNonce, Role, VaultId};

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
        todo!()
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
        todo!()
    }

    /// The id of one page of a page map.
    pub fn page_id(&self, page: &[u8]) -> Id {
        todo!()
    }

    /// The id of a chunk made of pages.
    pub fn pages_id(&self, page_bytes: u32, page_ids: &[Id]) -> Id {
        todo!()
    }

    /// A keyed hash of a path: the link id, and the key in a writer's state.
    pub fn path_hash(&self, path: &[u8]) -> u64 {
        todo!()
    }

    /// Whether a node of `level` starts at this path (0: leaves). A function of the name alone.
    pub fn is_tree_boundary(&self, path: &[u8], level: u8) -> bool {
        todo!()
    }

    /// The secret table of the cutter.
    pub fn gear(&self) -> &[u64; 256] {
        &self.gear
    }
}

/// The secret of one run in one class generation; every pack key comes from it. Map packs have one of their own.
pub struct RunKey(pub [u8; 32]);

impl RunKey {
    /// Makes the nonce of a new pack from 16 random bytes, so that no other run key can claim its origin.
    pub fn pack_nonce(&self, random: &[u8; 16]) -> PackNonce {
        todo!()
    }
}

/// The key of all segments of one origin.
pub struct PackKey(aead::LessSafeKey);

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
        todo!()
    }
}
