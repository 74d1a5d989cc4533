//! Parity rows for Python.
use std::path::PathBuf;

use holdfast_pipeline::parity::ParityRows as Rows;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors;
use crate::files::lend;

/// Rows of one parity group, in unnamed files.
#[pyclass(frozen, module = "holdfast._core")]
pub struct ParityRows {
    inner: Mutex<Rows>,
}

#[pymethods]
impl ParityRows {
    #[new]
    fn new(folder: PathBuf, rows: usize) -> PyResult<Self> {
        let inner = Rows::new(&folder, rows).map_err(errors::pipeline)?;
        Ok(Self {
            inner: Mutex::new(inner),
        })
    }

    /// The length of the rows.
    #[getter]
    fn length(&self) -> u64 {
        self.inner.lock().len()
    }

    /// Adds the pack in a slot to all rows.
    fn add(&self, py: Python<'_>, slot: usize, pack: &Bound<'_, PyAny>) -> PyResult<()> {
        let pack = lend(pack)?;
        py.detach(|| self.inner.lock().add(slot, pack.as_ref()))
            .map_err(errors::pipeline)
    }

    /// Adds stored bytes of a row to it.
    fn add_row(&self, py: Python<'_>, row: usize, data: PyBackedBytes) -> PyResult<()> {
        py.detach(|| self.inner.lock().add_row(row, &data))
            .map_err(errors::pipeline)
    }

    /// A header and the first bytes of a row.
    fn row<'py>(
        &self,
        py: Python<'py>,
        row: usize,
        header: PyBackedBytes,
        length: usize,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let object = py
            .detach(|| self.inner.lock().row(row, &header, length))
            .map_err(errors::pipeline)?;
        Ok(PyBytes::new(py, &object))
    }

    /// Turns rows into lost packs.
    fn recover(&self, py: Python<'_>, lost: Vec<usize>, rows: Vec<usize>) -> PyResult<()> {
        py.detach(|| self.inner.lock().recover(&lost, &rows))
            .map_err(errors::pipeline)
    }
}

/// Adds the class to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ParityRows>()
}
