//! How hard a run may press on the machine, and whether it may go on: settable while it runs, obeyed in the middle of a file.
//!
//! Read, write and network bytes, operations of a disk, and the CPU time of the process are token buckets; threads are places;
//! memory is the room of packs. Whoever is about to read, write or compute passes here; without any limit that is one atomic load
//! and a few counters.
mod bucket;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::Error;
use bucket::Bucket;

/// Longest wait before looking again whether the run was stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// One request takes at most so much of a limited rate, in seconds of it.
const STEP_SECONDS: f64 = 0.05;
/// The smallest request that a slow rate is cut into.
const STEP_BYTES_MIN: usize = 4 << 10;
/// The least room for packs: below it nothing would ever be finished.
const MEMORY_BYTES_MIN: usize = 8 << 20;

/// What is limited by a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Bytes read from sources, or from packs on a disk.
    Read,
    /// Bytes written to local stores, or to restored files.
    Write,
    /// Bytes to and from stores over a network.
    Network,
    /// Calls that a disk must answer: opens, reads, listings.
    Operations,
    /// Seconds of CPU time of the whole process per second: 0.5 is half a core.
    Cpu,
}

const RESOURCES: usize = 5;

/// What a thread waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// A rate.
    For(Resource),
    /// A place among the computing threads.
    Threads,
    /// The end of a pause.
    Pause,
}

impl Wait {
    const KINDS: usize = RESOURCES + 2;

    fn position(self) -> usize {
        match self {
            Self::For(resource) => resource as usize,
            Self::Threads => RESOURCES,
            Self::Pause => RESOURCES + 1,
        }
    }
}

/// What passed since the limits were made, and how long threads waited, summed over them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Bytes through the network.
    pub network_bytes: u64,
    /// Operations.
    pub operations: u64,
    /// Nanoseconds waited for read, write, network, operations, CPU, threads, and the end of a pause.
    pub waited_ns: [u64; Wait::KINDS],
}

struct State {
    buckets: [Bucket; RESOURCES],
    /// CPU time of the process that its bucket was charged for.
    cpu_seen: Duration,
    threads_max: Option<usize>,
    threads: usize,
    paused: bool,
}

/// Limits of a run, shared by its threads and whoever steers it.
pub struct Limits {
    /// No rate is set and nothing is paused: nobody needs the lock.
    free: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
    began: Instant,
    /// `usize::MAX`: no limit.
    memory_bytes: AtomicUsize,
    used: [AtomicU64; RESOURCES],
    waited_ns: [AtomicU64; Wait::KINDS],
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

impl Limits {
    /// No limits.
    pub fn new() -> Self {
        let state = State {
            buckets: [Bucket::FREE; RESOURCES],
            cpu_seen: Duration::ZERO,
            threads_max: None,
            threads: 0,
            paused: false,
        };
        Self {
            free: AtomicBool::new(true),
            state: Mutex::new(state),
            changed: Condvar::new(),
            began: Instant::now(),
            memory_bytes: AtomicUsize::new(usize::MAX),
            used: Default::default(),
            waited_ns: Default::default(),
        }
    }

    /// Sets a rate per second; `None` is no limit. Who waits is told at once.
    pub fn set(&self, resource: Resource, rate: Option<f64>) {
        let now = self.began.elapsed();
        self.change(|state| {
            if resource == Resource::Cpu {
                state.cpu_seen = process_cpu();
            }
            if let Some(bucket) = state.buckets.get_mut(resource as usize) {
                *bucket = Bucket::at(rate, now);
            }
        });
    }

    /// The rate as it is set.
    pub fn rate(&self, resource: Resource) -> Option<f64> {
        let state = self.state.lock();
        state.buckets.get(resource as usize).and_then(Bucket::rate)
    }

    /// Bytes per second read from sources; `None` is no limit.
    pub fn set_read(&self, bytes_per_s: Option<u64>) {
        self.set(Resource::Read, bytes_per_s.map(as_rate));
    }

    /// Bytes per second written to local stores; `None` is no limit.
    pub fn set_write(&self, bytes_per_s: Option<u64>) {
        self.set(Resource::Write, bytes_per_s.map(as_rate));
    }

    /// Threads that may compute at the same time; `None` is no limit, and at least one may.
    pub fn set_threads(&self, threads: Option<usize>) {
        self.change(|state| state.threads_max = threads.map(|threads| threads.max(1)));
    }

    /// The threads that may compute at the same time.
    pub fn threads(&self) -> Option<usize> {
        self.state.lock().threads_max
    }

    /// Bytes of packs in memory; `None` is what a run takes by itself.
    pub fn set_memory(&self, bytes: Option<usize>) {
        let bytes = bytes.map_or(usize::MAX, |bytes| bytes.max(MEMORY_BYTES_MIN));
        self.memory_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The bytes of packs in memory, at most `most`.
    pub fn memory_room(&self, most: usize) -> usize {
        self.memory_bytes.load(Ordering::Relaxed).min(most)
    }

    /// Holds every read, write and computation until [`Self::resume`].
    pub fn pause(&self) {
        self.change(|state| state.paused = true);
    }

    /// Lets a paused run go on.
    pub fn resume(&self) {
        self.change(|state| state.paused = false);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.state.lock().paused
    }

    /// Whether anything is limited: then files are flushed in small steps.
    pub fn is_limited(&self) -> bool {
        !self.free.load(Ordering::Acquire)
    }

    /// How much to ask for at once, so that a slow rate is kept over short times too: at most `most`.
    // Between the smallest step and `most`: neither sign nor size can be lost.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn step(&self, resource: Resource, most: usize) -> usize {
        if !self.is_limited() {
            return most;
        }
        let Some(rate) = self.rate(resource) else {
            return most;
        };
        let wanted = (rate * STEP_SECONDS).min(1e15) as usize;
        (wanted & !(STEP_BYTES_MIN - 1))
            .max(STEP_BYTES_MIN)
            .min(most.max(1))
    }

    /// Waits until that many bytes may be read, by one operation. Ask for at most [`Self::step`].
    pub fn take_read(&self, bytes: u64, stop: &AtomicBool) -> Result<(), Error> {
        self.take(Some(Resource::Read), bytes, 1, stop)
    }

    /// Waits until a file of that many bytes may be opened and read: two operations.
    pub fn take_file(&self, bytes: u64, stop: &AtomicBool) -> Result<(), Error> {
        self.take(Some(Resource::Read), bytes, 2, stop)
    }

    /// Waits until that many bytes may be written, by one operation.
    pub fn take_write(&self, bytes: u64, stop: &AtomicBool) -> Result<(), Error> {
        self.take(Some(Resource::Write), bytes, 1, stop)
    }

    /// Waits until that many bytes may go through the network.
    pub fn take_network(&self, bytes: u64, stop: &AtomicBool) -> Result<(), Error> {
        self.take(Some(Resource::Network), bytes, 0, stop)
    }

    /// Waits until the disk may be asked that often.
    pub fn take_operations(&self, operations: u64, stop: &AtomicBool) -> Result<(), Error> {
        self.take(None, 0, operations, stop)
    }

    /// Takes network bytes without waiting; else how long to wait before asking again. For those who must not block.
    pub fn try_network(&self, bytes: u64) -> Result<(), Duration> {
        self.try_take(Resource::Network, bytes)
    }

    /// Takes bytes of a resource without waiting, and no operation of a disk; else how long to wait before asking again.
    pub fn try_take(&self, resource: Resource, bytes: u64) -> Result<(), Duration> {
        if self.is_limited() {
            let mut state = self.state.lock();
            state
                .pass(Some(resource), bytes, 0, self.began.elapsed())
                .map_err(|(_, wait)| wait.min(LOOK_AGAIN))?;
        }
        self.count(Some(resource), bytes, 0);
        Ok(())
    }

    /// Waits for a place to compute, and until there is CPU time for it. Give the place back by dropping it.
    pub fn place(&self, stop: &AtomicBool) -> Result<Place<'_>, Error> {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        if !self.is_limited() {
            return Ok(Place(None));
        }
        let mut state = self.state.lock();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let full = state.threads_max.is_some_and(|max| state.threads >= max);
            let (wait, time) = if full {
                (Wait::Threads, LOOK_AGAIN)
            } else {
                match state.pass(None, 0, 0, self.began.elapsed()) {
                    Ok(()) => {
                        state.threads += 1;
                        return Ok(Place(Some(self)));
                    }
                    Err(refused) => refused,
                }
            };
            self.wait(&mut state, wait, time);
        }
    }

    /// What passed so far.
    pub fn used(&self) -> Used {
        let get = |resource: Resource| {
            self.used
                .get(resource as usize)
                .map_or(0, |counter| counter.load(Ordering::Relaxed))
        };
        let mut waited_ns = [0; Wait::KINDS];
        for (out, counter) in waited_ns.iter_mut().zip(&self.waited_ns) {
            *out = counter.load(Ordering::Relaxed);
        }
        Used {
            read_bytes: get(Resource::Read),
            write_bytes: get(Resource::Write),
            network_bytes: get(Resource::Network),
            operations: get(Resource::Operations),
            waited_ns,
        }
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        how(&mut state);
        let free = !state.paused
            && state.threads_max.is_none()
            && state.buckets.iter().all(|bucket| bucket.rate().is_none());
        self.free.store(free, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    fn take(
        &self,
        resource: Option<Resource>,
        bytes: u64,
        operations: u64,
        stop: &AtomicBool,
    ) -> Result<(), Error> {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        if self.is_limited() {
            let mut state = self.state.lock();
            loop {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Stopped);
                }
                match state.pass(resource, bytes, operations, self.began.elapsed()) {
                    Ok(()) => break,
                    Err((wait, time)) => self.wait(&mut state, wait, time),
                }
            }
        }
        self.count(resource, bytes, operations);
        Ok(())
    }

    fn wait(&self, state: &mut parking_lot::MutexGuard<'_, State>, wait: Wait, time: Duration) {
        let began = Instant::now();
        self.changed.wait_for(state, time.min(LOOK_AGAIN));
        let waited = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some(counter) = self.waited_ns.get(wait.position()) {
            counter.fetch_add(waited, Ordering::Relaxed);
        }
    }

    fn count(&self, resource: Option<Resource>, bytes: u64, operations: u64) {
        let add = |resource: Resource, amount: u64| {
            if let Some(counter) = self.used.get(resource as usize).filter(|_| amount > 0) {
                counter.fetch_add(amount, Ordering::Relaxed);
            }
        };
        if let Some(resource) = resource {
            add(resource, bytes);
        }
        add(Resource::Operations, operations);
    }
}

impl State {
    /// Takes all that is asked for, if nothing that it needs is in debt; else what to wait for and how long.
    fn pass(
        &mut self,
        resource: Option<Resource>,
        bytes: u64,
        operations: u64,
        now: Duration,
    ) -> Result<(), (Wait, Duration)> {
        if self.paused {
            return Err((Wait::Pause, LOOK_AGAIN));
        }
        self.charge_cpu();
        let bytes_of = resource.map(|resource| (resource, as_rate(bytes)));
        let calls = (operations > 0).then(|| (Resource::Operations, as_rate(operations)));
        let wanted = [Some((Resource::Cpu, 0.0)), calls, bytes_of];
        for (resource, _) in wanted.into_iter().flatten() {
            let debt = self
                .buckets
                .get_mut(resource as usize)
                .and_then(|bucket| bucket.debt(now));
            if let Some(debt) = debt {
                return Err((Wait::For(resource), debt));
            }
        }
        for (resource, amount) in wanted.into_iter().flatten() {
            if let Some(bucket) = self.buckets.get_mut(resource as usize) {
                bucket.spend(amount);
            }
        }
        Ok(())
    }

    /// Charges what the whole process computed since the last time: every thread pays, whoever comes next waits.
    fn charge_cpu(&mut self) {
        if let Some(bucket) = self
            .buckets
            .get_mut(Resource::Cpu as usize)
            .filter(|bucket| bucket.rate().is_some())
        {
            let seen = process_cpu();
            bucket.spend(seen.saturating_sub(self.cpu_seen).as_secs_f64());
            self.cpu_seen = seen;
        }
    }
}

/// A place among the computing threads, until it is dropped.
pub struct Place<'a>(Option<&'a Limits>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(limits) = self.0 {
            let mut state = limits.state.lock();
            state.threads = state.threads.saturating_sub(1);
            drop(state);
            limits.changed.notify_all();
        }
    }
}

// A rate beyond 2^52 per second may be off by one.
#[allow(clippy::cast_precision_loss)]
fn as_rate(amount: u64) -> f64 {
    amount as f64
}

fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
#[path = "limits/tests.rs"]
mod tests;
