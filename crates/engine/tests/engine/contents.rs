//! Lists and page groups come back, and are refused when they do not add up.
use holdfast_engine::content::{
    Content, Piece, encode_group_list, encode_piece_list, groups_of, parse_group_list,
    parse_piece_list,
};
use holdfast_engine::group::{Extent, PageGroup};
use holdfast_engine::{Error, Id, Location, Origin};
use proptest::prelude::*;

fn location() -> impl Strategy<Value = Location> {
    (0_u16..300, any::<u32>(), any::<u32>()).prop_map(|(origin, segment, chunk)| {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&origin.to_le_bytes());
        Location {
            origin: Origin(bytes),
            segment,
            chunk,
        }
    })
}

fn group() -> impl Strategy<Value = PageGroup> {
    let extent = (1_u32..20, prop::option::of((location(), 0_u32..32768)));
    (
        9_u8..=16,
        prop::collection::vec(extent, 1..13),
        any::<u32>(),
    )
        .prop_map(|(page_size_log2, extents, last)| {
            let extents: Vec<Extent> = extents
                .into_iter()
                .map(|(pages, place)| Extent { pages, place })
                .collect();
            let ids = extents
                .iter()
                .flat_map(|extent| {
                    (0..extent.pages).map(|page| {
                        if extent.place.is_some() {
                            Id([page as u8 + 1; 16])
                        } else {
                            PageGroup::HOLE
                        }
                    })
                })
                .collect();
            PageGroup {
                page_size_log2,
                last_page_bytes: 1 + last % (1 << page_size_log2),
                ids,
                extents,
            }
        })
}

proptest! {
    #[test]
    fn piece_lists_come_back(places in prop::collection::vec((1_u64..1 << 40, prop::option::of(location())), 0..300)) {
        let pieces: Vec<Piece> = places.into_iter().map(|(len, place)| Piece { len, place }).collect();
        let bytes = encode_piece_list(&pieces).unwrap();
        prop_assert_eq!(parse_piece_list(&bytes).unwrap(), pieces);
    }

    #[test]
    fn group_lists_come_back(groups in prop::collection::vec(location(), 0..300)) {
        prop_assert_eq!(parse_group_list(&encode_group_list(&groups).unwrap()).unwrap(), groups);
    }

    #[test]
    fn page_groups_come_back(group in group()) {
        let bytes = group.encode().unwrap();
        prop_assert_eq!(PageGroup::parse(&bytes).unwrap(), group);
        prop_assert!(PageGroup::parse(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn hostile_bytes_are_refused_quietly(bytes in prop::collection::vec(any::<u8>(), 0..300), group in group(), at: prop::sample::Index) {
        let _ = parse_piece_list(&bytes);
        let _ = parse_group_list(&bytes);
        let _ = PageGroup::parse(&bytes);
        let mut damaged = group.encode().unwrap();
        let at = at.index(damaged.len());
        damaged[at] ^= bytes.first().copied().unwrap_or(1);
        let _ = PageGroup::parse(&damaged);
        let _ = parse_piece_list(&damaged);
    }
}

#[test]
fn groups_that_do_not_add_up_are_refused() {
    let place = Some((
        Location {
            origin: Origin([1; 16]),
            segment: 0,
            chunk: 0,
        },
        0,
    ));
    let good = PageGroup {
        page_size_log2: 13,
        last_page_bytes: 100,
        ids: vec![Id([1; 16]); 3],
        extents: vec![Extent { pages: 3, place }],
    };
    assert_eq!(
        PageGroup::parse(&good.encode().unwrap())
            .unwrap()
            .bytes_len(),
        2 * 8192 + 100
    );
    let wrong = [
        PageGroup {
            page_size_log2: 8,
            ..good.clone()
        },
        PageGroup {
            page_size_log2: 17,
            ..good.clone()
        },
        PageGroup {
            last_page_bytes: 0,
            ..good.clone()
        },
        PageGroup {
            last_page_bytes: 8193,
            ..good.clone()
        },
        PageGroup {
            ids: Vec::new(),
            extents: Vec::new(),
            ..good.clone()
        },
        PageGroup {
            ids: vec![Id([1; 16]); 257],
            extents: vec![Extent { pages: 257, place }],
            ..good.clone()
        },
        PageGroup {
            ids: vec![Id([1; 16]); 2],
            ..good.clone()
        },
        PageGroup {
            ids: vec![Id([1; 16]); 4],
            ..good.clone()
        },
        PageGroup {
            ids: vec![PageGroup::HOLE; 3],
            ..good.clone()
        },
        PageGroup {
            extents: vec![Extent {
                pages: 3,
                place: None,
            }],
            ..good.clone()
        },
        PageGroup {
            extents: vec![Extent { pages: 0, place }, Extent { pages: 3, place }],
            ..good
        },
    ];
    for group in wrong {
        assert!(
            matches!(group.encode(), Err(Error::Misuse { .. })),
            "{group:?}"
        );
    }
}

#[test]
fn content_must_fit_its_file() {
    let place = Location {
        origin: Origin([1; 16]),
        segment: 0,
        chunk: 0,
    };
    assert!(Content::Inline(vec![0; 65]).check(65).is_err());
    assert!(Content::Inline(vec![0; 3]).check(4).is_err());
    let piece = Piece {
        len: 4,
        place: Some(place),
    };
    assert!(Content::Pieces(vec![piece]).check(4).is_ok());
    assert!(Content::Pieces(vec![piece]).check(5).is_err());
    assert!(
        Content::Pieces(vec![
            piece,
            Piece {
                len: 0,
                place: None
            }
        ])
        .check(4)
        .is_err()
    );
    assert!(
        Content::Pieces(vec![Piece {
            len: u64::MAX,
            place: None
        }])
        .check(u64::MAX)
        .is_err()
    );
    assert!(
        Content::Pieces(vec![
            Piece {
                len: 1,
                place: None
            };
            33
        ])
        .check(33)
        .is_err()
    );
    let map = |page_size_log2, groups| Content::PageMap {
        page_size_log2,
        groups: vec![place; groups],
    };
    assert_eq!(groups_of(256 * 8192 + 1, 13), 2);
    assert!(map(13, 2).check(256 * 8192 + 1).is_ok());
    assert!(map(13, 2).check(256 * 8192).is_err());
    assert!(map(8, 1).check(1).is_err());
    assert!(
        encode_piece_list(&[Piece {
            len: 0,
            place: None
        }])
        .is_err()
    );
}
