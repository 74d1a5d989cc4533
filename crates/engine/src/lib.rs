//! The pure engine: bytes in, bytes out. No input or output, no clock, no threads.
#![forbid(unsafe_code)]
