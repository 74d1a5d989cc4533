//! Threads and files around the engine: scan, ingest, extract, verify.
#![forbid(unsafe_code)]
