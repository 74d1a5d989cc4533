//! The pure engine: bytes in, bytes out. No input or output, no clock, no threads, no randomness of its own.
//!
//! In the order that a byte travels:
//!
//! | module | what it knows |
//! |---|---|
//! | [`chunk`] | where a stream is cut, under a secret of its class |
//! | [`id`], [`keys`] | what content is called, and from which secrets |
//! | [`compress`], [`segment`] | how chunks become ciphertext and come back |
//! | [`pack`], [`repack`], [`directory`] | how segments become one object |
//! | [`parity`] | how lost packs come back from others |
//! | [`record`], [`sorted`], [`merge`], [`index_set`] | which pack holds what |
//! | [`entry`], [`content`], [`locations`], [`node`], [`tree`], [`cursor`], [`diff`] | the files of a snapshot |
//! | [`postgres`] | whether a page of a database is what its server wrote |
//! | [`detect`] | what kind of data a file holds, by its first bytes |
//! | [`promise`] | what a file's name promises of its bytes, and whether they keep it |
//! | [`group`], [`refs`], [`state`] | page maps, reference sets, a writer's memory |
//!
//! Every parser takes bytes of unknown origin, returns a typed [`Error`] and never panics; every length is checked
//! against [`limits`] before memory is taken for it. The authority for bytes is `docs/format/`.
#![forbid(unsafe_code)]

pub mod chunk;
pub mod compress;
pub mod content;
pub mod cursor;
pub mod detect;
pub mod diff;
pub mod directory;
pub mod entry;
pub mod error;
pub mod group;
pub mod id;
pub mod index_set;
pub mod keys;
pub mod limits;
pub mod locations;
pub mod merge;
pub mod node;
pub mod pack;
pub mod parity;
pub mod postgres;
pub mod promise;
pub mod record;
pub mod refs;
pub mod repack;
pub mod segment;
pub mod selftest;
pub mod sorted;
pub mod state;
mod tables;
pub mod tree;
pub mod wire;

pub use error::{Error, Result};
pub use id::{
    ClassId, Generation, Id, Location, Origin, PackKind, PackName, PackNonce, Role, VaultId,
};
pub use keys::{ClassKeys, PackKey, RunKey};
