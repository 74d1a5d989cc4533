//! A restore, polled from Python.
#![allow(
    clippy::needless_pass_by_value,
    reason = "PyO3 hands over what it extracted"
)]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_pipeline as pipeline;
use holdfast_pipeline::extract::attributes::Names;
use holdfast_pipeline::extract::walk::Selection;
use holdfast_pipeline::extract::{Counters, Event, Overwrite, Request, path_of};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;
use crate::files::Limits;
use crate::ingest::FindingReady;
use crate::reader::{Reader, Tree};

/// How to restore.
// Each is a keyword of its own in Python.
#[allow(clippy::struct_excessive_bools)]
#[pyclass(frozen, module = "holdfast._core")]
pub struct ExtractOptions {
    overwrite: Overwrite,
    owners: bool,
    by_name: bool,
    dry_run: bool,
    workers: usize,
    sync: bool,
    keep_damaged: bool,
}

#[pymethods]
impl ExtractOptions {
    #[new]
    #[pyo3(signature = (*, overwrite="never", owners=false, by_name=true, dry_run=false, workers=0, sync=true, keep_damaged=true))]
    // Python's keywords name them.
    #[allow(clippy::fn_params_excessive_bools)]
    fn new(
        overwrite: &str,
        owners: bool,
        by_name: bool,
        dry_run: bool,
        workers: usize,
        sync: bool,
        keep_damaged: bool,
    ) -> PyResult<Self> {
        let overwrite = match overwrite {
            "never" => Overwrite::Never,
            "older" => Overwrite::Older,
            "always" => Overwrite::Always,
            _ => return Err(PyValueError::new_err("overwrite is never, older or always")),
        };
        Ok(Self {
            overwrite,
            owners,
            by_name,
            dry_run,
            workers,
            sync,
            keep_damaged,
        })
    }
}

/// How far a restore is.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct ExtractProgress {
    files: u64,
    folders: u64,
    bytes: u64,
    files_total: u64,
    bytes_total: u64,
    skipped: u64,
    stored_bytes: u64,
    findings: u64,
}

/// The end of a restore.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct ExtractFinished {
    files: u64,
    folders: u64,
    bytes: u64,
    skipped: u64,
    stored_bytes: u64,
    findings: u64,
    damaged: bool,
}

/// A restore in the engine's own threads.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Extract {
    inner: pipeline::extract::Extract,
    stopped: AtomicBool,
}

/// This machine's users and groups, as Python's `pwd` and `grp` know them.
pub struct SystemNames;

impl Names for SystemNames {
    fn user(&mut self, name: &[u8]) -> Option<u32> {
        ask("pwd", "getpwnam", "pw_uid", name)
    }

    fn group(&mut self, name: &[u8]) -> Option<u32> {
        ask("grp", "getgrnam", "gr_gid", name)
    }
}

fn ask(module: &str, function: &str, field: &str, name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name).ok()?;
    Python::attach(|py| {
        let row = py
            .import(module)
            .ok()?
            .getattr(function)
            .ok()?
            .call1((name,))
            .ok()?;
        row.getattr(field).ok()?.extract().ok()
    })
}

#[pymethods]
impl Extract {
    #[new]
    #[pyo3(signature = (*, reader, trees, target, include, exclude, options, limits))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        reader: &Reader,
        trees: Vec<(u16, PyRef<'_, Tree>)>,
        target: &[u8],
        include: Vec<Vec<u8>>,
        exclude: Vec<String>,
        options: &ExtractOptions,
        limits: &Limits,
    ) -> PyResult<Self> {
        let selection = Selection::new(include, &exclude).map_err(|position| {
            PyValueError::new_err(format!("pattern {position} cannot be understood"))
        })?;
        let names: Option<Box<dyn Names>> = if options.owners && options.by_name {
            Some(Box::new(SystemNames))
        } else {
            None
        };
        let request = Request {
            trees: trees
                .iter()
                .map(|(class, tree)| (*class, tree.root))
                .collect(),
            selection,
            target: path_of(target),
            overwrite: options.overwrite,
            owners: options.owners,
            names,
            dry_run: options.dry_run,
            workers: options.workers,
            sync: options.sync,
            keep_damaged: options.keep_damaged,
        };
        let (reader, limits) = (Arc::clone(&reader.inner), Arc::clone(&limits.inner));
        let inner = py
            .detach(|| pipeline::extract::Extract::start(reader, request, limits))
            .map_err(errors::pipeline)?;
        Ok(Self {
            inner,
            stopped: AtomicBool::new(false),
        })
    }

    /// The next event, or progress if there was none in time; None once it is stopped.
    fn poll(&self, py: Python<'_>, timeout_s: f64) -> PyResult<Py<PyAny>> {
        if self.stopped.load(Ordering::Relaxed) {
            return Ok(py.None());
        }
        let timeout =
            Duration::try_from_secs_f64(timeout_s.max(0.0)).unwrap_or(Duration::from_hours(1));
        let event = py.detach(|| self.inner.poll(timeout));
        let counters = self.inner.counters();
        match event {
            None => any(py, progress(counters)),
            Some(Event::Finding(finding)) => any(
                py,
                FindingReady::new(
                    py,
                    &finding.path,
                    finding.kind.code(),
                    finding.detail,
                    finding.class,
                ),
            ),
            Some(Event::Finished(Ok(()))) => any(py, finished(counters)),
            Some(Event::Finished(Err(pipeline::Error::Stopped))) => {
                self.stopped.store(true, Ordering::Relaxed);
                Ok(py.None())
            }
            Some(Event::Finished(Err(error))) => Err(errors::pipeline(error)),
        }
    }

    fn stop(&self) {
        self.inner.stop();
    }

    #[getter]
    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

fn any<T: pyo3::PyClass + Into<PyClassInitializer<T>>>(
    py: Python<'_>,
    value: T,
) -> PyResult<Py<PyAny>> {
    Ok(Py::new(py, value)?.into_any())
}

fn progress(counters: &Counters) -> ExtractProgress {
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    ExtractProgress {
        files: get(&counters.files),
        folders: get(&counters.folders),
        bytes: get(&counters.bytes),
        files_total: get(&counters.files_total),
        bytes_total: get(&counters.bytes_total),
        skipped: get(&counters.skipped),
        stored_bytes: get(&counters.stored_bytes),
        findings: get(&counters.findings),
    }
}

fn finished(counters: &Counters) -> ExtractFinished {
    let end = progress(counters);
    ExtractFinished {
        files: end.files,
        folders: end.folders,
        bytes: end.bytes,
        skipped: end.skipped,
        stored_bytes: end.stored_bytes,
        findings: end.findings,
        damaged: counters.damaged.load(Ordering::Relaxed) > 0,
    }
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ExtractOptions>()?;
    module.add_class::<ExtractProgress>()?;
    module.add_class::<ExtractFinished>()?;
    module.add_class::<Extract>()
}
