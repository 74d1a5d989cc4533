//! Piece lists, group lists and page-map groups.
use holdfast_engine::content::{
    encode_group_list, encode_piece_list, parse_group_list, parse_piece_list,
};
use holdfast_engine::group::PageGroup;

use crate::seal;

/// `u8` which of the three, then its bytes: what is read can be written, and comes back the same.
pub fn content(input: &[u8]) {
    let Some((which, bytes)) = input.split_first() else {
        return;
    };
    match which % 3 {
        0 => match parse_piece_list(bytes) {
            Err(error) => seal::refused(&error),
            Ok(pieces) => {
                let again = encode_piece_list(&pieces).expect("a list that was read");
                assert_eq!(
                    parse_piece_list(&again).expect("a list just written"),
                    pieces
                );
            }
        },
        1 => match parse_group_list(bytes) {
            Err(error) => seal::refused(&error),
            Ok(groups) => {
                let again = encode_group_list(&groups).expect("a list that was read");
                assert_eq!(
                    parse_group_list(&again).expect("a list just written"),
                    groups
                );
            }
        },
        _ => match PageGroup::parse(bytes) {
            Err(error) => seal::refused(&error),
            Ok(group) => {
                let again = group.encode().expect("a group that was read");
                assert_eq!(
                    PageGroup::parse(&again).expect("a group just written"),
                    group
                );
                assert!(group.bytes_len() <= 256 << group.page_size_log2);
            }
        },
    }
}
