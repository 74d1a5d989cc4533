//! Durable files, limits, and the bytes of packs on their way from the engine to a store.
use std::ffi::c_int;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use holdfast_pipeline as pipeline;
use holdfast_pipeline::local::{Rate, Unlimited};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::errors;

/// Rates in bytes per second and a pause switch, settable while running.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Limits {
    /// The pipeline's own.
    pub inner: Arc<pipeline::limits::Limits>,
}

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(signature = (read_bytes_per_s=None, write_bytes_per_s=None))]
    fn new(read_bytes_per_s: Option<u64>, write_bytes_per_s: Option<u64>) -> Self {
        let inner = pipeline::limits::Limits::new();
        inner.set_read(read_bytes_per_s);
        inner.set_write(write_bytes_per_s);
        Self {
            inner: Arc::new(inner),
        }
    }

    #[getter]
    fn read_bytes_per_s(&self) -> Option<u64> {
        self.inner.rates().0
    }

    #[setter]
    fn set_read_bytes_per_s(&self, rate: Option<u64>) {
        self.inner.set_read(rate);
    }

    #[getter]
    fn write_bytes_per_s(&self) -> Option<u64> {
        self.inner.rates().1
    }

    #[setter]
    fn set_write_bytes_per_s(&self, rate: Option<u64>) {
        self.inner.set_write(rate);
    }

    fn pause(&self) {
        self.inner.pause();
    }

    fn resume(&self) {
        self.inner.resume();
    }

    #[getter]
    fn paused(&self) -> bool {
        self.inner.is_paused()
    }
}

struct WriteRate(Arc<pipeline::limits::Limits>);

impl Rate for WriteRate {
    fn spend(&self, bytes: u64) -> Result<(), pipeline::Error> {
        self.0.take_write(bytes, &AtomicBool::new(false))
    }
}

/// The bytes of a finished pack, shared with the engine without a copy. Supports the buffer protocol, read-only.
#[pyclass(frozen, module = "holdfast._core")]
pub struct PackData {
    inner: Arc<Vec<u8>>,
}

impl PackData {
    /// Shares bytes with Python.
    #[allow(dead_code, reason = "used by ingest")]
    pub fn new(inner: Arc<Vec<u8>>) -> Self {
        Self { inner }
    }

    /// A read-only view, which keeps the bytes alive.
    #[allow(dead_code, reason = "used by ingest")]
    pub fn view(py: Python<'_>, inner: Arc<Vec<u8>>) -> PyResult<Bound<'_, PyMemoryView>> {
        let data = Bound::new(py, Self { inner })?;
        PyMemoryView::from(data.as_any())
    }
}

#[pymethods]
impl PackData {
    fn __len__(&self) -> usize {
        self.inner.len()
    }

    #[allow(unsafe_code)]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view"));
        }
        let bytes = &slf.get().inner;
        let (start, length) = (bytes.as_ptr().cast_mut().cast(), bytes.len().cast_signed());
        // SAFETY: the view holds a reference to `slf`, whose bytes neither move nor change while it lives; read-only is set.
        let status = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, length, 1, flags) };
        if status == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}

/// Bytes lent by Python: shared where the lender is known not to change them, copied otherwise.
enum Lent {
    Pack(Arc<Vec<u8>>),
    Bytes(pyo3::pybacked::PyBackedBytes),
    Copied(Vec<u8>),
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Pack(bytes) => bytes,
            Self::Bytes(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

fn lend(data: &Bound<'_, PyAny>) -> PyResult<Lent> {
    let whole = |lender: &Bound<'_, PyAny>| -> PyResult<bool> { Ok(lender.len()? == data.len()?) };
    let lender = if data.is_instance_of::<PyMemoryView>() {
        data.getattr("obj")?
    } else {
        data.clone()
    };
    if let Ok(pack) = lender.cast::<PackData>()
        && whole(&lender)?
    {
        return Ok(Lent::Pack(Arc::clone(&pack.get().inner)));
    }
    if lender.is_instance_of::<PyBytes>() && whole(&lender)? {
        return Ok(Lent::Bytes(lender.extract()?));
    }
    let buffer = PyBuffer::<u8>::get(data)?;
    if buffer.dimensions() > 1 {
        return Err(PyValueError::new_err("a flat buffer is needed"));
    }
    Ok(Lent::Copied(buffer.to_vec(data.py())?))
}

/// Writes a new file durably. `FileExistsError` if the name is taken.
#[pyfunction]
#[pyo3(signature = (path, data, limits=None))]
fn put_file(
    py: Python<'_>,
    path: &str,
    data: &Bound<'_, PyAny>,
    limits: Option<&Limits>,
) -> PyResult<()> {
    let bytes = lend(data)?;
    let limited = limits.map(|limits| WriteRate(Arc::clone(&limits.inner)));
    py.detach(|| {
        let rate: &dyn Rate = match &limited {
            Some(rate) => rate,
            None => &Unlimited,
        };
        pipeline::local::put_file(Path::new(path), bytes.as_ref(), rate)
    })
    .map_err(|error| errors::os(&error))
}

/// Judges each page of a `PostgreSQL` data file: (pages, bad ones as (block, LSN), moving ones).
#[pyfunction]
#[pyo3(signature = (path, first_block, page_bytes, trusted_below, limits=None))]
fn check_pages(
    py: Python<'_>,
    path: std::path::PathBuf,
    first_block: u32,
    page_bytes: usize,
    trusted_below: u64,
    limits: Option<&Limits>,
) -> PyResult<(u64, Vec<(u32, u64)>, u64)> {
    if !page_bytes.is_power_of_two() || !(1024..=32_768).contains(&page_bytes) {
        return Err(PyValueError::new_err("a page has 1 to 32 KiB"));
    }
    let limits = limits.map(|limits| Arc::clone(&limits.inner));
    py.detach(|| {
        pipeline::postgres::check_pages(
            &path,
            first_block,
            page_bytes,
            trusted_below,
            limits.as_deref(),
        )
    })
    .map(|counts| (counts.pages, counts.bad, counts.moving))
    .map_err(|error| errors::os(&error))
}

/// Adds the classes and functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Limits>()?;
    module.add_class::<PackData>()?;
    module.add_function(wrap_pyfunction!(check_pages, module)?)?;
    module.add_function(wrap_pyfunction!(put_file, module)?)
}
