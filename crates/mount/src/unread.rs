//! What applications were told they cannot read, counted: a mount must not end as if nothing had been.
use std::collections::BTreeMap;

use fuser::Errno;
use holdfast_pipeline::Error;
use parking_lot::Mutex;

use crate::attributes::errno;

/// Answers with `EIO`, by the number of the snapshot that was asked.
#[derive(Default)]
pub struct Unread(Mutex<BTreeMap<usize, u64>>);

impl Unread {
    /// What an application is told of an error; damage is counted.
    pub fn told(&self, snapshot: usize, error: &Error) -> Errno {
        self.noted(snapshot, errno(error))
    }

    /// The same error, counted if it tells of damage.
    pub fn noted(&self, snapshot: usize, told: Errno) -> Errno {
        if told.code() == Errno::EIO.code() {
            *self.0.lock().entry(snapshot).or_default() += 1;
        }
        told
    }

    /// How often what of each snapshot could not be read; those of which everything could are left out.
    pub fn counts(&self) -> Vec<(usize, u64)> {
        let counts = self.0.lock();
        counts.iter().map(|(at, count)| (*at, *count)).collect()
    }
}
