//! What lost segments cost.
#![allow(
    clippy::needless_pass_by_value,
    reason = "PyO3 hands over what it extracted"
)]
use std::sync::Arc;

use holdfast_engine::Origin;
use holdfast_engine::index_set::PackSegment;
use holdfast_pipeline::affected as pipeline;
use parking_lot::Mutex;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;
use crate::files::Limits;
use crate::keys::{fixed, pack_names};
use crate::reader::Reader;

/// A pack's name, an origin and an ordinal.
pub type Row = (Py<PyBytes>, Py<PyBytes>, u32);

/// Rows as Python takes them.
pub fn rows(py: Python<'_>, found: &[PackSegment]) -> Vec<Row> {
    let row = |row: &PackSegment| {
        let pack = PyBytes::new(py, &row.pack.0).unbind();
        (pack, PyBytes::new(py, &row.origin.0).unbind(), row.ordinal)
    };
    found.iter().map(row).collect()
}

/// What is lost of one tree.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct TreeCost {
    files: u64,
    bytes: u64,
    unlisted: u64,
    unnamed: u64,
    unnamed_bytes: u64,
    lost: bool,
    packs: Vec<u32>,
}

/// What one pack costs in all trees.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct PackCost {
    files: u64,
    bytes: u64,
    unnamed: u64,
    paths: Vec<Py<PyBytes>>,
}

impl PackCost {
    fn new(py: Python<'_>, cost: &pipeline::PackCost) -> Self {
        let paths = cost.paths.iter();
        Self {
            files: cost.files,
            bytes: cost.bytes,
            unnamed: cost.unnamed,
            paths: paths.map(|path| PyBytes::new(py, path).unbind()).collect(),
        }
    }
}

/// Looks for what does not come back.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Affected(Mutex<pipeline::Affected>);

#[pymethods]
impl Affected {
    #[new]
    fn new(
        reader: &Reader,
        lost: Vec<(Vec<u8>, u32, u32)>,
        packs: usize,
        paths_max: usize,
    ) -> PyResult<Self> {
        let lost = lost
            .iter()
            .map(|(origin, ordinal, pack)| {
                Ok(((Origin(fixed(origin, "origin")?), *ordinal), *pack))
            })
            .collect::<PyResult<Vec<_>>>()?;
        let walk = pipeline::Affected::new(Arc::clone(&reader.inner), lost, packs, paths_max)
            .map_err(errors::pipeline)?;
        Ok(Self(Mutex::new(walk)))
    }

    fn walk(&self, py: Python<'_>, root: &str) -> PyResult<TreeCost> {
        let root = root.parse().map_err(errors::engine)?;
        let cost = py
            .detach(|| self.0.lock().walk(root))
            .map_err(errors::pipeline)?;
        Ok(TreeCost {
            files: cost.files,
            bytes: cost.bytes,
            unlisted: cost.unlisted,
            unnamed: cost.unnamed,
            unnamed_bytes: cost.unnamed_bytes,
            lost: cost.is_lost,
            packs: cost.packs,
        })
    }

    fn names(&self, py: Python<'_>, root: &str, most: usize) -> PyResult<Vec<Py<PyBytes>>> {
        let root = root.parse().map_err(errors::engine)?;
        let names = py
            .detach(|| self.0.lock().names(root, most))
            .map_err(errors::pipeline)?;
        let names = names.iter();
        Ok(names.map(|path| PyBytes::new(py, path).unbind()).collect())
    }

    fn pack(&self, py: Python<'_>, number: usize) -> PyResult<PackCost> {
        let walk = self.0.lock();
        let cost = walk
            .pack(number)
            .ok_or_else(|| PyIndexError::new_err("no pack of this number"))?;
        Ok(PackCost::new(py, cost))
    }

    fn total(&self, py: Python<'_>) -> PackCost {
        PackCost::new(py, self.0.lock().total())
    }
}

/// Segments of packs that do not open.
#[pyfunction]
fn unreadable(
    py: Python<'_>,
    reader: &Reader,
    packs: Vec<Vec<u8>>,
    limits: &Limits,
) -> PyResult<Vec<Row>> {
    let packs = pack_names(&packs)?;
    let limits = Arc::clone(&limits.inner);
    let found = py
        .detach(|| holdfast_pipeline::unreadable::unreadable(&reader.inner, packs, &limits))
        .map_err(errors::pipeline)?;
    Ok(rows(py, &found))
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(unreadable, module)?)?;
    module.add_class::<TreeCost>()?;
    module.add_class::<PackCost>()?;
    module.add_class::<Affected>()
}
