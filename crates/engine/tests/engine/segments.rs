//! A segment opens to what was sealed, or not at all.
use holdfast_engine::compress::{Codec, Compressor, Decompressor};
use holdfast_engine::segment::{SegmentHead, open_segment, seal_segment};
use holdfast_engine::{ClassId, Error, Generation, PackKey, PackKind, RunKey, VaultId};
use proptest::prelude::*;

use crate::fixtures::{RUN, noise, text};

fn head(codec: Codec, plain_len: usize) -> SegmentHead {
    SegmentHead {
        kind: PackKind::Data,
        class: ClassId(1),
        generation: Generation(2),
        vault: VaultId([1; 16]),
        nonce: RUN.pack_nonce(&[5; 16]),
        ordinal: 3,
        codec,
        plain_len: plain_len as u32,
    }
}

fn key(head: &SegmentHead) -> PackKey {
    PackKey::derive(
        &RUN,
        head.vault,
        head.class,
        head.generation,
        head.kind,
        &head.nonce,
    )
    .unwrap()
}

fn seal(plain: &[u8]) -> (SegmentHead, Vec<u8>) {
    let coded = Compressor::new(1)
        .unwrap()
        .code(plain.to_vec(), Vec::new())
        .unwrap();
    let head = head(coded.codec, plain.len());
    let sealed = seal_segment(&key(&head), &head, coded.bytes).unwrap();
    (head, sealed)
}

fn open(head: &SegmentHead, sealed: Vec<u8>) -> Result<Vec<u8>, Error> {
    open_segment(&key(head), head, sealed, &mut Decompressor::new().unwrap())
}

proptest! {
    #[test]
    fn a_segment_comes_back(seed: u64, length in 0_usize..300_000, compressible: bool) {
        let plain = if compressible { text(seed, length) } else { noise(seed, length) };
        let (head, sealed) = seal(&plain);
        prop_assert_eq!(open(&head, sealed).unwrap(), plain);
    }
}

#[test]
fn noise_is_kept_as_it_is_and_text_is_not() {
    assert_eq!(seal(&noise(1, 1 << 20)).0.codec, Codec::Raw);
    assert_eq!(seal(&noise(1, 1000)).0.codec, Codec::Raw);
    let (head, sealed) = seal(&text(1, 1 << 20));
    assert_eq!(head.codec, Codec::Zstd);
    assert!(sealed.len() < 600_000);
}

#[test]
fn noise_is_moved_not_copied() {
    let plain = noise(1, 1 << 20);
    let address = plain.as_ptr();
    let coded = Compressor::new(1).unwrap().code(plain, Vec::new()).unwrap();
    assert_eq!(coded.codec, Codec::Raw);
    let mut exact = noise(1, 1 << 20);
    exact.reserve(16);
    assert!(coded.bytes.capacity() >= (1 << 20) + 16 || coded.bytes.as_ptr() != address);
    let address = exact.as_ptr();
    let coded = Compressor::new(1).unwrap().code(exact, Vec::new()).unwrap();
    let head = head(Codec::Raw, 1 << 20);
    let sealed = seal_segment(&key(&head), &head, coded.bytes).unwrap();
    assert_eq!(sealed.as_ptr(), address);
}

#[test]
fn every_flipped_bit_is_found() {
    for plain in [text(1, 400), noise(1, 60)] {
        let (head, sealed) = seal(&plain);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(open(&head, flipped), Err(Error::Damaged { .. })),
                "bit {bit}"
            );
        }
        for length in 0..sealed.len() {
            assert!(open(&head, sealed[..length].to_vec()).is_err());
        }
    }
}

#[test]
fn every_field_of_the_head_is_proved() {
    let (head, sealed) = seal(&text(1, 400));
    let others = [
        SegmentHead {
            kind: PackKind::Map,
            ..head
        },
        SegmentHead {
            class: ClassId(2),
            ..head
        },
        SegmentHead {
            generation: Generation(3),
            ..head
        },
        SegmentHead {
            vault: VaultId([2; 16]),
            ..head
        },
        SegmentHead {
            nonce: RUN.pack_nonce(&[6; 16]),
            ..head
        },
        SegmentHead { ordinal: 4, ..head },
        SegmentHead {
            codec: Codec::Raw,
            ..head
        },
        SegmentHead {
            plain_len: 401,
            ..head
        },
    ];
    for other in others {
        // Under the right key, so that only the head itself can tell.
        let opened = open_segment(
            &key(&head),
            &other,
            sealed.clone(),
            &mut Decompressor::new().unwrap(),
        );
        assert!(matches!(opened, Err(Error::Damaged { .. })), "{other:?}");
    }
}

#[test]
fn an_origin_belongs_to_its_run_key() {
    let head = head(Codec::Raw, 1);
    let other = RunKey([8; 32]);
    let derived = PackKey::derive(
        &other,
        head.vault,
        head.class,
        head.generation,
        head.kind,
        &head.nonce,
    );
    assert!(matches!(derived, Err(Error::Damaged { .. })));
}

#[test]
fn a_frame_never_grows_beyond_its_declared_length() {
    let mut decompressor = Decompressor::new().unwrap();
    let bomb = Compressor::new(1)
        .unwrap()
        .code(vec![0; 10 << 20], Vec::new())
        .unwrap();
    assert_eq!(bomb.codec, Codec::Zstd);
    for declared in [0, 100, (10 << 20) - 1, (10 << 20) + 1] {
        assert!(
            decompressor
                .decode(Codec::Zstd, bomb.bytes.clone(), declared)
                .is_err()
        );
    }
    assert!(matches!(
        decompressor.decode(Codec::Zstd, bomb.bytes.clone(), u32::MAX),
        Err(Error::LimitExceeded { .. })
    ));
    let twice = [bomb.bytes.clone(), bomb.bytes.clone()].concat();
    assert!(decompressor.decode(Codec::Zstd, twice, 10 << 20).is_err());
    assert_eq!(
        decompressor
            .decode(Codec::Zstd, bomb.bytes, 10 << 20)
            .unwrap(),
        vec![0; 10 << 20]
    );
    assert!(decompressor.decode(Codec::Raw, vec![1, 2], 3).is_err());
}
