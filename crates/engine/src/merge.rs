//! Merges sorted indexes into one, in a stream.
use std::collections::HashSet;
use std::io::Write;

use crate::error::Result;
use crate::id::PackName;
use crate::sorted::SortedIndex;

/// Writes the union of `inputs` without the packs in `drop`. Memory: per pack and origin, and 8 bytes per segment.
pub fn merge(
    inputs: &[&SortedIndex],
    drop: &HashSet<PackName>,
    out: &mut impl Write,
) -> Result<()> {
    todo!()
}
