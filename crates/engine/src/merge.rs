//! Merges sorted indexes into one, in a stream.
use std::collections::{BTreeMap, HashSet};
use std::io::Write;

use crate::error::{Error, Result};
use crate::id::{PackName, PackNonce};
use crate::sorted::{PackRow, SortedIndex};
use crate::tables::{Header, IdRow, SegmentRow, put_nonce};

/// A row that does not come along.
const DROPPED: u32 = u32::MAX;
/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// Where the rows of one input go.
struct Renumbered {
    packs: Vec<u32>,
    nonces: Vec<u32>,
    segments: Vec<u32>,
}

/// Writes the union of `inputs` without the packs in `drop`. Memory: per pack and origin, and 4 bytes per segment.
#[allow(clippy::implicit_hasher, reason = "one caller, one hasher")]
pub fn merge(
    inputs: &[&SortedIndex],
    drop: &HashSet<PackName>,
    out: &mut impl Write,
) -> Result<()> {
    let (packs, mut maps) = merge_packs(inputs, drop)?;
    let (segments, chunks) = count_kept(inputs, &maps)?;
    let nonces = merge_nonces(inputs, &mut maps)?;
    let header = Header {
        packs: packs.len() as u64,
        nonces: nonces.len() as u64,
        segments,
        chunks,
    };
    let mut bytes = Vec::new();
    header.put(&mut bytes);
    for pack in &packs {
        pack.put(&mut bytes);
    }
    for nonce in &nonces {
        put_nonce(nonce, &mut bytes);
    }
    let order = merge_segments(inputs, &mut maps, &mut bytes, out)?;
    for (input, at) in order {
        let input = inputs.get(input as usize).ok_or(UNORDERED)?;
        bytes.extend_from_slice(input.span_bytes(&input.segment(at.into())?)?);
        flush(&mut bytes, out, WRITE_BYTES)?;
    }
    if merge_ids(inputs, &maps, &mut bytes, out)? != chunks {
        return Err(UNORDERED);
    }
    flush(&mut bytes, out, 0)
}

const UNORDERED: Error = Error::damaged("the local index");

fn flush(bytes: &mut Vec<u8>, out: &mut impl Write, keep: usize) -> Result<()> {
    if bytes.len() > keep {
        out.write_all(bytes)?;
        bytes.clear();
    }
    Ok(())
}

/// All packs by name, and per input where each went; a pack that an input before it has is taken from there.
fn merge_packs(
    inputs: &[&SortedIndex],
    drop: &HashSet<PackName>,
) -> Result<(Vec<PackRow>, Vec<Renumbered>)> {
    let mut by_name: BTreeMap<PackName, (PackRow, usize)> = BTreeMap::new();
    for (number, input) in inputs.iter().enumerate() {
        for pack in input.packs() {
            let pack = pack?;
            if !drop.contains(&pack.name) {
                by_name.entry(pack.name).or_insert((pack, number));
            }
        }
    }
    let numbers: BTreeMap<PackName, (u32, usize)> = by_name
        .iter()
        .enumerate()
        .map(|(at, (name, (_, input)))| (*name, (at as u32, *input)))
        .collect();
    let mut maps = Vec::with_capacity(inputs.len());
    for (number, input) in inputs.iter().enumerate() {
        let packs = input
            .packs()
            .map(|pack| {
                let place = numbers
                    .get(&pack?.name)
                    .filter(|(_, input)| *input == number);
                Ok(place.map_or(DROPPED, |(at, _)| *at))
            })
            .collect::<Result<Vec<_>>>()?;
        maps.push(Renumbered {
            packs,
            nonces: Vec::new(),
            segments: Vec::new(),
        });
    }
    Ok((by_name.into_values().map(|(pack, _)| pack).collect(), maps))
}

fn kept_pack(map: &Renumbered, row: &SegmentRow) -> Result<u32> {
    map.packs.get(row.pack as usize).copied().ok_or(UNORDERED)
}

fn count_kept(inputs: &[&SortedIndex], maps: &[Renumbered]) -> Result<(u64, u64)> {
    let (mut segments, mut chunks) = (0, 0);
    for (input, map) in inputs.iter().zip(maps) {
        for at in 0..input.header().segments {
            let row = input.segment(at)?;
            if kept_pack(map, &row)? != DROPPED {
                segments += 1;
                chunks += u64::from(row.spans);
            }
        }
    }
    Ok((segments, chunks))
}

/// The nonces of all segments that come along, sorted.
fn merge_nonces(inputs: &[&SortedIndex], maps: &mut [Renumbered]) -> Result<Vec<PackNonce>> {
    let mut all: BTreeMap<PackNonce, u32> = BTreeMap::new();
    let mut used: Vec<Vec<bool>> = Vec::new();
    for (input, map) in inputs.iter().zip(maps.iter()) {
        let mut mine = vec![false; input.header().nonces as usize];
        for at in 0..input.header().segments {
            let row = input.segment(at)?;
            if kept_pack(map, &row)? != DROPPED {
                *mine.get_mut(row.nonce as usize).ok_or(UNORDERED)? = true;
            }
        }
        for (at, _) in mine.iter().enumerate().filter(|(_, used)| **used) {
            all.insert(input.nonce(at as u64)?, 0);
        }
        used.push(mine);
    }
    all.values_mut()
        .zip(0..)
        .for_each(|(value, number)| *value = number);
    for ((input, map), used) in inputs.iter().zip(maps).zip(used) {
        for (at, used) in used.into_iter().enumerate() {
            let number = if used {
                all.get(&input.nonce(at as u64)?)
            } else {
                None
            };
            map.nonces.push(number.copied().unwrap_or(DROPPED));
        }
    }
    Ok(all.into_keys().collect())
}

/// Writes the segment rows in their new order; returns, in that order, which input each came from and its row there.
fn merge_segments(
    inputs: &[&SortedIndex],
    maps: &mut [Renumbered],
    bytes: &mut Vec<u8>,
    out: &mut impl Write,
) -> Result<Vec<(u32, u32)>> {
    let mut order: Vec<(u32, u32)> = Vec::new();
    let mut heads = vec![0_u64; inputs.len()];
    let mut spans_at = 0;
    loop {
        let mut least: Option<(usize, SegmentRow)> = None;
        for (number, input) in inputs.iter().enumerate() {
            let (Some(head), Some(map)) = (heads.get_mut(number), maps.get_mut(number)) else {
                return Err(UNORDERED);
            };
            if let Some(row) = next_segment(input, map, head)? {
                let key = |row: &SegmentRow| (row.nonce, row.ordinal, row.pack);
                if least
                    .as_ref()
                    .is_none_or(|(_, least)| key(&row) < key(least))
                {
                    least = Some((number, row));
                }
            }
        }
        let Some((number, mut row)) = least else {
            return Ok(order);
        };
        let (Some(head), Some(map)) = (heads.get_mut(number), maps.get_mut(number)) else {
            return Err(UNORDERED);
        };
        map.segments.push(order.len() as u32);
        order.push((number as u32, *head as u32));
        *head += 1;
        row.spans_at = spans_at;
        spans_at += u64::from(row.spans);
        row.put(bytes);
        flush(bytes, out, WRITE_BYTES)?;
    }
}

/// The next segment of an input that comes along, renumbered; `head` is left at it.
fn next_segment(
    input: &SortedIndex,
    map: &mut Renumbered,
    head: &mut u64,
) -> Result<Option<SegmentRow>> {
    while *head < input.header().segments {
        let mut row = input.segment(*head)?;
        let pack = kept_pack(map, &row)?;
        if pack != DROPPED {
            row.pack = pack;
            row.nonce = map
                .nonces
                .get(row.nonce as usize)
                .copied()
                .ok_or(UNORDERED)?;
            return Ok(Some(row));
        }
        map.segments.push(DROPPED);
        *head += 1;
    }
    Ok(None)
}

/// Writes the id rows; returns how many. A table whose segments and ids disagree about that is no table.
fn merge_ids(
    inputs: &[&SortedIndex],
    maps: &[Renumbered],
    bytes: &mut Vec<u8>,
    out: &mut impl Write,
) -> Result<u64> {
    let mut written = 0;
    let mut heads: Vec<(u64, Option<IdRow>)> = vec![(0, None); inputs.len()];
    loop {
        for ((input, map), head) in inputs.iter().zip(maps).zip(&mut heads) {
            while head.1.is_none() && head.0 < input.header().chunks {
                let mut row = input.id_row(head.0)?;
                head.0 += 1;
                row.segment = map
                    .segments
                    .get(row.segment as usize)
                    .copied()
                    .ok_or(UNORDERED)?;
                head.1 = Some(row).filter(|row| row.segment != DROPPED);
            }
        }
        let least = heads
            .iter_mut()
            .filter(|head| head.1.is_some())
            .min_by_key(|head| head.1);
        let Some(row) = least.and_then(|head| head.1.take()) else {
            return Ok(written);
        };
        written += 1;
        row.put(bytes);
        flush(bytes, out, WRITE_BYTES)?;
    }
}
