//! One file's content to a descriptor, within the limits, ended by a signal.
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use holdfast_pipeline as pipeline;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::errors;
use crate::files::Limits;
use crate::reader::{Entry, Reader};

/// How often a long read looks for signals.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Writes a file's content to a descriptor, proved span by span; returns its length. A signal's handler that raises ends it.
#[pyfunction]
// The caller keeps the descriptor open during the call, as with `os.write`.
#[allow(unsafe_code)]
fn read_file(
    py: Python<'_>,
    reader: &Reader,
    entry: &Entry,
    write: i32,
    limits: &Limits,
) -> PyResult<u64> {
    // SAFETY: see above; the borrow ends with the call.
    let out = unsafe { BorrowedFd::borrow_raw(write) };
    let stop = AtomicBool::new(false);
    let raised = Mutex::new(None);
    let read = py.detach(|| {
        let (ended, end) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let (reader, entry, limits) = (&reader.inner, &entry.inner, &limits.inner);
            let stop = &stop;
            let thread = scope.spawn(move || {
                // Dropped at the end, however it comes.
                let _ended = ended;
                pipeline::read_file::read_file(reader, entry, out, limits, stop)
            });
            while end.recv_timeout(LOOK_AGAIN) == Err(RecvTimeoutError::Timeout) {
                #[allow(
                    clippy::redundant_closure_for_method_calls,
                    reason = "the method is not general over lifetimes"
                )]
                let signal = Python::attach(|py| py.check_signals());
                if let Err(error) = signal {
                    raised.lock().get_or_insert(error);
                    stop.store(true, Ordering::Relaxed);
                }
            }
            thread.join()
        })
    });
    if let Some(error) = raised.into_inner() {
        return Err(error);
    }
    let read = read.unwrap_or(Err(pipeline::Error::Internal("a reader that panicked")));
    read.map_err(errors::pipeline)
}

/// Adds the function to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(read_file, module)?)
}
