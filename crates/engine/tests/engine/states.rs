//! A writer's state comes back; the start-up checks pass.
use holdfast_engine::content::{Content, Piece};
use holdfast_engine::state::{StateFile, StateRecord, WriterState};
use holdfast_engine::{ClassId, Location, Origin, selftest};
use proptest::prelude::*;

fn record() -> impl Strategy<Value = StateRecord> {
    let place =
        (any::<[u8; 1]>(), any::<u32>(), any::<u32>()).prop_map(|([byte], segment, chunk)| {
            Location {
                origin: Origin([byte; 16]),
                segment,
                chunk,
            }
        });
    let time = || (any::<i64>(), 0_u32..1_000_000_000);
    let file = (
        1_u64..1 << 50,
        place,
        time(),
        time(),
        any::<u64>(),
        any::<u16>(),
    )
        .prop_map(|(size, place, mtime, ctime, inode, class)| StateFile {
            class: ClassId(class),
            mtime,
            ctime,
            inode,
            size,
            content: if inode % 2 == 0 {
                Content::Pieces(vec![Piece {
                    len: size,
                    place: Some(place),
                }])
            } else {
                Content::PiecesAt(vec![place; 3])
            },
        });
    (any::<u64>(), prop::option::of(file))
        .prop_map(|(path_hash, file)| StateRecord { path_hash, file })
}

proptest! {
    #[test]
    fn a_state_comes_back(delta: bool, records in prop::collection::vec(record(), 0..30), cut: prop::sample::Index) {
        let state = WriterState { delta, records };
        let bytes = state.encode().unwrap();
        prop_assert_eq!(WriterState::parse(&bytes).unwrap(), state);
        prop_assert!(WriterState::parse(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn hostile_bytes_are_refused_quietly(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = WriterState::parse(&bytes);
        let _ = WriterState::parse(&[&[1, 0], bytes.as_slice()].concat());
    }
}

#[test]
fn inline_content_stays_out_of_a_state() {
    let file = StateFile {
        class: ClassId(1),
        mtime: (0, 0),
        ctime: (0, 0),
        inode: 1,
        size: 1,
        content: Content::Inline(vec![1]),
    };
    let state = WriterState {
        delta: false,
        records: vec![StateRecord {
            path_hash: 1,
            file: Some(file),
        }],
    };
    assert!(state.encode().is_err());
}

#[test]
fn the_start_up_checks_pass() {
    assert_eq!(selftest::run().unwrap(), 9);
}
