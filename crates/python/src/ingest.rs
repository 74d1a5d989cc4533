//! A backup run under its Python names.
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_engine::RunKey;
use holdfast_engine::pack::Envelope;
use holdfast_pipeline::ingest as run;
use holdfast_pipeline::packer::ClassSetup;
use holdfast_pipeline::packer::ledger::CheckpointRule;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::errors;
use crate::files::{Limits, PackData};
use crate::index::{Index, open_sorted};
use crate::keys::{ClassKeys, fixed};
use crate::plan::{ScanPlan, raise};
use crate::reader::Reader;
use crate::refs::RefSet;
use crate::signs;

/// What writing one class takes.
#[pyclass(frozen, module = "holdfast._core")]
pub struct IngestClass {
    keys: Py<ClassKeys>,
    run_key: [u8; 32],
    envelope: Envelope,
    map_key: [u8; 32],
    map_envelope: Envelope,
}

#[pymethods]
impl IngestClass {
    #[new]
    fn new(
        keys: Py<ClassKeys>,
        run_key: &[u8],
        envelope: Vec<u8>,
        map_key: &[u8],
        map_envelope: Vec<u8>,
    ) -> PyResult<Self> {
        Ok(Self {
            keys,
            run_key: fixed(run_key, "run_key")?,
            envelope: Envelope::new(envelope).map_err(errors::engine)?,
            map_key: fixed(map_key, "map_key")?,
            map_envelope: Envelope::new(map_envelope).map_err(errors::engine)?,
        })
    }
}

impl IngestClass {
    fn setup(&self) -> ClassSetup {
        ClassSetup {
            keys: Arc::clone(&self.keys.get().inner),
            run_key: RunKey(self.run_key),
            envelope: self.envelope.clone(),
            map_run_key: RunKey(self.map_key),
            map_envelope: self.map_envelope.clone(),
        }
    }
}

/// A command whose standard output becomes a file.
#[pyclass(frozen, module = "holdfast._core")]
pub struct IngestStream {
    path: Vec<u8>,
    command: Vec<OsString>,
    class_id: u16,
    environment: Vec<(OsString, OsString)>,
    show_errors: bool,
}

#[pymethods]
impl IngestStream {
    #[new]
    #[pyo3(signature = (path, command, class_id=0, *, environment, show_errors=false))]
    fn new(
        path: Vec<u8>,
        command: Vec<OsString>,
        class_id: u16,
        environment: Vec<(OsString, OsString)>,
        show_errors: bool,
    ) -> Self {
        Self {
            path,
            command,
            class_id,
            environment,
            show_errors,
        }
    }
}

impl IngestStream {
    fn spec(&self, classes: &[u16]) -> PyResult<run::StreamSpec> {
        let known = classes.iter().position(|class| *class == self.class_id);
        if self.class_id != 0 && known.is_none() {
            return Err(PyValueError::new_err("a stream's class is not written to"));
        }
        let command = self.command.iter().map(|word| word.as_bytes().to_vec());
        let environment = self.environment.iter();
        Ok(run::StreamSpec {
            path: self.path.strip_prefix(b"/").unwrap_or(&self.path).to_vec(),
            command: command.collect(),
            class: known.map(|position| position as u16),
            environment: environment
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect(),
            shows_errors: self.show_errors,
        })
    }
}

/// How a backup works.
#[pyclass(frozen, module = "holdfast._core")]
pub struct IngestOptions {
    inner: run::IngestOptions,
    detect: bool,
}

#[pymethods]
impl IngestOptions {
    #[new]
    #[pyo3(signature = (*, level=1, workers=0, pack_bytes=33_554_432, checkpoint_bytes=1_073_741_824,
        checkpoint_seconds=300.0, paranoid=false, audit_files=16, dry_run=false, detect=false, state_base=false,
        marks=vec![], notes=vec![]))]
    // The parameters are those of the Python class.
    #[allow(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        clippy::needless_pass_by_value
    )]
    fn new(
        level: i32,
        workers: usize,
        pack_bytes: usize,
        checkpoint_bytes: u64,
        checkpoint_seconds: f64,
        paranoid: bool,
        audit_files: u32,
        dry_run: bool,
        detect: bool,
        state_base: bool,
        marks: Vec<Vec<u8>>,
        notes: Vec<Vec<u8>>,
    ) -> PyResult<Self> {
        let every = Duration::try_from_secs_f64(checkpoint_seconds)
            .map_err(|_| PyValueError::new_err("checkpoint_seconds must not be negative"))?;
        let usual = run::IngestOptions::default();
        let checkpoint = CheckpointRule {
            bytes: checkpoint_bytes,
            every,
            ..usual.checkpoint
        };
        // Larger ones would not fit the memory that packs may take.
        let pack_bytes = pack_bytes.clamp(1 << 20, 48 << 20);
        Ok(Self {
            inner: run::IngestOptions {
                level,
                workers,
                pack_bytes,
                checkpoint,
                paranoid,
                audit_files,
                dry_run,
                state_base,
                wanted: run::Wanted::new(&marks, &notes),
                ..usual
            },
            detect,
        })
    }
}

/// A finished pack.
#[pyclass(frozen, module = "holdfast._core")]
pub struct PackReady {
    #[pyo3(get)]
    name: Py<PyBytes>,
    #[pyo3(get)]
    kind: u8,
    #[pyo3(get)]
    class_id: u16,
    bytes: Arc<Vec<u8>>,
}

#[pymethods]
impl PackReady {
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyMemoryView>> {
        PackData::view(py, Arc::clone(&self.bytes))
    }
}

type RunRow = (u16, u32, Py<PyBytes>);

/// Stored packs are to be made known.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct CheckpointReady {
    number: u32,
    runs: Vec<RunRow>,
    packs: usize,
    stored_bytes: u64,
}

/// What was referred to before a fence was looked up again.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct Fenced {
    number: u32,
    clean: bool,
}

/// How far a run is.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct IngestProgress {
    files: u64,
    folders: u64,
    bytes: u64,
    read_bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    findings: u64,
}

/// A file that could not be stored whole.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct FindingReady {
    path: Py<PyBytes>,
    kind: &'static str,
    detail: String,
    class_id: u16,
}

impl FindingReady {
    /// A finding for Python, of a run of any kind.
    pub fn new(
        py: Python<'_>,
        path: &[u8],
        kind: &'static str,
        detail: String,
        class_id: u16,
    ) -> Self {
        let path = PyBytes::new(py, path).unbind();
        Self {
            path,
            kind,
            detail,
            class_id,
        }
    }
}

/// The tree of one class.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct ClassResult {
    class_id: u16,
    generation: u32,
    root: String,
    entries: u64,
    files: u64,
    bytes: u64,
    new_bytes: u64,
    stored_bytes: u64,
    refs: Py<RefSet>,
}

/// The end of a run.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct Finished {
    classes: Vec<Py<ClassResult>>,
    runs: Vec<RunRow>,
    packs: u64,
    stored_bytes: u64,
    files: u64,
    folders: u64,
    bytes: u64,
    read_bytes: u64,
    new_bytes: u64,
    new: u64,
    changed: u64,
    unchanged: u64,
    removed: u64,
    cache_written: bool,
    lost: bool,
    state: Option<Py<PyBytes>>,
    state_is_base: bool,
    detections: Vec<(&'static str, u64, u64, u64)>,
    raised: Vec<(Py<PyBytes>, u16)>,
    kinds: Vec<signs::KindRow>,
    dense_bytes: Vec<(u16, u64)>,
    marked: u64,
    notes: u64,
    moved: u64,
    veiled: u64,
}

/// A backup in the engine's own threads.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Ingest {
    inner: run::Ingest,
    index: Py<Index>,
    classes: Vec<(u16, u32)>,
}

#[pymethods]
impl Ingest {
    #[new]
    #[pyo3(signature = (*, plan, classes, streams, index, cache_in, cache_out, state_in, options, limits, maps=None))]
    // The parameters are those of the Python class.
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        plan: &ScanPlan,
        classes: Vec<Py<IngestClass>>,
        streams: Vec<Py<IngestStream>>,
        index: Py<Index>,
        cache_in: Option<OsString>,
        cache_out: OsString,
        state_in: Vec<Vec<u8>>,
        options: &IngestOptions,
        limits: &Limits,
        maps: Option<&Reader>,
    ) -> PyResult<Self> {
        let ids = classes.iter().map(|class| {
            let keys = &class.get().keys.get().inner;
            (keys.class().0, keys.generation().0)
        });
        let ids: Vec<(u16, u32)> = ids.collect();
        let numbers: Vec<u16> = ids.iter().map(|(class, _)| *class).collect();
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        let started_s = started.map_or(0, |since| since.as_secs().cast_signed());
        let config = run::IngestConfig {
            scan: plan.config(&numbers)?,
            classes: classes.iter().map(|class| class.get().setup()).collect(),
            streams: streams
                .iter()
                .map(|stream| stream.get().spec(&numbers))
                .collect::<PyResult<_>>()?,
            index: Arc::clone(&index.get().inner),
            cache_in: cache_in.map(PathBuf::from),
            cache_out: PathBuf::from(OsString::from_vec(cache_out.into_vec())),
            state_in,
            owners: run::Owners::of_this_machine(),
            options: run::IngestOptions {
                started_s,
                detect: options.detect.then(|| raise(&numbers)),
                ..options.inner.clone()
            },
            limits: Arc::clone(&limits.inner),
            maps: maps.map(|reader| Arc::clone(&reader.inner)),
        };
        let inner = py
            .detach(|| run::Ingest::start(config))
            .map_err(errors::pipeline)?;
        Ok(Self {
            inner,
            index,
            classes: ids,
        })
    }

    /// The next event, or progress when there was none in time; None once the run has ended.
    fn poll(&self, py: Python<'_>, timeout_s: f64) -> PyResult<Py<PyAny>> {
        let timeout =
            Duration::try_from_secs_f64(timeout_s.max(0.0)).unwrap_or(Duration::from_hours(1));
        let event = py
            .detach(|| self.inner.poll(timeout))
            .map_err(errors::pipeline)?;
        match event {
            None if self.inner.is_ended() => Ok(py.None()),
            None => self.progress(py),
            Some(run::Event::Pack(pack)) => {
                let ready = PackReady {
                    name: PyBytes::new(py, &pack.name.0).unbind(),
                    kind: pack.kind as u8,
                    class_id: self.class(pack.class).0,
                    bytes: pack.bytes,
                };
                any(py, ready)
            }
            Some(run::Event::Checkpoint(checkpoint)) => {
                let ready = CheckpointReady {
                    number: checkpoint.number,
                    packs: checkpoint.runs.iter().map(|run| run.packs).sum(),
                    runs: self.runs(py, checkpoint.runs),
                    stored_bytes: checkpoint.bytes,
                };
                any(py, ready)
            }
            Some(run::Event::Finding(finding)) => {
                let detail = match finding.errno {
                    0 => finding.detail,
                    errno => std::io::Error::from_raw_os_error(errno).to_string(),
                };
                let ready = FindingReady {
                    path: PyBytes::new(py, &finding.path).unbind(),
                    kind: finding.kind.code(),
                    detail,
                    class_id: self.class(usize::from(finding.class)).0,
                };
                any(py, ready)
            }
            Some(run::Event::Fenced { number, is_clean }) => {
                let fenced = Fenced {
                    number,
                    clean: is_clean,
                };
                any(py, fenced)
            }
            Some(run::Event::Finished(finished)) => self.finished(py, *finished),
        }
    }

    /// How far the run is, at any time.
    fn progress_now(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.progress(py)
    }

    /// A pack is durable.
    fn pack_stored(&self, name: &[u8]) -> PyResult<()> {
        let name = holdfast_engine::PackName(fixed(name, "pack name")?);
        self.inner.pack_stored(&name).map_err(errors::pipeline)
    }

    /// The runs of a checkpoint are in the vault, and their sorted forms in these files.
    fn checkpoint_done(
        &self,
        py: Python<'_>,
        number: u32,
        sorted_run_paths: Vec<OsString>,
    ) -> PyResult<()> {
        let index = &self.index.get().inner;
        py.detach(|| {
            for path in &sorted_run_paths {
                let member = open_sorted(std::path::Path::new(path)).map_err(errors::engine)?;
                index.add(member, true);
            }
            self.inner.checkpoint_done(number).map_err(errors::pipeline)
        })
    }

    /// Asks for all that was referred to so far to be looked up again: its number.
    fn fence(&self) -> u32 {
        self.inner.fence()
    }

    /// Ends the run: what is complete is still handed out.
    fn stop(&self) {
        self.inner.stop();
    }

    /// The run was stopped, and everything was handed out.
    #[getter]
    fn stopped(&self) -> bool {
        self.inner.is_stopped() && self.inner.is_ended()
    }
}

impl Ingest {
    fn class(&self, position: usize) -> (u16, u32) {
        self.classes.get(position).copied().unwrap_or_default()
    }

    fn runs(&self, py: Python<'_>, runs: Vec<run::RunReady>) -> Vec<RunRow> {
        let row = |run: run::RunReady| {
            let (class, generation) = self.class(run.class);
            (class, generation, PyBytes::new(py, &run.payload).unbind())
        };
        runs.into_iter().map(row).collect()
    }

    fn progress(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let counts = self.inner.counts();
        let progress = IngestProgress {
            files: counts.files,
            folders: counts.folders,
            bytes: counts.bytes,
            read_bytes: counts.read_bytes,
            new_bytes: counts.new_bytes,
            stored_bytes: counts.stored_bytes,
            findings: counts.findings,
        };
        any(py, progress)
    }

    fn finished(&self, py: Python<'_>, finished: run::Finished) -> PyResult<Py<PyAny>> {
        let run::Finished {
            classes,
            runs,
            counts,
            cache_written,
            is_lost,
            state,
            detections,
            raised,
            signs: seen,
        } = finished;
        let class = |result: run::ClassResult| {
            let row = ClassResult {
                class_id: result.class.0,
                generation: result.generation.0,
                root: result.root.location.to_string(),
                entries: result.root.entries,
                files: result.files,
                bytes: result.root.bytes,
                new_bytes: result.new_bytes,
                stored_bytes: result.stored_bytes,
                refs: Py::new(py, RefSet::from(result.refs))?,
            };
            Py::new(py, row)
        };
        let finished = Finished {
            classes: classes.into_iter().map(class).collect::<PyResult<_>>()?,
            runs: self.runs(py, runs),
            packs: counts.packs,
            stored_bytes: counts.stored_bytes,
            files: counts.files,
            folders: counts.folders,
            bytes: counts.bytes,
            read_bytes: counts.read_bytes,
            new_bytes: counts.new_bytes,
            new: counts.new,
            changed: counts.changed,
            unchanged: counts.unchanged,
            removed: counts.removed,
            cache_written,
            lost: is_lost,
            state_is_base: state.as_ref().is_some_and(|(_, is_base)| *is_base),
            state: state.map(|(payload, _)| PyBytes::new(py, &payload).unbind()),
            detections: detections
                .iter()
                .map(|(rule, found)| (rule.word(), found.files, found.bytes, found.raised))
                .collect(),
            raised: raised
                .iter()
                .map(|(folder, class)| {
                    let class = self.class(usize::from(*class)).0;
                    (PyBytes::new(py, folder).unbind(), class)
                })
                .collect(),
            kinds: signs::kind_rows(&seen.kinds),
            dense_bytes: seen
                .dense_bytes
                .iter()
                .enumerate()
                .filter(|(_, bytes)| **bytes > 0)
                .map(|(position, bytes)| (self.class(position).0, *bytes))
                .collect(),
            marked: seen.marked,
            notes: seen.notes,
            moved: seen.moved,
            veiled: seen.veiled,
        };
        any(py, finished)
    }
}

fn any<T: pyo3::PyClass + Into<PyClassInitializer<T>>>(
    py: Python<'_>,
    value: T,
) -> PyResult<Py<PyAny>> {
    Ok(Py::new(py, value)?.into_any())
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<IngestClass>()?;
    module.add_class::<IngestStream>()?;
    module.add_class::<IngestOptions>()?;
    module.add_class::<PackReady>()?;
    module.add_class::<CheckpointReady>()?;
    module.add_class::<Fenced>()?;
    module.add_class::<IngestProgress>()?;
    module.add_class::<FindingReady>()?;
    module.add_class::<ClassResult>()?;
    module.add_class::<Finished>()?;
    module.add_class::<Ingest>()
}
