//! Files that hold others, and files whose content cannot be seen.
use super::words::{Confidence, Detection, Rule};
use super::{DEPTH_MAX, has, look, u16_le, u32_le};
use crate::compress::entropy;

/// Bytes unpacked of one member: what a detector looks at.
const MEMBER_BYTES_MAX: usize = 64 << 10;
/// Members looked at in one container.
const MEMBERS_MAX: usize = 16;
/// Fewer bytes say little about entropy.
const OPAQUE_BYTES_MIN: usize = 4096;
/// Encrypted bytes have at least this order-0 entropy, in bits per byte.
const OPAQUE_ENTROPY_MIN: f64 = 7.9;

/// Disks of virtual machines: VMDK, VHDX, VHD, QCOW2, VDI.
pub(super) fn image(head: &[u8]) -> Option<Detection> {
    let known = [
        (0, b"KDMV".as_slice()),
        (0, b"# Disk DescriptorFile"),
        (0, b"vhdxfile"),
        (0, b"conectix"),
        (0, b"QFI\xfb"),
        (64, b"\x7f\x10\xda\xbe"),
    ];
    known
        .iter()
        .any(|(at, bytes)| has(head, *at, bytes))
        .then(|| Rule::VirtualDisk.found(Confidence::Certain))
        .flatten()
}

/// What the first members of a container hold: the surest finding among them.
pub(super) fn inside(head: &[u8], depth: u8) -> Option<Detection> {
    if depth >= DEPTH_MAX {
        return None;
    }
    if has(head, 0, b"PK\x03\x04") {
        return zip(head, depth);
    }
    if has(head, 0, b"\x1f\x8b\x08") {
        let body = head.get(gzip_header(head)?..)?;
        return member(&unpacked(body), depth);
    }
    if has(head, 257, b"ustar") {
        return tar(head, depth);
    }
    None
}

fn member(bytes: &[u8], depth: u8) -> Option<Detection> {
    look(bytes, bytes.len() as u64, depth + 1)
}

/// Up to [`MEMBER_BYTES_MAX`] bytes of a deflate stream that may be cut short.
fn unpacked(packed: &[u8]) -> Vec<u8> {
    match miniz_oxide::inflate::decompress_to_vec_with_limit(packed, MEMBER_BYTES_MAX) {
        Ok(bytes) => bytes,
        // The head ends before the stream does, or the stream is longer than is looked at.
        Err(error) => error.output,
    }
}

/// Where the deflate stream of a gzip file begins (RFC 1952).
fn gzip_header(head: &[u8]) -> Option<usize> {
    let flags = *head.get(3)?;
    let mut at = 10;
    if flags & 4 != 0 {
        at += 2 + usize::from(u16_le(head, at)?);
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            at += memchr::memchr(0, head.get(at..)?)? + 1;
        }
    }
    Some(if flags & 2 != 0 { at + 2 } else { at })
}

/// Local headers from the front (PKWARE APPNOTE 4.3.7), as long as their lengths are written in them.
fn zip(head: &[u8], depth: u8) -> Option<Detection> {
    let mut at = 0;
    let mut best: Option<Detection> = None;
    for _ in 0..MEMBERS_MAX {
        if !has(head, at, b"PK\x03\x04") {
            break;
        }
        let flags = u16_le(head, at + 6)?;
        let method = u16_le(head, at + 8)?;
        let packed = u32_le(head, at + 18)? as usize;
        let begin =
            at + 30 + usize::from(u16_le(head, at + 26)?) + usize::from(u16_le(head, at + 28)?);
        if flags & 1 != 0 {
            return Rule::Opaque.found(Confidence::Certain);
        }
        let told = flags & 8 == 0;
        let body = head.get(begin..).unwrap_or_default();
        let body = if told {
            body.get(..packed).unwrap_or(body)
        } else {
            body
        };
        let found = match method {
            0 => member(body, depth),
            8 => member(&unpacked(body), depth),
            _ => None,
        };
        best = surer(best, found);
        if !told {
            break;
        }
        at = begin.saturating_add(packed);
    }
    best
}

/// Headers of 512 bytes, members rounded up to them (POSIX.1-1988 ustar).
fn tar(head: &[u8], depth: u8) -> Option<Detection> {
    let mut at = 0;
    let mut best = None;
    for _ in 0..MEMBERS_MAX {
        if !has(head, at + 257, b"ustar") {
            break;
        }
        let digits = head.get(at + 124..at + 135)?;
        let size = digits
            .iter()
            .filter(|byte| (b'0'..=b'7').contains(*byte))
            .fold(0_usize, |size, byte| {
                size.saturating_mul(8)
                    .saturating_add(usize::from(byte - b'0'))
            });
        let body = head.get(at + 512..).unwrap_or_default();
        let body = body.get(..size).unwrap_or(body);
        if head.get(at + 156) != Some(&b'5') {
            best = surer(best, member(body, depth));
        }
        at = at
            .saturating_add(512)
            .saturating_add(size.div_ceil(512).saturating_mul(512));
    }
    best
}

/// A class goes before "cannot be seen", and that before nothing; then the confidence decides.
fn surer(best: Option<Detection>, found: Option<Detection>) -> Option<Detection> {
    let rank = |detection: &Detection| {
        let weight = match detection.rule.target() {
            super::Target::Class(class) => 20 - class.0.min(17),
            super::Target::Source => 1,
            super::Target::Nothing => 0,
        };
        (weight, detection.confidence)
    };
    match (best, found) {
        (Some(best), Some(found)) if rank(&found) <= rank(&best) => Some(best),
        (best, found) => found.or(best),
    }
}

/// Formats whose bytes are dense by design and whose kind is known: their path decides.
const DENSE: [(usize, &[u8]); 17] = [
    (0, b"\x89PNG"),
    (0, b"GIF8"),
    (0, b"\x1f\x8b"),
    (0, b"PK\x03\x04"),
    (0, b"\x28\xb5\x2f\xfd"),
    (0, b"\xfd7zXZ"),
    (0, b"BZh"),
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"Rar!"),
    (0, b"\x7fELF"),
    (0, b"MZ"),
    (0, b"RIFF"),
    (0, b"OggS"),
    (0, b"ID3"),
    (4, b"ftyp"),
    (0, b"wOF2"),
    (0, b"\x04\x22\x4d\x18"),
];

/// Documents and scans, whose words no signature shows, and bytes that look encrypted.
pub(super) fn unseen(head: &[u8], size: u64) -> Option<Detection> {
    if has(head, 0, b"%PDF-") {
        return Rule::Document.found(Confidence::Certain);
    }
    // The compound files of older word processors ([MS-CFB] §2.2).
    if has(head, 0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") || has(head, 0, b"{\\rtf") {
        return Rule::Document.found(Confidence::Likely);
    }
    if has(head, 0, b"PK\x03\x04") {
        let office = memchr::memmem::find(head, b"[Content_Types].xml").is_some()
            || memchr::memmem::find(head, b"application/vnd.oasis.opendocument").is_some();
        return office
            .then(|| Rule::Document.found(Confidence::Likely))
            .flatten();
    }
    let scan = [b"II*\0".as_slice(), b"MM\0*", b"\xff\xd8\xff"];
    if scan.iter().any(|bytes| has(head, 0, bytes)) {
        return Rule::Scan.found(Confidence::Likely);
    }
    let dense = DENSE.iter().any(|(at, bytes)| has(head, *at, bytes));
    let enough = head.len() >= OPAQUE_BYTES_MIN && size >= OPAQUE_BYTES_MIN as u64;
    (enough && !dense && entropy(head) >= OPAQUE_ENTROPY_MIN)
        .then(|| Rule::Opaque.found(Confidence::Possible))
        .flatten()
}
