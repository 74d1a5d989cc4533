//! The engine under its Python name, `holdfast._core`.
use pyo3::prelude::*;

/// The module's contents.
#[pymodule]
fn _core(_module: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
