//! Known answers, checked at start-up: a broken library or processor must not touch a vault.
// Every check has the shape of those that can fail, so that one table holds them all.
#![allow(clippy::unnecessary_wraps)]

use std::hash::Hasher;

use aws_lc_rs::aead::Nonce;
use aws_lc_rs::hmac;
use siphasher::sip::SipHasher24;

use crate::chunk::{CutSizes, Cutter};
use crate::compress::{Codec, Compressor, Decompressor};
use crate::error::{Error, Result};
use crate::id::{ClassId, Generation, PackKind, Role, VaultId};
use crate::keys::{ClassKeys, PackKey, RunKey, gcm_key, hkdf32};
use crate::pack::sha256;
use crate::segment::{SegmentHead, open, open_segment, seal, seal_segment};

/// One check: what it is about, and whether the answer was right.
type Check = (&'static str, fn() -> Result<bool>);

const CHECKS: [Check; 9] = [
    ("SHA-256", sha256_answer),
    ("HMAC-SHA-256", hmac_answer),
    ("HKDF-SHA-256", hkdf_answer),
    ("AES-256-GCM", gcm_answer),
    ("AES-256-GCM refuses a wrong tag", gcm_refuses),
    ("SipHash-2-4", sip_answer),
    ("zstd", zstd_answer),
    ("derived ids", id_answer),
    ("segments and cuts", segment_answer),
];

/// Runs every check and says how many there were; [`Error::Damaged`] names the first that fails.
pub fn run() -> Result<u32> {
    for (what, check) in CHECKS {
        if !check()? {
            return Err(Error::damaged(what));
        }
    }
    Ok(CHECKS.len() as u32)
}

/// Whether bytes are as their hex says.
fn is(bytes: &[u8], hex: &str) -> bool {
    let digits = |byte: &u8| [byte >> 4, byte & 15];
    let expected = hex.bytes().map(|digit| {
        if digit <= b'9' {
            digit - b'0'
        } else {
            digit - b'a' + 10
        }
    });
    bytes.iter().flat_map(digits).eq(expected)
}

/// FIPS 180-4, the example of three letters.
fn sha256_answer() -> Result<bool> {
    Ok(is(
        &sha256(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    ))
}

/// RFC 4231, case 2.
fn hmac_answer() -> Result<bool> {
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, b"Jefe"),
        b"what do ya want for nothing?",
    );
    Ok(is(
        tag.as_ref(),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ))
}

/// RFC 5869, case 1, the first 32 bytes.
fn hkdf_answer() -> Result<bool> {
    let salt: Vec<u8> = (0..=12).collect();
    let info: Vec<u8> = (0xF0..=0xF9).collect();
    let okm = hkdf32(&[0x0B; 22], &salt, &[&info]);
    Ok(is(
        &okm,
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
    ))
}

/// The GCM specification (`McGrew`, Viega), case 14.
fn gcm_answer() -> Result<bool> {
    let mut bytes = vec![0; 16];
    seal(
        &gcm_key(&[0; 32]),
        Nonce::assume_unique_for_key([0; 12]),
        b"",
        &mut bytes,
    )?;
    Ok(is(
        &bytes,
        "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
    ))
}

fn gcm_refuses() -> Result<bool> {
    let nonce = || Nonce::assume_unique_for_key([0; 12]);
    let mut bytes = vec![0; 16];
    seal(&gcm_key(&[0; 32]), nonce(), b"", &mut bytes)?;
    let mut wrong = bytes.clone();
    if let Some(last) = wrong.last_mut() {
        *last ^= 1;
    }
    let refused = open(&gcm_key(&[0; 32]), nonce(), b"", &mut wrong, "tag").is_err();
    open(&gcm_key(&[0; 32]), nonce(), b"", &mut bytes, "tag")?;
    Ok(refused && bytes == [0; 16])
}

/// The paper (Aumasson, Bernstein), appendix A.
fn sip_answer() -> Result<bool> {
    let bytes: [u8; 16] = std::array::from_fn(|index| index as u8);
    let mut hasher = SipHasher24::new_with_key(&bytes);
    hasher.write(bytes.split_last().map_or(&[], |(_, front)| front));
    Ok(hasher.finish() == 0xa129_ca61_49be_45e5)
}

/// A frame of one run-length block, written by hand; and a way there and back.
fn zstd_answer() -> Result<bool> {
    let frame = [0x28, 0xB5, 0x2F, 0xFD, 0x20, 100, 0x23, 0x03, 0x00, b'a'];
    let mut decompressor = Decompressor::new()?;
    let by_hand = decompressor.decode(Codec::Zstd, frame.to_vec(), 100)? == [b'a'; 100];
    let plain = b"MSH|^~\\&|ADT|".repeat(100);
    let length = plain.len() as u32;
    let coded = Compressor::new(Compressor::LEVEL)?.code(plain.clone(), Vec::new())?;
    let is_small = coded.codec == Codec::Zstd && coded.bytes.len() < 100;
    Ok(by_hand && is_small && decompressor.decode(coded.codec, coded.bytes, length)? == plain)
}

fn test_keys() -> ClassKeys {
    ClassKeys::new(
        VaultId([1; 16]),
        ClassId(1),
        Generation(2),
        &[3; 32],
        &[4; 32],
    )
}

/// Answers that `docs/format/vectors.json` has too; the rescue reader computes them from the specification.
fn id_answer() -> Result<bool> {
    let keys = test_keys();
    let pages = keys.pages_id(8192, &[keys.page_id(b"abc")]);
    Ok(is(&keys.id(Role::Chunk, b"abc").0, ID_OF_CHUNK)
        && is(&pages.0, ID_OF_PAGES)
        && is(&keys.path_hash(b"srv/ehr/a").to_le_bytes(), HASH_OF_PATH)
        && is(&RunKey([7; 32]).pack_nonce(&[9; 16]).0, NONCE))
}

const ID_OF_CHUNK: &str = "d6b8e98ec386b7bf98db0d7c5e72fcd5";
const ID_OF_PAGES: &str = "3a998a87bc421bd9bb5b64b32c8ef75c";
const HASH_OF_PATH: &str = "e6cc4dbf1910f7b1";
const NONCE: &str = "f7803a8a2796df5d8d10773baecac41e09090909090909090909090909090909";

fn segment_answer() -> Result<bool> {
    let run = RunKey([7; 32]);
    let head = SegmentHead {
        kind: PackKind::Data,
        class: ClassId(1),
        generation: Generation(2),
        vault: VaultId([1; 16]),
        nonce: run.pack_nonce(&[9; 16]),
        ordinal: 3,
        codec: Codec::Raw,
        plain_len: 3,
    };
    let key = PackKey::derive(
        &run,
        head.vault,
        head.class,
        head.generation,
        head.kind,
        &head.nonce,
    )?;
    let sealed = seal_segment(&key, &head, b"abc".to_vec())?;
    let known = is(&sealed, SEALED);
    let opened = open_segment(&key, &head, sealed, &mut Decompressor::new()?)? == b"abc";
    let sizes = CutSizes {
        min_bytes: 64,
        avg_bytes: 256,
        max_bytes: 1024,
    };
    let stream: Vec<u8> = (0..2000_u32)
        .map(|index| ((index * index) >> 3) as u8)
        .collect();
    let cut = Cutter::new(test_keys().gear(), sizes).next_cut(&stream, true);
    Ok(known && opened && cut == Some(FIRST_CUT))
}

const SEALED: &str = "b556391357e12cbdf37fb9d4b2936ed19c00f6";
const FIRST_CUT: usize = 269;
