//! Durable creation of an object in a local folder: whole or nothing, never over an existing name.
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::{Error, Step};

/// Bytes handed to the system in one call, and the grain at which a rate limit is obeyed.
pub const WRITE_STEP_BYTES: usize = 1 << 20;
/// Bytes after which the kernel is told to start writing back, so that the final `fsync` has little left to do.
pub const WRITEBACK_BYTES: usize = 8 << 20;
/// The same beside an application that waits for the disk: its commits stand behind whatever is dirty.
pub const WRITEBACK_GENTLE_BYTES: usize = 512 << 10;
/// Names of unfinished objects begin so; a listing leaves them out and anyone may delete old ones.
pub const TEMPORARY_PREFIX: &str = ".tmp-";

/// Spends bytes of a budget, waiting as long as the budget asks.
pub trait Rate {
    /// Returns when `bytes` more may move; [`Error::Stopped`] when they never will.
    fn spend(&self, bytes: u64) -> Result<(), Error>;

    /// How much to write at once.
    fn step_bytes(&self) -> usize {
        WRITE_STEP_BYTES
    }

    /// After how much the kernel is told to write back: little where others wait for the same disk.
    fn writeback_bytes(&self) -> usize {
        WRITEBACK_BYTES
    }
}

/// No limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl Rate for Unlimited {
    fn spend(&self, _bytes: u64) -> Result<(), Error> {
        Ok(())
    }
}

/// Creates `path` with `data`, durably: once this returns, a crash loses neither the bytes nor the name.
///
/// The bytes are written to a temporary in the same folder, synced, and linked to their name, so no reader sees a torn object.
/// [`Error::Exists`] means that the name is taken and was left alone: compare contents. Missing folders are created (and synced).
/// Where the file system has no hard links, `renameat2` without replacement serves; where it has neither, the name itself is
/// created exclusively and a crash may leave a torn object, which its SHA-256 betrays.
pub fn put_file(path: &Path, data: &[u8], rate: &dyn Rate) -> Result<(), Error> {
    let name = path.file_name().ok_or(Error::io("name", Errno::INVAL))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = open_or_create_folder(parent)?;
    let temporary = temporary_name()?;
    let result = write_new(&folder, &temporary, data, rate)
        .and_then(|file| publish(&folder, &file, &temporary, name, data, rate));
    // Best effort: after success the object is safe under its name, after a failure the failure says more.
    let _ = rustix::fs::unlinkat(&folder, &temporary, AtFlags::empty());
    result?;
    rustix::fs::fsync(&folder).step("fsync folder")
}

/// Gives the written temporary its name.
fn publish(
    folder: &OwnedFd,
    file: &OwnedFd,
    temporary: &OsStr,
    name: &OsStr,
    data: &[u8],
    rate: &dyn Rate,
) -> Result<(), Error> {
    match rustix::fs::linkat(folder, temporary, folder, name, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) if is_same_file(folder, file, name) => Ok(()),
        Err(Errno::EXIST) => Err(Error::Exists),
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
            publish_without_links(folder, temporary, name, data, rate)
        }
        Err(errno) => Err(Error::io("link", errno)),
    }
}

/// A network file system may create the link and lose the reply; the retry then says that the name exists.
fn is_same_file(folder: &OwnedFd, file: &OwnedFd, name: &OsStr) -> bool {
    let named = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    match (rustix::fs::fstat(file), named) {
        (Ok(ours), Ok(theirs)) => ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino,
        _ => false,
    }
}

fn publish_without_links(
    folder: &OwnedFd,
    temporary: &OsStr,
    name: &OsStr,
    data: &[u8],
    rate: &dyn Rate,
) -> Result<(), Error> {
    match rustix::fs::renameat_with(folder, temporary, folder, name, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(Error::Exists),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            create_in_place(folder, name, data, rate)
        }
        Err(errno) => Err(Error::io("rename", errno)),
    }
}

fn create_in_place(
    folder: &OwnedFd,
    name: &OsStr,
    data: &[u8],
    rate: &dyn Rate,
) -> Result<(), Error> {
    match write_new(folder, name, data, rate) {
        Ok(_) => Ok(()),
        Err(Error::Exists) => Err(Error::Exists),
        Err(error) => {
            // Best effort: what is left is torn and fails its hash.
            let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
            Err(error)
        }
    }
}

/// Creates `name` exclusively, writes `data` and syncs it.
fn write_new(
    folder: &OwnedFd,
    name: &OsStr,
    data: &[u8],
    rate: &dyn Rate,
) -> Result<OwnedFd, Error> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = match rustix::fs::openat(folder, name, flags, file_mode(folder)) {
        Ok(file) => file,
        Err(Errno::EXIST) => return Err(Error::Exists),
        Err(errno) => return Err(Error::io("create", errno)),
    };
    let mut flushed = 0_usize;
    let mut written = 0_usize;
    while let Some(rest) = data.get(written..).filter(|rest| !rest.is_empty()) {
        let (step, _) = rest.split_at(rate.step_bytes().clamp(1, rest.len()));
        rate.spend(step.len() as u64)?;
        write_all(file.as_fd(), step)?;
        written += step.len();
        if written - flushed >= rate.writeback_bytes() {
            start_writeback(file.as_fd(), flushed as u64, (written - flushed) as u64);
            flushed = written;
        }
    }
    rustix::fs::fsync(&file).step("fsync")?;
    Ok(file)
}

/// Writes all of `data` at the file's position.
pub(crate) fn write_all(file: BorrowedFd<'_>, mut data: &[u8]) -> Result<(), Error> {
    while !data.is_empty() {
        match rustix::io::write(file, data) {
            Ok(0) => return Err(Error::io("write", Errno::IO)),
            Ok(count) => data = data.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::io("write", errno)),
        }
    }
    Ok(())
}

/// Tells the kernel to start writing a range back now. Advice only: what it cannot do, the `fsync` does.
///
/// On Linux `POSIX_FADV_DONTNEED` starts write-back of dirty pages in the range (`generic_fadvise`), which is what
/// `sync_file_range` would be asked for.
pub(crate) fn start_writeback(file: BorrowedFd<'_>, offset: u64, bytes: u64) {
    if let Some(bytes) = std::num::NonZeroU64::new(bytes) {
        let _ = rustix::fs::fadvise(file, offset, Some(bytes), Advice::DontNeed);
    }
}

/// Readable by whom the folder is readable by: who owns the vault's folder decides once, by its mode.
fn file_mode(folder: &OwnedFd) -> Mode {
    Mode::RUSR | Mode::WUSR | (folder_mode(folder) & (Mode::RGRP | Mode::ROTH))
}

fn folder_mode(folder: &OwnedFd) -> Mode {
    rustix::fs::fstat(folder).map_or(Mode::RWXU, |stat| {
        Mode::from_raw_mode(stat.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO)
    })
}

fn temporary_name() -> Result<OsString, Error> {
    use std::fmt::Write as _;
    let mut random = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Error::io("randomness", Errno::IO))?;
    let mut name = String::from(TEMPORARY_PREFIX);
    for byte in random {
        let _ = write!(name, "{byte:02x}");
    }
    Ok(OsString::from(name))
}

const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Opens a folder, creating (and syncing the entries of) those missing above it.
fn open_or_create_folder(path: &Path) -> Result<OwnedFd, Error> {
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut current = path.to_path_buf();
    let mut folder = loop {
        match rustix::fs::open(&current, FOLDER_FLAGS, Mode::empty()) {
            Ok(folder) => break folder,
            Err(Errno::NOENT) => {
                let name = current.file_name().map(OsStr::as_bytes);
                let Some(name) = name else {
                    return Err(Error::io("open folder", Errno::NOENT));
                };
                missing.push(PathBuf::from(OsStr::from_bytes(name)));
                if !current.pop() || current.as_os_str().is_empty() {
                    current = PathBuf::from(".");
                }
            }
            Err(errno) => return Err(Error::io("open folder", errno)),
        }
    };
    while let Some(name) = missing.pop() {
        match rustix::fs::mkdirat(&folder, &name, folder_mode(&folder)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::io("mkdir", errno)),
        }
        // Another process may have created it a moment ago without syncing yet: sync in either case.
        rustix::fs::fsync(&folder).step("fsync folder")?;
        folder =
            rustix::fs::openat(&folder, &name, FOLDER_FLAGS, Mode::empty()).step("open folder")?;
    }
    Ok(folder)
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
