//! Durable files, limits, and the bytes of packs on their way from the engine to a store.
use std::ffi::c_int;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use holdfast_pipeline as pipeline;
use holdfast_pipeline::limits::Resource;
use holdfast_pipeline::local::{
    Rate, Unlimited, WRITE_STEP_BYTES, WRITEBACK_BYTES, WRITEBACK_GENTLE_BYTES,
};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::errors;

/// What a run may take, and a pause switch: settable while it runs, obeyed in the middle of a file. None is no limit.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Limits {
    /// The pipeline's own.
    pub inner: Arc<pipeline::limits::Limits>,
}

/// What passed through limits, and how long threads waited, summed over them.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct LimitsUsed {
    read_bytes: u64,
    write_bytes: u64,
    network_bytes: u64,
    operations: u64,
    /// Seconds by reason: read, write, network, operations, cpu, threads, pause.
    waited_s: [f64; 7],
}

// Set from whole numbers below 2^53, and given back as such.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(rate: Option<f64>) -> Option<u64> {
    rate.map(|rate| rate as u64)
}

// A rate beyond 2^53 per second is no limit worth its last digit.
#[allow(clippy::cast_precision_loss)]
fn as_rate(rate: Option<u64>) -> Option<f64> {
    rate.map(|rate| rate as f64)
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
        whole(self.inner.rate(Resource::Read))
    }

    #[setter]
    fn set_read_bytes_per_s(&self, rate: Option<u64>) {
        self.inner.set_read(rate);
    }

    #[getter]
    fn write_bytes_per_s(&self) -> Option<u64> {
        whole(self.inner.rate(Resource::Write))
    }

    #[setter]
    fn set_write_bytes_per_s(&self, rate: Option<u64>) {
        self.inner.set_write(rate);
    }

    #[getter]
    fn network_bytes_per_s(&self) -> Option<u64> {
        whole(self.inner.rate(Resource::Network))
    }

    #[setter]
    fn set_network_bytes_per_s(&self, rate: Option<u64>) {
        self.inner.set(Resource::Network, as_rate(rate));
    }

    #[getter]
    fn operations_per_s(&self) -> Option<u64> {
        whole(self.inner.rate(Resource::Operations))
    }

    #[setter]
    fn set_operations_per_s(&self, rate: Option<u64>) {
        self.inner.set(Resource::Operations, as_rate(rate));
    }

    #[getter]
    fn cpu_cores(&self) -> Option<f64> {
        self.inner.rate(Resource::Cpu)
    }

    #[setter]
    fn set_cpu_cores(&self, cores: Option<f64>) -> PyResult<()> {
        if cores.is_some_and(|cores| !cores.is_finite() || cores < 0.0) {
            return Err(PyValueError::new_err("a share of cores is not negative"));
        }
        self.inner.set(Resource::Cpu, cores);
        Ok(())
    }

    #[getter]
    fn threads(&self) -> Option<usize> {
        self.inner.threads()
    }

    #[setter]
    fn set_threads(&self, threads: Option<usize>) {
        self.inner.set_threads(threads);
    }

    #[getter]
    fn memory_bytes(&self) -> Option<usize> {
        let room = self.inner.memory_room(usize::MAX);
        (room < usize::MAX).then_some(room)
    }

    #[setter]
    fn set_memory_bytes(&self, bytes: Option<usize>) {
        self.inner.set_memory(bytes);
    }

    fn pause(&self) {
        self.inner.pause();
    }

    fn resume(&self) {
        self.inner.resume();
    }

    fn try_read(&self, count: u64) -> f64 {
        seconds(self.inner.try_take(Resource::Read, count))
    }

    fn try_write(&self, count: u64) -> f64 {
        seconds(self.inner.try_take(Resource::Write, count))
    }

    fn try_network(&self, count: u64) -> f64 {
        seconds(self.inner.try_take(Resource::Network, count))
    }

    #[getter]
    fn paused(&self) -> bool {
        self.inner.is_paused()
    }

    /// What passed so far.
    // Nanoseconds of waiting: a float holds a hundred days of them.
    #[allow(clippy::cast_precision_loss)]
    fn used(&self) -> LimitsUsed {
        let used = self.inner.used();
        LimitsUsed {
            read_bytes: used.read_bytes,
            write_bytes: used.write_bytes,
            network_bytes: used.network_bytes,
            operations: used.operations,
            waited_s: used.waited_ns.map(|ns| ns as f64 / 1e9),
        }
    }

    /// Waits until bytes may go through the network, in pieces of what the rate allows in a moment.
    fn take_network(&self, py: Python<'_>, mut count: u64) -> PyResult<()> {
        let never = AtomicBool::new(false);
        while count > 0 {
            let most = usize::try_from(count).unwrap_or(usize::MAX);
            let step = self.inner.step(Resource::Network, most) as u64;
            py.detach(|| self.inner.take_network(step, &never))
                .map_err(errors::pipeline)?;
            py.check_signals()?;
            count -= step.min(count);
        }
        Ok(())
    }

    /// Waits for reads (`write` false) or writes of a store that is no folder of this machine's engine.
    #[pyo3(signature = (count, *, write))]
    fn take_disk(&self, py: Python<'_>, mut count: u64, write: bool) -> PyResult<()> {
        let never = AtomicBool::new(false);
        let resource = if write {
            Resource::Write
        } else {
            Resource::Read
        };
        while count > 0 {
            let most = usize::try_from(count).unwrap_or(usize::MAX);
            let step = self.inner.step(resource, most) as u64;
            py.detach(|| {
                if write {
                    self.inner.take_write(step, &never)
                } else {
                    self.inner.take_read(step, &never)
                }
            })
            .map_err(errors::pipeline)?;
            py.check_signals()?;
            count -= step.min(count);
        }
        Ok(())
    }
}

fn seconds(taken: Result<(), std::time::Duration>) -> f64 {
    taken.err().map_or(0.0, |wait| wait.as_secs_f64())
}

struct WriteRate(Arc<pipeline::limits::Limits>);

impl Rate for WriteRate {
    fn spend(&self, bytes: u64) -> Result<(), pipeline::Error> {
        self.0.take_write(bytes, &AtomicBool::new(false))
    }

    fn step_bytes(&self) -> usize {
        self.0.step(Resource::Write, WRITE_STEP_BYTES)
    }

    fn writeback_bytes(&self) -> usize {
        if self.0.is_limited() {
            WRITEBACK_GENTLE_BYTES
        } else {
            WRITEBACK_BYTES
        }
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
pub enum Lent {
    /// A pack of the engine's.
    Pack(Arc<Vec<u8>>),
    /// Python's own bytes.
    Bytes(pyo3::pybacked::PyBackedBytes),
    /// Anything else.
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

/// Borrows what the buffer protocol gives.
pub fn lend(data: &Bound<'_, PyAny>) -> PyResult<Lent> {
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

/// Pages read, bad ones as (block, LSN), moving ones.
type PageVerdict = (u64, Vec<(u32, u64)>, u64);

/// Judges each page of a `PostgreSQL` data file.
#[pyfunction]
#[pyo3(signature = (path, first_block, page_bytes, trusted_below, limits=None))]
fn check_pages(
    py: Python<'_>,
    path: std::path::PathBuf,
    first_block: u32,
    page_bytes: usize,
    trusted_below: u64,
    limits: Option<&Limits>,
) -> PyResult<PageVerdict> {
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
    module.add_class::<LimitsUsed>()?;
    module.add_class::<PackData>()?;
    module.add_function(wrap_pyfunction!(check_pages, module)?)?;
    module.add_function(wrap_pyfunction!(put_file, module)?)
}
