//! The index that everyone asks: several sorted indexes, minus packs that must not be used.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use crate::compress::Codec;
use crate::error::{Error, Result};
use crate::id::{ClassId, Generation, Id, Location, Origin, PackKind, PackName, PackNonce, Role};
use crate::sorted::{Counts, PackRow, SortedIndex};
use crate::tables::SegmentRow;

/// One chunk of a segment, as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkSpan {
    /// Length of its plaintext.
    pub len: u32,
    /// What it holds.
    pub role: Role,
    /// Size of its pages, with [`Role::Pages`] only.
    pub page_bytes: Option<u32>,
}

/// Where a segment is now, and all that is needed to open it but the run key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPlace {
    /// The pack that holds it.
    pub pack: PackName,
    /// The pack's length.
    pub pack_bytes: u64,
    /// Where it starts in the pack.
    pub offset: u64,
    /// Its stored length, tag included.
    pub sealed_len: u32,
    /// How its plaintext is coded.
    pub codec: Codec,
    /// Length of its plaintext.
    pub plain_len: u32,
    /// Nonce of its origin.
    pub nonce: PackNonce,
    /// Its number in its origin.
    pub ordinal: u32,
    /// Kind of the pack.
    pub kind: PackKind,
    /// Class of the pack.
    pub class: ClassId,
    /// Generation of the class's keys.
    pub generation: Generation,
    /// Its chunks, in order.
    pub chunks: Vec<ChunkSpan>,
}

/// That a pack is listed with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackSegment {
    /// The pack.
    pub pack: PackName,
    /// The pack that the segment was sealed for.
    pub origin: Origin,
    /// The segment's ordinal in its origin.
    pub ordinal: u32,
}

impl SegmentPlace {
    /// The bytes of a chunk within the segment's plaintext.
    pub fn chunk_range(&self, chunk: u32) -> Result<std::ops::Range<usize>> {
        let span = self.chunks.get(chunk as usize).ok_or(Error::Missing {
            what: "a chunk of a segment",
        })?;
        let before = self
            .chunks
            .iter()
            .take(chunk as usize)
            .map(|span| span.len as usize);
        let start = before.sum();
        Ok(start..start + span.len as usize)
    }
}

/// Sorted indexes of all classes, and the packs excluded from them. Shared between threads behind an `Arc`; members
/// and exclusions may be added while others look things up.
#[derive(Default)]
pub struct IndexSet {
    members: RwLock<Arc<Vec<Member>>>,
    excluded: RwLock<Arc<HashSet<PackName>>>,
}

#[derive(Clone)]
struct Member {
    index: Arc<SortedIndex>,
    dedup: bool,
}

/// The value behind a lock. Values are replaced whole, so a thread that panicked left a whole one.
fn read<T>(lock: &RwLock<Arc<T>>) -> Arc<T> {
    Arc::clone(&lock.read().unwrap_or_else(PoisonError::into_inner))
}

fn update<T: Clone>(lock: &RwLock<Arc<T>>, change: impl FnOnce(&mut T)) {
    let mut guard = lock.write().unwrap_or_else(PoisonError::into_inner);
    change(Arc::make_mut(&mut guard));
}

impl IndexSet {
    /// An index without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a member. `dedup`: its runs are trusted, so that new content may refer to what they list.
    pub fn add(&self, member: SortedIndex, dedup: bool) {
        let index = Arc::new(member);
        update(&self.members, |members| {
            members.push(Member { index, dedup });
        });
    }

    /// Excludes packs (condemned, damaged or missing) from every later answer.
    pub fn exclude(&self, packs: &[PackName]) {
        update(&self.excluded, |excluded| excluded.extend(packs));
    }

    /// Whether a pack is excluded.
    pub fn is_excluded(&self, pack: &PackName) -> bool {
        read(&self.excluded).contains(pack)
    }

    /// Where content of this id is stored, by a trusted member and in a pack that is not excluded.
    pub fn lookup_id(&self, id: &Id) -> Result<Option<Location>> {
        let excluded = read(&self.excluded);
        for member in read(&self.members).iter().filter(|member| member.dedup) {
            for row in member.index.find_id(id)? {
                let segment = member.index.segment(row.segment.into())?;
                if excluded.is_empty()
                    || !excluded.contains(&member.index.pack(segment.pack.into())?.name)
                {
                    return Ok(Some(Location {
                        origin: member.index.nonce(segment.nonce.into())?.origin(),
                        segment: segment.ordinal,
                        chunk: row.chunk,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// Every known copy of a segment outside excluded packs, trusted members first.
    pub fn lookup_segment(&self, origin: &Origin, ordinal: u32) -> Result<Vec<SegmentPlace>> {
        let excluded = read(&self.excluded);
        let members = read(&self.members);
        let mut places: Vec<SegmentPlace> = Vec::new();
        for trusted in [true, false] {
            for member in members.iter().filter(|member| member.dedup == trusted) {
                for row in member.index.find_segment(origin, ordinal)? {
                    let place = place(&member.index, &row)?;
                    let known = places.iter().any(|known| known.pack == place.pack);
                    if !known && !excluded.contains(&place.pack) {
                        places.push(place);
                    }
                }
            }
        }
        Ok(places)
    }

    /// Whether a copy of a segment exists outside excluded packs.
    pub fn has_segment(&self, origin: &Origin, ordinal: u32) -> Result<bool> {
        let excluded = read(&self.excluded);
        for member in read(&self.members).iter() {
            for row in member.index.find_segment(origin, ordinal)? {
                if excluded.is_empty()
                    || !excluded.contains(&member.index.pack(row.pack.into())?.name)
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The packs outside the excluded ones that hold segments of an origin within a range of ordinals, each once.
    ///
    /// Costs what the index lists of them, not the length of the range, which a stored set may claim to be anything.
    pub fn packs_between(
        &self,
        origin: &Origin,
        ordinals: std::ops::Range<u64>,
    ) -> Result<Vec<PackRow>> {
        let excluded = read(&self.excluded);
        let mut found = BTreeMap::new();
        for member in read(&self.members).iter() {
            let mut last = None;
            member
                .index
                .each_between(origin, ordinals.clone(), &mut |row| {
                    if last.replace(row.pack) == Some(row.pack) {
                        return Ok(());
                    }
                    let pack = member.index.pack(row.pack.into())?;
                    if !excluded.contains(&pack.name) {
                        found.entry(pack.name).or_insert(pack);
                    }
                    Ok(())
                })?;
        }
        Ok(found.into_values().collect())
    }

    /// All packs of all members, each once, excluded ones too, sorted by name.
    pub fn packs(&self) -> Result<Vec<PackRow>> {
        let mut all = BTreeMap::new();
        for member in read(&self.members).iter() {
            for pack in member.index.packs() {
                let pack = pack?;
                all.entry(pack.name).or_insert(pack);
            }
        }
        Ok(all.into_values().collect())
    }

    /// Every segment that some packs are listed with, each once, in the order of packs and of what lies in them.
    pub fn segments_of(&self, packs: &HashSet<PackName>) -> Result<Vec<PackSegment>> {
        let mut found = BTreeSet::new();
        for member in read(&self.members).iter() {
            let mut names = HashMap::new();
            for (at, pack) in member.index.packs().enumerate() {
                let name = pack?.name;
                if packs.contains(&name) {
                    names.insert(at as u32, name);
                }
            }
            if names.is_empty() {
                continue;
            }
            for at in 0..member.index.counts().segments {
                let row = member.index.segment(at)?;
                if let Some(pack) = names.get(&row.pack) {
                    let origin = member.index.nonce(row.nonce.into())?.origin();
                    found.insert((*pack, row.offset, origin, row.ordinal));
                }
            }
        }
        Ok(found
            .into_iter()
            .map(|(pack, _, origin, ordinal)| PackSegment {
                pack,
                origin,
                ordinal,
            })
            .collect())
    }

    /// Sums over the members.
    pub fn counts(&self) -> Counts {
        let members = read(&self.members);
        members
            .iter()
            .map(|member| member.index.counts())
            .fold(Counts::default(), |sum, one| Counts {
                packs: sum.packs + one.packs,
                segments: sum.segments + one.segments,
                chunks: sum.chunks + one.chunks,
            })
    }
}

fn place(index: &SortedIndex, row: &SegmentRow) -> Result<SegmentPlace> {
    let pack = index.pack(row.pack.into())?;
    Ok(SegmentPlace {
        pack: pack.name,
        pack_bytes: pack.size,
        offset: row.offset.into(),
        sealed_len: row.sealed_len,
        codec: row.codec,
        plain_len: row.plain_len,
        nonce: index.nonce(row.nonce.into())?,
        ordinal: row.ordinal,
        kind: pack.kind,
        class: pack.class,
        generation: pack.generation,
        chunks: index.spans(row)?,
    })
}
