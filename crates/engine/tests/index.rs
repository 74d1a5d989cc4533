//! The index answers what a map would: through sorting, merging, dropping and excluding; and a rotten file gives errors, not answers.
use std::collections::{BTreeMap, BTreeSet, HashSet};

use holdfast_engine::compress::Codec;
use holdfast_engine::directory::{ChunkInfo, Directory, SegmentInfo};
use holdfast_engine::index_set::IndexSet;
use holdfast_engine::merge::merge;
use holdfast_engine::record::IndexRecord;
use holdfast_engine::sorted::{SortedIndex, write_sorted};
use holdfast_engine::{ClassId, Generation, Id, Origin, PackKind, PackName, PackNonce, Role};
use proptest::prelude::*;

/// An id from a small number, spread as hashes are.
fn id(number: u16) -> Id {
    Id((u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes())
}

/// A pack of segments (origin, ordinal), each with chunks by number; a chunk's length follows from its number.
type Plan = BTreeMap<(u8, u32), Vec<u16>>;

fn record(name: u8, plan: &Plan) -> IndexRecord {
    let origins: BTreeSet<u8> = plan.keys().map(|(origin, _)| *origin).chain([0]).collect();
    let mut offset = 100;
    let segments = plan.iter().map(|((origin, ordinal), chunks)| {
        let chunks: Vec<ChunkInfo> = chunks
            .iter()
            .map(|number| ChunkInfo {
                id: id(*number),
                role: if number % 5 == 0 {
                    Role::Pages
                } else {
                    Role::Chunk
                },
                page_bytes: (number % 5 == 0).then_some(8192),
                len: u32::from(*number) + 1,
            })
            .collect();
        let plain_len = chunks.iter().map(|chunk| chunk.len).sum();
        let segment = SegmentInfo {
            origin_index: origins.iter().position(|known| known == origin).unwrap() as u16,
            ordinal: *ordinal,
            offset,
            sealed_len: plain_len + 16,
            codec: Codec::Raw,
            plain_len,
            chunks,
        };
        offset += u64::from(segment.sealed_len);
        segment
    });
    let segments = segments.collect();
    IndexRecord {
        name: PackName([name; 32]),
        size: offset + 200,
        kind: PackKind::Data,
        nonces: origins
            .into_iter()
            .map(|origin| PackNonce([origin; 32]))
            .collect(),
        directory: Directory { segments },
    }
}

fn sorted(records: &[IndexRecord]) -> Vec<u8> {
    let mut out = Vec::new();
    write_sorted(records, ClassId(1), Generation(1), &mut out).unwrap();
    out
}

fn open(bytes: Vec<u8>) -> SortedIndex {
    SortedIndex::open(Box::new(bytes)).unwrap()
}

/// A run of a hostile writer may list a nonce that begins as another pack's origin does: both packs' segments are found. Found by fuzzing.
#[test]
fn a_forged_nonce_does_not_hide_the_segments_of_its_origin() {
    let honest = record(7, &Plan::from([((0, 1), vec![5])]));
    let mut forged = record(9, &Plan::from([((0, 3), vec![6])]));
    let mut nonce = [0; 32];
    nonce[31] = 1;
    forged.nonces[0] = PackNonce(nonce);
    for records in [[honest.clone(), forged.clone()], [forged, honest]] {
        let set = IndexSet::new();
        set.add(open(sorted(&records)), true);
        for (ordinal, pack) in [(1, 7), (3, 9)] {
            let places = set.lookup_segment(&Origin([0; 16]), ordinal).unwrap();
            let found: Vec<PackName> = places.iter().map(|place| place.pack).collect();
            assert_eq!(found, [PackName([pack; 32])]);
            assert!(set.has_segment(&Origin([0; 16]), ordinal).unwrap());
        }
    }
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let chunks = proptest::collection::vec(0..400_u16, 1..6);
    let plan = proptest::collection::btree_map((0..6_u8, 0..5_u32), chunks, 0..8);
    proptest::collection::vec(plan, 1..7)
}

/// Every answer of the set against the records themselves.
fn agrees(set: &IndexSet, records: &[IndexRecord], excluded: &HashSet<PackName>) {
    let live = || {
        records
            .iter()
            .filter(|record| !excluded.contains(&record.name))
    };
    for origin in 0..7_u8 {
        for ordinal in 0..6_u32 {
            let found = set.lookup_segment(&Origin([origin; 16]), ordinal).unwrap();
            let expected: BTreeSet<_> = live()
                .flat_map(|record| {
                    let here = |segment: &&SegmentInfo| {
                        record.nonces[usize::from(segment.origin_index)].0[0] == origin
                            && segment.ordinal == ordinal
                    };
                    record
                        .directory
                        .segments
                        .iter()
                        .filter(here)
                        .map(|segment| (record.name, segment.offset, segment.chunks.len()))
                })
                .collect();
            assert_eq!(
                found
                    .iter()
                    .map(|place| (place.pack, place.offset, place.chunks.len()))
                    .collect::<BTreeSet<_>>(),
                expected
            );
            assert_eq!(
                set.has_segment(&Origin([origin; 16]), ordinal).unwrap(),
                !expected.is_empty()
            );
            for place in found {
                let ranges: Vec<_> = (0..place.chunks.len() as u32)
                    .map(|chunk| place.chunk_range(chunk).unwrap())
                    .collect();
                assert_eq!(ranges.last().unwrap().end, place.plain_len as usize);
                assert!(place.chunk_range(ranges.len() as u32).is_err());
            }
        }
    }
    for number in 0..400_u16 {
        let known = live()
            .flat_map(|record| &record.directory.segments)
            .flat_map(|segment| &segment.chunks)
            .any(|chunk| chunk.id == id(number));
        let found = set.lookup_id(&id(number)).unwrap();
        assert_eq!(found.is_some(), known);
        if let Some(location) = found {
            let places = set
                .lookup_segment(&location.origin, location.segment)
                .unwrap();
            assert!(places.iter().any(|place| {
                place
                    .chunks
                    .get(location.chunk as usize)
                    .is_some_and(|span| {
                        span.len == u32::from(number) + 1
                            && span.page_bytes.is_some() == (number % 5 == 0)
                    })
            }));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_index_is_its_records(plans in plans(), split in 0..7_usize, excluded in proptest::collection::hash_set(0..7_u8, 0..3), twice in any::<bool>()) {
        let records: Vec<IndexRecord> = plans.iter().enumerate().map(|(name, plan)| record(name as u8, plan)).collect();
        let excluded: HashSet<PackName> = excluded.into_iter().map(|name| PackName([name; 32])).collect();
        let (front, back) = records.split_at(split.min(records.len()));
        let second = if twice { &records } else { back };
        let (a, b) = (open(sorted(front)), open(sorted(second)));
        let mut merged = Vec::new();
        merge(&[&a, &b], &HashSet::new(), &mut merged).unwrap();
        let whole = open(merged.clone());
        prop_assert_eq!(whole.counts(), open(sorted(&records)).counts());
        let apart = IndexSet::new();
        apart.add(a, true);
        apart.add(b, true);
        let together = IndexSet::new();
        together.add(whole, true);
        for set in [&apart, &together] {
            agrees(set, &records, &HashSet::new());
            set.exclude(&excluded.iter().copied().collect::<Vec<_>>());
            agrees(set, &records, &excluded);
            prop_assert_eq!(set.packs().unwrap().len(), records.len());
        }
        let mut dropped = Vec::new();
        merge(&[&open(merged)], &excluded, &mut dropped).unwrap();
        let kept: Vec<IndexRecord> = records.iter().filter(|record| !excluded.contains(&record.name)).cloned().collect();
        let dropped = open(dropped);
        prop_assert_eq!(dropped.counts(), open(sorted(&kept)).counts());
        let set = IndexSet::new();
        set.add(dropped, true);
        agrees(&set, &kept, &HashSet::new());
    }

    #[test]
    fn rot_is_an_error_and_never_an_answer(plans in plans(), at in any::<usize>(), bit in 0..8) {
        let records: Vec<IndexRecord> = plans.iter().enumerate().map(|(name, plan)| record(name as u8, plan)).collect();
        let good = IndexSet::new();
        good.add(open(sorted(&records)), true);
        let mut bytes = sorted(&records);
        let at = at % bytes.len();
        bytes[at] ^= 1_u8 << bit;
        if let Ok(index) = SortedIndex::open(Box::new(bytes)) {
            let set = IndexSet::new();
            set.add(index, true);
            for number in 0..400_u16 {
                // A missed id costs a copy; a wrong location would cost the file.
                if let Ok(Some(location)) = set.lookup_id(&id(number)) {
                    let holds = |record: &IndexRecord| record.directory.segments.iter().any(|segment| {
                        record.nonces[usize::from(segment.origin_index)].origin() == location.origin && segment.ordinal == location.segment && segment.chunks.get(location.chunk as usize).is_some_and(|chunk| chunk.id == id(number))
                    });
                    prop_assert!(records.iter().any(holds));
                }
            }
            for origin in 0..6_u8 {
                for ordinal in 0..5 {
                    for place in set.lookup_segment(&Origin([origin; 16]), ordinal).unwrap_or_default() {
                        prop_assert!(good.lookup_segment(&Origin([origin; 16]), ordinal).unwrap().contains(&place));
                    }
                }
            }
        }
    }
}

#[test]
fn untrusted_members_are_read_but_not_deduplicated_against() {
    let plan = Plan::from([((1, 0), vec![7])]);
    let set = IndexSet::new();
    set.add(open(sorted(&[record(1, &plan)])), false);
    assert!(set.lookup_id(&id(7)).unwrap().is_none());
    assert!(set.has_segment(&Origin([1; 16]), 0).unwrap());
    assert_eq!(set.counts().chunks, 1);
    assert!(SortedIndex::open(Box::new(Vec::new())).is_err());
}
