//! A tree holds exactly its entries; equal entries give an equal root; a change touches one path of nodes.
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use holdfast_engine::content::{Content, Piece};
use holdfast_engine::cursor::{Cursor, lookup};
use holdfast_engine::diff::{Change, Diff};
use holdfast_engine::entry::{Entry, EntryKind, check_path, compare_paths, is_under};
use holdfast_engine::node::Node;
use holdfast_engine::tree::{NodeSink, NodeSource, Root, TreeBuilder};
use holdfast_engine::{Error, Id, Location, Origin, Result, Role};
use proptest::prelude::*;

use crate::fixtures::{keys, noise};

/// Nodes in memory, deduplicated; counts what is read.
#[derive(Default)]
struct Memory {
    nodes: Vec<Vec<u8>>,
    known: HashMap<Id, Location>,
    reads: Cell<usize>,
}

impl NodeSink for Memory {
    fn put(&mut self, role: Role, bytes: &[u8]) -> Result<Location> {
        let next = Location {
            origin: Origin([7; 16]),
            segment: self.nodes.len() as u32,
            chunk: 0,
        };
        let location = *self.known.entry(keys().id(role, bytes)).or_insert(next);
        if location == next {
            self.nodes.push(bytes.to_vec());
        }
        Ok(location)
    }
}

impl NodeSource for Memory {
    fn get(&mut self, role: Role, location: &Location) -> Result<Vec<u8>> {
        assert_eq!(role, Role::Node);
        self.reads.set(self.reads.get() + 1);
        Ok(self.nodes[location.segment as usize].clone())
    }
}

/// Paths as the tree orders them, for a model in a `BTreeMap`.
fn ordered(path: &[u8]) -> Vec<u8> {
    path.iter()
        .map(|byte| if *byte == b'/' { 0 } else { *byte })
        .collect()
}

fn build(memory: &mut Memory, entries: impl IntoIterator<Item = Entry>) -> Root {
    let mut builder = TreeBuilder::new(keys());
    for entry in entries {
        builder.push(&entry, memory).unwrap();
    }
    builder.finish(memory).unwrap()
}

fn walk(memory: &mut Memory, root: Root) -> Vec<Entry> {
    let mut cursor = Cursor::new(root.location);
    std::iter::from_fn(|| cursor.next(memory).unwrap()).collect()
}

fn diff(memory: &mut Memory, old: Root, new: Root) -> Vec<Change> {
    let mut diff = Diff::new(old.location, new.location);
    std::iter::from_fn(|| diff.next(memory).unwrap()).collect()
}

fn file(path: &[u8], seed: u64) -> Entry {
    let place = Location {
        origin: Origin([(seed % 5) as u8; 16]),
        segment: (seed % 1000) as u32,
        chunk: (seed % 7) as u32,
    };
    let content = Content::Pieces(vec![Piece {
        len: seed + 1,
        place: Some(place),
    }]);
    Entry {
        path: path.to_vec(),
        kind: EntryKind::File {
            size: seed + 1,
            content,
        },
        mode: 0o640,
        uid: 1000,
        gid: 1000,
        user: b"ward".to_vec(),
        group: b"staff".to_vec(),
        mtime: (1_700_000_000 + seed.cast_signed(), 5),
        xattrs: Vec::new(),
        link_id: None,
    }
}

fn many(count: u64) -> Vec<Entry> {
    (0..count)
        .map(|number| {
            file(
                format!("srv/ehr/{:03}/{number:07}.hl7", number / 100).as_bytes(),
                number,
            )
        })
        .collect()
}

fn location() -> impl Strategy<Value = Location> {
    (0_u8..30, any::<u32>(), prop_oneof![0_u32..5, any::<u32>()]).prop_map(
        |(origin, segment, chunk)| Location {
            origin: Origin([origin; 16]),
            segment,
            chunk,
        },
    )
}

fn content() -> impl Strategy<Value = (u64, Content)> {
    let piece = (1_u64..1 << 40, prop::option::of(location()))
        .prop_map(|(len, place)| Piece { len, place });
    let places = || prop::collection::vec(location(), 1..40);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..=64)
            .prop_map(|bytes| (bytes.len() as u64, Content::Inline(bytes))),
        prop::collection::vec(piece, 1..=32).prop_map(|pieces| (
            pieces.iter().map(|piece| piece.len).sum(),
            Content::Pieces(pieces)
        )),
        (0..1_u64 << 62, places()).prop_map(|(size, lists)| (size, Content::PiecesAt(lists))),
        (9_u8..=16, places()).prop_map(|(page_size_log2, groups)| {
            (
                (groups.len() as u64) << (page_size_log2 + 8),
                Content::PageMap {
                    page_size_log2,
                    groups,
                },
            )
        }),
        (0..1_u64 << 62, 9_u8..=16, places()).prop_map(|(size, page_size_log2, lists)| (
            size,
            Content::PageMapAt {
                page_size_log2,
                lists
            }
        )),
    ]
}

fn kind() -> impl Strategy<Value = EntryKind> {
    prop_oneof![
        4 => content().prop_map(|(size, content)| EntryKind::File { size, content }),
        1 => Just(EntryKind::Folder),
        1 => prop::collection::vec(1..=255_u8, 1..100).prop_map(|target| EntryKind::Symlink { target }),
        1 => Just(EntryKind::Fifo),
        1 => any::<(u32, u32)>().prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        1 => any::<(u32, u32)>().prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
    ]
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let component = prop_oneof![
        prop::sample::select(vec![
            &b"a"[..],
            b"b",
            b"a.b",
            b"a-b",
            b"...",
            b"\x01",
            b"\xff\xfe"
        ])
        .prop_map(<[u8]>::to_vec),
        prop::collection::vec(
            prop::sample::select(
                (1..=255_u8)
                    .filter(|byte| *byte != b'/' && *byte != b'.')
                    .collect::<Vec<_>>()
            ),
            1..12
        ),
    ];
    prop::collection::vec(component, 0..4).prop_map(|components| components.join(&b'/'))
}

fn entry() -> impl Strategy<Value = Entry> {
    let xattrs = prop::collection::btree_map(
        prop::collection::vec(1..=255_u8, 1..9),
        prop::collection::vec(any::<u8>(), 0..20),
        0..3,
    );
    let owner = prop::sample::select(vec!["", "root", "ward", "pacs"])
        .prop_map(|name| name.as_bytes().to_vec());
    let owners = (any::<u32>(), any::<u32>(), owner.clone(), owner);
    let mtime = (
        prop_oneof![any::<i64>(), 0..2_000_000_000_i64],
        0_u32..1_000_000_000,
    );
    (
        path(),
        kind(),
        0_u16..0o10000,
        owners,
        mtime,
        xattrs,
        prop::option::of(any::<u64>()),
    )
        .prop_map(
            |(path, kind, mode, (uid, gid, user, group), mtime, xattrs, link_id)| Entry {
                path,
                kind,
                mode,
                uid,
                gid,
                user,
                group,
                mtime,
                xattrs: xattrs.into_iter().collect(),
                link_id,
            },
        )
}

fn model() -> impl Strategy<Value = BTreeMap<Vec<u8>, Entry>> {
    prop::collection::vec(entry(), 0..200).prop_map(|entries| {
        entries
            .into_iter()
            .map(|entry| (ordered(&entry.path), entry))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tree_holds_its_entries(model in model(), probe in path()) {
        let mut memory = Memory::default();
        let root = build(&mut memory, model.values().cloned());
        prop_assert_eq!(root.entries, model.len() as u64);
        prop_assert_eq!(&walk(&mut memory, root), &model.values().cloned().collect::<Vec<_>>());
        for entry in model.values() {
            let found = lookup(root.location, &entry.path, &mut memory).unwrap();
            prop_assert_eq!(found.as_ref(), Some(entry));
        }
        let found = lookup(root.location, &probe, &mut memory).unwrap();
        prop_assert_eq!(found.as_ref(), model.get(&ordered(&probe)));
        let again = build(&mut Memory::default(), model.into_values());
        prop_assert_eq!(again, root);
    }

    #[test]
    fn a_diff_is_the_difference(old in model(), mut new in model(), keep in any::<u64>()) {
        // Most entries are shared, as between two snapshots.
        for (index, (path, entry)) in old.iter().enumerate() {
            if keep >> (index % 64) & 3 != 0 {
                new.insert(path.clone(), entry.clone());
            }
        }
        let mut memory = Memory::default();
        let roots = [&old, &new].map(|model| build(&mut memory, model.values().cloned()));
        let mut expected = BTreeMap::new();
        for (path, entry) in &old {
            match new.get(path) {
                None => { expected.insert(path.clone(), Change::Removed(entry.clone())); }
                Some(other) if other != entry => {
                    expected.insert(path.clone(), Change::Changed { old: entry.clone(), new: other.clone() });
                }
                Some(_) => {}
            }
        }
        for (path, entry) in new.iter().filter(|(path, _)| !old.contains_key(*path)) {
            expected.insert(path.clone(), Change::Added(entry.clone()));
        }
        prop_assert_eq!(diff(&mut memory, roots[0], roots[1]), expected.into_values().collect::<Vec<_>>());
    }

    #[test]
    fn a_cursor_goes_where_it_is_told(model in model(), mut targets in prop::collection::vec(path(), 1..6)) {
        let mut memory = Memory::default();
        let root = build(&mut memory, model.values().cloned());
        targets.sort_by(|a, b| compare_paths(a, b));
        let mut cursor = Cursor::new(root.location);
        for target in targets {
            cursor.seek(&target, &mut memory).unwrap();
            let mut fresh = Cursor::new(root.location);
            fresh.seek(&target, &mut memory).unwrap();
            let expected = model.range(ordered(&target)..).next().map(|(_, entry)| entry.clone());
            prop_assert_eq!(&fresh.next(&mut memory).unwrap(), &expected);
            fresh.skip_under(&target, &mut memory).unwrap();
            let behind = model.values().find(|entry| {
                compare_paths(&entry.path, &target).is_gt() && !is_under(&entry.path, &target)
            });
            if !target.is_empty() && expected.is_some_and(|entry| is_under(&entry.path, &target)) {
                let found = fresh.next(&mut memory).unwrap();
                prop_assert_eq!(found.as_ref(), behind);
            }
        }
    }

    #[test]
    fn hostile_nodes_are_refused_quietly(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Node::parse(&bytes);
        let mut versioned = vec![1, bytes.first().map_or(0, |byte| byte & 1), 1];
        versioned.extend_from_slice(&[7; 16]);
        versioned.extend_from_slice(&bytes);
        let _ = Node::parse(&versioned);
    }

    #[test]
    fn a_damaged_node_never_panics_and_never_passes_for_the_same(model in model(), at: prop::sample::Index, bit in 0_u8..8) {
        let mut memory = Memory::default();
        build(&mut memory, model.into_values());
        let mut node = memory.nodes[0].clone();
        let original = Node::parse(&node).unwrap();
        let at = at.index(node.len());
        node[at] ^= 1 << bit;
        if let Ok(parsed) = Node::parse(&node) {
            // Not all of a node's bits have their own check (the seal of its segment covers them): a name in the
            // table that no entry uses, an origin that no location uses.
            let _ = parsed == original;
        }
    }
}

#[test]
fn folders_come_before_what_is_in_them_and_before_their_siblings() {
    let mut paths = vec!["a/b", "a.b", "a", "", "a-b/c", "a/b/c", "a\u{1}", "b"];
    paths.sort_by(|a, b| compare_paths(a.as_bytes(), b.as_bytes()));
    assert_eq!(
        paths,
        ["", "a", "a/b", "a/b/c", "a\u{1}", "a-b/c", "a.b", "b"]
    );
}

#[test]
fn paths_that_point_elsewhere_are_refused() {
    for path in ["/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/.", "a\0b"] {
        assert!(check_path(path.as_bytes()).is_err(), "{path:?}");
    }
    for path in ["", "a", "...", "a/..b", ".hidden/x"] {
        check_path(path.as_bytes()).unwrap();
    }
    check_path(&vec![b'a'; 65536]).unwrap();
    assert!(matches!(
        check_path(&vec![b'a'; 65537]),
        Err(Error::LimitExceeded { .. })
    ));
}

#[test]
fn a_change_rewrites_one_path_of_nodes() {
    let mut memory = Memory::default();
    let mut entries = many(20_000);
    let old = build(&mut memory, entries.clone());
    let nodes = memory.nodes.len();
    assert!((400..900).contains(&nodes), "{nodes} nodes");
    entries[12_345].mtime.0 += 1;
    let new = build(&mut memory, entries.clone());
    assert!(
        memory.nodes.len() - nodes <= 5,
        "{}",
        memory.nodes.len() - nodes
    );
    memory.reads.set(0);
    assert_eq!(diff(&mut memory, old, new).len(), 1);
    assert!(memory.reads.get() <= 12, "{}", memory.reads.get());

    // A removed entry may join two leaves, an added one may part one: no more than the path and its neighbour.
    let nodes = memory.nodes.len();
    entries.remove(777);
    build(&mut memory, entries.clone());
    assert!(memory.nodes.len() - nodes <= 8);
    assert_eq!(diff(&mut memory, old, old), []);
}

#[test]
fn boundaries_depend_on_names_alone() {
    let mut memory = Memory::default();
    let plain = build(&mut memory, many(3000));
    let heavy = many(3000).into_iter().map(|mut entry| {
        entry.xattrs = vec![(b"user.x".to_vec(), noise(entry.content_bytes(), 100))];
        entry.kind = EntryKind::Folder;
        entry
    });
    let heavy = build(&mut memory, heavy);
    let mut starts = |root: Root| -> Vec<Vec<u8>> {
        let Node::Inner { children, .. } =
            Node::parse(&memory.get(Role::Node, &root.location).unwrap()).unwrap()
        else {
            panic!("a leaf of 3000 entries")
        };
        children.into_iter().map(|child| child.first_path).collect()
    };
    assert_eq!(starts(plain), starts(heavy));
}

#[test]
fn absurd_entries_are_cut_by_size_or_refused() {
    let mut memory = Memory::default();
    let large = |number: u64, bytes: usize| {
        let mut entry = file(format!("f{number:03}").as_bytes(), number);
        entry.xattrs = vec![(b"user.x".to_vec(), noise(number, bytes))];
        entry
    };
    let entries: Vec<Entry> = (0..40).map(|number| large(number, 200_000)).collect();
    let root = build(&mut memory, entries.clone());
    assert!(memory.nodes.iter().all(|node| node.len() < 2 << 20));
    assert_eq!(walk(&mut memory, root), entries);

    let mut builder = TreeBuilder::new(keys());
    assert!(matches!(
        builder.push(&large(0, 4 << 20), &mut memory),
        Err(Error::LimitExceeded { .. })
    ));
    builder.push(&large(1, 200_000), &mut memory).unwrap();
    assert_eq!(builder.finish(&mut memory).unwrap().entries, 1);
}

#[test]
fn entries_out_of_order_or_out_of_range_are_refused() {
    let mut memory = Memory::default();
    let mut builder = TreeBuilder::new(keys());
    builder.push(&file(b"b", 1), &mut memory).unwrap();
    let refused = [
        file(b"b", 2),
        file(b"a", 1),
        file(b"c/..", 1),
        Entry {
            mode: 0o10000,
            ..file(b"c", 1)
        },
        Entry {
            mtime: (0, 1_000_000_000),
            ..file(b"c", 1)
        },
        Entry {
            xattrs: vec![(b"b".to_vec(), vec![]), (b"a".to_vec(), vec![])],
            ..file(b"c", 1)
        },
        Entry {
            kind: EntryKind::File {
                size: 2,
                content: Content::Inline(vec![1]),
            },
            ..file(b"c", 1)
        },
    ];
    for entry in refused {
        assert!(builder.push(&entry, &mut memory).is_err(), "{entry:?}");
    }
    builder.push(&file(b"c", 1), &mut memory).unwrap();
    let root = builder.finish(&mut memory).unwrap();
    assert_eq!(walk(&mut memory, root), [file(b"b", 1), file(b"c", 1)]);
}

#[test]
fn an_empty_tree_is_an_empty_leaf() {
    let mut memory = Memory::default();
    let root = build(&mut memory, []);
    assert_eq!((root.entries, root.bytes), (0, 0));
    assert_eq!(memory.nodes[0], [1, 0, 0, 0, 0]);
    assert_eq!(walk(&mut memory, root), []);
    let other = build(&mut memory, many(100));
    assert_eq!(diff(&mut memory, root, other).len(), 100);
    assert_eq!(diff(&mut memory, other, root).len(), 100);
}

#[test]
fn a_child_that_is_not_what_its_parent_says_is_damage() {
    let mut memory = Memory::default();
    let root = build(&mut memory, many(2000));
    // Two leaves change places.
    memory.nodes.swap(3, 4);
    let mut cursor = Cursor::new(root.location);
    let result = std::iter::from_fn(|| cursor.next(&mut memory).transpose()).find_map(Result::err);
    assert!(matches!(result, Some(Error::Damaged { .. })));
    // A node that is its own child.
    memory.nodes[3] = memory.nodes[root.location.segment as usize].clone();
    let mut cursor = Cursor::new(root.location);
    let result = std::iter::from_fn(|| cursor.next(&mut memory).transpose()).find_map(Result::err);
    assert!(matches!(result, Some(Error::Damaged { .. })));
}
