//! Cuts keep their sizes, find each other again after an insertion, and do not depend on how bytes arrive.
use std::collections::HashSet;

use holdfast_engine::chunk::{CutSizes, Cutter};
use proptest::prelude::*;

use crate::fixtures::{keys, noise};

const SMALL: CutSizes = CutSizes {
    min_bytes: 256,
    avg_bytes: 1024,
    max_bytes: 4096,
};

fn cuts(data: &[u8], sizes: CutSizes) -> Vec<usize> {
    let keys = keys();
    let mut cutter = Cutter::new(keys.gear(), sizes);
    let mut lengths = Vec::new();
    let mut rest = data;
    while let Some(length) = cutter.next_cut(rest, true) {
        lengths.push(length);
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    lengths
}

/// The definition, byte by byte.
fn model(data: &[u8], sizes: CutSizes) -> Vec<usize> {
    let keys = keys();
    let bits = sizes.avg_bytes.ilog2();
    let mut lengths = Vec::new();
    let mut start = 0;
    for end in 1..=data.len() {
        let length = end - start;
        let hash = data[start..end].iter().rev().take(64).rev();
        let hash = hash.fold(0_u64, |hash, byte| {
            (hash << 1).wrapping_add(keys.gear()[usize::from(*byte)])
        });
        let bits = if length <= sizes.avg_bytes {
            bits + 2
        } else {
            bits - 2
        };
        let found = length > sizes.min_bytes && hash >> (64 - bits) == 0;
        if found || length == sizes.max_bytes || end == data.len() {
            lengths.push(length);
            start = end;
        }
    }
    lengths
}

#[test]
fn cuts_are_as_defined() {
    for (seed, length) in [
        (1, 0),
        (2, 1),
        (3, 256),
        (4, 257),
        (5, 4096),
        (6, 60_000),
        (7, 100_001),
    ] {
        let data = noise(seed, length);
        assert_eq!(cuts(&data, SMALL), model(&data, SMALL), "seed {seed}");
    }
    let wide = CutSizes {
        min_bytes: 8 << 10,
        avg_bytes: 32 << 10,
        max_bytes: 128 << 10,
    };
    let data = noise(8, 1 << 20);
    assert_eq!(cuts(&data, wide), model(&data, wide));
}

#[test]
fn an_insertion_changes_few_chunks() {
    let sizes = CutSizes {
        min_bytes: 4 << 10,
        avg_bytes: 16 << 10,
        max_bytes: 64 << 10,
    };
    let data = noise(1, 4 << 20);
    let mut changed = data.clone();
    changed.splice(1_000_000..1_000_000, *b"inserted");
    let split = |data: &[u8]| {
        let mut start = 0;
        let mut chunks = HashSet::new();
        for length in cuts(data, sizes) {
            chunks.insert(data[start..start + length].to_vec());
            start += length;
        }
        chunks
    };
    let (before, after) = (split(&data), split(&changed));
    assert!(
        after.difference(&before).count() <= 4,
        "{}",
        after.difference(&before).count()
    );
}

#[test]
fn the_default_sizes_average_about_a_mebibyte() {
    let data = noise(3, 64 << 20);
    let count = cuts(&data, CutSizes::default()).len();
    assert!((40..=90).contains(&count), "{count}");
}

#[test]
fn monotonous_data_is_cut_at_the_largest_size() {
    let lengths = cuts(&vec![0; 10_000], SMALL);
    assert_eq!(lengths, [4096, 4096, 1808]);
}

proptest! {
    #[test]
    fn arrival_does_not_matter(seed: u64, length in 0_usize..40_000, steps in prop::collection::vec(1_usize..9000, 1..20)) {
        let data = noise(seed, length);
        let keys = keys();
        let mut cutter = Cutter::new(keys.gear(), SMALL);
        let (mut start, mut arrived, mut lengths) = (0, 0, Vec::new());
        let mut steps = steps.iter().cycle();
        while start < data.len() {
            let eof = arrived == data.len();
            if let Some(length) = cutter.next_cut(&data[start..arrived], eof) {
                lengths.push(length);
                start += length;
            } else {
                arrived = data.len().min(arrived + steps.next().unwrap());
            }
        }
        prop_assert_eq!(lengths, cuts(&data, SMALL));
    }

    #[test]
    fn sizes_hold(seed: u64, length in 1_usize..60_000) {
        let lengths = cuts(&noise(seed, length), SMALL);
        prop_assert_eq!(lengths.iter().sum::<usize>(), length);
        let (_, all_but_last) = lengths.split_last().unwrap();
        prop_assert!(all_but_last.iter().all(|length| (256..=4096).contains(length)));
    }
}
