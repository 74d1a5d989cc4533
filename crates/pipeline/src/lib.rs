//! Threads and files around the engine: scan, ingest, extract, verify.
#![forbid(unsafe_code)]

pub mod affected;
pub mod classify;
pub mod error;
pub mod extract;
pub mod ingest;
pub mod limits;
pub mod local;
pub mod packer;
pub mod parity;
pub mod postgres;
pub mod read_file;
pub mod reader;
pub mod references;
pub mod scan;
pub mod source;
pub mod spans;
pub(crate) mod statcache;
pub mod unreadable;
pub mod verify;

pub use error::Error;
