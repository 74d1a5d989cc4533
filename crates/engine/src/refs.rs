//! The segments that a snapshot's tree needs.
use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::id::{Location, Origin};
use crate::wire::{Reader, put_varint};

const REFS_VERSION: u8 = 1;
const MODE_FULL: u8 = 0;
const MODE_DELTA: u8 = 1;

/// Ordinals from a first one up to, not including, an end.
type Run = (u64, u64);

/// A set of segments.
#[derive(Debug, Clone, Default)]
pub struct RefSet {
    /// Per origin: runs in order that neither touch nor overlap, at least one.
    origins: BTreeMap<Origin, Vec<Run>>,
    /// The segment added last: neighbours in a tree mostly share it.
    last: Option<(Origin, u32)>,
}

impl PartialEq for RefSet {
    fn eq(&self, other: &Self) -> bool {
        self.origins == other.origins
    }
}

impl Eq for RefSet {}

/// A stored reference set, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredRefs {
    /// The whole set.
    Full(RefSet),
    /// A difference to another set.
    Delta {
        /// SHA of the parent's object.
        parent: [u8; 32],
        /// In this set only.
        added: RefSet,
        /// In the parent only.
        removed: RefSet,
    },
}

impl RefSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a segment.
    pub fn add(&mut self, origin: Origin, segment: u32) {
        if self.last == Some((origin, segment)) {
            return;
        }
        self.last = Some((origin, segment));
        let ordinal = u64::from(segment);
        let runs = self.origins.entry(origin).or_default();
        match runs.last_mut() {
            Some(last) if last.1 == ordinal => last.1 += 1,
            Some(last) if last.0 <= ordinal && ordinal < last.1 => {}
            Some(last) if ordinal < last.1 => {
                *runs = unite(runs, &[(ordinal, ordinal + 1)]);
            }
            _ => runs.push((ordinal, ordinal + 1)),
        }
    }

    /// Adds the segment of a location.
    pub fn add_location(&mut self, location: &Location) {
        self.add(location.origin, location.segment);
    }

    /// Whether a segment is in the set.
    pub fn contains(&self, origin: &Origin, segment: u32) -> bool {
        let ordinal = u64::from(segment);
        self.origins.get(origin).is_some_and(|runs| {
            let behind = runs.partition_point(|run| run.1 <= ordinal);
            runs.get(behind).is_some_and(|run| run.0 <= ordinal)
        })
    }

    /// How many segments.
    pub fn segments_len(&self) -> u64 {
        self.origins
            .values()
            .flatten()
            .map(|run| run.1 - run.0)
            .sum()
    }

    /// Adds every segment of another set.
    pub fn union(&mut self, other: &Self) {
        for (origin, runs) in &other.origins {
            let mine = self.origins.entry(*origin).or_default();
            *mine = unite(mine, runs);
        }
    }

    /// Removes every segment of another set.
    pub fn subtract(&mut self, other: &Self) {
        self.last = None;
        for (origin, runs) in &other.origins {
            if let Some(mine) = self.origins.get_mut(origin) {
                *mine = without(mine, runs);
                if mine.is_empty() {
                    self.origins.remove(origin);
                }
            }
        }
    }

    /// All segments, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, u32)> + '_ {
        self.origins.iter().flat_map(|(origin, runs)| {
            let ordinals = runs.iter().flat_map(|run| run.0..run.1);
            ordinals.map(|ordinal| (*origin, ordinal as u32))
        })
    }

    /// The set as it is.
    pub fn encode_full(&self) -> Vec<u8> {
        let mut out = vec![REFS_VERSION, MODE_FULL];
        self.put_list(&mut out);
        out
    }

    /// The set as a difference to a parent set, whose object has the SHA given.
    pub fn encode_delta(&self, parent: &Self, parent_sha: [u8; 32]) -> Vec<u8> {
        let mut added = self.clone();
        added.subtract(parent);
        let mut removed = parent.clone();
        removed.subtract(self);
        let mut out = vec![REFS_VERSION, MODE_DELTA];
        out.extend_from_slice(&parent_sha);
        added.put_list(&mut out);
        removed.put_list(&mut out);
        out
    }

    fn put_list(&self, out: &mut Vec<u8>) {
        put_varint(out, self.origins.len() as u64);
        for (origin, runs) in &self.origins {
            out.extend_from_slice(&origin.0);
            put_varint(out, runs.len() as u64);
            let mut end = 0;
            for run in runs {
                put_varint(out, run.0 - end);
                put_varint(out, run.1 - run.0);
                end = run.1;
            }
        }
    }

    fn read_list(reader: &mut Reader<'_>) -> Result<Self> {
        let mut set = Self::new();
        for _ in 0..reader.count(reader.rest().len() / 19, "origins in a reference set")? {
            let origin = Origin(reader.array()?);
            let ascends = set
                .origins
                .last_key_value()
                .is_none_or(|(last, _)| *last < origin);
            let count = reader.count(reader.rest().len() / 2, "runs in a reference set")?;
            if !ascends || count == 0 {
                return Err(Error::damaged("a reference set out of order"));
            }
            set.origins.insert(origin, read_runs(reader, count)?);
        }
        Ok(set)
    }
}

fn read_runs(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Run>> {
    let beyond = Error::limit("an ordinal in a reference set");
    let mut runs: Vec<Run> = Vec::with_capacity(count.min(4096));
    let mut end = 0_u64;
    for _ in 0..count {
        let (gap, length) = (reader.varint()?, reader.varint()?);
        if length == 0 || (gap == 0 && !runs.is_empty()) {
            return Err(Error::damaged("runs that touch in a reference set"));
        }
        let first = end.checked_add(gap).ok_or(beyond.clone())?;
        end = first.checked_add(length).ok_or(beyond.clone())?;
        if end > 1 << 32 {
            return Err(beyond);
        }
        runs.push((first, end));
    }
    Ok(runs)
}

/// The union of two lists of runs.
fn unite(a: &[Run], b: &[Run]) -> Vec<Run> {
    let mut all: Vec<Run> = a.iter().chain(b).copied().collect();
    all.sort_unstable();
    let mut out: Vec<Run> = Vec::with_capacity(all.len());
    for run in all {
        match out.last_mut() {
            Some(last) if run.0 <= last.1 => last.1 = last.1.max(run.1),
            _ => out.push(run),
        }
    }
    out
}

/// The runs of `a` without those of `b`.
fn without(a: &[Run], b: &[Run]) -> Vec<Run> {
    let mut out = Vec::with_capacity(a.len());
    for &(first, end) in a {
        let mut from = first;
        let behind = b.partition_point(|cut| cut.1 <= first);
        for cut in b.iter().skip(behind).take_while(|cut| cut.0 < end) {
            if cut.0 > from {
                out.push((from, cut.0));
            }
            from = from.max(cut.1);
        }
        if from < end {
            out.push((from, end));
        }
    }
    out
}

impl StoredRefs {
    /// Parses the plaintext of a reference set.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let found = reader.u8()?;
        if found != REFS_VERSION {
            return Err(Error::UnknownVersion {
                what: "a reference set",
                found: found.into(),
            });
        }
        let refs = match reader.u8()? {
            MODE_FULL => Self::Full(RefSet::read_list(&mut reader)?),
            MODE_DELTA => Self::Delta {
                parent: reader.array()?,
                added: RefSet::read_list(&mut reader)?,
                removed: RefSet::read_list(&mut reader)?,
            },
            _ => return Err(Error::damaged("a reference set of unknown mode")),
        };
        reader.end("bytes behind a reference set")?;
        Ok(refs)
    }
}
