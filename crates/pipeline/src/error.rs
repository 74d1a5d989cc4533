//! Why a pipeline stopped. Trouble with one file is a finding, not an error.
use rustix::io::Errno;

/// Why an operation of the pipeline stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused; `what` names the step, never the path.
    #[error("{what}: errno {errno}")]
    Io {
        /// The step that failed, such as `fsync`.
        what: &'static str,
        /// The `errno` value.
        errno: i32,
    },
    /// A file of this name exists already; nothing was written under it.
    #[error("the name exists already")]
    Exists,
    /// The caller asked to stop.
    #[error("stopped on request")]
    Stopped,
    /// The scan could not begin.
    #[error(transparent)]
    Scan(#[from] crate::scan::ScanError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] holdfast_engine::Error),
    /// A rule of this crate was broken, by itself or by its caller.
    #[error("internal: {0}")]
    Internal(&'static str),
}

impl Error {
    /// An error of the operating system at the step `what`.
    pub fn io(what: &'static str, errno: Errno) -> Self {
        Self::Io {
            what,
            errno: errno.raw_os_error(),
        }
    }
}

/// Names the step of a system call that failed.
pub(crate) trait Step<T> {
    /// Turns the system's error into [`Error::Io`] at the step `what`.
    fn step(self, what: &'static str) -> Result<T, Error>;
}

impl<T> Step<T> for Result<T, Errno> {
    fn step(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|errno| Error::io(what, errno))
    }
}
