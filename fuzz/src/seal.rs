//! Keys that every target knows, and the format's seals made from the specification, not with the engine's own code.
use std::sync::{Arc, LazyLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use holdfast_engine::{ClassId, ClassKeys, Error, Generation, RunKey, VaultId};

pub const VAULT: VaultId = VaultId([1; 16]);
pub const CLASS: ClassId = ClassId(1);
pub const GENERATION: Generation = Generation(2);
pub const RUN: RunKey = RunKey([7; 32]);
const INDEX_KEY: [u8; 32] = [4; 32];

static KEYS: LazyLock<Arc<ClassKeys>> = LazyLock::new(|| {
    Arc::new(ClassKeys::new(
        VAULT, CLASS, GENERATION, &[3; 32], &INDEX_KEY,
    ))
});

/// The keys that everything here is sealed under.
pub fn keys() -> Arc<ClassKeys> {
    KEYS.clone()
}

struct Key32;

impl hkdf::KeyType for Key32 {
    fn len(&self) -> usize {
        32
    }
}

/// Seals a directory's plaintext (`docs/format/packs.md`).
pub fn directory(header: &[u8], nonce: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut key = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, nonce)
        .extract(&INDEX_KEY)
        .expand(&[b"holdfast/1 directory"], Key32)
        .and_then(|okm| okm.fill(&mut key))
        .expect("32 bytes");
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes"));
    let mut sealed = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let aad = holdfast_engine::pack::sha256(header);
    key.seal_in_place_append_tag(nonce, Aad::from(&aad), &mut sealed)
        .expect("a short plaintext");
    sealed
}

/// Holds that a parser refused bytes for what they are: never for its own fault.
pub fn refused(error: &Error) {
    assert!(
        matches!(
            error.code(),
            "damaged" | "unknown-version" | "limit-exceeded" | "wrong-key" | "missing"
        ),
        "bytes were refused as {}: {error}",
        error.code()
    );
}
