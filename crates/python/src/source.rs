//! Where packs are read, and who opens run keys: Python behind the engine's traits.
#![allow(
    clippy::needless_pass_by_value,
    reason = "PyO3 hands over what it extracted"
)]
use std::sync::Arc;

use holdfast_engine::{ClassId, Error as EngineError, Generation, RunKey};
use holdfast_pipeline as pipeline;
use holdfast_pipeline::reader::EnvelopeOpener;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors;
use crate::keys::{ClassKeys, fixed};

/// `ENOENT`.
const MISSING: i32 = 2;
/// Bytes of one read through a callback.
const CALLBACK_SPAN_BYTES: u64 = 8 << 20;

/// Where packs are read from.
#[pyclass(frozen, module = "holdfast._core")]
pub struct PackSource {
    /// The pipeline's own.
    pub inner: Arc<dyn pipeline::source::PackSource>,
}

#[pymethods]
impl PackSource {
    #[staticmethod]
    fn local(root: std::path::PathBuf) -> Self {
        Self {
            inner: Arc::new(pipeline::source::LocalSource::new(root)),
        }
    }

    #[staticmethod]
    fn callback(read: Py<PyAny>) -> Self {
        Self {
            inner: Arc::new(Callback(read)),
        }
    }
}

struct Callback(Py<PyAny>);

impl pipeline::source::PackSource for Callback {
    fn read(&self, name: &str, offset: u64, len: u64) -> Result<Vec<u8>, pipeline::Error> {
        Python::attach(|py| {
            let answer = self.0.call1(py, (name, offset, len));
            let bytes: PyResult<PyBackedBytes> =
                answer.and_then(|answer| answer.extract(py).map_err(Into::into));
            match bytes {
                Ok(bytes) => Ok(bytes.to_vec()),
                Err(error) => Err(match code_of(py, &error).as_deref() {
                    Some("object-missing") => pipeline::Error::Io {
                        what: "read pack",
                        errno: MISSING,
                    },
                    Some("damage") => EngineError::Damaged {
                        what: "a store's answer",
                    }
                    .into(),
                    _ => errors::passed_through(error).into(),
                }),
            }
        })
    }

    fn span_bytes(&self) -> u64 {
        CALLBACK_SPAN_BYTES
    }
}

/// The stable code of one of Holdfast's own errors.
fn code_of(py: Python<'_>, error: &PyErr) -> Option<String> {
    error.value(py).getattr("code").ok()?.extract().ok()
}

/// The keys to content.
#[pyclass(frozen, module = "holdfast._core")]
pub struct KeyRing {
    /// The pipeline's own.
    pub inner: Arc<pipeline::reader::KeyRing>,
}

#[pymethods]
impl KeyRing {
    #[new]
    fn new(keys: Vec<PyRef<'_, ClassKeys>>, open_envelope: Py<PyAny>) -> Self {
        let keys = keys.iter().map(|keys| Arc::clone(&keys.inner));
        Self {
            inner: Arc::new(pipeline::reader::KeyRing::new(
                keys,
                Box::new(Opener(open_envelope)),
            )),
        }
    }
}

struct Opener(Py<PyAny>);

impl EnvelopeOpener for Opener {
    fn open(
        &self,
        class: ClassId,
        generation: Generation,
        envelope: &[u8],
    ) -> Result<RunKey, EngineError> {
        Python::attach(|py| {
            let answer = self
                .0
                .call1(py, (class.0, generation.0, PyBytes::new(py, envelope)));
            let opened = answer.and_then(|key| {
                let bytes: PyBackedBytes = key.extract(py)?;
                fixed(&bytes, "run key")
            });
            opened
                .map(RunKey)
                .map_err(|error| match code_of(py, &error) {
                    // A rotten envelope costs its pack, not the run; that the class's key is held was checked before.
                    Some(_) => EngineError::Damaged {
                        what: "an envelope does not open",
                    },
                    None => errors::passed_through(error),
                })
        })
    }
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<PackSource>()?;
    module.add_class::<KeyRing>()
}
