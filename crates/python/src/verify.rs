//! A proof of packs, polled from Python.
#![allow(
    clippy::needless_pass_by_value,
    reason = "PyO3 hands over what it extracted"
)]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_engine::{ClassId, Error as EngineError, Generation, RunKey};
use holdfast_pipeline as pipeline;
use holdfast_pipeline::reader::EnvelopeOpener;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;
use crate::files::Limits;
use crate::index::Index;
use crate::keys::pack_names;
use crate::source::{KeyRing, PackSource};

/// How far a proof is.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct VerifyProgress {
    packs: u64,
    bytes: u64,
    packs_total: u64,
    bytes_total: u64,
}

/// How one pack was found.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct PackVerdict {
    name: Py<PyBytes>,
    size: u64,
    segments: u32,
    opened: bool,
    reason: String,
    record: Option<Py<PyBytes>>,
    damaged: Vec<(Py<PyBytes>, u32)>,
}

/// Reads packs and proves them.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Verify {
    inner: pipeline::verify::Verify,
    finished: AtomicBool,
}

/// Stands where there are no keys.
struct Nobody;

impl EnvelopeOpener for Nobody {
    fn open(&self, _: ClassId, _: Generation, _: &[u8]) -> Result<RunKey, EngineError> {
        Err(EngineError::WrongKey {
            what: "no keys are at hand",
        })
    }
}

#[pymethods]
impl Verify {
    #[new]
    #[pyo3(signature = (*, index, keys, source, packs, limits, proved=None))]
    fn new(
        py: Python<'_>,
        index: &Index,
        keys: Option<&KeyRing>,
        source: &PackSource,
        packs: Vec<Vec<u8>>,
        limits: &Limits,
        proved: Option<Vec<Vec<u8>>>,
    ) -> PyResult<Self> {
        let packs = pack_names(&packs)?;
        let proved = pack_names(&proved.unwrap_or_default())?
            .into_iter()
            .collect();
        let keys = match keys {
            Some(keys) => Arc::clone(&keys.inner),
            None => Arc::new(pipeline::reader::KeyRing::new([], Box::new(Nobody))),
        };
        let reader = Arc::new(pipeline::reader::Reader {
            index: Arc::clone(&index.inner),
            keys,
            source: Arc::clone(&source.inner),
        });
        let limits = Arc::clone(&limits.inner);
        let inner = py
            .detach(|| pipeline::verify::Verify::start(reader, &packs, proved, limits))
            .map_err(errors::pipeline)?;
        Ok(Self {
            inner,
            finished: AtomicBool::new(false),
        })
    }

    /// The next verdict, or progress if there was none in time; None once all are told (or it is stopped).
    fn poll(&self, py: Python<'_>, timeout_s: f64) -> PyResult<Py<PyAny>> {
        if self.finished.load(Ordering::Relaxed) {
            return Ok(py.None());
        }
        let timeout =
            Duration::try_from_secs_f64(timeout_s.max(0.0)).unwrap_or(Duration::from_hours(1));
        match py.detach(|| self.inner.poll(timeout)) {
            Ok(Some(verdict)) => {
                let damaged = verdict.damaged.iter();
                let verdict = PackVerdict {
                    name: PyBytes::new(py, &verdict.name.0).unbind(),
                    size: verdict.size,
                    segments: verdict.segments,
                    opened: verdict.is_opened,
                    damaged: damaged
                        .map(|(origin, ordinal)| (PyBytes::new(py, &origin.0).unbind(), *ordinal))
                        .collect(),
                    record: verdict
                        .record
                        .map(|record| PyBytes::new(py, &record).unbind()),
                    reason: verdict.reason,
                };
                Ok(Py::new(py, verdict)?.into_any())
            }
            Ok(None) => {
                let counters = self.inner.counters();
                let progress = VerifyProgress {
                    packs: counters.packs.load(Ordering::Relaxed),
                    bytes: counters.bytes.load(Ordering::Relaxed),
                    packs_total: counters.packs_total.load(Ordering::Relaxed),
                    bytes_total: counters.bytes_total.load(Ordering::Relaxed),
                };
                Ok(Py::new(py, progress)?.into_any())
            }
            Err(ended) => {
                self.finished.store(true, Ordering::Relaxed);
                match ended {
                    None => Ok(py.None()),
                    Some(error) => Err(errors::pipeline(error)),
                }
            }
        }
    }

    fn stop(&self) {
        self.inner.stop();
    }

    #[getter]
    fn finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<VerifyProgress>()?;
    module.add_class::<PackVerdict>()?;
    module.add_class::<Verify>()
}
