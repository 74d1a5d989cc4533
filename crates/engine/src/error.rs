//! Why bytes were refused. No variant holds a path, a name or content.
use std::sync::Arc;

/// The result of every fallible function of the engine.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation was refused. [`Error::code`] is stable; texts are for people.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Bytes are not what the format says, or do not open under their key.
    #[error("damaged: {what}")]
    Damaged {
        /// The thing that was read, such as `segment does not open`.
        what: &'static str,
    },
    /// The bytes are of a format version that this release does not know.
    #[error("{what} has version {found}, and this release reads version 1")]
    UnknownVersion {
        /// The thing that was read.
        what: &'static str,
        /// The version found in it.
        found: u32,
    },
    /// A limit of the format would be passed.
    #[error("limit exceeded: {what}")]
    LimitExceeded {
        /// The limit, such as `bytes of a path`.
        what: &'static str,
    },
    /// The keys belong to another vault, class or generation than the bytes.
    #[error("wrong key: {what}")]
    WrongKey {
        /// What does not match.
        what: &'static str,
    },
    /// The caller broke a rule of the interface, such as entries out of order.
    #[error("misuse: {what}")]
    Misuse {
        /// The rule.
        what: &'static str,
    },
    /// A lookup found nothing where the format says that something is.
    #[error("missing: {what}")]
    Missing {
        /// The thing that is missing.
        what: &'static str,
    },
    /// The operating system refused, below a caller's [`NodeSink`](crate::tree::NodeSink), source or writer.
    #[error("input or output: errno {errno}")]
    Io {
        /// The `errno` value, 0 if there is none.
        errno: i32,
    },
    /// An error of the caller's own, passed through unchanged.
    #[error("{0}")]
    Outside(Arc<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The stable code of the kind of error, the same in Python.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "damaged",
            Self::UnknownVersion { .. } => "unknown-version",
            Self::LimitExceeded { .. } => "limit-exceeded",
            Self::WrongKey { .. } => "wrong-key",
            Self::Misuse { .. } => "misuse",
            Self::Missing { .. } => "missing",
            Self::Io { .. } => "io",
            Self::Outside(_) => "outside",
        }
    }

    /// Wraps an error of the caller's own, to travel through the engine.
    pub fn outside(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Outside(Arc::new(error))
    }

    pub(crate) const fn damaged(what: &'static str) -> Self {
        Self::Damaged { what }
    }

    pub(crate) const fn limit(what: &'static str) -> Self {
        Self::LimitExceeded { what }
    }

    pub(crate) const fn misuse(what: &'static str) -> Self {
        Self::Misuse { what }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io {
            errno: error.raw_os_error().unwrap_or(0),
        }
    }
}
