//! From chunks to packs: deduplication, bundles of small chunks, open packs, and what becomes of them.
//!
//! A chunk's location is known as soon as its segment's number is reserved, before anything is compressed. Small chunks share
//! the class's open bundle; a full bundle is a [`SealJob`], done by whoever is free. A pack takes reservations until it is
//! full, is finished when the last of them has arrived, and then waits in the [`ledger`] until it is stored.
mod bundle;
pub mod ledger;
mod pack;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdfast_engine::compress::Compressor;
use holdfast_engine::directory::ChunkInfo;
use holdfast_engine::index_set::IndexSet;
use holdfast_engine::pack::Envelope;
use holdfast_engine::segment::seal_segment;
use holdfast_engine::{ClassKeys, Id, Location, Origin, PackKind, Role, RunKey};
use parking_lot::{Mutex, MutexGuard};

use crate::Error;
use bundle::Bundle;
use ledger::Ledger;
use pack::OpenPack;

/// Chunks smaller than this share segments.
pub const BUNDLED_BYTES_MAX: usize = 64 << 10;
/// Plaintext of a bundle of file content.
pub const BUNDLE_BYTES: usize = 1 << 20;
/// Plaintext of a bundle of tree nodes or groups: smaller, since a reader of one opens all of it.
pub const META_BUNDLE_BYTES: usize = 256 << 10;

/// What a run needs to write in one class.
pub struct ClassSetup {
    /// Keys of the class generation.
    pub keys: Arc<ClassKeys>,
    /// Run key of data and metadata packs.
    pub run_key: RunKey,
    /// Its envelope.
    pub envelope: Envelope,
    /// Run key of map packs, another one.
    pub map_run_key: RunKey,
    /// Its envelope, which the writer itself can open too.
    pub map_envelope: Envelope,
}

/// A chunk to be stored.
pub struct NewChunk<'a> {
    /// Its id in its role.
    pub id: Id,
    /// What it holds.
    pub role: Role,
    /// Size of its pages; with [`Role::Pages`] only.
    pub page_bytes: Option<u32>,
    /// Its plaintext.
    pub plain: &'a [u8],
}

impl NewChunk<'_> {
    fn info(&self) -> ChunkInfo {
        ChunkInfo {
            id: self.id,
            role: self.role,
            page_bytes: self.page_bytes,
            len: self.plain.len() as u32,
        }
    }
}

/// A segment whose number is reserved: to be compressed, sealed and put into its pack.
pub struct SealJob {
    pub(super) pack: Arc<OpenPack>,
    pub(super) ordinal: u32,
    pub(super) promised: usize,
    pub(super) plain: Vec<u8>,
    pub(super) chunks: Vec<ChunkInfo>,
}

/// A thread's tools for [`SealJob`]s.
pub struct Bench {
    compressor: Compressor,
    spare: Vec<u8>,
}

impl Bench {
    /// Tools of a zstd level.
    pub fn new(level: i32) -> Result<Self, Error> {
        let compressor = Compressor::new(level)?;
        Ok(Self {
            compressor,
            spare: Vec::new(),
        })
    }
}

/// Ids are keyed hashes already: eight of their bytes are a hash.
#[derive(Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(head) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*head);
        }
    }
    // The length prefix of an array carries nothing.
    fn write_usize(&mut self, _: usize) {}
}

#[derive(Clone, Copy)]
struct Place {
    origin: u32,
    segment: u32,
    chunk: u32,
}

/// What one class has open.
#[derive(Default)]
pub(super) struct ClassState {
    /// Ids stored in this run and not yet in the index.
    fresh: HashMap<Id, Place, BuildHasherDefault<IdHasher>>,
    origins: Vec<Origin>,
    lanes: [Lane; 3],
}

/// The open pack and bundle of one kind.
#[derive(Default)]
pub(super) struct Lane {
    pack: Option<Arc<OpenPack>>,
    bundle: Option<Bundle>,
}

/// Counters that progress is made of.
#[derive(Default)]
pub struct Stored {
    /// Bytes of plaintext that were new.
    pub new_bytes: AtomicU64,
    /// Bytes of finished packs.
    pub pack_bytes: AtomicU64,
    /// Bytes of plaintext that were stored already.
    pub known_bytes: AtomicU64,
    /// Chunks of file content that were new.
    pub new_chunks: AtomicU64,
}

/// The packs of a run, of all classes.
pub struct Packer {
    classes: Vec<ClassSetup>,
    states: Vec<Mutex<ClassState>>,
    index: Arc<IndexSet>,
    /// What becomes of finished packs.
    pub ledger: Ledger,
    /// Counters, per class.
    pub stored: Vec<Stored>,
    pack_bytes_target: usize,
}

/// Where a chunk is now, and whether that was news.
pub struct Placed {
    /// Its location.
    pub location: Location,
    /// It was not stored before.
    pub fresh: bool,
}

impl Packer {
    /// An empty packer.
    pub fn new(
        classes: Vec<ClassSetup>,
        index: Arc<IndexSet>,
        ledger: Ledger,
        pack_bytes_target: usize,
    ) -> Self {
        let states = classes.iter().map(|_| Mutex::default()).collect();
        let stored = classes.iter().map(|_| Stored::default()).collect();
        Self {
            classes,
            states,
            index,
            ledger,
            stored,
            pack_bytes_target,
        }
    }

    /// The keys of a class, by its position.
    pub fn keys(&self, class: usize) -> Result<&Arc<ClassKeys>, Error> {
        Ok(&self.setup(class)?.keys)
    }

    /// The classes, in the order of their positions.
    pub fn classes(&self) -> impl Iterator<Item = &Arc<ClassKeys>> {
        self.classes.iter().map(|setup| &setup.keys)
    }

    /// Where earlier runs stored content of this id.
    pub fn known(&self, id: &Id) -> Result<Option<Location>, Error> {
        Ok(self.index.lookup_id(id)?)
    }

    /// Whether a segment can be referred to: earlier runs stored it, or this one has.
    pub fn has_segment(&self, class: usize, origin: &Origin, segment: u32) -> Result<bool, Error> {
        if self.index.has_segment(origin, segment)? {
            return Ok(true);
        }
        Ok(self.state(class)?.origins.contains(origin))
    }

    /// Waits until there is memory for more packs. To be called before chunks are placed, holding no lock.
    pub fn wait_for_room(&self, stop: &AtomicBool) -> Result<Vec<SealJob>, Error> {
        if self.ledger.is_tight()
            && let Some(jobs) = self.close_largest()?
        {
            return Ok(jobs);
        }
        self.ledger.wait_for_room(stop).map(|()| Vec::new())
    }

    /// Stores small chunks side by side, except those that this run has stored. Ask [`Self::known`] first.
    ///
    /// The jobs that come back are to be done before the run ends, by [`Self::seal`].
    pub fn place<'a>(
        &self,
        class: usize,
        kind: PackKind,
        chunks: impl IntoIterator<Item = NewChunk<'a>>,
        mut placed: impl FnMut(Placed),
    ) -> Result<Vec<SealJob>, Error> {
        let mut jobs = Vec::new();
        let mut state = self.state(class)?;
        for chunk in chunks {
            if let Some(location) = state.find(&chunk.id) {
                self.count(class, kind, false, chunk.plain.len());
                placed(Placed {
                    location,
                    fresh: false,
                });
                continue;
            }
            self.count(class, kind, true, chunk.plain.len());
            let location = self.append(class, kind, &mut state, &chunk, &mut jobs)?;
            state.remember(chunk.id, &location);
            placed(Placed {
                location,
                fresh: true,
            });
        }
        Ok(jobs)
    }

    /// Stores one chunk as a segment of its own, unless this run has stored it. Ask [`Self::known`] first.
    pub fn place_alone(
        &self,
        class: usize,
        chunk: ChunkInfo,
        plain: Vec<u8>,
    ) -> Result<(Placed, Option<SealJob>), Error> {
        let kind = PackKind::Data;
        let mut state = self.state(class)?;
        if let Some(location) = state.find(&chunk.id) {
            self.count(class, kind, false, plain.len());
            return Ok((
                Placed {
                    location,
                    fresh: false,
                },
                None,
            ));
        }
        self.count(class, kind, true, plain.len());
        let (pack, ordinal, promised) = self.reserve(class, kind, &mut state, plain.len())?;
        let location = Location {
            origin: pack.origin,
            segment: ordinal,
            chunk: 0,
        };
        state.remember(chunk.id, &location);
        drop(state);
        let job = SealJob {
            pack,
            ordinal,
            promised,
            plain,
            chunks: vec![chunk],
        };
        Ok((
            Placed {
                location,
                fresh: true,
            },
            Some(job),
        ))
    }

    /// Compresses, seals and packs; the CPU's share of a backup.
    pub fn seal(&self, bench: &mut Bench, job: SealJob) -> Result<(), Error> {
        let plain_len = job.plain.len() as u32;
        let coded = bench
            .compressor
            .code(job.plain, std::mem::take(&mut bench.spare))?;
        bench.spare = coded.spare;
        let (key, head) = job.pack.seal_with(job.ordinal, coded.codec, plain_len)?;
        let sealed = seal_segment(&key, &head, coded.bytes)?;
        job.pack.add(
            job.ordinal,
            job.promised,
            &sealed,
            coded.codec,
            plain_len,
            job.chunks,
        )?;
        self.ledger.grew(sealed.len());
        if bench.spare.capacity() < sealed.capacity() {
            bench.spare = sealed;
            bench.spare.clear();
        }
        self.finish_if_complete(&job.pack)
    }

    /// Closes every bundle and pack. The jobs must be done; after that all packs are in the ledger.
    pub fn flush(&self) -> Result<Vec<SealJob>, Error> {
        let mut jobs = Vec::new();
        for class in 0..self.classes.len() {
            let mut state = self.state(class)?;
            let lanes: Vec<Lane> = state.lanes.iter_mut().map(std::mem::take).collect();
            drop(state);
            for lane in lanes {
                jobs.extend(lane.bundle.map(Bundle::into_job));
                if let Some(pack) = lane.pack {
                    pack.close();
                    self.finish_if_complete(&pack)?;
                }
            }
        }
        Ok(jobs)
    }

    /// Forgets ids that the index knows by now.
    pub fn forget_indexed(&self, origins: &[Origin]) -> Result<(), Error> {
        for class in 0..self.classes.len() {
            let mut state = self.state(class)?;
            let ClassState {
                fresh,
                origins: table,
                ..
            } = &mut *state;
            let indexed: Vec<bool> = table
                .iter()
                .map(|origin| origins.contains(origin))
                .collect();
            fresh.retain(|_, place| !indexed.get(place.origin as usize).copied().unwrap_or(false));
            if fresh.len() * 4 < fresh.capacity() {
                fresh.shrink_to(fresh.len() * 2);
            }
        }
        Ok(())
    }

    fn setup(&self, class: usize) -> Result<&ClassSetup, Error> {
        self.classes
            .get(class)
            .ok_or(Error::Internal("no such class"))
    }

    fn state(&self, class: usize) -> Result<MutexGuard<'_, ClassState>, Error> {
        let state = self
            .states
            .get(class)
            .ok_or(Error::Internal("no such class"))?;
        Ok(state.lock())
    }

    /// Counts content that [`Self::known`] found.
    pub fn count_known(&self, class: usize, bytes: usize) {
        self.count(class, PackKind::Data, false, bytes);
    }

    fn count(&self, class: usize, kind: PackKind, fresh: bool, bytes: usize) {
        if let (PackKind::Data, Some(stored)) = (kind, self.stored.get(class)) {
            let counter = if fresh {
                &stored.new_bytes
            } else {
                &stored.known_bytes
            };
            counter.fetch_add(bytes as u64, Ordering::Relaxed);
            stored
                .new_chunks
                .fetch_add(u64::from(fresh), Ordering::Relaxed);
        }
    }

    fn append(
        &self,
        class: usize,
        kind: PackKind,
        state: &mut ClassState,
        chunk: &NewChunk<'_>,
        jobs: &mut Vec<SealJob>,
    ) -> Result<Location, Error> {
        let room = if kind == PackKind::Data {
            BUNDLE_BYTES
        } else {
            META_BUNDLE_BYTES
        };
        let full = state
            .lane(kind)
            .bundle
            .take_if(|bundle| !bundle.has_room(chunk.plain.len(), room));
        jobs.extend(full.map(Bundle::into_job));
        if state.lane(kind).bundle.is_none() {
            let bytes_max = room.max(chunk.plain.len());
            let (pack, ordinal, promised) = self.reserve(class, kind, state, bytes_max)?;
            state.lane(kind).bundle = Some(Bundle::new(pack, ordinal, promised, bytes_max));
        }
        let bundle = state
            .lane(kind)
            .bundle
            .as_mut()
            .ok_or(Error::Internal("no bundle"))?;
        Ok(bundle.append(chunk.info(), chunk.plain))
    }

    /// Reserves a segment of at most `plain_max` bytes in the open pack, or in a new one.
    fn reserve(
        &self,
        class: usize,
        kind: PackKind,
        state: &mut ClassState,
        plain_max: usize,
    ) -> Result<(Arc<OpenPack>, u32, usize), Error> {
        let promised = plain_max + holdfast_engine::segment::TAG_BYTES;
        let full = state
            .lane(kind)
            .pack
            .take_if(|pack| !pack.has_room(promised, self.pack_bytes_target));
        if let Some(pack) = full {
            pack.close();
            self.finish_if_complete(&pack)?;
        }
        if state.lane(kind).pack.is_none() {
            let pack = OpenPack::new(self.setup(class)?, class, kind, self.pack_bytes_target)?;
            self.ledger.opened();
            state.origins.push(pack.origin);
            state.lane(kind).pack = Some(Arc::new(pack));
        }
        let pack = state
            .lane(kind)
            .pack
            .clone()
            .ok_or(Error::Internal("no pack"))?;
        let ordinal = pack.reserve(promised)?;
        Ok((pack, ordinal, promised))
    }

    fn finish_if_complete(&self, pack: &OpenPack) -> Result<(), Error> {
        if let Some((finished, held_bytes)) = pack.finish_if_complete()? {
            match finished {
                Some(finished) => {
                    if let Some(stored) = self.stored.get(pack.class) {
                        let bytes = finished.bytes.len() as u64;
                        stored.pack_bytes.fetch_add(bytes, Ordering::Relaxed);
                    }
                    self.ledger.finished(pack.class, finished, held_bytes);
                }
                None => self.ledger.abandoned(),
            }
        }
        Ok(())
    }

    /// Closes the largest pack that is open, to make room; `None` if there is none worth it.
    fn close_largest(&self) -> Result<Option<Vec<SealJob>>, Error> {
        let mut largest: Option<(usize, usize, usize)> = None;
        for class in 0..self.classes.len() {
            let state = self.state(class)?;
            for (lane, open) in state.lanes.iter().enumerate() {
                let bytes = open.pack.as_ref().map_or(0, |pack| pack.bytes_len());
                if largest.is_none_or(|(most, ..)| bytes > most) {
                    largest = Some((bytes, class, lane));
                }
            }
        }
        let Some((bytes, class, lane)) = largest else {
            return Ok(None);
        };
        if bytes < self.pack_bytes_target / 4
            || self.ledger.waiting_bytes() > self.ledger.room_bytes() / 2
        {
            return Ok(None);
        }
        let taken = self.state(class)?.lanes.get_mut(lane).map(std::mem::take);
        let Some(Lane {
            pack: Some(pack),
            bundle,
        }) = taken
        else {
            return Ok(None);
        };
        pack.close();
        self.finish_if_complete(&pack)?;
        Ok(Some(bundle.map(Bundle::into_job).into_iter().collect()))
    }
}

impl ClassState {
    fn lane(&mut self, kind: PackKind) -> &mut Lane {
        let [data, metadata, map] = &mut self.lanes;
        match kind {
            PackKind::Data => data,
            PackKind::Metadata => metadata,
            PackKind::Map => map,
        }
    }

    fn find(&self, id: &Id) -> Option<Location> {
        let place = self.fresh.get(id)?;
        let origin = *self.origins.get(place.origin as usize)?;
        Some(Location {
            origin,
            segment: place.segment,
            chunk: place.chunk,
        })
    }

    fn remember(&mut self, id: Id, location: &Location) {
        // The newest packs are the ones that chunks go to.
        let Some(origin) = self
            .origins
            .iter()
            .rposition(|origin| *origin == location.origin)
        else {
            return;
        };
        let place = Place {
            origin: origin as u32,
            segment: location.segment,
            chunk: location.chunk,
        };
        self.fresh.insert(id, place);
    }
}
