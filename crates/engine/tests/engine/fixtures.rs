//! Keys, packs and pseudo-random bytes that every test shares.
use std::sync::Arc;

use holdfast_engine::compress::{Codec, Compressor};
use holdfast_engine::directory::ChunkInfo;
use holdfast_engine::pack::{Envelope, FinishedPack, PackBuilder, Recipient};
use holdfast_engine::segment::seal_segment;
use holdfast_engine::{ClassId, ClassKeys, Generation, PackKind, Role, RunKey, VaultId};

pub const RUN: RunKey = RunKey([7; 32]);

pub fn keys() -> Arc<ClassKeys> {
    Arc::new(ClassKeys::new(
        VaultId([1; 16]),
        ClassId(1),
        Generation(2),
        &[3; 32],
        &[4; 32],
    ))
}

pub fn envelope() -> Envelope {
    Envelope::from_recipients(&[Recipient {
        kind: 1,
        wrapped: &[9; 40],
    }])
    .unwrap()
}

/// Bytes that do not compress, the same for the same seed (xorshift64*).
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(count + 8);
    while out.len() < count {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
    }
    out.truncate(count);
    out
}

/// Text that compresses well.
pub fn text(seed: u64, count: usize) -> Vec<u8> {
    let words: [&[u8]; 6] = [
        b"PID|1|",
        b"OBX|2|NM|",
        b"MSH|^~\\&|",
        b"patient ",
        b"ward 7 ",
        b"\r\n",
    ];
    let noise = noise(seed, count);
    let mut out: Vec<u8> = noise
        .iter()
        .flat_map(|byte| words[usize::from(*byte) % 6].to_vec())
        .collect();
    out.truncate(count);
    out
}

pub fn builder(kind: PackKind, random: u8) -> PackBuilder {
    PackBuilder::new(
        keys(),
        &RUN,
        envelope(),
        kind,
        RUN.pack_nonce(&[random; 16]),
        0,
    )
    .unwrap()
}

/// Adds one segment made of chunks.
pub fn add_segment(builder: &mut PackBuilder, role: Role, chunks: &[Vec<u8>]) {
    let keys = keys();
    let plain = chunks.concat();
    let infos = chunks
        .iter()
        .map(|chunk| ChunkInfo {
            id: keys.id(role, chunk),
            role,
            page_bytes: None,
            len: chunk.len() as u32,
        })
        .collect();
    let plain_len = plain.len() as u32;
    let coded = Compressor::new(1).unwrap().code(plain, Vec::new()).unwrap();
    let ordinal = builder.reserve().unwrap();
    let head = builder.head(ordinal, coded.codec, plain_len);
    let sealed = seal_segment(&builder.key(), &head, coded.bytes).unwrap();
    builder
        .add(ordinal, &sealed, coded.codec, plain_len, infos)
        .unwrap();
}

/// A small pack: one segment of text, one of noise.
pub fn small_pack(random: u8) -> FinishedPack {
    let mut builder = builder(PackKind::Data, random);
    let seed = u64::from(random);
    add_segment(
        &mut builder,
        Role::Chunk,
        &[text(seed, 300), text(seed + 100, 20)],
    );
    add_segment(&mut builder, Role::Chunk, &[noise(seed, 200)]);
    builder.finish(5).unwrap()
}

/// The codecs of a pack's segments.
pub fn codecs(pack: &FinishedPack) -> Vec<Codec> {
    pack.record
        .directory
        .segments
        .iter()
        .map(|segment| segment.codec)
        .collect()
}
