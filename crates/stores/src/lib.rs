//! HTTP for stores: requests that are signed, limited and watched, behind a blocking call.
//!
//! Which requests a service understands is the Python stores' affair (`holdfast.stores`). This crate knows how one request
//! travels: who signs it ([`Signer`]: `object_store`'s credentials and signatures for S3, Azure and Google Cloud), how fast its
//! body may go ([`pace`]: every slice of 64 KiB asks the run's limits, in the middle of an object), when it counts as stuck
//! ([`activity`]), and how much answer is taken. Nothing is tried twice here: that is a layer of its own.
//!
//! One runtime of two threads serves all stores of the process; it starts with the first request.

mod activity;
mod client;
mod error;
mod pace;
mod signer;

pub use client::{Client, Connection, Request, Response};
pub use error::Error;
pub use signer::{Account, Signer};
