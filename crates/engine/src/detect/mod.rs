//! What kind of data a file holds, from its first bytes: signatures and structure, never a word of the content.
//!
//! A detection names a rule and how sure it is. It never holds, returns or counts matched bytes. Signatures are those of the
//! standards named at each rule; the authority for the list is `docs/classification.md`.
//!
//! Everything is bounded: [`HEAD_BYTES`] of input, two levels of containers, a fixed number of members in each.
mod clinical;
mod container;
mod database;
mod text;
mod words;

pub use words::{Confidence, Detection, RULES, Rule, Target};

/// How much of a file is looked at.
pub const HEAD_BYTES: usize = 64 << 10;
/// Containers within containers that are looked into.
const DEPTH_MAX: u8 = 2;

/// What a file of `size` bytes that begins with `head` holds; `None` if nothing is recognised. Bytes beyond
/// [`HEAD_BYTES`] are not looked at.
pub fn detect(head: &[u8], size: u64) -> Option<Detection> {
    let head = head.get(..HEAD_BYTES).unwrap_or(head);
    look(head, size, 0)
}

/// In the order of cost: fixed places first, the whole head last.
fn look(head: &[u8], size: u64, depth: u8) -> Option<Detection> {
    if head.is_empty() {
        return None;
    }
    clinical::fixed(head)
        .or_else(|| database::detect(head))
        .or_else(|| container::image(head))
        .or_else(|| container::inside(head, depth))
        .or_else(|| clinical::markup(head))
        .or_else(|| text::identifiers(head))
        .or_else(|| container::unseen(head, size))
}

/// The two bytes at `at`, little-endian.
fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk::<2>()
        .map(|pair| u16::from_le_bytes(*pair))
}

/// The four bytes at `at`, little-endian.
fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk::<4>()
        .map(|four| u32::from_le_bytes(*four))
}

/// Whether `bytes` has `expected` at `at`.
fn has(bytes: &[u8], at: usize, expected: &[u8]) -> bool {
    bytes
        .get(at..)
        .is_some_and(|rest| rest.starts_with(expected))
}
