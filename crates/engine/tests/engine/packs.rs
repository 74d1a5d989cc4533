//! A pack says what was put in; every flipped bit is found; segments survive repacking.
use holdfast_engine::compress::{Codec, Decompressor};
use holdfast_engine::pack::{
    Envelope, HEADER_FIXED_BYTES, PackHeader, open_directory, parse_trailer, read_pack, sha256,
};
use holdfast_engine::record::{IndexRecord, encode_run, parse_run, split_run};
use holdfast_engine::repack::RepackBuilder;
use holdfast_engine::segment::open_segment;
use holdfast_engine::{
    ClassId, ClassKeys, Error, Generation, PackKey, PackKind, PackName, PackNonce, Role, VaultId,
};
use proptest::prelude::*;

use crate::fixtures::{RUN, add_segment, builder, codecs, keys, noise, small_pack, text};

/// Every chunk of a pack, by reading it as a restorer does.
fn chunks_of(pack: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let contents = read_pack(&keys(), pack)?;
    let mut chunks = Vec::new();
    for segment in &contents.record.directory.segments {
        let head = contents.header.segment_head(segment)?;
        contents.header.envelope_of(&head.nonce)?;
        let key = PackKey::derive(
            &RUN,
            head.vault,
            head.class,
            head.generation,
            head.kind,
            &head.nonce,
        )?;
        let sealed = pack[segment.offset as usize..segment.end() as usize].to_vec();
        let plain = open_segment(&key, &head, sealed, &mut Decompressor::new()?)?;
        let mut rest = plain.as_slice();
        for chunk in &segment.chunks {
            let (head, tail) = rest.split_at(chunk.len as usize);
            assert_eq!(keys().id(chunk.role, head), chunk.id);
            chunks.push(head.to_vec());
            rest = tail;
        }
    }
    Ok(chunks)
}

#[test]
fn a_pack_comes_back() {
    let pack = small_pack(1);
    assert_eq!(codecs(&pack), [Codec::Zstd, Codec::Raw]);
    assert_eq!(pack.name.0, sha256(&pack.bytes));
    assert_eq!(
        chunks_of(&pack.bytes).unwrap(),
        [text(1, 300), text(101, 20), noise(1, 200)]
    );
    assert_eq!(read_pack(&keys(), &pack.bytes).unwrap().record, pack.record);
}

#[test]
fn a_directory_opens_from_ranges() {
    let pack = small_pack(1);
    let size = pack.bytes.len();
    let directory_len = parse_trailer(&pack.bytes[size - 16..]).unwrap();
    let header_len = PackHeader::length(&pack.bytes[..HEADER_FIXED_BYTES]).unwrap();
    let sealed = &pack.bytes[size - 16 - directory_len..size - 16];
    let (_, directory) =
        open_directory(&keys(), &pack.bytes[..header_len], sealed, size as u64).unwrap();
    assert_eq!(directory, pack.record.directory);
}

#[test]
fn every_flipped_bit_is_found_by_name_and_by_reading() {
    let pack = small_pack(1).bytes;
    for bit in 0..pack.len() * 8 {
        let mut flipped = pack.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(sha256(&flipped), sha256(&pack));
        assert!(chunks_of(&flipped).is_err(), "bit {bit}");
    }
    for length in 0..pack.len() {
        assert!(
            read_pack(&keys(), &pack[..length]).is_err(),
            "{length} bytes"
        );
    }
    assert!(read_pack(&keys(), &[pack, vec![0]].concat()).is_err());
}

#[test]
fn keys_of_another_vault_class_or_generation_are_told_apart_from_damage() {
    let pack = small_pack(1).bytes;
    let keys = |vault, class, generation| {
        ClassKeys::new(
            VaultId([vault; 16]),
            ClassId(class),
            Generation(generation),
            &[3; 32],
            &[4; 32],
        )
    };
    for wrong in [keys(2, 1, 2), keys(1, 2, 2), keys(1, 1, 3)] {
        assert!(matches!(
            read_pack(&wrong, &pack),
            Err(Error::WrongKey { .. })
        ));
    }
    let other_index_key = ClassKeys::new(
        VaultId([1; 16]),
        ClassId(1),
        Generation(2),
        &[3; 32],
        &[5; 32],
    );
    assert!(matches!(
        read_pack(&other_index_key, &pack),
        Err(Error::Damaged { .. })
    ));
    let mut newer = pack;
    newer[8] = 2;
    assert!(matches!(
        read_pack(&keys(1, 1, 2), &newer),
        Err(Error::UnknownVersion { found: 2, .. })
    ));
}

#[test]
fn a_repacked_segment_keeps_its_origin_and_content() {
    let packs = [small_pack(1), small_pack(2)];
    let mut repack = RepackBuilder::new(keys(), PackKind::Data, PackNonce([0xEE; 32]));
    for pack in &packs {
        let (header, _) = PackHeader::parse(&pack.bytes).unwrap();
        let segment = &pack.record.directory.segments[1];
        let sealed = &pack.bytes[segment.offset as usize..segment.end() as usize];
        assert!(repack.add(&header, segment, sealed).unwrap());
        assert!(!repack.add(&header, segment, sealed).unwrap());
    }
    let second = repack.finish(0).unwrap();
    let (header, _) = PackHeader::parse(&second.bytes).unwrap();
    assert_eq!((header.envelopes.len(), header.origins.len()), (1, 3));
    assert_eq!(header.origins[0].envelope, None);
    assert_eq!(
        chunks_of(&second.bytes).unwrap(),
        [noise(1, 200), noise(2, 200)]
    );

    let mut third = RepackBuilder::new(keys(), PackKind::Data, PackNonce([0xEF; 32]));
    let segment = &second.record.directory.segments[1];
    third
        .add(
            &header,
            segment,
            &second.bytes[segment.offset as usize..segment.end() as usize],
        )
        .unwrap();
    let third = third.finish(0).unwrap();
    assert_eq!(third.record.nonces[1], packs[1].record.nonces[0]);
    assert_eq!(third.record.directory.segments[0].ordinal, 1);
    assert_eq!(chunks_of(&third.bytes).unwrap(), [noise(2, 200)]);
}

#[test]
fn repacking_refuses_other_kinds_and_partial_segments() {
    let pack = small_pack(1);
    let (header, _) = PackHeader::parse(&pack.bytes).unwrap();
    let segment = &pack.record.directory.segments[0];
    let sealed = &pack.bytes[segment.offset as usize..segment.end() as usize];
    let mut other = RepackBuilder::new(keys(), PackKind::Metadata, PackNonce([0xEE; 32]));
    assert!(matches!(
        other.add(&header, segment, sealed),
        Err(Error::Misuse { .. })
    ));
    let mut same = RepackBuilder::new(keys(), PackKind::Data, PackNonce([0xEE; 32]));
    assert!(matches!(
        same.add(&header, segment, &sealed[1..]),
        Err(Error::Misuse { .. })
    ));
    assert!(matches!(same.finish(0), Err(Error::Misuse { .. })));
}

#[test]
fn the_builder_refuses_what_a_reader_would() {
    let mut pack = builder(PackKind::Data, 1);
    assert!(matches!(
        pack.add(0, &[0; 16], Codec::Raw, 0, Vec::new()),
        Err(Error::Misuse { .. })
    ));
    let ordinal = pack.reserve().unwrap();
    for (sealed, plain_len) in [(15, 0), (17, 0), (20, 4)] {
        assert!(
            pack.add(ordinal, &vec![0; sealed], Codec::Raw, plain_len, Vec::new())
                .is_err()
        );
    }
    let too_long = vec![0; (16 << 20) + 17];
    assert!(matches!(
        pack.add(ordinal, &too_long, Codec::Raw, (16 << 20) + 1, Vec::new()),
        Err(Error::LimitExceeded { .. })
    ));
    pack.add(ordinal, &[0; 16], Codec::Raw, 0, Vec::new())
        .unwrap();
    assert!(
        pack.add(ordinal, &[0; 16], Codec::Raw, 0, Vec::new())
            .is_err()
    );
    assert_eq!(
        (
            pack.segments_len(),
            pack.outstanding_len(),
            pack.padding_max()
        ),
        (1, 0, 4096)
    );
    assert!(matches!(pack.finish(4097), Err(Error::Misuse { .. })));
    assert!(matches!(
        builder(PackKind::Data, 1).finish(0),
        Err(Error::Misuse { .. })
    ));
}

#[test]
fn a_pack_is_bounded() {
    let mut pack = builder(PackKind::Data, 1);
    let block = noise(1, 16 << 20);
    for _ in 0..7 {
        add_segment(&mut pack, Role::Chunk, std::slice::from_ref(&block));
    }
    let ordinal = pack.reserve().unwrap();
    let full = vec![0; (16 << 20) + 16];
    let plain_len = 16 << 20;
    let chunk = pack_chunk(plain_len);
    assert!(matches!(
        pack.add(ordinal, &full, Codec::Raw, plain_len, vec![chunk]),
        Err(Error::LimitExceeded { .. })
    ));
    let padding = pack.padding_max();
    let pack = pack.finish(padding).unwrap();
    assert!(pack.bytes.len() <= 128 << 20);
    assert!(read_pack(&keys(), &pack.bytes).is_ok());
}

fn pack_chunk(len: u32) -> holdfast_engine::directory::ChunkInfo {
    holdfast_engine::directory::ChunkInfo {
        id: keys().id(Role::Chunk, b""),
        role: Role::Chunk,
        page_bytes: None,
        len,
    }
}

#[test]
fn an_index_run_comes_back_and_splits_into_its_records() {
    let records: Vec<IndexRecord> = (1..4).map(|seed| small_pack(seed).record).collect();
    let run = encode_run(&records);
    assert_eq!(parse_run(&run).unwrap(), records);
    let parts = split_run(&run).unwrap();
    assert!(
        parts
            .iter()
            .all(|(record, bytes)| record.encode() == *bytes)
    );
    assert_eq!(IndexRecord::parse(parts[1].1).unwrap(), records[1]);
    for length in 0..run.len() {
        assert!(parse_run(&run[..length]).is_err());
    }
    assert!(parse_run(&[run, vec![0]].concat()).is_err());
    assert_eq!(parse_run(&encode_run(&[])).unwrap(), []);
}

#[test]
fn an_envelope_is_exactly_its_recipients() {
    let good = crate::fixtures::envelope();
    assert_eq!(good.recipients().len(), 1);
    assert_eq!(Envelope::new(good.as_bytes().to_vec()).unwrap(), good);
    assert!(Envelope::new([good.as_bytes(), &[0]].concat()).is_err());
    assert!(Envelope::new(good.as_bytes()[..10].to_vec()).is_err());
    assert!(Envelope::new(Vec::new()).is_err());
}

#[test]
fn names_must_have_their_length() {
    assert!(PackName::try_from([0; 31].as_slice()).is_err());
    assert!(PackName::try_from([0; 32].as_slice()).is_ok());
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_quietly(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = PackHeader::parse(&bytes);
        let _ = parse_trailer(&bytes);
        let _ = read_pack(&keys(), &bytes);
        let _ = parse_run(&bytes);
        let _ = holdfast_engine::directory::Directory::parse(&bytes, 3);
        let _ = Envelope::new(bytes);
    }

    #[test]
    fn damaged_packs_are_refused_quietly(position in 0_usize..2000, byte: u8, cut in 0_usize..2000) {
        let mut pack = small_pack(1).bytes;
        let length = pack.len();
        pack[position % length] = byte;
        pack.truncate(length.saturating_sub(cut / 50));
        let _ = chunks_of(&pack);
        let _ = PackHeader::parse(&pack);
    }

    #[test]
    fn damaged_directories_are_refused_quietly(position: prop::sample::Index, byte: u8) {
        let mut run = encode_run(&[small_pack(1).record]);
        let position = position.index(run.len());
        run[position] = byte;
        if let Ok(records) = parse_run(&run) {
            prop_assert_eq!(encode_run(&records), run);
        }
    }
}
