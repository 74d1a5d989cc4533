//! What the threads of a run share.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::classify::Classes;
use super::events::{Event, Finding};
use super::sides::Sides;
use super::signs::Signs;
use super::{IngestOptions, Owners};
use crate::Error;
use crate::limits::Limits;
use crate::packer::{Bench, Packer, SealJob};
use crate::reader::Reader;
use crate::scan::{Opener, Pace};

/// Work for a thread that has a bench.
pub(super) type Job = Box<dyn FnOnce(&Context, &mut Bench) -> Result<(), Error> + Send>;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Regular files in the trees so far.
    pub files: u64,
    /// Folders in the trees so far.
    pub folders: u64,
    /// Bytes of file content in the trees so far.
    pub bytes: u64,
    /// Bytes read from files.
    pub read_bytes: u64,
    /// Bytes of content that were not stored before.
    pub new_bytes: u64,
    /// Bytes of packs.
    pub stored_bytes: u64,
    /// Packs.
    pub packs: u64,
    /// Findings.
    pub findings: u64,
    /// Entries that no cache knew.
    pub new: u64,
    /// Entries that the cache knew differently.
    pub changed: u64,
    /// Entries as the cache knew them.
    pub unchanged: u64,
    /// Entries that only the cache knew.
    pub removed: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub files: AtomicU64,
    pub folders: AtomicU64,
    pub bytes: AtomicU64,
    pub read_bytes: AtomicU64,
    pub findings: AtomicU64,
    pub new: AtomicU64,
    pub changed: AtomicU64,
    pub unchanged: AtomicU64,
    pub removed: AtomicU64,
}

pub(super) struct Context {
    pub packer: Packer,
    pub limits: Arc<Limits>,
    pub opener: Opener,
    pub options: IngestOptions,
    pub owners: Owners,
    pub sides: Sides,
    pub counters: Counters,
    pub stop: Arc<AtomicBool>,
    pub classes: Classes,
    pub signs: Signs,
    pub alive: AtomicUsize,
    /// The number of the last fence that was asked for.
    pub fence: AtomicU32,
    /// Opens map packs, for what a writer state says of large files.
    pub maps: Option<Arc<Reader>>,
    /// Hashes of large files that only the cache knew.
    pub removed: Mutex<Vec<u64>>,
    failure: Mutex<Option<Error>>,
    events: Sender<Event>,
}

impl Context {
    #[allow(
        clippy::too_many_arguments,
        reason = "one caller; each is a part of its own"
    )]
    pub fn new(
        packer: Packer,
        pace: Pace,
        opener: Opener,
        events: Sender<Event>,
        options: IngestOptions,
        owners: Owners,
        sides: Sides,
        maps: Option<Arc<Reader>>,
    ) -> Self {
        let classes = Classes::new(options.detect.clone());
        let signs = Signs::new(options.wanted.clone());
        Self {
            packer,
            limits: pace.limits,
            opener,
            options,
            owners,
            sides,
            counters: Counters::default(),
            stop: pace.stop,
            classes,
            signs,
            alive: AtomicUsize::new(0),
            fence: AtomicU32::new(0),
            maps,
            removed: Mutex::default(),
            failure: Mutex::new(None),
            events,
        }
    }

    /// Ends the run with an error. The first one counts; that threads stopped because of it, or on request, does not.
    pub fn fail(&self, error: Error) {
        let mut failure = self.failure.lock();
        let on_request = failure.is_none() && self.stop.load(Ordering::Acquire);
        if !on_request && matches!(*failure, None | Some(Error::Stopped)) {
            *failure = Some(error);
        }
        self.stop.store(true, Ordering::Release);
    }

    /// Why the run failed, once it is certain.
    pub fn take_failure(&self) -> Option<Error> {
        let ended = self.alive.load(Ordering::Acquire) == 0;
        self.failure
            .lock()
            .take_if(|error| ended || !matches!(error, Error::Stopped))
    }

    pub fn check_stop(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }

    pub fn tell(&self, event: Event) {
        // Nobody listens any more only when the run is being dropped.
        drop(self.events.send(event));
    }

    pub fn find(&self, finding: Finding) {
        self.counters.findings.fetch_add(1, Ordering::Relaxed);
        self.tell(Event::Finding(finding));
    }

    /// Waits until packs have room, sealing what must be sealed for that.
    pub fn wait_for_room(&self, jobs: &Sender<Job>) -> Result<(), Error> {
        let room = self.packer.wait_for_room(&self.stop)?;
        self.seal_later(room, jobs)
    }

    /// Hands segments to the workers.
    // A method, since it speaks of the run's workers.
    #[allow(clippy::unused_self)]
    pub fn seal_later(&self, seals: Vec<SealJob>, jobs: &Sender<Job>) -> Result<(), Error> {
        for seal in seals {
            let job: Job = Box::new(move |context, bench| context.packer.seal(bench, seal));
            jobs.send(job).map_err(|_| Error::Stopped)?;
        }
        Ok(())
    }

    pub fn counts(&self) -> Counts {
        let (packs, stored_bytes) = self.packer.ledger.totals();
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        Counts {
            files: get(&counters.files),
            folders: get(&counters.folders),
            bytes: get(&counters.bytes),
            read_bytes: get(&counters.read_bytes),
            new_bytes: self
                .packer
                .stored
                .iter()
                .map(|stored| get(&stored.new_bytes))
                .sum(),
            stored_bytes,
            packs,
            findings: get(&counters.findings),
            new: get(&counters.new),
            changed: get(&counters.changed),
            unchanged: get(&counters.unchanged),
            removed: get(&counters.removed),
        }
    }
}

/// Counts a thread as living until it is dropped, and reports its panic.
pub(super) struct Alive(Arc<Context>);

impl Alive {
    pub fn new(context: &Arc<Context>) -> Self {
        context.alive.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(context))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::Internal("a thread of the run panicked"));
        }
        self.0.alive.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A worker: compresses and seals until there is nothing more to come.
///
/// What was handed over before a stop is still done: a segment that never came would keep its pack from being finished.
pub(super) fn work(context: &Context, jobs: &Receiver<Job>) -> Result<(), Error> {
    let mut bench = Bench::new(context.options.level)?;
    for job in jobs {
        // No place is given once the run is stopped, and none is needed for what is left to do.
        let _place = context.limits.place(&context.stop);
        match job(context, &mut bench) {
            Err(Error::Stopped) => {}
            done => done?,
        }
    }
    Ok(())
}

/// Closes the packs of a stopped run, so that what they hold is handed out and not stored again by the next one.
pub(super) fn close(context: &Context) -> Result<(), Error> {
    let mut bench = Bench::new(context.options.level)?;
    for seal in context.packer.flush()? {
        context.packer.seal(&mut bench, seal)?;
    }
    Ok(())
}
