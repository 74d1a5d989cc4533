//! Rust's errors as Python's: the one conversion. `code` is stable; no text holds a path, a name or content.
use holdfast_engine as engine;
use holdfast_pipeline as pipeline;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyOSError};
use pyo3::prelude::*;
use pyo3::types::PyType;

create_exception!(_core, EngineError, PyException, "The engine stopped.");
create_exception!(
    _core,
    DamageError,
    EngineError,
    "Bytes are not what was written; none of them was passed on."
);
create_exception!(
    _core,
    LimitError,
    EngineError,
    "A limit of the format was reached."
);
create_exception!(
    _core,
    WrongKeyError,
    EngineError,
    "A key does not open what it was given for."
);
create_exception!(
    _core,
    IoError,
    EngineError,
    "The system refused; `errno` says why."
);
create_exception!(
    _core,
    NetError,
    EngineError,
    "A request to a store got no answer."
);
create_exception!(
    _core,
    StoppedError,
    EngineError,
    "The caller asked to stop."
);

/// Adds the exceptions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let classes: [(&str, Bound<'_, PyType>); 7] = [
        ("EngineError", py.get_type::<EngineError>()),
        ("DamageError", py.get_type::<DamageError>()),
        ("LimitError", py.get_type::<LimitError>()),
        ("WrongKeyError", py.get_type::<WrongKeyError>()),
        ("IoError", py.get_type::<IoError>()),
        ("NetError", py.get_type::<NetError>()),
        ("StoppedError", py.get_type::<StoppedError>()),
    ];
    for (name, class) in classes {
        module.add(name, class)?;
    }
    Ok(())
}

/// An engine's error as Python's.
// Taken by value, for `map_err`.
#[allow(clippy::needless_pass_by_value)]
pub fn engine(error: engine::Error) -> PyErr {
    use engine::Error;
    if let Error::Outside(outer) = &error {
        if let Some(inner) = outer.downcast_ref::<PassedThrough>() {
            return Python::attach(|py| inner.0.clone_ref(py));
        }
        if let Some(inner) = outer.downcast_ref::<pipeline::Error>() {
            return pipeline_ref(inner);
        }
    }
    let text = error.to_string();
    let raised = match &error {
        Error::Damaged { .. } | Error::Missing { .. } => DamageError::new_err(text),
        Error::LimitExceeded { .. } => LimitError::new_err(text),
        Error::WrongKey { .. } => WrongKeyError::new_err(text),
        Error::Io { .. } => IoError::new_err(text),
        _ => EngineError::new_err(text),
    };
    let errno = if let Error::Io { errno } = &error {
        Some(*errno)
    } else {
        None
    };
    with_attributes(raised, error.code(), errno)
}

/// A pipeline's error as Python's.
#[allow(clippy::needless_pass_by_value)]
#[allow(dead_code, reason = "used by ingest and extract")]
pub fn pipeline(error: pipeline::Error) -> PyErr {
    pipeline_ref(&error)
}

fn pipeline_ref(error: &pipeline::Error) -> PyErr {
    match error {
        pipeline::Error::Io { errno, .. } => {
            with_attributes(IoError::new_err(error.to_string()), "io", Some(*errno))
        }
        pipeline::Error::Stopped => {
            with_attributes(StoppedError::new_err(error.to_string()), "stopped", None)
        }
        pipeline::Error::Exists => {
            with_attributes(EngineError::new_err(error.to_string()), "exists", None)
        }
        pipeline::Error::Engine(error) => engine(error.clone()),
        pipeline::Error::Scan(_) => {
            with_attributes(EngineError::new_err(error.to_string()), "bad-plan", None)
        }
        pipeline::Error::Internal(_) => {
            with_attributes(EngineError::new_err(error.to_string()), "internal", None)
        }
    }
}

/// An error of the network as Python's.
#[allow(clippy::needless_pass_by_value)]
pub fn net(error: holdfast_stores::Error) -> PyErr {
    with_attributes(NetError::new_err(error.to_string()), error.code(), None)
}

/// A refusal of the system as the `OSError` that Python itself would raise, by its `errno`.
pub fn os(error: &pipeline::Error) -> PyErr {
    match error {
        pipeline::Error::Io { what, errno } => PyOSError::new_err((*errno, *what)),
        pipeline::Error::Exists => PyOSError::new_err((rustix_exists(), "the name exists already")),
        _ => pipeline_ref(error),
    }
}

/// `EEXIST`, which makes `OSError` a `FileExistsError`.
const fn rustix_exists() -> i32 {
    17
}

fn with_attributes(raised: PyErr, code: &str, errno: Option<i32>) -> PyErr {
    Python::attach(|py| {
        let value = raised.value(py);
        let set = value.setattr("code", code).and_then(|()| match errno {
            Some(errno) => value.setattr("errno", errno),
            None => Ok(()),
        });
        match set {
            Ok(()) => raised,
            Err(error) => error,
        }
    })
}

/// A Python exception on its way through Rust: raised by a callback, handed back as it was.
#[derive(Debug)]
pub struct PassedThrough(pub PyErr);

impl std::fmt::Display for PassedThrough {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an error of the caller")
    }
}

impl std::error::Error for PassedThrough {}

/// Wraps what a callback raised, so that it travels through the engine.
#[allow(dead_code, reason = "used by the readers")]
pub fn passed_through(error: PyErr) -> engine::Error {
    engine::Error::outside(PassedThrough(error))
}
