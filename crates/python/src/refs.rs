//! Reference sets: which segments a class tree needs.
use holdfast_engine as engine;
use holdfast_engine::Origin;
use holdfast_engine::refs::StoredRefs;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors;
use crate::keys::fixed;

/// A set of segments.
#[pyclass(frozen, module = "holdfast._core")]
#[derive(Default)]
pub struct RefSet {
    inner: Mutex<engine::refs::RefSet>,
}

impl From<engine::refs::RefSet> for RefSet {
    fn from(inner: engine::refs::RefSet) -> Self {
        Self {
            inner: Mutex::new(inner),
        }
    }
}

impl RefSet {
    /// A copy of the engine's set.
    pub fn get(&self) -> engine::refs::RefSet {
        self.inner.lock().clone()
    }
}

#[pymethods]
impl RefSet {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Reads a stored set; a delta needs the set it is a delta to.
    #[staticmethod]
    #[pyo3(signature = (payload, parent=None))]
    fn decode(payload: PyBackedBytes, parent: Option<&Self>) -> PyResult<Self> {
        let stored = engine::refs::StoredRefs::parse(&payload).map_err(errors::engine)?;
        match stored {
            StoredRefs::Full(set) => Ok(set.into()),
            StoredRefs::Delta { added, removed, .. } => {
                let parent =
                    parent.ok_or_else(|| PyValueError::new_err("a delta needs its parent set"))?;
                let mut set = parent.get();
                set.subtract(&removed);
                set.union(&added);
                Ok(set.into())
            }
        }
    }

    /// SHA of the parent that a stored set is a delta to; None if it is a full one.
    #[staticmethod]
    fn parent_of(py: Python<'_>, payload: PyBackedBytes) -> PyResult<Option<Bound<'_, PyBytes>>> {
        let stored = engine::refs::StoredRefs::parse(&payload).map_err(errors::engine)?;
        Ok(match stored {
            StoredRefs::Full(_) => None,
            StoredRefs::Delta { parent, .. } => Some(PyBytes::new(py, &parent)),
        })
    }

    fn add(&self, origin: &[u8], ordinal: u32) -> PyResult<()> {
        self.inner
            .lock()
            .add(Origin(fixed(origin, "origin")?), ordinal);
        Ok(())
    }

    fn contains(&self, origin: &[u8], ordinal: u32) -> PyResult<bool> {
        Ok(self
            .inner
            .lock()
            .contains(&Origin(fixed(origin, "origin")?), ordinal))
    }

    /// All segments by origin, both sorted.
    fn iter_origins(&self, py: Python<'_>) -> Vec<(Py<PyBytes>, Vec<u32>)> {
        let mut found: Vec<(Py<PyBytes>, Vec<u32>)> = Vec::new();
        let mut last = None;
        for (origin, ordinal) in self.inner.lock().iter() {
            if last != Some(origin) {
                found.push((PyBytes::new(py, &origin.0).unbind(), Vec::new()));
                last = Some(origin);
            }
            if let Some((_, ordinals)) = found.last_mut() {
                ordinals.push(ordinal);
            }
        }
        found
    }

    fn encode_full<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.lock().encode_full())
    }

    fn encode_delta<'py>(
        &self,
        py: Python<'py>,
        parent: &Self,
        parent_sha: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let sha = fixed(parent_sha, "parent_sha")?;
        let parent = parent.get();
        Ok(PyBytes::new(
            py,
            &self.inner.lock().encode_delta(&parent, sha),
        ))
    }

    fn union(&self, other: &Self) {
        let other = other.get();
        self.inner.lock().union(&other);
    }

    fn subtract(&self, other: &Self) {
        let other = other.get();
        self.inner.lock().subtract(&other);
    }

    #[getter]
    fn segments(&self) -> u64 {
        self.inner.lock().segments_len()
    }

    fn __eq__(&self, other: &Self) -> bool {
        let other = other.get();
        *self.inner.lock() == other
    }
}

/// Adds the class to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<RefSet>()
}
