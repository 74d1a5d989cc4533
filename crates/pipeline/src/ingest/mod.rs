//! A backup run: from a file tree to packs, trees and findings, in threads of its own.
//!
//! ```text
//! scan -> walk (merge with the stat cache) -> batches in order ----------------> finish (trees, references, new cache)
//!                  |                                ^                               |
//!                  +-> small readers, large readers +-> workers (compress, seal) <--+ nodes
//!                                                          +-> packs -> events -> poll
//! ```
//! Every queue is bounded, packs in memory are bounded by what the caller has acknowledged, and no trouble with a file stops
//! the run: it becomes a [`Finding`].
pub(crate) mod batch;
mod classify;
mod command;
mod context;
mod events;
mod finish;
mod large;
mod owners;
mod pages;
mod past;
mod record;
mod sides;
mod signs;
mod sink;
mod small;
mod source;
mod stream;
mod walk;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};
use holdfast_engine::PackName;
use holdfast_engine::compress::Compressor;
use holdfast_engine::index_set::IndexSet;

use crate::Error;
use crate::limits::Limits;
use crate::packer::ledger::{CheckpointRule, Ledger};
use crate::packer::{ClassSetup, Packer};
use crate::reader::Reader;
use crate::scan::{Pace, Scan, ScanConfig};
use crate::statcache::{CacheReader, CacheWriter};

pub use crate::packer::ledger::{CheckpointReady, PackReady, RunReady};
pub use classify::{Found as FoundByRule, Raise};
pub use context::Counts;
pub use events::{ClassResult, Event, Finding, FindingKind, Finished};
pub use owners::Owners;
pub use signs::{KindCount, SignCounts, Wanted};

use context::{Context, Job};

/// Batches between scan and trees.
const BATCHES_MAX: usize = 48;
/// Threads that read small files: many, since each waits for the disk.
const SMALL_READERS: usize = 12;
/// Threads that read large files.
const LARGE_READERS: usize = 4;
/// Segments on their way to a worker.
const JOBS_MAX: usize = 6;
/// Packs in memory, open or not yet stored.
const PACK_ROOM_BYTES: usize = 96 << 20;

/// A command whose standard output becomes a file.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// Path in the tree.
    pub path: Vec<u8>,
    /// Program and arguments.
    pub command: Vec<Vec<u8>>,
    /// Position of its class; `None`: by the rules.
    pub class: Option<u16>,
    /// Its whole environment: names and values. Nothing of ours is inherited.
    pub environment: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its standard error is ours. If not, nobody sees it: it may hold names.
    pub shows_errors: bool,
}

/// How a run works.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// zstd level.
    pub level: i32,
    /// Walk and compare, but read nothing.
    pub dry_run: bool,
    /// Threads that compress and seal; 0: one per processor.
    pub workers: usize,
    /// Size at which a pack takes no more.
    pub pack_bytes: usize,
    /// When stored packs are made known.
    pub checkpoint: CheckpointRule,
    /// Read every file, whatever the cache says.
    pub paranoid: bool,
    /// How many unchanged files to read for an audit, about.
    pub audit_files: u32,
    /// Look at the first bytes of files, and raise their class by what they are.
    pub detect: Option<Raise>,
    /// Seconds since 1970 when the run began: files changed since then may change again unseen.
    pub started_s: i64,
    /// Give a whole writer state, not a difference, if anything changed.
    pub state_base: bool,
    /// Names that ransomware gives: files that have them are counted.
    pub wanted: Wanted,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            level: Compressor::LEVEL,
            dry_run: false,
            workers: 0,
            pack_bytes: 32 << 20,
            checkpoint: CheckpointRule {
                chunks: 250_000,
                bytes: 1 << 30,
                every: Duration::from_mins(5),
            },
            paranoid: false,
            audit_files: 16,
            detect: None,
            started_s: 0,
            state_base: false,
            wanted: Wanted::default(),
        }
    }
}

/// Everything a run needs.
pub struct IngestConfig {
    /// What to back up; its classes are positions in `classes`.
    pub scan: ScanConfig,
    /// How to write each class.
    pub classes: Vec<ClassSetup>,
    /// Commands to back up as files.
    pub streams: Vec<StreamSpec>,
    /// What is stored already.
    pub index: Arc<IndexSet>,
    /// The stat cache of the last run.
    pub cache_in: Option<PathBuf>,
    /// Where the next stat cache goes.
    pub cache_out: PathBuf,
    /// Writer states, oldest first, to be used if there is no cache.
    pub state_in: Vec<Vec<u8>>,
    /// Names of users and groups.
    pub owners: Owners,
    /// How it works.
    pub options: IngestOptions,
    /// How fast it may be.
    pub limits: Arc<Limits>,
    /// Opens this writer's map packs; with `state_in` only.
    pub maps: Option<Arc<Reader>>,
}

/// A backup run.
pub struct Ingest {
    context: Arc<Context>,
    events: Receiver<Event>,
    threads: Vec<JoinHandle<()>>,
    ended: AtomicBool,
    closed: AtomicBool,
}

impl Ingest {
    /// Begins to read.
    pub fn start(config: IngestConfig) -> Result<Self, Error> {
        let (event_out, events) = unbounded();
        let ledger_out = event_out.clone();
        let ledger = Ledger::new(
            // Nobody listens any more only when the run is being dropped.
            Box::new(move |event| drop(ledger_out.send(Event::from(event)))),
            config.options.checkpoint,
            PACK_ROOM_BYTES,
        )
        .limited(Arc::clone(&config.limits));
        let index = Arc::clone(&config.index);
        let packer = Packer::new(config.classes, index, ledger, config.options.pack_bytes);
        let pace = Pace::new(config.limits, Arc::new(AtomicBool::new(false)));
        let scan = Scan::start_paced(&config.scan, Some(pace.clone()))?;
        let context = Arc::new(Context::new(
            packer,
            pace,
            scan.opener(),
            event_out,
            config.options.clone(),
            config.owners,
            sides::Sides::beside(&config.cache_out),
            config.maps,
        ));
        let mut run = Self {
            context,
            events,
            threads: Vec::new(),
            ended: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        };
        // After `run`, so that it is dropped before: a run that fails here waits for its threads, and they for this.
        let (job_out, job_in) = bounded::<Job>(JOBS_MAX);
        let workers = match config.options.workers {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            workers => workers,
        };
        for _ in 0..workers {
            let jobs = job_in.clone();
            run.spawn("hf-work", move |context| context::work(context, &jobs))?;
        }
        let (order_out, order_in) = bounded(BATCHES_MAX);
        let (small_out, small_in) = bounded(BATCHES_MAX);
        let (large_out, large_in) = bounded(LARGE_READERS);
        for _ in 0..SMALL_READERS {
            let (batches, jobs) = (small_in.clone(), job_out.clone());
            run.spawn("hf-small", move |context| {
                small::read_batches(context, &batches, &jobs)
            })?;
        }
        for _ in 0..LARGE_READERS {
            let (files, jobs) = (large_in.clone(), job_out.clone());
            run.spawn("hf-large", move |context| {
                large::read_files(context, &files, &jobs)
            })?;
        }
        let streams = config.streams;
        let cache_in = config.cache_in.as_deref();
        let cache = cache_in.and_then(|path| CacheReader::open(path, run.context.packer.classes()));
        let old = cache_in.filter(|_| cache.is_some());
        let writer = CacheWriter::create(&config.cache_out, old, run.context.packer.classes())?;
        let first = cache.is_none();
        let memory = past::Memory::new(&run.context, cache, &config.state_in);
        let base = (first && !memory.has_state()) || config.options.state_base;
        let recorder = record::Recorder::new(writer, base, first, config.options.started_s);
        run.spawn("hf-merge", move |context| {
            let outlets = walk::Outlets {
                order: order_out,
                small: small_out,
                large_files: large_out,
            };
            walk::walk(context, scan, streams, memory, &outlets)
        })?;
        run.spawn("hf-trees", move |context| {
            finish::finish(context, &order_in, job_out, recorder)
        })?;
        Ok(run)
    }

    fn spawn(
        &mut self,
        name: &str,
        body: impl FnOnce(&Arc<Context>) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let context = Arc::clone(&self.context);
        let guard = context::Alive::new(&context);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                let guard = guard;
                if let Err(error) = body(&context) {
                    context.fail(error);
                }
                drop(guard);
            });
        let thread = thread.map_err(|error| Error::Io {
            what: "thread",
            errno: error.raw_os_error().unwrap_or(0),
        });
        match thread {
            Ok(thread) => self.threads.push(thread),
            Err(error) => {
                self.stop();
                return Err(error);
            }
        }
        Ok(())
    }

    /// The next event; `None` if there was none within the time, or if the run was stopped and everything was handed out.
    /// Fails when the run has failed.
    pub fn poll(&self, timeout: Duration) -> Result<Option<Event>, Error> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // A failure or an end without an event is noticed soon.
            match self
                .events
                .recv_timeout(left.min(Duration::from_millis(50)))
            {
                Ok(event) => {
                    if matches!(event, Event::Finished(_)) {
                        self.ended.store(true, Ordering::Release);
                    }
                    return Ok(Some(event));
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.context.packer.ledger.checkpoint_if_due();
            if let Some(error) = self.context.take_failure() {
                return Err(error);
            }
            if self.is_stopped() && self.context.alive.load(Ordering::Acquire) == 0 {
                if !self.is_ended() && !self.closed.swap(true, Ordering::AcqRel) {
                    context::close(&self.context)?;
                }
                let ledger = &self.context.packer.ledger;
                if !ledger.is_waiting() && self.events.is_empty() {
                    let first = !self.ended.swap(true, Ordering::AcqRel);
                    if !(first && ledger.checkpoint()) {
                        return Ok(None);
                    }
                    continue;
                }
            }
            if left.is_zero() {
                return Ok(None);
            }
        }
    }

    /// A pack that [`Self::poll`] gave is durable.
    pub fn pack_stored(&self, name: &PackName) -> Result<(), Error> {
        self.context.packer.ledger.pack_stored(name)
    }

    /// The runs of a checkpoint are in the vault, and members of the index.
    pub fn checkpoint_done(&self, number: u32) -> Result<(), Error> {
        let origins = self.context.packer.ledger.checkpoint_done(number)?;
        self.context.packer.forget_indexed(&origins)
    }

    /// Asks that all that was referred to so far be looked up again, once it is in the trees; answered by
    /// [`Event::Fenced`] with this number or a later one, unless the run ends before.
    pub fn fence(&self) -> u32 {
        self.context.fence.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Ends the run within a second: what was read is handed out as packs, the rest is dropped.
    pub fn stop(&self) {
        self.context.stop.store(true, Ordering::Release);
    }

    /// Whether [`Self::stop`] was called, or the run failed.
    pub fn is_stopped(&self) -> bool {
        self.context.stop.load(Ordering::Acquire)
    }

    /// Whether the run has ended, with a result or stopped, and everything was handed out.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// How far the run is.
    pub fn counts(&self) -> Counts {
        self.context.counts()
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // A panic was reported as the run's failure.
            drop(thread.join());
        }
    }
}
