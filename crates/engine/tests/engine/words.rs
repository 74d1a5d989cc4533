//! Varints and texts have exactly one form; nothing else parses.
use holdfast_engine::wire::{Reader, put_bytes, put_varint, put_zigzag};
use holdfast_engine::{Error, Id, Location, Origin};
use proptest::prelude::*;

proptest! {
    #[test]
    fn numbers_come_back(unsigned: u64, signed: i64, small in 0_u64..300) {
        let mut out = Vec::new();
        put_varint(&mut out, unsigned);
        put_varint(&mut out, small);
        put_zigzag(&mut out, signed);
        put_bytes(&mut out, b"abc");
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.varint().unwrap(), unsigned);
        prop_assert_eq!(reader.varint().unwrap(), small);
        prop_assert_eq!(reader.zigzag().unwrap(), signed);
        prop_assert_eq!(reader.bytes(3, "x").unwrap(), b"abc");
        reader.end("x").unwrap();
    }

    #[test]
    fn a_varint_has_one_form(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        let mut reader = Reader::new(&bytes);
        if let Ok(value) = reader.varint() {
            let mut again = Vec::new();
            put_varint(&mut again, value);
            prop_assert_eq!(&bytes[..bytes.len() - reader.rest().len()], &again[..]);
        }
    }

    #[test]
    fn a_location_has_one_text(origin: [u8; 16], segment: u32, chunk: u32) {
        let location = Location { origin: Origin(origin), segment, chunk };
        prop_assert_eq!(location.to_string().parse::<Location>().unwrap(), location);
    }
}

#[test]
fn other_texts_are_refused() {
    let origin = "00".repeat(16);
    for tail in [
        "",
        ":1",
        ":1:",
        ":01:2",
        ":+1:2",
        ":1:2:3",
        ":1: 2",
        ":4294967296:0",
    ] {
        let text = format!("{origin}{tail}");
        assert!(
            matches!(text.parse::<Location>(), Err(Error::Damaged { .. })),
            "{text}"
        );
    }
    assert!("AA".repeat(16).parse::<Id>().is_err());
    assert!("a".repeat(31).parse::<Id>().is_err());
}

#[test]
fn counts_beyond_their_limit_are_refused() {
    let mut out = Vec::new();
    put_bytes(&mut out, b"abcd");
    assert!(matches!(
        Reader::new(&out).bytes(3, "x"),
        Err(Error::LimitExceeded { what: "x" })
    ));
    assert!(matches!(
        Reader::new(&out[..3]).bytes(4, "x"),
        Err(Error::Damaged { .. })
    ));
    assert!(matches!(
        Reader::new(&[2]).version("x"),
        Err(Error::UnknownVersion { found: 2, .. })
    ));
}
