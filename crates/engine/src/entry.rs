//! One entry of a tree: a path and all that a file system knows about it.
use std::cmp::Ordering;

use crate::content::Content;
use crate::error::Result;

/// A file, folder or other thing of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Components joined by `/`, without a leading one; empty for the root folder.
    pub path: Vec<u8>,
    /// What it is, and its content.
    pub kind: EntryKind,
    /// The low 12 bits of `st_mode`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Name of the owner; empty if unknown.
    pub user: Vec<u8>,
    /// Name of the group; empty if unknown.
    pub group: Vec<u8>,
    /// Seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Equal in entries that are hard links of one file.
    pub link_id: Option<u64>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Its length.
        size: u64,
        /// Where its bytes are.
        content: Content,
    },
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink {
        /// What it points to.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

impl Entry {
    /// Bytes of file content that the entry stands for.
    pub fn content_bytes(&self) -> u64 {
        match &self.kind {
            EntryKind::File { size, .. } => *size,
            _ => 0,
        }
    }

    /// Refuses an entry that a tree cannot hold: path, mode, attributes or content beyond what the format allows.
    pub fn check(&self) -> Result<()> {
        todo!()
    }
}

/// Refuses paths that are too long or have an empty, `.` or `..` component or a zero byte.
pub fn check_path(path: &[u8]) -> Result<()> {
    todo!()
}

/// The order of a tree: bytewise with `/` as the smallest byte, so that a folder is followed by everything under it.
pub fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
    todo!()
}

/// Whether `path` is `folder` itself or lies under it.
pub fn is_under(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty()
        || path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}
