//! Threads and files around the engine: scan, ingest, extract, verify.
#![forbid(unsafe_code)]

pub mod error;
pub mod local;

pub use error::Error;
