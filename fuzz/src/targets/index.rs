//! Index runs as they are stored, and the sorted tables that a host keeps of them.
use std::collections::{BTreeMap, HashSet};
use std::hash::Hasher;

use holdfast_engine::index_set::IndexSet;
use holdfast_engine::merge::merge;
use holdfast_engine::record::{IndexRecord, encode_run, split_run};
use holdfast_engine::sorted::{SortedIndex, write_sorted};
use holdfast_engine::{Id, Origin, PackName};
use siphasher::sip::SipHasher13;

use crate::seal;

const LOOKUPS_MAX: usize = 256;

/// The plaintext of an index run: it has one spelling, and sorted tables made of it answer with what it says.
pub fn run(input: &[u8]) {
    let rows = match split_run(input) {
        Ok(rows) => rows,
        Err(error) => return seal::refused(&error),
    };
    for (record, bytes) in &rows {
        assert_eq!(record.encode(), *bytes);
    }
    let records: Vec<IndexRecord> = rows.into_iter().map(|(record, _)| record).collect();
    assert_eq!(encode_run(&records), input);
    let mut file = Vec::new();
    if let Err(error) = write_sorted(&records, seal::CLASS, seal::GENERATION, &mut file) {
        return seal::refused(&error);
    }
    let index = SortedIndex::open(Box::new(file.clone())).expect("tables that were just written");
    let again = SortedIndex::open(Box::new(file)).expect("tables that were just written");
    let counts = index.counts();
    let mut merged = Vec::new();
    merge(&[&index, &again], &HashSet::new(), &mut merged).expect("two sound tables");
    let merged = SortedIndex::open(Box::new(merged)).expect("tables that were just merged");
    assert_eq!(merged.counts(), counts);
    let set = IndexSet::new();
    set.add(index, true);
    set.add(merged, false);
    answers(&set, &records);
}

fn answers(set: &IndexSet, records: &[IndexRecord]) {
    // Of two records of one pack the later one counts.
    let last: BTreeMap<PackName, &IndexRecord> =
        records.iter().map(|record| (record.name, record)).collect();
    let mut asked = 0;
    for record in last.values() {
        for segment in &record.directory.segments {
            asked += 1;
            if asked > LOOKUPS_MAX {
                return;
            }
            let origin = record.nonces[usize::from(segment.origin_index)].origin();
            let places = set
                .lookup_segment(&origin, segment.ordinal)
                .expect("sound tables");
            assert!(
                places.iter().any(|place| place.pack == record.name),
                "a segment that is listed is found"
            );
            for chunk in segment.chunks.iter().take(16) {
                assert!(
                    set.lookup_id(&chunk.id).expect("sound tables").is_some(),
                    "an id that is listed is found"
                );
            }
            for place in &places {
                for number in 0..place.chunks.len().min(16) {
                    let range = place
                        .chunk_range(number as u32)
                        .expect("a chunk that is listed");
                    assert!(range.end <= place.plain_len as usize);
                }
            }
        }
    }
    set.exclude(&last.keys().copied().collect::<Vec<_>>());
    for record in last.values().take(16) {
        for segment in record.directory.segments.iter().take(16) {
            let origin = record.nonces[usize::from(segment.origin_index)].origin();
            assert!(
                !set.has_segment(&origin, segment.ordinal)
                    .expect("sound tables"),
                "excluded packs give no answer"
            );
        }
    }
}

const HEADER: usize = 56;
const ROWS: [(u8, usize); 5] = [(b'p', 64), (b'n', 36), (b's', 48), (b'c', 4), (b'i', 28)];

fn check(table: u8, bytes: &[u8]) -> u32 {
    let mut hasher = SipHasher13::new();
    hasher.write(&[table]);
    hasher.write(bytes);
    hasher.finish() as u32
}

/// Sorted tables: `u8` rows of each of packs, nonces, segments, chunks, then the rows, whose checks are put right here.
/// Whatever the rows say, a lookup is an answer or an error.
pub fn sorted(input: &[u8]) {
    let Some((counts, rows)) = input.split_first_chunk::<4>() else {
        return;
    };
    let [packs, nonces, segments, chunks] = counts.map(usize::from);
    let mut file = b"HFSORT01".to_vec();
    for count in [packs, nonces, segments, chunks] {
        file.extend_from_slice(&(count as u64).to_le_bytes());
    }
    file.resize(HEADER - 4, 0);
    file.extend_from_slice(&check(b'h', &file).to_le_bytes());
    let counted = [packs, nonces, segments, chunks, chunks];
    let total: usize = counted
        .iter()
        .zip(ROWS)
        .map(|(count, (_, width))| count * width)
        .sum();
    file.extend(rows.iter().copied().chain(std::iter::repeat(0)).take(total));
    let spans_at = HEADER + packs * 64 + nonces * 36 + segments * 48;
    let mut at = HEADER;
    for (count, (table, width)) in counted.into_iter().zip(ROWS) {
        for _ in 0..count {
            if table == b's' {
                put_right_spans(&mut file, at, spans_at, chunks);
            }
            if table != b'c' {
                let sum = check(table, &file[at..at + width - 4]);
                file[at + width - 4..at + width].copy_from_slice(&sum.to_le_bytes());
            }
            at += width;
        }
    }
    let ids: Vec<Id> = (0..chunks)
        .map(|row| Id(bytes_at(&file, spans_at + chunks * 4 + row * 28)))
        .collect();
    let origins: Vec<Origin> = (0..nonces)
        .map(|row| Origin(bytes_at(&file, HEADER + packs * 64 + row * 36)))
        .collect();
    let index = SortedIndex::open(Box::new(file.clone())).expect("tables as long as they say");
    for pack in index.packs() {
        if let Err(error) = pack {
            seal::refused(&error);
        }
    }
    let again = SortedIndex::open(Box::new(file)).expect("tables as long as they say");
    let mut merged = Vec::new();
    match merge(&[&index, &again], &HashSet::new(), &mut merged) {
        Err(error) => seal::refused(&error),
        Ok(()) => drop(SortedIndex::open(Box::new(merged)).expect("tables that were merged")),
    }
    let set = IndexSet::new();
    set.add(index, true);
    for id in ids.iter().take(LOOKUPS_MAX) {
        if let Err(error) = set.lookup_id(id) {
            seal::refused(&error);
        }
    }
    for (number, origin) in origins.iter().take(LOOKUPS_MAX).enumerate() {
        match set.lookup_segment(origin, number as u32) {
            Err(error) => seal::refused(&error),
            Ok(places) => {
                for place in places {
                    drop(place.chunk_range(0));
                }
            }
        }
        if let Err(error) = set.has_segment(origin, 0) {
            seal::refused(&error);
        }
    }
}

fn bytes_at(file: &[u8], at: usize) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&file[at..at + 16]);
    out
}

/// The check that a segment's row has of its chunks' rows.
fn put_right_spans(file: &mut [u8], row: usize, spans_at: usize, chunks: usize) {
    let first = u64::from_le_bytes(file[row + 24..row + 32].try_into().expect("eight bytes"));
    let count = u32::from_le_bytes(file[row + 32..row + 36].try_into().expect("four bytes"));
    let last = first
        .checked_add(u64::from(count))
        .filter(|last| *last <= chunks as u64);
    if let Some(last) = last {
        let sum = check(
            b'c',
            &file[spans_at + first as usize * 4..spans_at + last as usize * 4],
        );
        file[row + 36..row + 40].copy_from_slice(&sum.to_le_bytes());
    }
}
