//! Folders of the target, never left: every path is opened beneath the target's own descriptor, following no link.
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Longer paths are opened component by component.
const PATH_BYTES_AT_ONCE: usize = 3900;
/// Folder descriptors that one thread keeps.
const OPEN_MAX: usize = 48;

const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// The folder that is restored into.
pub struct Target {
    root: OwnedFd,
    no_openat2: AtomicBool,
}

/// A folder of the target, by its path in the tree.
#[derive(Debug)]
pub struct Folder {
    /// Empty for the target itself.
    pub path: Vec<u8>,
    /// Made by this restore (or by one it resumes): nobody else's files are expected in it.
    pub is_new: bool,
    /// It could not be made: nothing under it can be.
    pub is_missing: bool,
}

impl Target {
    /// Restores into this folder; links in the path to it are the caller's business.
    pub fn new(root: OwnedFd) -> Self {
        Self {
            root,
            no_openat2: AtomicBool::new(false),
        }
    }

    /// The target's own descriptor.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens a folder beneath the target. `ELOOP` or `ENOTDIR` if a link stands in the way.
    pub fn open_folder(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        if path.is_empty() {
            return rustix::fs::openat(&self.root, c".", FLAGS, Mode::empty());
        }
        if path.len() <= PATH_BYTES_AT_ONCE && !self.no_openat2.load(Ordering::Relaxed) {
            let resolve =
                ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(&self.root, path, FLAGS, Mode::empty(), resolve) {
                Err(Errno::NOSYS | Errno::PERM) => self.no_openat2.store(true, Ordering::Relaxed),
                result => return result,
            }
        }
        self.step_by_step(path)
    }

    fn step_by_step(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut folder = self.open_folder(b"")?;
        for name in path.split(|byte| *byte == b'/') {
            if name.is_empty() || name == b"." || name == b".." {
                return Err(Errno::INVAL);
            }
            folder = rustix::fs::openat(&folder, name, FLAGS, Mode::empty())?;
        }
        Ok(folder)
    }
}

/// What stands under a name, links not followed; `None` if nothing does.
pub fn stat(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The kind of a file from its `stat`.
pub fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// The folder descriptors of one thread, the latest first.
pub struct OpenFolders<'a> {
    target: &'a Target,
    open: Vec<(Arc<Folder>, OwnedFd)>,
}

impl<'a> OpenFolders<'a> {
    /// None open yet.
    pub fn new(target: &'a Target) -> Self {
        Self {
            target,
            open: Vec::with_capacity(OPEN_MAX),
        }
    }

    /// A descriptor of a folder.
    pub fn get(&mut self, folder: &Arc<Folder>) -> Result<BorrowedFd<'_>, Errno> {
        if folder.is_missing {
            return Err(Errno::NOENT);
        }
        let known = self
            .open
            .iter()
            .rposition(|(known, _)| Arc::ptr_eq(known, folder));
        let position = if let Some(position) = known {
            position
        } else {
            let fd = self.target.open_folder(&folder.path)?;
            if self.open.len() >= OPEN_MAX {
                self.open.remove(0);
            }
            self.open.push((Arc::clone(folder), fd));
            self.open.len() - 1
        };
        self.open
            .get(position)
            .map(|(_, fd)| fd.as_fd())
            .ok_or(Errno::BADF)
    }

    /// Closes them all.
    pub fn clear(&mut self) {
        self.open.clear();
    }
}
