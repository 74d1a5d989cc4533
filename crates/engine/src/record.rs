//! Index runs: what the index says about packs, as it is stored in the vault.
use crate::directory::Directory;
use crate::error::Result;
use crate::id::{PackKind, PackName, PackNonce};

/// What an index run says about one pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRecord {
    /// The pack's name.
    pub name: PackName,
    /// Its length.
    pub size: u64,
    /// What it is for.
    pub kind: PackKind,
    /// The nonces of its origins.
    pub nonces: Vec<PackNonce>,
    /// Its directory.
    pub directory: Directory,
}

/// The plaintext of an index run of one class and generation.
pub fn encode_run(records: &[IndexRecord]) -> Vec<u8> {
    todo!()
}

/// Parses an index run's plaintext.
pub fn parse_run(bytes: &[u8]) -> Result<Vec<IndexRecord>> {
    todo!()
}
