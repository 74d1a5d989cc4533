//! Opened segments that threads share: each is read and proved once while it is in use, and kept up to a bound in bytes.
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use holdfast_engine::compress::Decompressor;
use holdfast_engine::tree::NodeSource;
use holdfast_engine::{Error as EngineError, Location, Origin, Role};
use holdfast_pipeline::Error;
use holdfast_pipeline::reader::{Reader, Segment};
use parking_lot::{Condvar, Mutex};

type Key = (Origin, u32);

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Kept {
    segments: HashMap<Key, (u64, Arc<Segment>)>,
    loading: HashSet<Key>,
    bytes: usize,
    tick: u64,
}

/// Segments opened lately, proved by their seals.
pub struct Segments {
    reader: Arc<Reader>,
    kept: Mutex<Kept>,
    loaded: Condvar,
    bytes_max: usize,
}

impl Segments {
    /// Keeps up to `bytes_max` of plaintext in memory (always the last segment).
    pub fn new(reader: Arc<Reader>, bytes_max: usize) -> Self {
        Self {
            reader,
            kept: Mutex::default(),
            loaded: Condvar::new(),
            bytes_max,
        }
    }

    /// The reader beneath.
    pub fn reader(&self) -> &Arc<Reader> {
        &self.reader
    }

    /// A segment, opened now or before. Threads that want the same one wait for the first of them.
    pub fn segment(&self, origin: &Origin, ordinal: u32) -> Result<Arc<Segment>, Error> {
        let key = (*origin, ordinal);
        {
            let mut kept = self.kept.lock();
            loop {
                kept.tick += 1;
                let tick = kept.tick;
                if let Some((used, segment)) = kept.segments.get_mut(&key) {
                    *used = tick;
                    return Ok(Arc::clone(segment));
                }
                if kept.loading.insert(key) {
                    break;
                }
                self.loaded.wait(&mut kept);
            }
        }
        let opened = self.open(origin, ordinal);
        let mut kept = self.kept.lock();
        kept.loading.remove(&key);
        self.loaded.notify_all();
        let segment = Arc::new(opened?);
        kept.keep(key, Arc::clone(&segment), self.bytes_max);
        Ok(segment)
    }

    fn open(&self, origin: &Origin, ordinal: u32) -> Result<Segment, Error> {
        DECOMPRESSOR.with_borrow_mut(|slot| {
            let decompressor = match slot {
                Some(found) => found,
                None => slot.insert(Decompressor::new()?),
            };
            self.reader.open(origin, ordinal, decompressor)
        })
    }
}

impl Kept {
    fn keep(&mut self, key: Key, segment: Arc<Segment>, bytes_max: usize) {
        self.bytes += segment.plain.len();
        if self.bytes > bytes_max {
            let mut ages: Vec<(u64, Key)> = self
                .segments
                .iter()
                .map(|(key, (used, _))| (*used, *key))
                .collect();
            ages.sort_unstable_by_key(|(used, _)| *used);
            for (_, oldest) in ages {
                // A little more than needed, so that not every segment sorts all others.
                if self.bytes <= bytes_max - bytes_max / 8 {
                    break;
                }
                if let Some((_, dropped)) = self.segments.remove(&oldest) {
                    self.bytes -= dropped.plain.len();
                }
            }
        }
        self.segments.insert(key, (self.tick, segment));
    }
}

/// Where trees, lists and groups are read: the shared segments.
pub struct Nodes<'a>(pub &'a Segments);

impl NodeSource for Nodes<'_> {
    fn get(&mut self, role: Role, location: &Location) -> Result<Vec<u8>, EngineError> {
        let segment = self
            .0
            .segment(&location.origin, location.segment)
            .map_err(|error| match error {
                Error::Engine(error) => error,
                other => EngineError::outside(other),
            })?;
        Ok(segment.chunk(role, location.chunk)?.to_vec())
    }
}
