//! One pack: header, segments, padding, sealed directory, trailer (`docs/format/packs.md`).
use aws_lc_rs::aead::Nonce;
use aws_lc_rs::digest;

mod builder;
mod header;

pub use builder::{FinishedPack, PackBuilder};
pub use header::{Envelope, HEADER_FIXED_BYTES, PackHeader, PackOrigin, Recipient};

pub(crate) use builder::{Tail, directory_bytes_max, finish_pack, padding_max};

use crate::directory::Directory;
use crate::error::{Error, Result};
use crate::id::PackName;
use crate::keys::ClassKeys;
use crate::limits;
use crate::record::IndexRecord;
use crate::segment;

/// Bytes of the trailer.
pub const TRAILER_BYTES: usize = 16;

const END_MAGIC: [u8; 8] = *b"\x89HFEN\r\n\x1a";

/// The length of the sealed directory, from the last [`TRAILER_BYTES`] (or more) of a pack.
pub fn parse_trailer(tail: &[u8]) -> Result<usize> {
    let (_, trailer) = tail
        .split_last_chunk::<TRAILER_BYTES>()
        .ok_or(Error::damaged("trailer of a pack"))?;
    let [d0, d1, d2, d3, r0, r1, r2, r3, magic @ ..] = *trailer;
    if magic != END_MAGIC || [r0, r1, r2, r3] != [0; 4] {
        return Err(Error::damaged("trailer of a pack"));
    }
    let length = u32::from_le_bytes([d0, d1, d2, d3]) as usize;
    if length > limits::PACK_BYTES_MAX {
        return Err(Error::limit("directory of a pack"));
    }
    Ok(length)
}

/// Opens the directory of a pack of `pack_bytes` bytes. `header` is the pack up to its first segment.
pub fn open_directory(
    keys: &ClassKeys,
    header: &[u8],
    sealed: &[u8],
    pack_bytes: u64,
) -> Result<(PackHeader, Directory)> {
    let (parsed, header_len) = PackHeader::parse(header)?;
    if header.len() != header_len {
        return Err(Error::misuse("header and its length"));
    }
    parsed.check_keys(keys)?;
    if pack_bytes > limits::PACK_BYTES_MAX as u64 {
        return Err(Error::limit("bytes of a pack"));
    }
    let end = pack_bytes
        .checked_sub((sealed.len() + TRAILER_BYTES) as u64)
        .filter(|end| *end >= header_len as u64)
        .ok_or(Error::damaged("directory of a pack"))?;
    let mut plain = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let aad = sha256(header);
    segment::open(
        &keys.directory_key(&parsed.nonce),
        nonce,
        &aad,
        &mut plain,
        "directory does not open",
    )?;
    let directory = Directory::parse(&plain, parsed.origins.len())?;
    check_geometry(&directory, header_len as u64, end, pack_bytes)?;
    Ok((parsed, directory))
}

/// Segments fill the pack from its header to the directory, but for an allowed padding.
fn check_geometry(
    directory: &Directory,
    header_end: u64,
    directory_start: u64,
    pack_bytes: u64,
) -> Result<()> {
    let (first, last) = directory.span().unwrap_or((header_end, header_end));
    let padding = directory_start.checked_sub(last);
    if first == header_end && padding.is_some_and(|padding| padding <= padding_max(pack_bytes)) {
        Ok(())
    } else {
        Err(Error::damaged("segments do not fill their pack"))
    }
}

/// What a whole pack says about itself.
pub struct PackContents {
    /// The clear front.
    pub header: PackHeader,
    /// The record for an index run, with the opened directory, named by the SHA-256 of the bytes read.
    pub record: IndexRecord,
}

/// Reads a whole pack: header, directory, padding; not its segments.
pub fn read_pack(keys: &ClassKeys, pack: &[u8]) -> Result<PackContents> {
    let header_len = PackHeader::length(pack)?;
    let directory_len = parse_trailer(pack)?;
    let short = Error::damaged("pack is cut short");
    let directory_end = pack.len() - TRAILER_BYTES;
    let directory_start = directory_end
        .checked_sub(directory_len)
        .ok_or(short.clone())?;
    let header = pack.get(..header_len).ok_or(short.clone())?;
    let sealed = pack
        .get(directory_start..directory_end)
        .ok_or(short.clone())?;
    let (header, directory) = open_directory(keys, header, sealed, pack.len() as u64)?;
    let segments_end = directory.span().map_or(header_len, |(_, end)| end as usize);
    let padding = pack.get(segments_end..directory_start).ok_or(short)?;
    if padding.iter().any(|byte| *byte != 0) {
        return Err(Error::damaged("padding of a pack"));
    }
    let record = IndexRecord {
        name: PackName(sha256(pack)),
        size: pack.len() as u64,
        kind: header.kind,
        nonces: header.origins.iter().map(|origin| origin.nonce).collect(),
        directory,
    };
    Ok(PackContents { header, record })
}

/// SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    to_array(&digest::digest(&digest::SHA256, bytes))
}

fn to_array(digest: &digest::Digest) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}
