//! What is written is read back; an unchanged cache is not written again; rot ends it early and never misleads.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_engine::content::Piece;
use holdfast_engine::{ClassId, ClassKeys, Generation, Location, Origin, VaultId};
use proptest::prelude::*;

use super::record::{Held, Record};
use super::{CacheReader, CacheWriter};
use crate::ingest::batch::{PageFile, Stored};

fn keys() -> Vec<Arc<ClassKeys>> {
    let keys = |class, generation| {
        Arc::new(ClassKeys::new(
            VaultId([7; 16]),
            ClassId(class),
            Generation(generation),
            &[1; 32],
            &[2; 32],
        ))
    };
    vec![keys(1, 1), keys(3, 2)]
}

fn place() -> impl Strategy<Value = Location> {
    (0_u8..4, 0_u32..50, 0_u32..70_000).prop_map(|(origin, segment, chunk)| Location {
        origin: Origin([origin; 16]),
        segment,
        chunk,
    })
}

fn stored() -> impl Strategy<Value = Stored> {
    let piece = (1_u64..1 << 40, proptest::option::of(place()))
        .prop_map(|(len, place)| Piece { len, place });
    let pages = (
        9_u8..17,
        any::<u64>(),
        proptest::collection::vec(place(), 0..9),
    );
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(Stored::Inline),
        proptest::collection::vec(piece, 0..5).prop_map(Stored::Pieces),
        pages.prop_map(|(page_size_log2, side, groups)| {
            let segments = groups
                .iter()
                .map(|group| (group.origin, group.segment))
                .collect();
            Stored::Pages(Arc::new(PageFile {
                page_size_log2,
                groups,
                segments,
                side,
            }))
        }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let held = prop_oneof![
        (stored(), any::<u64>()).prop_map(|(stored, mark)| Held::File { stored, mark }),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|target| Held::Other { target }),
    ];
    let bytes = || proptest::collection::vec(any::<u8>(), 0..12);
    let xattrs = proptest::collection::vec((bytes(), bytes()), 0..3);
    let times = (
        any::<i64>(),
        0_u32..1_000_000_000,
        any::<i64>(),
        0_u32..1_000_000_000,
        any::<bool>(),
    );
    (
        bytes(),
        0_u16..2,
        any::<(bool, u32, u64, u64)>(),
        times,
        xattrs,
        held,
    )
        .prop_map(
            |(path, class, (fresh, mode, size, ino), (ms, mns, cs, cns, one), xattrs, held)| {
                Record {
                    detected: (mode % 3).checked_sub(1).map(|class| class as u16),
                    path,
                    class,
                    fresh,
                    mode,
                    size,
                    mtime: (ms, mns),
                    ctime: if one { (ms, mns) } else { (cs, cns) },
                    ino,
                    xattrs,
                    held,
                }
            },
        )
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("holdfast-cache-{name}-{}", std::process::id()))
}

fn write(records: &[Record], name: &str, old: Option<&PathBuf>) -> (PathBuf, bool) {
    let path = path(name);
    drop(std::fs::remove_file(&path));
    let mut writer =
        CacheWriter::create(&path, old.map(PathBuf::as_path), keys().iter()).expect("created");
    for record in records {
        writer.push(record).expect("pushed");
    }
    let written = writer.finish().expect("finished");
    (path, written)
}

fn read(path: &Path) -> Vec<Record> {
    let mut records = Vec::new();
    let Some(mut reader) = CacheReader::open(path, keys().iter()) else {
        return records;
    };
    while let Some(record) = reader.peek() {
        records.push(record.clone());
        reader.advance();
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn records_come_back(records in proptest::collection::vec(record(), 0..20)) {
        let (path, written) = write(&records, "back", None);
        prop_assert!(written);
        prop_assert_eq!(read(&path), records);
    }
}

fn many() -> Vec<Record> {
    let record = |n: u32| Record {
        path: format!("srv/records/{n:06}").into_bytes(),
        ino: u64::from(n),
        held: Held::File {
            stored: Stored::Pieces(vec![Piece {
                len: 2000,
                place: Some(Location {
                    origin: Origin([1; 16]),
                    segment: n / 500,
                    chunk: n % 500,
                }),
            }]),
            mark: u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        },
        ..Record::default()
    };
    (0..20_000).map(record).collect()
}

#[test]
fn the_same_records_are_not_written_again() {
    let mut records = many();
    let (old, _) = write(&records, "old", None);
    let (new, written) = write(&records, "same", Some(&old));
    assert!(!written && !new.exists());
    records[15_000].size = 5;
    let (new, written) = write(&records, "changed", Some(&old));
    assert!(written);
    assert_eq!(read(&new), records);
    records.truncate(19_000);
    let (new, written) = write(&records, "shorter", Some(&old));
    assert!(written);
    assert_eq!(read(&new), records);
    assert_eq!(read(&old).len(), 20_000);
}

#[test]
fn rot_and_truncation_end_a_cache_early() {
    let records = many();
    let (path, _) = write(&records, "rot", None);
    let whole = std::fs::read(&path).expect("read");
    for at in [0, 5, 70, whole.len() / 2, whole.len() - 30, whole.len() - 3] {
        let mut rotten = whole.clone();
        rotten[at] ^= 0x10;
        std::fs::write(&path, &rotten).expect("write");
        let found = read(&path);
        assert!(found.len() < records.len(), "flip at {at}");
        assert!(
            found.iter().eq(records.iter().take(found.len())),
            "flip at {at}"
        );
    }
    std::fs::write(&path, &whole[..whole.len() - 1]).expect("write");
    assert!(read(&path).is_empty());
}

#[test]
fn another_vault_or_generation_is_not_believed() {
    let (path, _) = write(&many()[..10], "vault", None);
    let other = ClassKeys::new(
        VaultId([8; 16]),
        ClassId(1),
        Generation(1),
        &[1; 32],
        &[2; 32],
    );
    assert!(CacheReader::open(&path, [Arc::new(other)].iter()).is_none());
    let next = ClassKeys::new(
        VaultId([7; 16]),
        ClassId(1),
        Generation(2),
        &[1; 32],
        &[2; 32],
    );
    let reader = CacheReader::open(&path, [Arc::new(next)].iter()).expect("opened");
    assert_eq!(reader.peek().map(|record| record.class), Some(u16::MAX));
}
