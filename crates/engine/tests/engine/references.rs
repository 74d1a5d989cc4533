//! A reference set is a set: against a model, and over the wire.
use std::collections::BTreeSet;

use holdfast_engine::Origin;
use holdfast_engine::refs::{RefSet, StoredRefs};
use proptest::prelude::*;

type Model = BTreeSet<(u8, u32)>;

fn model() -> impl Strategy<Value = Model> {
    let number = prop_oneof![8 => 0_u32..60, 1 => any::<u32>(), 1 => Just(u32::MAX), 1 => Just(u32::MAX - 1)];
    prop::collection::btree_set((0_u8..4, number), 0..120)
}

/// What a stored set stands for, upon its parent.
fn resolve(stored: StoredRefs, parent: Option<&RefSet>) -> Option<RefSet> {
    match (stored, parent) {
        (StoredRefs::Full(set), _) => Some(set),
        (StoredRefs::Delta { added, removed, .. }, Some(parent)) => {
            let mut set = parent.clone();
            set.subtract(&removed);
            set.union(&added);
            Some(set)
        }
        _ => None,
    }
}

fn set(model: impl IntoIterator<Item = (u8, u32)>) -> RefSet {
    let mut set = RefSet::new();
    for (origin, segment) in model {
        set.add(Origin([origin; 16]), segment);
    }
    set
}

fn content(set: &RefSet) -> Model {
    set.iter()
        .map(|(origin, segment)| (origin.0[0], segment))
        .collect()
}

proptest! {
    #[test]
    fn it_holds_what_was_added_in_any_order(shuffled in model().prop_flat_map(|model| Just(model.into_iter().collect::<Vec<_>>()).prop_shuffle()), probe in (0_u8..4, 0_u32..60)) {
        let set = set(shuffled.iter().copied());
        let model: Model = shuffled.into_iter().collect();
        prop_assert_eq!(set.segments_len(), model.len() as u64);
        prop_assert_eq!(set.contains(&Origin([probe.0; 16]), probe.1), model.contains(&probe));
        prop_assert_eq!(content(&set), model);
    }

    #[test]
    fn it_is_stored_whole_or_as_a_difference(a in model(), b in model()) {
        let (old, new) = (set(a.iter().copied()), set(b.iter().copied()));
        let full = StoredRefs::parse(&old.encode_full()).unwrap();
        prop_assert_eq!(resolve(full, None), Some(old.clone()));
        let delta = StoredRefs::parse(&new.encode_delta(&old, [9; 32])).unwrap();
        prop_assert_eq!(resolve(delta, Some(&old)), Some(new.clone()));
        let mut both = old.clone();
        both.union(&new);
        prop_assert_eq!(content(&both), a.union(&b).copied().collect::<Model>());
        let mut rest = old;
        rest.subtract(&new);
        prop_assert_eq!(content(&rest), a.difference(&b).copied().collect::<Model>());
    }

    #[test]
    fn hostile_bytes_are_refused_quietly(bytes in prop::collection::vec(any::<u8>(), 0..200), mode in 0_u8..2) {
        let _ = StoredRefs::parse(&bytes);
        let _ = StoredRefs::parse(&[&[1, mode], bytes.as_slice()].concat());
    }
}

#[test]
fn runs_beyond_32_bits_are_refused() {
    let full =
        |gap: &[u8], length: &[u8]| [&[1, 0, 1], [5; 16].as_slice(), &[1], gap, length].concat();
    assert!(StoredRefs::parse(&full(&[0], &[1])).is_ok());
    assert!(StoredRefs::parse(&full(&[0], &[0])).is_err());
    let most = [0xFF, 0xFF, 0xFF, 0xFF, 0x0F];
    assert!(StoredRefs::parse(&full(&most, &[1])).is_ok());
    assert!(StoredRefs::parse(&full(&most, &[2])).is_err());
    assert!(StoredRefs::parse(&[&full(&[0], &[1])[..], &[0]].concat()).is_err());
}
