//! Trees hold what was put into them: built, walked, sought and compared against a sorted map as the model.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use holdfast_engine::content::{
    Content, Piece, encode_group_list, encode_piece_list, parse_group_list, parse_piece_list,
};
use holdfast_engine::cursor::{Cursor, lookup};
use holdfast_engine::diff::{Change, Diff};
use holdfast_engine::entry::{Entry, EntryKind, is_under};
use holdfast_engine::group::{Extent, PageGroup};
use holdfast_engine::node::Node;
use holdfast_engine::refs::{RefSet, StoredRefs};
use holdfast_engine::tree::{NodeSink, NodeSource, Root, TreeBuilder};
use holdfast_engine::{
    ClassId, ClassKeys, Error, Generation, Id, Location, Origin, Result, Role, VaultId,
};
use proptest::prelude::*;

fn keys() -> Arc<ClassKeys> {
    Arc::new(ClassKeys::new(
        VaultId([1; 16]),
        ClassId(1),
        Generation(1),
        &[2; 32],
        &[3; 32],
    ))
}

/// Nodes in memory, deduplicated by their bytes.
#[derive(Default)]
struct Memory {
    nodes: Vec<Vec<u8>>,
    known: HashMap<Vec<u8>, u32>,
    gets: usize,
}

impl NodeSink for Memory {
    fn put(&mut self, _: Role, bytes: &[u8]) -> Result<Location> {
        let next = self.nodes.len() as u32;
        let at = *self.known.entry(bytes.to_vec()).or_insert(next);
        if at == next {
            self.nodes.push(bytes.to_vec());
        }
        Ok(Location {
            origin: Origin([9; 16]),
            segment: at / 10,
            chunk: at % 10,
        })
    }
}

impl NodeSource for Memory {
    fn get(&mut self, _: Role, at: &Location) -> Result<Vec<u8>> {
        self.gets += 1;
        let node = self.nodes.get((at.segment * 10 + at.chunk) as usize);
        node.cloned().ok_or(Error::Missing { what: "node" })
    }
}

/// A memory of which some nodes are lost.
struct Holes<'a>(&'a mut Memory, std::collections::BTreeSet<(u32, u32)>);

impl NodeSource for Holes<'_> {
    fn get(&mut self, role: Role, at: &Location) -> Result<Vec<u8>> {
        if self.1.contains(&(at.segment, at.chunk)) {
            return Err(Error::Missing { what: "node" });
        }
        self.0.get(role, at)
    }
}

/// Does a step until nothing is in its way; stretches of paths that were lost on the way. A step that never ends fails.
fn past_lost<T>(
    cursor: &mut Cursor,
    lost: &mut Vec<Vec<u8>>,
    mut step: impl FnMut(&mut Cursor) -> Result<T>,
) -> T {
    for _ in 0..1000 {
        match step(cursor) {
            Ok(done) => return done,
            Err(_) => lost.push(cursor.skip_lost().expect("a part to drop").first_path),
        }
    }
    panic!("a step that never ends");
}

/// The path as the tree orders it.
fn rank(path: &[u8]) -> Vec<u8> {
    path.iter()
        .map(|byte| if *byte == b'/' { 0 } else { *byte })
        .collect()
}

type Model = BTreeMap<Vec<u8>, Entry>;

fn build(model: &Model, memory: &mut Memory) -> Root {
    let mut builder = TreeBuilder::new(keys());
    for entry in model.values() {
        builder.push(entry, memory).unwrap();
    }
    builder.finish(memory).unwrap()
}

fn walk(root: Location, memory: &mut Memory) -> Vec<Entry> {
    let mut cursor = Cursor::new(root);
    std::iter::from_fn(|| cursor.next(memory).unwrap()).collect()
}

fn location() -> impl Strategy<Value = Location> {
    (0..4_u8, any::<u32>(), any::<u32>()).prop_map(|(origin, segment, chunk)| Location {
        origin: Origin([origin; 16]),
        segment,
        chunk,
    })
}

fn content() -> impl Strategy<Value = (u64, Content)> {
    let piece = (1..1_000_000_u64, proptest::option::of(location()))
        .prop_map(|(len, place)| Piece { len, place });
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..=64)
            .prop_map(|bytes| (bytes.len() as u64, Content::Inline(bytes))),
        proptest::collection::vec(piece, 1..32).prop_map(|pieces| (
            pieces.iter().map(|piece| piece.len).sum(),
            Content::Pieces(pieces)
        )),
        (any::<u32>(), proptest::collection::vec(location(), 0..9))
            .prop_map(|(size, lists)| (size.into(), Content::PiecesAt(lists))),
        proptest::collection::vec(location(), 1..9).prop_map(|groups| (
            (groups.len() as u64 - 1) * (256 << 13) + 1,
            Content::PageMap {
                page_size_log2: 13,
                groups
            }
        )),
        (any::<u32>(), proptest::collection::vec(location(), 0..9)).prop_map(|(size, lists)| (
            size.into(),
            Content::PageMapAt {
                page_size_log2: 12,
                lists
            }
        )),
    ]
}

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        4 => content().prop_map(|(size, content)| EntryKind::File { size, content }),
        1 => Just(EntryKind::Folder),
        1 => proptest::collection::vec(1..=255_u8, 1..20).prop_map(|target| EntryKind::Symlink { target }),
        1 => Just(EntryKind::Fifo),
        1 => any::<(u32, u32)>().prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        1 => any::<(u32, u32)>().prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let path = proptest::collection::vec("[a-d.-]{1,3}x", 0..4)
        .prop_map(|parts| parts.join("/").into_bytes());
    let xattrs = proptest::collection::btree_map(
        proptest::collection::vec(1..=255_u8, 1..9),
        proptest::collection::vec(any::<u8>(), 0..9),
        0..3,
    );
    let owner = (any::<u32>(), any::<u32>(), "[a-z]{0,2}", "[a-z]{0,2}");
    let mtime = (any::<i64>(), 0..1_000_000_000_u32);
    (
        path,
        kind(),
        0..=0o7777_u16,
        owner,
        mtime,
        xattrs,
        any::<Option<u64>>(),
    )
        .prop_map(|(path, kind, mode, owner, mtime, xattrs, link_id)| Entry {
            path,
            kind,
            mode,
            uid: owner.0,
            gid: owner.1,
            user: owner.2.into_bytes(),
            group: owner.3.into_bytes(),
            mtime,
            xattrs: xattrs.into_iter().collect(),
            link_id,
        })
}

fn model(max: usize) -> impl Strategy<Value = Model> {
    proptest::collection::vec(entry(), 0..max).prop_map(|entries| {
        entries
            .into_iter()
            .map(|entry| (rank(&entry.path), entry))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_tree_is_its_model(model in model(300), seeks in proptest::collection::vec("[a-dx/.-]{0,6}", 8)) {
        let mut memory = Memory::default();
        let root = build(&model, &mut memory);
        prop_assert_eq!(root.entries, model.len() as u64);
        prop_assert_eq!(root.bytes, model.values().map(Entry::content_bytes).sum::<u64>());
        let entries: Vec<Entry> = model.values().cloned().collect();
        prop_assert_eq!(walk(root.location, &mut memory), entries);
        prop_assert_eq!(build(&model, &mut memory).location, root.location);
        let mut cursor = Cursor::new(root.location);
        for path in seeks.iter().map(String::as_bytes) {
            cursor.seek(path, &mut memory).unwrap();
            let expected = model.range(rank(path)..).next().map(|(_, entry)| entry.clone());
            prop_assert_eq!(cursor.next(&mut memory).unwrap(), expected);
            prop_assert_eq!(lookup(root.location, path, &mut memory).unwrap(), model.get(&rank(path)).cloned());
            cursor.seek(path, &mut memory).unwrap();
            cursor.skip_under(path, &mut memory).unwrap();
            let at = rank(path);
            let expected = model.iter().find(|(key, entry)| **key >= at && !is_under(&entry.path, path));
            if !path.ends_with(b"/") {
                prop_assert_eq!(cursor.next(&mut memory).unwrap(), expected.map(|pair| pair.1.clone()));
            }
        }
    }

    #[test]
    fn what_is_lost_costs_what_is_under_it(model in model(300), holes in proptest::collection::btree_set(0..40_u32, 1..6), seeks in proptest::collection::vec("[a-dx/.-]{0,6}", 4)) {
        let mut memory = Memory::default();
        let root = build(&model, &mut memory);
        let holes = holes.into_iter().map(|at| (at / 10, at % 10)).collect();
        let mut source = Holes(&mut memory, holes);
        let (mut cursor, mut lost) = (Cursor::new(root.location), Vec::new());
        let mut found = Vec::new();
        while let Some(entry) = past_lost(&mut cursor, &mut lost, |cursor| cursor.next(&mut source)) {
            found.push(entry);
        }
        prop_assert!(found.iter().all(|entry| model.get(&rank(&entry.path)) == Some(entry)));
        prop_assert_eq!(lost.is_empty(), found.len() == model.len());
        // Seeking forward, path by path, gives the same as walking, and ends: a part that is lost sends nobody back to it.
        let mut seeks: Vec<&[u8]> = seeks.iter().map(String::as_bytes).collect();
        seeks.sort_by_key(|path| rank(path));
        let (mut cursor, mut lost) = (Cursor::new(root.location), Vec::new());
        for path in seeks {
            past_lost(&mut cursor, &mut lost, |cursor| cursor.seek(path, &mut source));
            let next = past_lost(&mut cursor, &mut lost, |cursor| cursor.next(&mut source));
            let expected = found.iter().find(|entry| rank(&entry.path) >= rank(path));
            prop_assert_eq!(next.as_ref(), expected);
            past_lost(&mut cursor, &mut lost, |cursor| cursor.seek(path, &mut source));
            let again = past_lost(&mut cursor, &mut lost, |cursor| cursor.next(&mut source));
            prop_assert_eq!(again.as_ref(), expected);
            past_lost(&mut cursor, &mut lost, |cursor| cursor.seek(path, &mut source));
        }
    }

    #[test]
    fn a_diff_says_nothing_of_what_is_lost(base in model(200), other in model(20), holes in proptest::collection::btree_set(0..60_u32, 1..8)) {
        let mut new = base.clone();
        new.extend(other);
        let mut memory = Memory::default();
        let (a, b) = (build(&base, &mut memory), build(&new, &mut memory));
        let mut whole = Diff::new(a.location, b.location);
        let every: Vec<Change> = std::iter::from_fn(|| whole.next(&mut memory).unwrap()).collect();
        let mut source = Holes(&mut memory, holes.into_iter().map(|at| (at / 10, at % 10)).collect());
        let mut diff = Diff::new(a.location, b.location);
        let (mut found, mut lost) = (Vec::new(), 0);
        loop {
            match diff.next(&mut source) {
                Ok(Some(change)) => found.push(change),
                Ok(None) => break,
                Err(_) => {
                    diff.skip_lost().expect("a part to drop");
                    lost += 1;
                    prop_assert!(lost < 1000, "a comparison that never ends");
                }
            }
        }
        let mut rest = every.iter();
        prop_assert!(found.iter().all(|change| rest.any(|known| known == change)), "in order, and nothing made up");
        prop_assert!(lost > 0 || found == every);
    }

    #[test]
    fn a_diff_is_the_models_diff(base in model(300), other in model(20), keep in any::<bool>()) {
        let mut new = if keep { base.clone() } else { BTreeMap::new() };
        new.extend(other);
        let mut memory = Memory::default();
        let (a, b) = (build(&base, &mut memory), build(&new, &mut memory));
        let mut diff = Diff::new(a.location, b.location);
        let found: Vec<Change> = std::iter::from_fn(|| diff.next(&mut memory).unwrap()).collect();
        let paths: std::collections::BTreeSet<_> = base.keys().chain(new.keys()).collect();
        let expected: Vec<Change> = paths.into_iter().filter_map(|path| match (base.get(path), new.get(path)) {
            (Some(old), None) => Some(Change::Removed(old.clone())),
            (None, Some(new)) => Some(Change::Added(new.clone())),
            (Some(old), Some(new)) if old != new => Some(Change::Changed { old: old.clone(), new: new.clone() }),
            _ => None,
        }).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn nothing_else_parses_as_a_node(model in model(40), flips in proptest::collection::vec(any::<(usize, u8)>(), 16), noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut memory = Memory::default();
        build(&model, &mut memory);
        for node in &memory.nodes {
            prop_assert!(Node::parse(node).is_ok());
            prop_assert!(Node::parse(&node[..node.len() - 1]).is_err());
            for (at, flip) in &flips {
                let mut bytes = node.clone();
                let at = at % bytes.len();
                bytes[at] ^= flip;
                let _ = Node::parse(&bytes);
            }
        }
        let _ = Node::parse(&noise);
        let _ = PageGroup::parse(&noise);
        let _ = StoredRefs::parse(&noise);
        let _ = parse_piece_list(&noise);
        let _ = parse_group_list(&noise);
    }

    #[test]
    fn reference_sets_are_sets(a in proptest::collection::btree_set((0..4_u8, 0..60_u32), 0..99), b in proptest::collection::vec((0..4_u8, 0..60_u32), 0..99)) {
        let set = |items: &mut dyn Iterator<Item = (u8, u32)>| {
            let mut set = RefSet::new();
            items.for_each(|(origin, segment)| set.add(Origin([origin; 16]), segment));
            set
        };
        let (x, y) = (set(&mut a.iter().copied()), set(&mut b.iter().copied()));
        let items = |set: &RefSet| set.iter().map(|(origin, segment)| (origin.0[0], segment)).collect::<Vec<_>>();
        prop_assert_eq!(items(&x), a.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(x.segments_len(), a.len() as u64);
        prop_assert!((0..4).all(|origin| (0..61).all(|segment| x.contains(&Origin([origin; 16]), segment) == a.contains(&(origin, segment)))));
        prop_assert_eq!(StoredRefs::parse(&x.encode_full()).unwrap(), StoredRefs::Full(x.clone()));
        let StoredRefs::Delta { parent, added, removed } = StoredRefs::parse(&y.encode_delta(&x, [7; 32])).unwrap() else { panic!("a delta") };
        let mut rebuilt = x;
        rebuilt.subtract(&removed);
        rebuilt.union(&added);
        prop_assert_eq!((rebuilt, parent), (y, [7; 32]));
    }

    #[test]
    fn lists_come_back(pieces in proptest::collection::vec((1..99_u64, proptest::option::of(location())), 0..200), groups in proptest::collection::vec(location(), 0..200)) {
        let pieces: Vec<Piece> = pieces.into_iter().map(|(len, place)| Piece { len, place }).collect();
        prop_assert_eq!(parse_piece_list(&encode_piece_list(&pieces).unwrap()).unwrap(), pieces);
        prop_assert_eq!(parse_group_list(&encode_group_list(&groups).unwrap()).unwrap(), groups);
    }

    #[test]
    fn groups_come_back(extents in proptest::collection::vec((1..20_u32, proptest::option::of((location(), 0..100_u32))), 1..12), last in 1..=8192_u32) {
        let extents: Vec<Extent> = extents.into_iter().map(|(pages, place)| Extent { pages, place }).collect();
        let page = |extent: &Extent| if extent.place.is_some() { Id([5; 16]) } else { PageGroup::HOLE };
        let ids = extents.iter().flat_map(|extent| std::iter::repeat_n(page(extent), extent.pages as usize)).collect();
        let mut group = PageGroup { page_size_log2: 13, last_page_bytes: last, ids, extents };
        prop_assert_eq!(PageGroup::parse(&group.encode().unwrap()).unwrap(), group.clone());
        group.ids.pop();
        prop_assert!(group.encode().is_err());
    }
}

/// A tree of many entries, as a hospital has: one change touches one path of nodes, and names alone decide the cuts.
#[test]
fn a_change_touches_one_path_of_nodes() {
    let entry = |number: u32, seconds: i64| Entry {
        path: format!("srv/{:03}/{number:06}.hl7", number / 500).into_bytes(),
        kind: EntryKind::File {
            size: 5,
            content: Content::Inline(b"hello".to_vec()),
        },
        mode: 0o640,
        uid: 1,
        gid: 1,
        user: b"ehr".to_vec(),
        group: b"ehr".to_vec(),
        mtime: (seconds, number),
        xattrs: Vec::new(),
        link_id: None,
    };
    let mut model: Model = (0..50_000)
        .map(|number| (rank(&entry(number, 0).path), entry(number, 0)))
        .collect();
    let mut memory = Memory::default();
    let before = build(&model, &mut memory);
    let (nodes, _) = (memory.nodes.len(), before);
    let changed = entry(25_000, 77);
    model.insert(rank(&changed.path), changed.clone());
    let after = build(&model, &mut memory);
    assert_ne!(before.location, after.location);
    assert!(
        memory.nodes.len() - nodes <= 4,
        "{} new nodes",
        memory.nodes.len() - nodes
    );
    memory.gets = 0;
    let mut diff = Diff::new(before.location, after.location);
    assert!(
        matches!(diff.next(&mut memory).unwrap(), Some(Change::Changed { new, .. }) if new == changed)
    );
    assert!(diff.next(&mut memory).unwrap().is_none());
    assert!(memory.gets <= 8, "{} nodes read", memory.gets);
    let removed = entry(10_000, 0);
    model.remove(&rank(&removed.path));
    let nodes = memory.nodes.len();
    build(&model, &mut memory);
    assert!(memory.nodes.len() - nodes <= 6);
}

#[test]
fn a_builder_refuses_what_is_out_of_order_and_goes_on() {
    let entry = |path: &str| Entry {
        path: path.as_bytes().to_vec(),
        kind: EntryKind::Folder,
        mode: 0,
        uid: 0,
        gid: 0,
        user: Vec::new(),
        group: Vec::new(),
        mtime: (0, 0),
        xattrs: Vec::new(),
        link_id: None,
    };
    let mut memory = Memory::default();
    let mut builder = TreeBuilder::new(keys());
    for (path, taken) in [
        ("a", true),
        ("a/b", true),
        ("a.b", true),
        ("a/c", false),
        ("a.b", false),
        ("b/../c", false),
        ("b//c", false),
        ("b/", false),
        ("/b", false),
        ("b", true),
    ] {
        assert_eq!(
            builder.push(&entry(path), &mut memory).is_ok(),
            taken,
            "{path}"
        );
    }
    let root = builder.finish(&mut memory).unwrap();
    assert_eq!(root.entries, 4);
    let empty = TreeBuilder::new(keys()).finish(&mut memory).unwrap();
    assert!(walk(empty.location, &mut memory).is_empty());
}
