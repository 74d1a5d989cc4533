//! Small inputs that ask for much: refused before the memory is taken. Found by fuzzing.
use holdfast_engine::directory::Directory;
use holdfast_engine::node::Node;
use holdfast_engine::wire::{put_bytes, put_varint};

const PATH_BYTES: usize = 60_000;

/// A leaf whose entries share all but two bytes of a long path, and have long names for owners.
fn leaf(entries: usize) -> Vec<u8> {
    let mut out = vec![1, 0, 0];
    put_varint(&mut out, 1);
    put_bytes(&mut out, &[b'o'; 1000]);
    put_varint(&mut out, entries as u64);
    for number in 0..entries {
        let tail = [b'a' + (number / 25) as u8, b'a' + (number % 25) as u8];
        if number == 0 {
            put_varint(&mut out, 0);
            put_bytes(&mut out, &[vec![b'p'; PATH_BYTES], tail.to_vec()].concat());
        } else {
            put_varint(&mut out, PATH_BYTES as u64);
            put_bytes(&mut out, &tail);
        }
        out.extend_from_slice(&[2, 0, 0, 0, 0, 1, 1, 0, 0]);
    }
    out
}

#[test]
fn paths_that_share_their_front_are_counted_written_out() {
    assert!(matches!(Node::parse(&leaf(500)), Ok(Node::Leaf(entries)) if entries.len() == 500));
    let bomb = leaf(600);
    assert!(bomb.len() < 80_000);
    assert_eq!(
        Node::parse(&bomb)
            .expect_err("31 MB pass, 37 do not")
            .code(),
        "limit-exceeded"
    );
}

#[test]
fn first_paths_of_children_are_counted_too() {
    let mut inner = vec![1, 1, 1];
    inner.extend_from_slice(&[0; 16]);
    put_varint(&mut inner, 600);
    for number in 0..600_u32 {
        let tail = [b'a' + (number / 25) as u8, b'a' + (number % 25) as u8];
        put_varint(&mut inner, if number == 0 { 0 } else { PATH_BYTES as u64 });
        let path = [vec![b'p'; PATH_BYTES], tail.to_vec()].concat();
        put_bytes(&mut inner, if number == 0 { &path } else { &tail });
        inner.extend_from_slice(&[0, 0, 0, 1, 0]);
    }
    assert_eq!(
        Node::parse(&inner).expect_err("36 MB of paths").code(),
        "limit-exceeded"
    );
}

#[test]
fn a_page_alone_is_no_chunk() {
    let mut plain = vec![1, 1, 0, 0, 100, 17, 0, 1, 1];
    plain.extend_from_slice(&[7; 16]);
    plain.extend_from_slice(&[1, 1]);
    assert!(Directory::parse(&plain, 1).is_ok());
    let role = plain.len() - 2;
    plain[role] = 5;
    assert_eq!(
        Directory::parse(&plain, 1).expect_err("role 5").code(),
        "damaged"
    );
}
