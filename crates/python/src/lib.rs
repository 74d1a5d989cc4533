//! The engine under its Python name, `holdfast._core`. Its stub, `src/holdfast/_core.pyi`, says what each function promises.
//!
//! One conversion of errors ([`errors`]); everything that blocks releases the interpreter ([`Python::detach`]).
// Python hands over values: a function that only reads them must take them all the same.
#![allow(clippy::needless_pass_by_value)]

mod affected;
mod catalog;
mod detect;
mod errors;
mod extract;
mod files;
mod index;
mod ingest;
mod keys;
mod left;
mod mount;
mod net;
mod parity;
mod plan;
mod read_file;
mod reader;
mod refs;
mod repack;
mod signs;
mod source;
mod verify;

use pyo3::prelude::*;

/// Computes the known answers of every primitive; returns how many were checked.
#[pyfunction]
fn self_test(py: Python<'_>) -> PyResult<u32> {
    py.detach(holdfast_engine::selftest::run)
        .map_err(errors::engine)
}

/// The module's contents.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(self_test, module)?)?;
    errors::register(module)?;
    keys::register(module)?;
    detect::register(module)?;
    index::register(module)?;
    net::register(module)?;
    parity::register(module)?;
    refs::register(module)?;
    repack::register(module)?;
    files::register(module)?;
    plan::register(module)?;
    ingest::register(module)?;
    source::register(module)?;
    reader::register(module)?;
    affected::register(module)?;
    read_file::register(module)?;
    extract::register(module)?;
    mount::register(module)?;
    verify::register(module)
}
