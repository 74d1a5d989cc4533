//! Packs: header, directory, geometry, segments.
use holdfast_engine::compress::{Codec, Decompressor};
use holdfast_engine::directory::Directory;
use holdfast_engine::pack::{
    Envelope, HEADER_FIXED_BYTES, PackHeader, Recipient, parse_trailer, read_pack,
};
use holdfast_engine::record::IndexRecord;
use holdfast_engine::repack::RepackBuilder;
use holdfast_engine::segment::{SegmentHead, open_segment, seal_segment};
use holdfast_engine::{PackKey, PackKind, PackNonce};

use crate::seal;

/// At most so many bytes of segments are made up around a directory.
const SEGMENTS_BYTES_MAX: u64 = 1 << 20;

/// Whole packs. Mode 0: the input is the pack. Otherwise `u16 length`, a header and a directory's plaintext, which are
/// given the vault, class and generation of our keys, sealed, and put around segments of zeros.
pub fn pack(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    if *mode == 0 {
        whole(rest, None);
        return;
    }
    let Some((length, rest)) = rest.split_first_chunk::<2>() else {
        return;
    };
    let Some((header, plain)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
    else {
        return;
    };
    let mut header = header.to_vec();
    if header.len() >= HEADER_FIXED_BYTES {
        let length = (header.len() as u32).to_le_bytes();
        header[12..28].copy_from_slice(&seal::VAULT.0);
        header[28..30].copy_from_slice(&seal::CLASS.0.to_le_bytes());
        header[32..36].copy_from_slice(&seal::GENERATION.0.to_le_bytes());
        header[68..72].copy_from_slice(&length);
    }
    let nonce = header.get(36..68).unwrap_or_default();
    let sealed = seal::directory(&header, nonce, plain);
    let span = Directory::parse(plain, 4096)
        .ok()
        .and_then(|found| found.span());
    let segments = span.map_or(0, |(_, end)| {
        end.saturating_sub(header.len() as u64)
            .min(SEGMENTS_BYTES_MAX)
    });
    let mut bytes = header.clone();
    bytes.resize(header.len() + segments as usize, 0);
    bytes.extend_from_slice(&sealed);
    bytes.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
    bytes.extend_from_slice(b"\0\0\0\0\x89HFEN\r\n\x1a");
    whole(&bytes, Some((&header, plain)));
}

/// What is read of a pack is what is in it, and its segments can be copied into another.
fn whole(bytes: &[u8], made_of: Option<(&[u8], &[u8])>) {
    let contents = match read_pack(&seal::keys(), bytes) {
        Ok(contents) => contents,
        Err(error) => return seal::refused(&error),
    };
    let (header, record) = (&contents.header, &contents.record);
    if let Some((front, plain)) = made_of {
        assert_eq!(header.encode().expect("a header that was read"), front);
        assert_eq!(record.directory.encode(), plain);
    }
    assert_eq!(record.size, bytes.len() as u64);
    assert_eq!(
        &IndexRecord::parse(&record.encode()).expect("a record of a sound pack"),
        record
    );
    let mut copy = RepackBuilder::new(seal::keys(), header.kind, PackNonce([5; 32]));
    for segment in record.directory.segments.iter().take(64) {
        let start = segment.offset as usize;
        let sealed = &bytes[start..start + segment.sealed_len as usize];
        match copy.add(header, segment, sealed) {
            Ok(_) => {}
            Err(error) => seal::refused(&error),
        }
    }
    if copy.segments_len() > 0 {
        let copied = copy.finish(0).expect("copied segments make a pack");
        let again = read_pack(&seal::keys(), &copied.bytes).expect("a pack that was just made");
        assert_eq!(again.record, copied.record);
    }
}

/// The clear front, and the trailer.
pub fn header(input: &[u8]) {
    if let Err(error) = parse_trailer(input) {
        seal::refused(&error);
    }
    match PackHeader::parse(input) {
        Err(error) => seal::refused(&error),
        Ok((header, length)) => {
            assert_eq!(
                header.encode().expect("a header that was read"),
                input[..length]
            );
            assert_eq!(PackHeader::length(input).expect("as parsed"), length);
            for envelope in &header.envelopes {
                let recipients: Vec<Recipient<'_>> = envelope.recipients();
                assert_eq!(
                    &Envelope::from_recipients(&recipients).expect("read"),
                    envelope
                );
                assert_eq!(
                    &Envelope::new(envelope.as_bytes().to_vec()).expect("read"),
                    envelope
                );
            }
            for origin in &header.origins {
                if let Err(error) = header.envelope_of(&origin.nonce) {
                    seal::refused(&error);
                }
            }
        }
    }
}

/// The plaintext of a directory, behind the number of its pack's origins.
pub fn directory(input: &[u8]) {
    let Some((origins, plain)) = input.split_first() else {
        return;
    };
    match Directory::parse(plain, usize::from(*origins)) {
        Err(error) => seal::refused(&error),
        Ok(directory) => {
            assert_eq!(directory.encode(), plain, "one spelling of every directory");
            if let Some((start, end)) = directory.span() {
                assert!(start <= end);
                assert_eq!(
                    end - start,
                    directory
                        .segments
                        .iter()
                        .map(|one| u64::from(one.sealed_len))
                        .sum::<u64>()
                );
            }
        }
    }
}

/// A segment: `u8 kind, u8 codec, u32 plaintext length`, then what its seal holds.
pub fn segment(input: &[u8]) {
    let Some(([kind, codec, length @ ..], coded)) = input.split_first_chunk::<6>() else {
        return;
    };
    let (Ok(kind), Ok(codec)) = (PackKind::try_from(*kind), Codec::try_from(*codec)) else {
        return;
    };
    let nonce = seal::RUN.pack_nonce(&[9; 16]);
    let (vault, class, generation) = (seal::VAULT, seal::CLASS, seal::GENERATION);
    let key =
        PackKey::derive(&seal::RUN, vault, class, generation, kind, &nonce).expect("our own nonce");
    let plain_len = u32::from_le_bytes(*length);
    let head = SegmentHead {
        kind,
        class,
        generation,
        vault,
        nonce,
        ordinal: 3,
        codec,
        plain_len,
    };
    let sealed = seal_segment(&key, &head, coded.to_vec()).expect("a short plaintext");
    let mut decompressor = Decompressor::new().expect("a context");
    match open_segment(&key, &head, sealed.clone(), &mut decompressor) {
        Err(error) => seal::refused(&error),
        Ok(plain) => {
            assert_eq!(plain.len(), plain_len as usize);
            assert!(codec == Codec::Zstd || plain == coded);
        }
    }
    // What a hostile store can do: change a bit. Which one, the input says.
    let mut rotten = sealed;
    let at = plain_len as usize % rotten.len();
    rotten[at] ^= 1 << (plain_len % 8);
    assert!(open_segment(&key, &head, rotten, &mut decompressor).is_err());
    let elsewhere = SegmentHead { ordinal: 4, ..head };
    let moved = seal_segment(&key, &head, coded.to_vec()).expect("a short plaintext");
    assert!(open_segment(&key, &elsewhere, moved, &mut decompressor).is_err());
}
