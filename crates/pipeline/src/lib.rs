//! Threads and files around the engine: scan, ingest, extract, verify.
#![forbid(unsafe_code)]

pub mod error;
pub mod ingest;
pub mod limits;
pub mod local;
pub mod packer;
pub mod scan;
pub(crate) mod statcache;

pub use error::Error;
