//! Proves packs: each read once, in order; its SHA-256 is its name; and, with keys, every segment opens and every id is right.
//!
//! A pack whose content was proved once is not opened again as long as its bytes are those of its name: they are the bytes
//! that were opened (ADR 0027).
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};
use holdfast_engine::sorted::PackRow;
use holdfast_engine::{Error as EngineError, Origin, PackName};
use parking_lot::Mutex;

use crate::Error;
use crate::limits::Limits;
use crate::reader::Reader;
use crate::source::is_of_one_object;

mod pack;

use pack::Prover;

/// Verdicts that wait for the caller.
const EVENTS_MAX: usize = 256;
/// Threads that read and prove.
const WORKERS: usize = 2;

/// How one pack was found.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// The pack.
    pub name: PackName,
    /// Its length, as the index has it.
    pub size: u64,
    /// Segments proved.
    pub segments: u32,
    /// Its content was proved, not only its hash.
    pub is_opened: bool,
    /// Empty if all is right; else what is wrong.
    pub reason: String,
    /// SHA-256 of the record that its own directory makes; with `is_opened` and no `reason` only.
    pub record: Option<[u8; 32]>,
    /// Segments that do not open, or hold something else than the directory says: (origin, ordinal).
    pub damaged: Vec<(Origin, u32)>,
}

enum Event {
    Verdict(Box<Verdict>),
    Failed(Error),
}

/// How far it is.
#[derive(Debug, Default)]
pub struct Counters {
    /// Packs read.
    pub packs: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Packs to read.
    pub packs_total: AtomicU64,
    /// Bytes to read.
    pub bytes_total: AtomicU64,
}

/// A proof of packs in threads of its own.
pub struct Verify {
    events: Receiver<Event>,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads share.
struct Shared {
    reader: Arc<Reader>,
    rows: Vec<PackRow>,
    proved: HashSet<PackName>,
    next: AtomicUsize,
    limits: Arc<Limits>,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
}

impl Verify {
    /// Begins. Packs that the index does not know get a verdict, too. Packs of classes without keys are proved by hash alone,
    /// and so are those whose content is `proved` already: their segments are opened only if the hash is not their name.
    pub fn start(
        reader: Arc<Reader>,
        packs: &[PackName],
        proved: HashSet<PackName>,
        limits: Arc<Limits>,
    ) -> Result<Self, Error> {
        let known: HashMap<PackName, PackRow> = reader
            .index
            .packs()?
            .into_iter()
            .map(|row| (row.name, row))
            .collect();
        let (sender, events) = bounded(EVENTS_MAX.max(packs.len()));
        let mut rows = Vec::with_capacity(packs.len());
        for name in packs {
            if let Some(row) = known.get(name) {
                rows.push(row.clone());
                continue;
            }
            let verdict = Verdict {
                name: *name,
                size: 0,
                segments: 0,
                is_opened: false,
                reason: "the index does not know it".to_owned(),
                record: None,
                damaged: Vec::new(),
            };
            let _ = sender.send(Event::Verdict(Box::new(verdict)));
        }
        let counters = Arc::new(Counters::default());
        counters
            .packs_total
            .store(packs.len() as u64, Ordering::Relaxed);
        counters
            .packs
            .store((packs.len() - rows.len()) as u64, Ordering::Relaxed);
        counters
            .bytes_total
            .store(rows.iter().map(|row| row.size).sum(), Ordering::Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            reader,
            rows,
            proved,
            next: AtomicUsize::new(0),
            limits,
            stop: Arc::clone(&stop),
            counters: Arc::clone(&counters),
        });
        let mut threads = Vec::new();
        for _ in 0..WORKERS {
            let (shared, sender) = (Arc::clone(&shared), sender.clone());
            let thread = std::thread::Builder::new()
                .name("verify".into())
                .spawn(move || shared.work(&sender))
                .map_err(|error| Error::Io {
                    what: "thread",
                    errno: error.raw_os_error().unwrap_or(11),
                })?;
            threads.push(thread);
        }
        Ok(Self {
            events,
            stop,
            counters,
            threads: Mutex::new(threads),
        })
    }

    /// The next verdict: `Ok(None)` after `timeout`, `Err(None)` when all are told.
    pub fn poll(&self, timeout: Duration) -> Result<Option<Verdict>, Option<Error>> {
        match self.events.recv_timeout(timeout) {
            Ok(Event::Verdict(verdict)) => Ok(Some(*verdict)),
            Ok(Event::Failed(Error::Stopped)) | Err(RecvTimeoutError::Disconnected) => Err(None),
            Ok(Event::Failed(error)) => Err(Some(error)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
        }
    }

    /// Asks it to stop; it does within a second.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for Verify {
    fn drop(&mut self) {
        self.stop();
        let (_, none) = bounded(0);
        self.events = none;
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self, events: &Sender<Event>) {
        let prover = Prover::new(&self.reader, &self.limits, &self.stop, &self.counters);
        while let Some(row) = self.rows.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let event = match prover.prove(row, self.proved.contains(&row.name)) {
                Ok(verdict) => Event::Verdict(Box::new(verdict)),
                Err(error) => Event::Failed(error),
            };
            self.counters.packs.fetch_add(1, Ordering::Relaxed);
            let is_end = matches!(event, Event::Failed(_));
            if !self.tell(events, event) || is_end {
                self.stop.store(true, Ordering::Relaxed);
                return;
            }
        }
    }

    /// False if nobody listens any more.
    fn tell(&self, events: &Sender<Event>, mut event: Event) -> bool {
        loop {
            match events.send_timeout(event, Duration::from_millis(100)) {
                Ok(()) => return true,
                Err(SendTimeoutError::Disconnected(_)) => return false,
                Err(SendTimeoutError::Timeout(_)) if self.stop.load(Ordering::Relaxed) => {
                    return false;
                }
                Err(SendTimeoutError::Timeout(back)) => event = back,
            }
        }
    }
}

/// Whether an error is about the pack at hand, and not about the run.
fn is_of_pack(error: &Error) -> bool {
    match error {
        Error::Engine(error) => {
            !matches!(error, EngineError::Outside(_) | EngineError::Misuse { .. })
        }
        Error::Io { errno, .. } => is_of_one_object(*errno),
        _ => false,
    }
}
