//! Secrets of classes, and fixed-length values from Python bytes.
use std::sync::Arc;

use holdfast_engine as engine;
use holdfast_engine::{ClassId, Generation, PackName, VaultId};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The secrets of one class generation that every writer of the class has.
#[pyclass(frozen, module = "holdfast._core")]
pub struct ClassKeys {
    /// The engine's own.
    pub inner: Arc<engine::ClassKeys>,
}

#[pymethods]
impl ClassKeys {
    #[new]
    fn new(
        vault: &[u8],
        class_id: u16,
        generation: u32,
        dedup_key: &[u8],
        index_key: &[u8],
    ) -> PyResult<Self> {
        Ok(Self {
            inner: Arc::new(engine::ClassKeys::new(
                VaultId(fixed(vault, "vault")?),
                ClassId(class_id),
                Generation(generation),
                &fixed(dedup_key, "dedup_key")?,
                &fixed(index_key, "index_key")?,
            )),
        })
    }

    #[getter]
    fn class_id(&self) -> u16 {
        self.inner.class().0
    }

    #[getter]
    fn generation(&self) -> u32 {
        self.inner.generation().0
    }

    /// The keyed hash of a path, as writer state records it.
    fn path_hash(&self, path: &[u8]) -> u64 {
        self.inner.path_hash(path)
    }
}

/// Bytes of exactly `N`, or a `ValueError` that names the parameter.
pub fn fixed<const N: usize>(bytes: &[u8], name: &str) -> PyResult<[u8; N]> {
    bytes.try_into().map_err(|_| {
        PyValueError::new_err(format!("{name} must be {N} bytes, not {}", bytes.len()))
    })
}

/// Names of packs from raw bytes.
pub fn pack_names(names: &[Vec<u8>]) -> PyResult<Vec<PackName>> {
    names
        .iter()
        .map(|name| fixed(name, "pack name").map(PackName))
        .collect()
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ClassKeys>()
}
