//! What becomes of an entry whose name is taken: decided from what stands there, without touching it.
use holdfast_engine::entry::{Entry, EntryKind};
use rustix::fs::{FileType, Stat};

use super::folders::file_type;
use super::run::{Overwrite, Run};

/// What is done about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It is made; what has its name goes, if anything does.
    Make {
        /// Something has its name.
        is_replaced: bool,
    },
    /// What has its name is taken for the entry itself, restored before.
    Same,
    /// What has its name stays, as was asked for.
    Leave,
    /// What has its name stays, and the caller should know why.
    Refuse(&'static str),
}

/// Decides about an entry and what was `found` under its name. `is_link`: it would be made as a further name of a file.
pub fn decide(run: &Run, found: &Stat, entry: &Entry, is_link: bool) -> Decision {
    if file_type(found) == FileType::Directory {
        return Decision::Refuse("a folder has its name, and stays");
    }
    let is_same = is_same(found, entry);
    // What was made after the restore that is being resumed began was made by it, and may be torn.
    let is_torn = run.is_resumed && found.st_ctime >= run.began_s;
    let replace = Decision::Make { is_replaced: true };
    match run.overwrite {
        Overwrite::Always => replace,
        _ if is_same && !is_link => Decision::Same,
        _ if is_torn => replace,
        Overwrite::Older if is_same || is_older(found, entry) => replace,
        Overwrite::Older => Decision::Leave,
        Overwrite::Never if is_same => Decision::Same,
        Overwrite::Never => Decision::Refuse("what has its name differs, and stays"),
    }
}

/// Whether a file looks as if it were the entry, restored: by kind, size and time.
fn is_same(found: &Stat, entry: &Entry) -> bool {
    let found_size = u64::try_from(found.st_size).unwrap_or(0);
    let (kind, size) = match &entry.kind {
        EntryKind::File { size, .. } => (FileType::RegularFile, *size),
        EntryKind::Symlink { target } => (FileType::Symlink, target.len() as u64),
        EntryKind::Folder => (FileType::Directory, found_size),
        EntryKind::Fifo => (FileType::Fifo, found_size),
        EntryKind::CharDevice { .. } => (FileType::CharacterDevice, found_size),
        EntryKind::BlockDevice { .. } => (FileType::BlockDevice, found_size),
    };
    file_type(found) == kind && found_size == size && mtime_of(found) == mtime(entry)
}

fn is_older(found: &Stat, entry: &Entry) -> bool {
    mtime_of(found) < mtime(entry)
}

fn mtime_of(found: &Stat) -> (i64, u64) {
    (found.st_mtime, found.st_mtime_nsec)
}

fn mtime(entry: &Entry) -> (i64, u64) {
    (entry.mtime.0, u64::from(entry.mtime.1))
}
