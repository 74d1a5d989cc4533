//! From a location to plaintext: which pack, which key, opened and proved; nodes are kept for the next that asks.
use std::collections::HashMap;
use std::sync::Arc;

use holdfast_engine::compress::Decompressor;
use holdfast_engine::index_set::{IndexSet, SegmentPlace};
use holdfast_engine::pack::{HEADER_FIXED_BYTES, PackHeader};
use holdfast_engine::segment::{SegmentHead, open_segment};
use holdfast_engine::tree::NodeSource;
use holdfast_engine::{
    ClassId, ClassKeys, Error as EngineError, Generation, Location, Origin, PackKey, PackName,
    PackNonce, Role, RunKey,
};
use parking_lot::Mutex;

use crate::Error;
use crate::source::{PackSource, is_of_one_object, object_name};

/// Bytes of a pack read in the hope that they hold its whole header.
const HEADER_GUESS_BYTES: u64 = 4096;
/// Keys of origins and runs that are kept.
const KEYS_MAX: usize = 4096;
/// Plaintext of segments kept by a [`SegmentCache`].
pub const CACHE_BYTES: usize = 32 << 20;

/// `ENOENT`.
const NO_ENTRY: i32 = 2;
/// Not lost, for all that is known: a pack may hold it, and no index run that can be read says which.
pub const NOT_LISTED: EngineError = EngineError::Missing {
    what: "no index run lists a segment; `holdfast repair index` looks into the packs for it",
};

/// Opens the envelopes of run keys; holds what this crate never sees: private keys.
pub trait EnvelopeOpener: Send + Sync {
    /// The run key in an encoded envelope; [`EngineError::WrongKey`] if none of its recipients is held.
    fn open(
        &self,
        class: ClassId,
        generation: Generation,
        envelope: &[u8],
    ) -> Result<RunKey, EngineError>;
}

/// The keys to content: class keys, and run keys as packs ask for them, each envelope opened once.
pub struct KeyRing {
    classes: HashMap<(ClassId, Generation), Arc<ClassKeys>>,
    opener: Box<dyn EnvelopeOpener>,
    runs: Mutex<HashMap<Vec<u8>, Arc<RunKey>>>,
    packs: Mutex<HashMap<PackNonce, Arc<PackKey>>>,
}

impl KeyRing {
    /// Class keys, and who opens envelopes.
    pub fn new(
        keys: impl IntoIterator<Item = Arc<ClassKeys>>,
        opener: Box<dyn EnvelopeOpener>,
    ) -> Self {
        Self {
            classes: keys
                .into_iter()
                .map(|keys| ((keys.class(), keys.generation()), keys))
                .collect(),
            opener,
            runs: Mutex::default(),
            packs: Mutex::default(),
        }
    }

    /// The keys of a class generation.
    pub fn class(
        &self,
        class: ClassId,
        generation: Generation,
    ) -> Result<&Arc<ClassKeys>, EngineError> {
        let found = self.classes.get(&(class, generation));
        found.ok_or(EngineError::WrongKey {
            what: "no key of this class and generation",
        })
    }

    /// The key of an origin's segments, by the header of a pack that holds some.
    pub fn pack_key(
        &self,
        header: &PackHeader,
        nonce: &PackNonce,
    ) -> Result<Arc<PackKey>, EngineError> {
        if let Some(key) = self.packs.lock().get(nonce) {
            return Ok(Arc::clone(key));
        }
        header.check_keys(self.class(header.class, header.generation)?)?;
        let run = self.run_key(header, nonce)?;
        let key = PackKey::derive(
            &run,
            header.vault,
            header.class,
            header.generation,
            header.kind,
            nonce,
        )?;
        let key = Arc::new(key);
        keep(&mut self.packs.lock(), *nonce, Arc::clone(&key));
        Ok(key)
    }

    fn known_key(&self, nonce: &PackNonce) -> Option<Arc<PackKey>> {
        self.packs.lock().get(nonce).cloned()
    }

    fn run_key(&self, header: &PackHeader, nonce: &PackNonce) -> Result<Arc<RunKey>, EngineError> {
        let envelope = header.envelope_of(nonce)?.as_bytes();
        if let Some(run) = self.runs.lock().get(envelope) {
            return Ok(Arc::clone(run));
        }
        let run = Arc::new(
            self.opener
                .open(header.class, header.generation, envelope)?,
        );
        keep(&mut self.runs.lock(), envelope.to_vec(), Arc::clone(&run));
        Ok(run)
    }
}

/// Remembers, and forgets all when it is too much: what is forgotten is only derived again.
fn keep<K: Eq + std::hash::Hash, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if map.len() >= KEYS_MAX {
        map.clear();
    }
    map.insert(key, value);
}

/// Reads the header of a pack.
pub fn read_header(source: &dyn PackSource, name: &str) -> Result<PackHeader, Error> {
    let mut front = source.read(name, 0, HEADER_GUESS_BYTES)?;
    if front.len() >= HEADER_FIXED_BYTES {
        let length = PackHeader::length(&front)? as u64;
        if length > front.len() as u64 {
            front = source.read(name, 0, length)?;
        }
    }
    Ok(PackHeader::parse(&front)?.0)
}

/// An opened segment.
pub struct Segment {
    /// Where it was read, and its chunks.
    pub place: SegmentPlace,
    /// Its plaintext, as its seal proved it.
    pub plain: Vec<u8>,
}

impl Segment {
    /// The bytes of one chunk, which must have the role asked for.
    pub fn chunk(&self, role: Role, chunk: u32) -> Result<&[u8], EngineError> {
        let span = self.place.chunks.get(chunk as usize);
        if span.is_none_or(|span| span.role != role) {
            return Err(EngineError::Damaged {
                what: "role of a chunk",
            });
        }
        let range = self.place.chunk_range(chunk)?;
        self.plain.get(range).ok_or(EngineError::Damaged {
            what: "length of a segment",
        })
    }
}

/// All that reading a vault takes.
pub struct Reader {
    /// Which pack holds what.
    pub index: Arc<IndexSet>,
    /// What opens it.
    pub keys: Arc<KeyRing>,
    /// Where it is read.
    pub source: Arc<dyn PackSource>,
}

impl Reader {
    /// Opens a segment from the first of its copies that is sound.
    pub fn open(
        &self,
        origin: &Origin,
        ordinal: u32,
        decompressor: &mut Decompressor,
    ) -> Result<Segment, Error> {
        let mut failed = NOT_LISTED.into();
        for place in self.index.lookup_segment(origin, ordinal)? {
            match self.open_place(&place, decompressor) {
                Ok(plain) => return Ok(Segment { place, plain }),
                Err(Error::Io {
                    errno: NO_ENTRY, ..
                }) => {
                    failed = EngineError::Missing {
                        what: "a pack is not in its store",
                    }
                    .into();
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// Reads and opens one copy of a segment.
    pub fn open_place(
        &self,
        place: &SegmentPlace,
        decompressor: &mut Decompressor,
    ) -> Result<Vec<u8>, Error> {
        let name = object_name(place.kind, &place.pack);
        let sealed = self
            .source
            .read(&name, place.offset, u64::from(place.sealed_len))?;
        self.open_sealed(place, sealed, decompressor)
    }

    /// Opens the bytes of a segment.
    pub fn open_sealed(
        &self,
        place: &SegmentPlace,
        sealed: Vec<u8>,
        decompressor: &mut Decompressor,
    ) -> Result<Vec<u8>, Error> {
        if sealed.len() != place.sealed_len as usize {
            return Err(EngineError::Damaged {
                what: "a pack is cut short",
            }
            .into());
        }
        let key = self.key_of(place)?;
        let head = SegmentHead {
            kind: place.kind,
            class: place.class,
            generation: place.generation,
            vault: self.keys.class(place.class, place.generation)?.vault(),
            nonce: place.nonce,
            ordinal: place.ordinal,
            codec: place.codec,
            plain_len: place.plain_len,
        };
        Ok(open_segment(&key, &head, sealed, decompressor)?)
    }

    fn key_of(&self, place: &SegmentPlace) -> Result<Arc<PackKey>, Error> {
        if let Some(key) = self.keys.known_key(&place.nonce) {
            return Ok(key);
        }
        let header = read_header(&*self.source, &object_name(place.kind, &place.pack))?;
        if (header.kind, header.class, header.generation)
            != (place.kind, place.class, place.generation)
        {
            return Err(EngineError::Damaged {
                what: "a pack is not what the index says",
            }
            .into());
        }
        // The class's key is held, and the index says that the pack is of this vault: what does not fit has rotted.
        self.keys.class(place.class, place.generation)?;
        let key = self.keys.pack_key(&header, &place.nonce);
        Ok(key.map_err(|error| match error {
            EngineError::WrongKey { .. } => EngineError::Damaged {
                what: "the header of a pack",
            },
            error => error,
        })?)
    }

    /// The name of the pack that a segment would be read from first.
    pub fn pack_of(&self, origin: &Origin, ordinal: u32) -> Result<Option<PackName>, Error> {
        let places = self.index.lookup_segment(origin, ordinal)?;
        Ok(places.first().map(|place| place.pack))
    }
}

type CachedSegment = (u64, Arc<Segment>);

/// A [`NodeSource`] over a [`Reader`] that keeps the segments it opened, up to a bound in bytes.
pub struct SegmentCache {
    reader: Arc<Reader>,
    decompressor: Decompressor,
    segments: HashMap<(Origin, u32), CachedSegment>,
    bytes: usize,
    bytes_max: usize,
    tick: u64,
}

impl SegmentCache {
    /// Keeps up to `bytes_max` of plaintext (always the last segment).
    pub fn new(reader: Arc<Reader>, bytes_max: usize) -> Result<Self, Error> {
        Ok(Self {
            reader,
            decompressor: Decompressor::new()?,
            segments: HashMap::new(),
            bytes: 0,
            bytes_max,
            tick: 0,
        })
    }

    /// The reader beneath.
    pub fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// A segment, opened now or before.
    pub fn segment(&mut self, origin: &Origin, ordinal: u32) -> Result<Arc<Segment>, Error> {
        self.tick += 1;
        if let Some((used, segment)) = self.segments.get_mut(&(*origin, ordinal)) {
            *used = self.tick;
            return Ok(Arc::clone(segment));
        }
        let segment = Arc::new(self.reader.open(origin, ordinal, &mut self.decompressor)?);
        self.bytes += segment.plain.len();
        while self.bytes > self.bytes_max && !self.segments.is_empty() {
            self.drop_oldest();
        }
        self.segments
            .insert((*origin, ordinal), (self.tick, Arc::clone(&segment)));
        Ok(segment)
    }

    fn drop_oldest(&mut self) {
        let oldest = self
            .segments
            .iter()
            .min_by_key(|(_, (used, _))| *used)
            .map(|(key, _)| *key);
        if let Some((_, segment)) = oldest.and_then(|key| self.segments.remove(&key)) {
            self.bytes -= segment.plain.len();
        }
    }
}

impl NodeSource for SegmentCache {
    fn get(&mut self, role: Role, location: &Location) -> Result<Vec<u8>, EngineError> {
        let segment =
            self.segment(&location.origin, location.segment)
                .map_err(|error| match error {
                    Error::Engine(error) => error,
                    other => EngineError::outside(other),
                })?;
        Ok(segment.chunk(role, location.chunk)?.to_vec())
    }
}

/// The pipeline's error inside an engine's, if it came through one.
pub fn unwrap_outside(error: EngineError) -> Error {
    if let EngineError::Outside(outer) = &error
        && let Some(Error::Io { what, errno }) = outer.downcast_ref::<Error>()
    {
        return Error::Io {
            what,
            errno: *errno,
        };
    }
    Error::Engine(error)
}

/// Whether an error says that something is not listed, which is not to say that it is lost.
pub fn is_not_listed(error: &Error) -> bool {
    matches!((error, NOT_LISTED), (Error::Engine(EngineError::Missing { what }), EngineError::Missing { what: not_listed })
        if *what == not_listed)
}

/// Whether an error concerns the segment at hand only, so that others may well be read.
pub fn is_of_one_segment(error: &Error) -> bool {
    match error {
        Error::Engine(error) => !matches!(
            error,
            EngineError::WrongKey { .. } | EngineError::Outside(_) | EngineError::Misuse { .. }
        ),
        Error::Io { errno, .. } => is_of_one_object(*errno),
        _ => false,
    }
}
