//! Known answers for other readers of the format: `docs/format/vectors.json` is what this code writes today.
//!
//! `HOLDFAST_WRITE_VECTORS=1` writes the file anew; a difference in it is a change of the format.
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use holdfast_engine::compress::Codec;
use holdfast_engine::content::{Content, Piece, encode_group_list, encode_piece_list};
use holdfast_engine::directory::ChunkInfo;
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::group::{Extent, PageGroup};
use holdfast_engine::pack::{Envelope, FinishedPack, PackBuilder, PackHeader, Recipient};
use holdfast_engine::parity::{ParityCode, add};
use holdfast_engine::record::encode_run;
use holdfast_engine::refs::RefSet;
use holdfast_engine::repack::RepackBuilder;
use holdfast_engine::segment::seal_segment;
use holdfast_engine::state::{StateFile, StateRecord, WriterState};
use holdfast_engine::tree::{NodeSink, TreeBuilder};
use holdfast_engine::{
    ClassId, ClassKeys, Generation, Id, Location, Origin, PackKind, PackNonce, Result, Role,
    RunKey, VaultId,
};

/// A frame of one run-length block, so that no compressor's version matters: 100 times `a`.
const FRAME: [u8; 10] = [0x28, 0xB5, 0x2F, 0xFD, 0x20, 100, 0x23, 0x03, 0x00, b'a'];

fn keys() -> Arc<ClassKeys> {
    Arc::new(ClassKeys::new(
        VaultId([1; 16]),
        ClassId(1),
        Generation(2),
        &[3; 32],
        &[4; 32],
    ))
}

fn place(origin: u8, segment: u32, chunk: u32) -> Location {
    Location {
        origin: Origin([origin; 16]),
        segment,
        chunk,
    }
}

/// Two segments: a frame of 60 + 40 bytes, and four bytes as they are.
fn pack() -> FinishedPack {
    let keys = keys();
    let run = RunKey([7; 32]);
    let envelope = Envelope::from_recipients(&[Recipient {
        kind: 1,
        wrapped: &[8; 5],
    }])
    .unwrap();
    let nonce = run.pack_nonce(&[9; 16]);
    let mut builder =
        PackBuilder::new(keys.clone(), &run, envelope, PackKind::Data, nonce, 0).unwrap();
    let info = |content: &[u8]| ChunkInfo {
        id: keys.id(Role::Chunk, content),
        role: Role::Chunk,
        page_bytes: None,
        len: content.len() as u32,
    };
    let segments = [
        (
            Codec::Zstd,
            FRAME.to_vec(),
            100,
            vec![info(&[b'a'; 60]), info(&[b'a'; 40])],
        ),
        (Codec::Raw, b"data".to_vec(), 4, vec![info(b"data")]),
    ];
    for (codec, coded, plain_len, chunks) in segments {
        let ordinal = builder.reserve().unwrap();
        let sealed = seal_segment(
            &builder.key(),
            &builder.head(ordinal, codec, plain_len),
            coded,
        )
        .unwrap();
        builder
            .add(ordinal, &sealed, codec, plain_len, chunks)
            .unwrap();
    }
    builder.finish(3).unwrap()
}

/// The second segment of the pack, in another pack.
fn repacked(source: &FinishedPack) -> FinishedPack {
    let (header, _) = PackHeader::parse(&source.bytes).unwrap();
    let segment = &source.record.directory.segments[1];
    let sealed = &source.bytes[segment.offset as usize..segment.end() as usize];
    let mut builder = RepackBuilder::new(keys(), PackKind::Data, PackNonce([10; 32]));
    builder.add(&header, segment, sealed).unwrap();
    builder.finish(0).unwrap()
}

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode: 0o640,
        uid: 1000,
        gid: 100,
        user: b"ward".to_vec(),
        group: Vec::new(),
        mtime: (1_700_000_000, 5),
        xattrs: Vec::new(),
        link_id: None,
    }
}

fn file(path: &str, size: u64, content: Content) -> Entry {
    entry(path, EntryKind::File { size, content })
}

/// Every kind of entry and content.
fn entries() -> Vec<Entry> {
    let pieces = vec![
        Piece {
            len: 10,
            place: Some(place(1, 5, 0)),
        },
        Piece {
            len: 11,
            place: Some(place(1, 5, 1)),
        },
        Piece {
            len: 12,
            place: None,
        },
        Piece {
            len: 13,
            place: Some(place(2, 4, 7)),
        },
    ];
    let groups = vec![place(3, 0, 0), place(3, 0, 1)];
    let mut all = vec![
        entry("", EntryKind::Folder),
        entry("a", EntryKind::Folder),
        file("a/inline", 3, Content::Inline(b"abc".to_vec())),
        file("a/lists", 1 << 40, Content::PiecesAt(vec![place(2, 4, 8)])),
        file(
            "a/map",
            256 * 8192 + 1,
            Content::PageMap {
                page_size_log2: 13,
                groups: groups.clone(),
            },
        ),
        file(
            "a/mapped",
            1 << 40,
            Content::PageMapAt {
                page_size_log2: 16,
                lists: groups,
            },
        ),
        file("a/pieces", 46, Content::Pieces(pieces)),
        entry(
            "a-b",
            EntryKind::Symlink {
                target: b"../x".to_vec(),
            },
        ),
        entry("b", EntryKind::Fifo),
        entry("c", EntryKind::CharDevice { major: 1, minor: 3 }),
        entry(
            "d",
            EntryKind::BlockDevice {
                major: 8,
                minor: 300,
            },
        ),
    ];
    all[2].xattrs = vec![
        (b"user.a".to_vec(), b"1".to_vec()),
        (b"user.b".to_vec(), Vec::new()),
    ];
    all[2].link_id = Some(0x0102_0304_0506_0708);
    all[3].mtime = (-1, 999_999_999);
    all[3].group = b"staff".to_vec();
    all
}

/// Nodes in the order they are written; node n is chunk n of segment 0 of origin 5.
#[derive(Default)]
struct Nodes(Vec<Vec<u8>>);

impl NodeSink for Nodes {
    fn put(&mut self, _: Role, bytes: &[u8]) -> Result<Location> {
        self.0.push(bytes.to_vec());
        Ok(place(5, 0, self.0.len() as u32 - 1))
    }
}

fn tree(entries: impl IntoIterator<Item = Entry>) -> Nodes {
    let mut nodes = Nodes::default();
    let mut builder = TreeBuilder::new(keys());
    for entry in entries {
        builder.push(&entry, &mut nodes).unwrap();
    }
    builder.finish(&mut nodes).unwrap();
    nodes
}

fn group() -> PageGroup {
    PageGroup {
        page_size_log2: 13,
        last_page_bytes: 100,
        ids: vec![Id([1; 16]), Id([2; 16]), PageGroup::HOLE, Id([3; 16])],
        extents: vec![
            Extent {
                pages: 2,
                place: Some((place(1, 2, 3), 4)),
            },
            Extent {
                pages: 1,
                place: None,
            },
            Extent {
                pages: 1,
                place: Some((place(1, 2, 3), 0)),
            },
        ],
    }
}

fn refs(segments: &[(u8, u32)]) -> RefSet {
    let mut set = RefSet::new();
    for (origin, segment) in segments {
        set.add(Origin([*origin; 16]), *segment);
    }
    set
}

fn state() -> WriterState {
    let content = Content::Pieces(vec![Piece {
        len: 10,
        place: Some(place(1, 5, 0)),
    }]);
    let file = StateFile {
        class: ClassId(1),
        mtime: (1_700_000_000, 5),
        ctime: (-1, 6),
        inode: 77,
        size: 10,
        content,
    };
    let gone = StateRecord {
        path_hash: 2,
        file: None,
    };
    WriterState {
        delta: true,
        records: vec![
            StateRecord {
                path_hash: 1,
                file: Some(file),
            },
            gone,
        ],
    }
}

fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let keys = keys();
    let (pack, full) = (pack(), refs(&[(1, 0), (1, 1), (1, 5), (2, 300)]));
    let second = repacked(&pack);
    let long = |number: u32| file(&format!("f/{number:04}"), 0, Content::Inline(Vec::new()));
    let small = tree(entries());
    assert_eq!(small.0.len(), 1, "the leaf of every kind is one node");
    let large = tree((0..300).map(long));
    vec![
        ("vault", vec![1; 16]),
        ("dedup_key", vec![3; 32]),
        ("index_key", vec![4; 32]),
        ("run_key", vec![7; 32]),
        ("gear_0", keys.gear()[0].to_le_bytes().to_vec()),
        ("gear_255", keys.gear()[255].to_le_bytes().to_vec()),
        (
            "path_hash_srv_ehr_a",
            keys.path_hash(b"srv/ehr/a").to_le_bytes().to_vec(),
        ),
        ("id_chunk_abc", keys.id(Role::Chunk, b"abc").0.to_vec()),
        ("id_node_abc", keys.id(Role::Node, b"abc").0.to_vec()),
        ("id_page_abc", keys.page_id(b"abc").0.to_vec()),
        (
            "id_pages_8192_abc",
            keys.pages_id(8192, &[keys.page_id(b"abc")]).0.to_vec(),
        ),
        (
            "pack_nonce",
            RunKey([7; 32]).pack_nonce(&[9; 16]).0.to_vec(),
        ),
        ("pack_name", pack.name.0.to_vec()),
        ("pack", pack.bytes.clone()),
        ("repacked_name", second.name.0.to_vec()),
        ("repacked", second.bytes.clone()),
        ("parity_0", parity(&[(0, &pack), (5, &second)], 0)),
        ("parity_1", parity(&[(0, &pack), (5, &second)], 1)),
        ("index_run", encode_run(&[pack.record, second.record])),
        ("leaf", small.0[0].clone()),
        ("root_of_300", large.0.last().cloned().unwrap_or_default()),
        (
            "piece_list",
            encode_piece_list(&[
                Piece {
                    len: 5,
                    place: Some(place(1, 2, 3)),
                },
                Piece {
                    len: 6,
                    place: None,
                },
            ])
            .unwrap(),
        ),
        (
            "group_list",
            encode_group_list(&[place(1, 2, 3), place(2, 1, 4)]).unwrap(),
        ),
        ("page_group", group().encode().unwrap()),
        ("refs_full", full.encode_full()),
        (
            "refs_delta",
            refs(&[(1, 0), (2, 300), (3, 9)]).encode_delta(&full, [6; 32]),
        ),
        ("writer_state", state().encode().unwrap()),
    ]
}

/// A row of a group of two, as `docs/format/parity.md` lays it out.
fn parity(members: &[(u8, &FinishedPack)], row: u8) -> Vec<u8> {
    let code = ParityCode::new(2).unwrap();
    let length = members
        .iter()
        .map(|(_, pack)| pack.bytes.len())
        .max()
        .unwrap();
    let mut object = b"\x89HFPR\r\n\x1a\x01\0".to_vec();
    object.extend([row, 2]);
    object.extend([1; 16]);
    object.extend([1, 0, 1, 16, members.len() as u8, 0, 0, 0]);
    object.extend((length as u32).to_le_bytes());
    let mut bytes = vec![0; length];
    for (slot, pack) in members {
        object.extend([*slot, 0, 0, 0]);
        object.extend((pack.bytes.len() as u32).to_le_bytes());
        object.extend(pack.name.0);
        let mut products = vec![vec![0; pack.bytes.len()]; 2];
        code.add_products(usize::from(*slot), &pack.bytes, &mut products)
            .unwrap();
        add(&mut bytes, &products[usize::from(row)]);
    }
    [object, bytes].concat()
}

#[test]
fn the_vectors_are_what_this_code_writes() {
    let mut page = String::from("{\n  \"class\": 1,\n  \"generation\": 2");
    for (name, bytes) in vectors() {
        write!(page, ",\n  \"{name}\": \"").unwrap();
        for byte in bytes {
            write!(page, "{byte:02x}").unwrap();
        }
        page.push('"');
    }
    page.push_str("\n}\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/format/vectors.json");
    if std::env::var_os("HOLDFAST_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == page,
        "docs/format/vectors.json differs"
    );
}
