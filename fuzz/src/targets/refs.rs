//! Reference sets, and their arithmetic against a plain set.
use std::collections::BTreeSet;

use holdfast_engine::Origin;
use holdfast_engine::refs::{RefSet, StoredRefs};

use crate::seal;

/// Sets of more segments are not written out: a run of ordinals is two numbers, however long.
const MODEL_MAX: u64 = 4096;

/// The plaintext of a reference set, full or delta.
pub fn refs(input: &[u8]) {
    match StoredRefs::parse(input) {
        Err(error) => seal::refused(&error),
        Ok(StoredRefs::Full(set)) => {
            assert_eq!(set.encode_full(), input, "one spelling of every set");
            let empty = RefSet::new();
            let delta = set.encode_delta(&empty, [7; 32]);
            let read = StoredRefs::parse(&delta).expect("a delta just written");
            assert_eq!(
                read,
                StoredRefs::Delta {
                    parent: [7; 32],
                    added: set,
                    removed: empty
                }
            );
        }
        Ok(StoredRefs::Delta { added, removed, .. }) => arithmetic(&added, &removed),
    }
}

fn arithmetic(a: &RefSet, b: &RefSet) {
    let (mut both, mut less) = (a.clone(), a.clone());
    both.union(b);
    less.subtract(b);
    for set in [&both, &less] {
        let again = StoredRefs::parse(&set.encode_full()).expect("a set just written");
        assert_eq!(again, StoredRefs::Full(set.clone()));
    }
    assert!(both.segments_len() >= a.segments_len() && less.segments_len() <= a.segments_len());
    if a.segments_len() + b.segments_len() > MODEL_MAX {
        return;
    }
    let of = |set: &RefSet| -> BTreeSet<(Origin, u32)> { set.iter().collect() };
    let (left, right) = (of(a), of(b));
    assert_eq!(of(&both), left.union(&right).copied().collect());
    assert_eq!(of(&less), left.difference(&right).copied().collect());
    for (origin, segment) in right {
        assert!(both.contains(&origin, segment) && !less.contains(&origin, segment));
    }
    let mut grown = RefSet::new();
    for (origin, segment) in left.iter().rev() {
        grown.add(*origin, *segment);
    }
    assert_eq!(&grown, a, "the order of adding does not matter");
}
