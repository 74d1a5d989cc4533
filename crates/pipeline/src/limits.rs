//! How fast a run may read and write, and whether it may go on: settable while it runs, obeyed in the middle of a file.
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::Error;

/// Longest wait before looking again whether the run was stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What may be taken at once after idling, in seconds of the rate.
const BURST_SECONDS: f64 = 0.1;

struct Bucket {
    bytes_per_s: Option<u64>,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new() -> Self {
        Self {
            bytes_per_s: None,
            tokens: 0.0,
            filled: Instant::now(),
        }
    }

    fn set(&mut self, bytes_per_s: Option<u64>) {
        // Debt made under a higher rate must not outlive it.
        *self = Self {
            bytes_per_s,
            ..Self::new()
        };
    }

    /// Takes the bytes, into debt, as soon as there is no debt; else how long the debt will last.
    // A rate beyond 2^52 bytes per second may be off by one.
    #[allow(clippy::cast_precision_loss)]
    fn take(&mut self, bytes: u64) -> Result<(), Duration> {
        let Some(rate) = self.bytes_per_s else {
            return Ok(());
        };
        let rate = rate.max(1) as f64;
        let now = Instant::now();
        let earned = now.duration_since(self.filled).as_secs_f64() * rate;
        self.tokens = (self.tokens + earned).min(rate * BURST_SECONDS);
        self.filled = now;
        if self.tokens < 0.0 {
            return Err(Duration::from_secs_f64((-self.tokens / rate).min(3600.0)));
        }
        self.tokens -= bytes as f64;
        Ok(())
    }
}

struct State {
    read: Bucket,
    write: Bucket,
    paused: bool,
}

/// Rates of a run, shared by its threads and whoever steers it.
pub struct Limits {
    /// No rate is set and nothing is paused: nobody needs the lock.
    free: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
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
            read: Bucket::new(),
            write: Bucket::new(),
            paused: false,
        };
        Self {
            free: AtomicBool::new(true),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Bytes per second read from sources; `None` is no limit.
    pub fn set_read(&self, bytes_per_s: Option<u64>) {
        self.change(|state| state.read.set(bytes_per_s));
    }

    /// Bytes per second written to local stores; `None` is no limit.
    pub fn set_write(&self, bytes_per_s: Option<u64>) {
        self.change(|state| state.write.set(bytes_per_s));
    }

    /// The limits as they are: (read, write).
    pub fn rates(&self) -> (Option<u64>, Option<u64>) {
        let state = self.state.lock();
        (state.read.bytes_per_s, state.write.bytes_per_s)
    }

    /// Holds every read and write until [`Self::resume`].
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

    /// Waits until that many bytes may be read. Ask for at most about a megabyte at once.
    pub fn take_read(&self, bytes: u64, stop: &AtomicBool) -> Result<(), Error> {
        self.take(bytes, stop, |state| &mut state.read)
    }

    /// Waits until that many bytes may be written.
    pub fn take_write(&self, bytes: u64, stop: &AtomicBool) -> Result<(), Error> {
        self.take(bytes, stop, |state| &mut state.write)
    }

    /// Takes that many bytes of reading now, or says how long to wait before asking again. Never blocks.
    pub fn try_read(&self, bytes: u64) -> Result<(), Duration> {
        self.try_take(bytes, |state| &mut state.read)
    }

    /// Takes that many bytes of writing now, or says how long to wait before asking again. Never blocks.
    pub fn try_write(&self, bytes: u64) -> Result<(), Duration> {
        self.try_take(bytes, |state| &mut state.write)
    }

    fn try_take(
        &self,
        bytes: u64,
        bucket: impl Fn(&mut State) -> &mut Bucket,
    ) -> Result<(), Duration> {
        if self.free.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.state.lock();
        if state.paused {
            return Err(LOOK_AGAIN);
        }
        bucket(&mut state).take(bytes)
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        how(&mut state);
        let free =
            !state.paused && state.read.bytes_per_s.is_none() && state.write.bytes_per_s.is_none();
        self.free.store(free, Ordering::Release);
        drop(state);
        self.changed.notify_all();
    }

    fn take(
        &self,
        bytes: u64,
        stop: &AtomicBool,
        bucket: impl Fn(&mut State) -> &mut Bucket,
    ) -> Result<(), Error> {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        if self.free.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.state.lock();
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let wait = if state.paused {
                LOOK_AGAIN
            } else {
                match bucket(&mut state).take(bytes) {
                    Ok(()) => return Ok(()),
                    Err(wait) => wait.min(LOOK_AGAIN),
                }
            };
            self.changed.wait_for(&mut state, wait);
        }
    }
}

#[cfg(test)]
mod tests {
    //! Rates hold on average, change at once, and never keep a stopped run.
    use super::*;

    static RUNNING: AtomicBool = AtomicBool::new(false);

    #[test]
    fn a_rate_holds() {
        let limits = Limits::new();
        limits.set_read(Some(1_000_000));
        let begin = Instant::now();
        for _ in 0..30 {
            limits.take_read(10_000, &RUNNING).expect("running");
        }
        assert!(
            begin.elapsed() >= Duration::from_millis(150),
            "{:?}",
            begin.elapsed()
        );
        limits
            .take_write(1 << 40, &RUNNING)
            .expect("the other direction is free");
    }

    #[test]
    fn lifting_a_limit_frees_a_waiting_reader() {
        let limits = std::sync::Arc::new(Limits::new());
        limits.set_read(Some(1));
        limits.take_read(1_000_000, &RUNNING).expect("debt");
        let waiting = std::sync::Arc::clone(&limits);
        let reader = std::thread::spawn(move || waiting.take_read(1, &RUNNING).is_ok());
        limits.set_read(None);
        assert!(reader.join().expect("joined"));
    }

    #[test]
    fn a_paused_run_can_be_stopped_and_resumed() {
        let limits = Limits::new();
        limits.pause();
        assert!(limits.is_paused());
        let stop = AtomicBool::new(true);
        assert!(matches!(limits.take_read(1, &stop), Err(Error::Stopped)));
        limits.resume();
        assert!(limits.take_read(1, &RUNNING).is_ok());
    }
}
