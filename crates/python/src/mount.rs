//! Mounted snapshots, watched from Python. No read of a file waits for the interpreter, unless its store is Python's.
#![allow(
    clippy::needless_pass_by_value,
    reason = "PyO3 hands over what it extracted"
)]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use holdfast_engine::Location;
use holdfast_mount::listing::TreeSet;
use holdfast_mount::read_only::{Opener, ReadOnly, Row, Shown};
use holdfast_mount::segments::Segments;
use holdfast_mount::session::{Mounted, Options, unmount};
use holdfast_mount::unread::Unread;
use holdfast_mount::upper::filesystem::Overlay;
use holdfast_mount::upper::fill::{Filler, Progress};
use holdfast_mount::upper::overlay::Core;
use holdfast_pipeline as pipeline;
use holdfast_pipeline::extract::attributes::{Names, Owners};
use parking_lot::Mutex;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::errors;
use crate::extract::SystemNames;
use crate::files::Limits;
use crate::keys::fixed;
use crate::reader::{Reader, Tree};

/// How far a mount is filled, and whether it is still there.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct MountProgress {
    /// Bytes and files that are here, of those that were gone through.
    bytes: u64,
    files: u64,
    /// Bytes that came from the vault in this mount.
    fetched_bytes: u64,
    /// Files that cannot be filled: their content is damaged or missing.
    lost_files: u64,
    /// The errno of a local disk that takes no more; 0: it does.
    stuck: u64,
    /// Everything is here.
    whole: bool,
    /// Answers that damage did not allow: number of the snapshot, how many.
    unread: Vec<(usize, u64)>,
}

/// A mounted file system.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Mount {
    mounted: Mutex<Option<Mounted>>,
    filling: Option<Filling>,
    unread: Arc<Unread>,
}

struct Filling {
    core: Arc<Core>,
    progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Asks Python for a snapshot's trees, once for each snapshot that is looked into.
struct Asking(Py<PyAny>);

impl Opener for Asking {
    fn open(&self, snapshot: usize) -> Result<Vec<Location>, pipeline::Error> {
        Python::attach(|py| {
            let answer = self.0.call1(py, (snapshot,));
            let trees: PyResult<Vec<Py<Tree>>> = answer.and_then(|answer| answer.extract(py));
            match trees {
                Ok(trees) => Ok(trees.iter().map(|tree| tree.get().root).collect()),
                Err(error) => Err(errors::passed_through(error).into()),
            }
        })
    }
}

fn owners(are_kept: bool) -> Owners {
    let names: Option<Box<dyn Names>> = if are_kept {
        Some(Box::new(SystemNames))
    } else {
        None
    };
    Owners::new(are_kept, names)
}

fn os_error(error: std::io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(errno) => PyOSError::new_err((errno, "mount")),
        None => PyOSError::new_err((5, error.to_string())),
    }
}

type RowGiven = (Vec<u8>, Option<usize>, Option<Vec<u8>>, i64);

#[pymethods]
impl Mount {
    /// Mounts snapshots read-only.
    #[staticmethod]
    #[pyo3(signature = (*, reader, rows, open, place, cache_bytes, allow_other, owners, totals))]
    #[allow(clippy::too_many_arguments)]
    fn read_only(
        py: Python<'_>,
        reader: &Reader,
        rows: Vec<RowGiven>,
        open: Py<PyAny>,
        place: std::path::PathBuf,
        cache_bytes: usize,
        allow_other: bool,
        owners: bool,
        totals: (u64, u64),
    ) -> PyResult<Self> {
        let rows = rows
            .into_iter()
            .map(|(path, snapshot, target, seconds)| {
                let shown = match (snapshot, target) {
                    (Some(snapshot), None) => Shown::Snapshot(snapshot),
                    (None, Some(target)) => Shown::Link(target),
                    _ => return Err(PyValueError::new_err("a row is a snapshot or a link")),
                };
                Ok(Row {
                    path,
                    shown,
                    mtime: (seconds, 0),
                })
            })
            .collect::<PyResult<_>>()?;
        let segments = Arc::new(Segments::new(Arc::clone(&reader.inner), cache_bytes));
        let fs = ReadOnly::new(
            segments,
            Box::new(Asking(open)),
            rows,
            self::owners(owners),
            totals,
        );
        let unread = fs.unread();
        let options = Options {
            read_only: true,
            allow_other,
        };
        let mounted = py
            .detach(|| Mounted::mount(fs, &place, options))
            .map_err(os_error)?;
        Ok(Self {
            mounted: Mutex::new(Some(mounted)),
            filling: None,
            unread,
        })
    }

    /// Mounts a snapshot with a local folder above it, and begins to fill that.
    #[staticmethod]
    #[pyo3(signature = (*, reader, trees, upper, place, boot, whole, limits, cache_bytes, allow_other, owners, fill))]
    #[allow(clippy::too_many_arguments)]
    #[allow(
        clippy::fn_params_excessive_bools,
        reason = "Python's keywords name them"
    )]
    fn writable(
        py: Python<'_>,
        reader: &Reader,
        trees: Vec<PyRef<'_, Tree>>,
        upper: std::path::PathBuf,
        place: std::path::PathBuf,
        boot: &[u8],
        whole: bool,
        limits: &Limits,
        cache_bytes: usize,
        allow_other: bool,
        owners: bool,
        fill: bool,
    ) -> PyResult<Self> {
        let segments = Arc::new(Segments::new(Arc::clone(&reader.inner), cache_bytes));
        let roots = trees.iter().map(|tree| tree.root).collect();
        let trees = Arc::new(TreeSet::new(roots, segments));
        let boot = fixed(boot, "boot")?;
        let core = Core::new(&upper, trees, self::owners(owners), boot, whole)
            .map_err(|errno| PyOSError::new_err((errno.raw_os_error(), "open upper")))?;
        let core = Arc::new(core);
        let options = Options {
            read_only: false,
            allow_other,
        };
        let fs = Overlay(Arc::clone(&core));
        let mounted = py
            .detach(|| Mounted::mount(fs, &place, options))
            .map_err(os_error)?;
        let progress = Arc::new(Progress::default());
        let stop = Arc::new(AtomicBool::new(false));
        let filler = Filler::new(
            Arc::clone(&core),
            Arc::clone(&limits.inner),
            Arc::clone(&stop),
            Arc::clone(&progress),
        );
        let thread = (fill && !whole)
            .then(|| {
                std::thread::Builder::new()
                    .name("holdfast-fill".into())
                    .spawn(move || filler.run())
            })
            .transpose()
            .map_err(os_error)?;
        Ok(Self {
            mounted: Mutex::new(Some(mounted)),
            filling: Some(Filling {
                core,
                progress,
                stop,
                thread: Mutex::new(thread),
            }),
            unread: Arc::default(),
        })
    }

    /// Whether it was unmounted, by whomever.
    #[getter]
    fn over(&self) -> bool {
        self.mounted.lock().as_ref().is_none_or(Mounted::is_over)
    }

    /// Asks the kernel to unmount; `OSError` with `EBUSY` while it is in use.
    fn unmount(&self, py: Python<'_>, lazily: bool) -> PyResult<()> {
        py.detach(|| {
            self.mounted
                .lock()
                .as_ref()
                .map_or(Ok(()), |mounted| mounted.unmount(lazily))
        })
        .map_err(os_error)
    }

    /// Waits for the end of what was unmounted, and for the background to stop.
    fn join(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| {
            if let Some(filling) = &self.filling {
                filling.stop.store(true, Ordering::Relaxed);
                let thread = filling.thread.lock().take();
                if let Some(thread) = thread {
                    let _ = thread.join();
                }
            }
            let mounted = self.mounted.lock().take();
            mounted.map_or(Ok(()), Mounted::join)
        })
        .map_err(os_error)
    }

    /// How far filling is.
    fn progress(&self) -> MountProgress {
        let Some(filling) = &self.filling else {
            return MountProgress {
                bytes: 0,
                files: 0,
                fetched_bytes: 0,
                lost_files: 0,
                stuck: 0,
                whole: true,
                unread: self.unread.counts(),
            };
        };
        let progress = &filling.progress;
        MountProgress {
            bytes: progress.here_bytes.load(Ordering::Relaxed),
            files: progress.here_files.load(Ordering::Relaxed),
            fetched_bytes: filling.core.fetched_bytes(),
            lost_files: progress.lost_files.load(Ordering::Relaxed),
            stuck: progress.stuck.load(Ordering::Relaxed),
            whole: filling.core.is_whole(),
            unread: filling.core.unread(),
        }
    }
}

/// Unmounts what is mounted at a place; `OSError`.
#[pyfunction]
fn unmount_place(py: Python<'_>, place: std::path::PathBuf, lazily: bool) -> PyResult<()> {
    py.detach(|| unmount(&place, lazily)).map_err(os_error)
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<MountProgress>()?;
    module.add_class::<Mount>()?;
    module.add_function(wrap_pyfunction!(unmount_place, module)?)
}
