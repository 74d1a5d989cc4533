//! The file system above a snapshot: names and attributes are the local tree's, content comes from below as long as it lacks.
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use holdfast_pipeline::extract::attributes::Owners;
use parking_lot::{Condvar, Mutex, RwLock};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::LINKED;
use super::map::Boot;
use super::partial::{Counters, Partial, Trouble};
use super::skeleton::Skeleton;
use crate::listing::TreeSet;
use crate::read_only::join;

mod files;
mod folders;
mod names;

/// The kernel's number of the root.
pub const ROOT: u64 = 1;
/// A local file of the root's number takes this one.
const ROOT_TAKEN: u64 = u64::MAX;
/// A longer path is walked in steps.
const PATH_STEP_BYTES: usize = 3000;
/// Files that were touched and wait to be filled first.
const TOUCHED_MAX: usize = 4096;

/// A name that the kernel knows.
#[derive(Default)]
struct Node {
    names: Vec<(u64, Vec<u8>)>,
    lookups: u64,
    is_expanded: bool,
}

/// An open file.
pub struct Handle {
    /// Its number.
    pub ino: u64,
    /// The local file.
    pub file: Arc<File>,
    /// While content is lacking.
    pub partial: Option<Arc<Partial>>,
    /// Each write is durable before it is answered.
    pub is_sync: bool,
}

/// Names of an open folder, as they were when it was opened.
pub type Names = Arc<Vec<(Vec<u8>, u64, FileType)>>;

/// What the file system and the background share.
pub struct Core {
    root: OwnedFd,
    root_ino: u64,
    maps: Arc<File>,
    skeleton: Skeleton,
    boot: Boot,
    nodes: RwLock<HashMap<u64, Node>>,
    handles: Mutex<HashMap<u64, Arc<Handle>>>,
    folders: Mutex<HashMap<u64, Names>>,
    next_handle: AtomicU64,
    partials: Mutex<HashMap<u64, Weak<Partial>>>,
    /// Files touched lately, the last one first to be filled.
    pub(super) touched: Mutex<VecDeque<Weak<Partial>>>,
    pub(super) wake: Condvar,
    pub(super) counters: Arc<Counters>,
    /// Files that became whole in this mount, so that they are counted once.
    pub(super) seen: Mutex<HashSet<u64>>,
    /// Renames and links so far: what moved may have been missed.
    pub(super) moves: AtomicU64,
    /// Everything is here.
    pub(super) whole: AtomicBool,
}

impl Core {
    /// Over a local tree, its maps and links, which are empty folders at first.
    pub fn new(
        upper: &Path,
        trees: Arc<TreeSet>,
        owners: Owners,
        boot: Boot,
        whole: bool,
    ) -> Result<Self, Errno> {
        let open = |name: &str| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            openat(CWD, upper.join(name), flags, Mode::empty())
        };
        let root = open("tree")?;
        let root_ino = fstat(&root)?.st_ino;
        Ok(Self {
            root,
            root_ino,
            maps: Arc::new(File::from(open("state/maps")?)),
            skeleton: Skeleton::new(trees, owners, open("state/links")?),
            boot,
            nodes: RwLock::default(),
            handles: Mutex::default(),
            folders: Mutex::default(),
            next_handle: AtomicU64::new(1),
            partials: Mutex::default(),
            touched: Mutex::default(),
            wake: Condvar::new(),
            counters: Arc::default(),
            seen: Mutex::default(),
            moves: AtomicU64::new(0),
            whole: AtomicBool::new(whole),
        })
    }

    /// Whether everything is here.
    pub fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// Bytes that came from the vault.
    pub fn fetched_bytes(&self) -> u64 {
        self.counters.filled_bytes.load(Ordering::Relaxed)
    }

    /// What of the snapshot could not be read, as it goes on.
    pub fn unread(&self) -> Vec<(usize, u64)> {
        self.counters.unread.counts()
    }

    /// What an application is told of trouble; damage below is counted.
    pub(super) fn told(&self, trouble: &Trouble) -> fuser::Errno {
        match trouble {
            Trouble::Below(error) => self.counters.unread.told(0, error),
            Trouble::Here(_) => trouble.errno(),
        }
    }

    /// The local tree.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The kernel's number of a local file.
    pub fn ino_of(&self, stat: &Stat) -> u64 {
        self.shown_ino(stat.st_ino)
    }

    fn shown_ino(&self, ino: u64) -> u64 {
        if ino == self.root_ino {
            ROOT
        } else if ino == ROOT {
            ROOT_TAKEN
        } else {
            ino
        }
    }

    /// The path of a number in the local tree; `ESTALE` if it has no name (any more).
    pub fn path(&self, ino: u64) -> Result<Vec<u8>, Errno> {
        let nodes = self.nodes.read();
        let mut parts: Vec<&[u8]> = Vec::new();
        let mut at = ino;
        while at != ROOT {
            let (parent, name) = nodes
                .get(&at)
                .and_then(|node| node.names.first())
                .ok_or(Errno::STALE)?;
            parts.push(name);
            at = *parent;
        }
        parts.reverse();
        Ok(parts.join(&b'/'))
    }

    /// The folder to start from and what is left of a path: long ones are walked in steps.
    fn step(&self, path: &[u8]) -> Result<(Option<OwnedFd>, Vec<u8>), Errno> {
        let mut folder: Option<OwnedFd> = None;
        let mut rest = path;
        while rest.len() > PATH_STEP_BYTES {
            let end = rest
                .get(..PATH_STEP_BYTES)
                .and_then(|part| part.iter().rposition(|byte| *byte == b'/'))
                .ok_or(Errno::NAMETOOLONG)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let part = rest.get(..end).unwrap_or_default();
            let next = openat(
                folder.as_ref().map_or(self.root.as_fd(), AsFd::as_fd),
                part,
                flags,
                Mode::empty(),
            )?;
            folder = Some(next);
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        let rest = if rest.is_empty() { b"." } else { rest };
        Ok((folder, rest.to_vec()))
    }

    /// Does something at a path of the local tree.
    pub fn at<T>(
        &self,
        path: &[u8],
        act: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let (folder, rest) = self.step(path)?;
        act(
            folder.as_ref().map_or(self.root.as_fd(), AsFd::as_fd),
            &rest,
        )
    }

    /// Opens a path of the local tree.
    pub fn open_path(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        self.at(path, |folder, rest| {
            openat(
                folder,
                rest,
                flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
        })
    }

    /// The path, among our own descriptors, of a number: for what has lost its name too.
    fn descriptor(&self, ino: u64) -> Result<Opened, Errno> {
        match self
            .path(ino)
            .and_then(|path| self.open_path(&path, OFlags::PATH))
        {
            Ok(fd) => Ok(Opened::Own(fd)),
            Err(Errno::STALE) => {
                let handles = self.handles.lock();
                let found = handles.values().find(|handle| handle.ino == ino);
                let handle = found.ok_or(Errno::STALE)?;
                Ok(Opened::Handle(Arc::clone(&handle.file)))
            }
            Err(errno) => Err(errno),
        }
    }

    /// Makes a folder's children appear.
    pub fn expand(&self, ino: u64) -> Result<Vec<u8>, Trouble> {
        let path = self.path(ino)?;
        if self.whole.load(Ordering::Acquire) {
            return Ok(path);
        }
        if self
            .nodes
            .read()
            .get(&ino)
            .is_some_and(|node| node.is_expanded)
        {
            return Ok(path);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = self.open_path(&path, flags)?;
        self.skeleton.expand(folder.as_fd())?;
        let mut nodes = self.nodes.write();
        if ino == ROOT || nodes.contains_key(&ino) {
            nodes.entry(ino).or_default().is_expanded = true;
        }
        Ok(path)
    }

    /// Makes the children of an opened folder appear.
    pub(super) fn expand_open(&self, folder: BorrowedFd<'_>) -> Result<(), Trouble> {
        self.skeleton.expand(folder)
    }

    /// Attributes of a local file as the kernel is told: without our own link to it.
    fn adjusted(mut stat: Stat, open: impl FnOnce() -> Result<OwnedFd, Errno>) -> Stat {
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if is_file && stat.st_nlink > 1 {
            let mut none = [0_u8; 64];
            let is_linked = open().is_ok_and(|fd| {
                rustix::fs::getxattr(proc_path(fd.as_fd()), LINKED, none.as_mut_slice()).is_ok()
            });
            if is_linked {
                stat.st_nlink -= 1;
            }
        }
        stat
    }

    /// A child's attributes, remembered as a lookup of the kernel's.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<(u64, Stat), Trouble> {
        let folder = self.expand(parent)?;
        let path = join(&folder, name);
        let stat = self.at(&path, |folder, rest| {
            statat(folder, rest, AtFlags::SYMLINK_NOFOLLOW)
        })?;
        Ok(self.remember(parent, name, &path, stat))
    }

    fn remember(&self, parent: u64, name: &[u8], path: &[u8], stat: Stat) -> (u64, Stat) {
        let ino = self.ino_of(&stat);
        {
            let mut nodes = self.nodes.write();
            let node = nodes.entry(ino).or_default();
            node.lookups += 1;
            let known = node
                .names
                .iter()
                .any(|(of, known)| *of == parent && known == name);
            if !known {
                node.names.push((parent, name.to_vec()));
            }
        }
        let stat = Self::adjusted(stat, || self.open_path(path, OFlags::PATH));
        (ino, self.partial_stat(ino).unwrap_or(stat))
    }

    fn partial_stat(&self, ino: u64) -> Option<Stat> {
        let partial = self.partials.lock().get(&ino).and_then(Weak::upgrade)?;
        let stat = partial.stat().ok()?;
        let path = self.path(ino).ok();
        Some(Self::adjusted(stat, || {
            self.open_path(&path.ok_or(Errno::STALE)?, OFlags::PATH)
        }))
    }

    /// The kernel has forgotten a number so many times.
    pub fn forget(&self, ino: u64, count: u64) {
        let mut nodes = self.nodes.write();
        if let Some(node) = nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(count);
            if node.lookups == 0 && ino != ROOT {
                nodes.remove(&ino);
            }
        }
    }

    /// Attributes by number, or by what is open.
    pub fn stat(&self, ino: u64, handle: Option<u64>) -> Result<Stat, Errno> {
        if let Some(stat) = self.partial_stat(ino) {
            return Ok(stat);
        }
        if let Some(handle) = handle.and_then(|handle| self.handle(handle).ok()) {
            let stat = fstat(&handle.file)?;
            return Ok(Self::adjusted(stat, || {
                rustix::io::fcntl_dupfd_cloexec(&handle.file, 0)
            }));
        }
        let opened = self.descriptor(ino)?;
        let stat = fstat(opened.as_fd())?;
        let stat = Self::adjusted(stat, || rustix::io::fcntl_dupfd_cloexec(opened.as_fd(), 0));
        // Not open: whether content is lacking is said by the file itself, and where blocks are is not known.
        let mut stat = stat;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if is_file && !self.whole.load(Ordering::Relaxed) {
            let blocks = stat.st_size.unsigned_abs().div_ceil(512).cast_signed();
            let mut none = [0_u8; 1024];
            let path = proc_path(opened.as_fd());
            if stat.st_blocks < blocks
                && rustix::fs::getxattr(path, super::LOWER, none.as_mut_slice()).is_ok()
            {
                stat.st_blocks = blocks;
            }
        }
        Ok(stat)
    }

    /// An open file.
    pub fn handle(&self, handle: u64) -> Result<Arc<Handle>, Errno> {
        self.handles.lock().get(&handle).cloned().ok_or(Errno::BADF)
    }

    /// Does something to a file through its path among our descriptors, while it is not being filled.
    pub fn change<T>(
        &self,
        ino: u64,
        act: impl FnOnce(BorrowedFd<'_>, &str) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let partial = self.partials.lock().get(&ino).and_then(Weak::upgrade);
        let _held = partial.as_ref().map(|partial| partial.hold());
        let opened = self.descriptor(ino)?;
        act(opened.as_fd(), &proc_path(opened.as_fd()))
    }
}

/// A descriptor of a file: opened for this, or somebody's who has it open.
enum Opened {
    Own(OwnedFd),
    Handle(Arc<File>),
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own(fd) => fd.as_fd(),
            Self::Handle(file) => file.as_fd(),
        }
    }
}

/// The path of one of our descriptors: works for links, pipes and what has lost its name.
pub fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// The names of a folder, with numbers and kinds.
pub fn names_of(
    folder: BorrowedFd<'_>,
    shown: impl Fn(u64) -> u64,
) -> Result<Vec<(Vec<u8>, u64, FileType)>, Errno> {
    let mut names = Vec::new();
    for row in Dir::read_from(folder)? {
        let row = row?;
        let name = row.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), shown(row.ino()), row.file_type()));
        }
    }
    Ok(names)
}

/// The name of a file as the system has it.
pub fn bytes(name: &OsStr) -> &[u8] {
    name.as_bytes()
}
