//! What kind of data a file holds, under its Python name.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use holdfast_engine::detect as engine;
use holdfast_pipeline::classify as run;
use parking_lot::Mutex;
use pyo3::prelude::*;

use crate::errors;
use crate::plan::{ScanPlan, raise};

/// What the first bytes of a file of `size` bytes show: (rule, class id; 0: its source's; -1: none, confidence).
#[pyfunction]
#[pyo3(signature = (head, size))]
fn detect(head: &[u8], size: u64) -> Option<(&'static str, i32, &'static str)> {
    let found = engine::detect(head, size)?;
    let class = class_of(found.rule);
    Some((found.rule.word(), class, found.confidence.word()))
}

/// Every rule: (word, class id as in `detect`).
#[pyfunction]
fn detection_rules() -> Vec<(&'static str, i32)> {
    engine::RULES
        .iter()
        .map(|rule| (rule.word(), class_of(*rule)))
        .collect()
}

fn class_of(rule: engine::Rule) -> i32 {
    match rule.target() {
        engine::Target::Class(class) => i32::from(class.0),
        engine::Target::Source => 0,
        engine::Target::Nothing => -1,
    }
}

/// One row of a classification: class id, rule (empty: the path decided), confidence, files, bytes, files raised.
type Row = (u16, &'static str, &'static str, u64, u64, u64);

/// A look at every file of a tree, in a thread of its own.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Classify {
    thread: Mutex<Option<JoinHandle<Result<run::Classified, holdfast_pipeline::Error>>>>,
    stop: Arc<AtomicBool>,
    classes: Vec<u16>,
}

#[pymethods]
impl Classify {
    /// `classes`: class ids, most sensitive first.
    #[new]
    fn new(plan: &ScanPlan, classes: Vec<u16>) -> PyResult<Self> {
        let config = plan.config(&classes)?;
        let raise = raise(&classes);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || run::classify(&config, &raise, &stopped));
        Ok(Self {
            thread: Mutex::new(Some(thread)),
            stop,
            classes,
        })
    }

    /// Whether `result` will answer at once.
    #[getter]
    fn finished(&self) -> bool {
        self.thread
            .lock()
            .as_ref()
            .is_none_or(JoinHandle::is_finished)
    }

    /// The rows, and how many entries could not be looked at. Once.
    fn result(&self, py: Python<'_>) -> PyResult<(Vec<Row>, u64)> {
        let thread = self.thread.lock().take();
        let ended = thread.map(|thread| py.detach(|| thread.join()));
        let Some(Ok(found)) = ended else {
            let error = holdfast_pipeline::Error::Internal("a classification without a result");
            return Err(errors::pipeline(error));
        };
        let found = found.map_err(errors::pipeline)?;
        let row = |(kind, amount): &(run::Kind, run::Amount)| {
            let class = self.classes.get(usize::from(kind.class)).copied();
            let words = kind
                .detection
                .map(|(rule, confidence)| (rule.word(), confidence.word()));
            let (rule, confidence) = words.unwrap_or(("", ""));
            (
                class.unwrap_or_default(),
                rule,
                confidence,
                amount.files,
                amount.bytes,
                amount.raised,
            )
        };
        Ok((found.kinds.iter().map(row).collect(), found.unreadable))
    }

    /// Ends it soon: `result` raises `StoppedError`.
    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Adds the functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Classify>()?;
    module.add("DETECT_BYTES", engine::HEAD_BYTES)?;
    module.add_function(wrap_pyfunction!(detect, module)?)?;
    module.add_function(wrap_pyfunction!(detection_rules, module)?)
}
