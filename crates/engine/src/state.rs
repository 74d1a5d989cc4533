//! What a writer remembers of its last snapshot, without names: the records of `state/ID/SOURCE/N`.
use crate::content::Content;
use crate::error::Result;
use crate::id::ClassId;

/// What was stored under a path, by the keyed hash of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRecord {
    /// [`crate::ClassKeys::path_hash`] of the path.
    pub path_hash: u64,
    /// `None`: the path is gone (in a delta).
    pub file: Option<StateFile>,
}

/// A file as it was when it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile {
    /// The class it was stored in.
    pub class: ClassId,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Seconds and nanoseconds.
    pub ctime: (i64, u32),
    /// Its inode number.
    pub inode: u64,
    /// Its length.
    pub size: u64,
    /// Where its bytes are; never inline.
    pub content: Content,
}

/// A writer state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterState {
    /// Upon state N−1, or complete.
    pub delta: bool,
    /// Sorted by hash.
    pub records: Vec<StateRecord>,
}

impl WriterState {
    /// The plaintext.
    pub fn encode(&self) -> Result<Vec<u8>> {
        todo!()
    }

    /// Parses a plaintext.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        todo!()
    }
}
