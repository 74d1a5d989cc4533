//! The file system above a snapshot: names and attributes are the local tree's, content comes from below as long as it lacks.
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use holdfast_pipeline::extract::attributes::Owners;
use parking_lot::{Condvar, Mutex, RwLock};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags, chownat, fchmod, fstat,
    linkat, mkdirat, mknodat, openat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::map::Boot;
use super::partial::{Counters, Partial, Trouble};
use super::skeleton::{Skeleton, lower_of};
use super::{LINKED, OURS};
use crate::content::Lower;
use crate::listing::{Found, TreeSet};
use crate::read_only::join;

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
    fn adjusted(&self, mut stat: Stat, open: impl FnOnce() -> Result<OwnedFd, Errno>) -> Stat {
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
        let stat = self.adjusted(stat, || self.open_path(path, OFlags::PATH));
        (ino, self.partial_stat(ino).unwrap_or(stat))
    }

    fn partial_stat(&self, ino: u64) -> Option<Stat> {
        let partial = self.partials.lock().get(&ino).and_then(Weak::upgrade)?;
        let stat = partial.stat().ok()?;
        let path = self.path(ino).ok();
        Some(self.adjusted(stat, || {
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
            return Ok(self.adjusted(stat, || rustix::io::fcntl_dupfd_cloexec(&handle.file, 0)));
        }
        let opened = self.descriptor(ino)?;
        let stat = fstat(opened.as_fd())?;
        let stat = self.adjusted(stat, || rustix::io::fcntl_dupfd_cloexec(opened.as_fd(), 0));
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
        self.handles
            .lock()
            .get(&handle)
            .cloned()
            .ok_or(Errno::BADF)
    }

    /// What is known of a file that may lack content: shared by all who have it open.
    pub fn partial(&self, ino: u64, file: &Arc<File>) -> Result<Option<Arc<Partial>>, Trouble> {
        if self.whole.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut partials = self.partials.lock();
        if let Some(known) = partials.get(&ino).and_then(Weak::upgrade) {
            return Ok(Some(known));
        }
        let Some(path) = lower_of(file.as_fd())? else {
            return Ok(None);
        };
        let trees = self.skeleton.trees();
        let found = trees.lookup(&path)?;
        let Some(Found::Entry(entry, _)) = found else {
            return Err(Errno::IO.into());
        };
        let holdfast_engine::entry::EntryKind::File { size, content } = &entry.kind else {
            return Err(Errno::IO.into());
        };
        let segments = Arc::clone(trees.segments());
        let lower = Lower::open(*size, content, &segments)?;
        // Filling must write, whatever the mode and whoever opened it.
        let own = writable(file)?;
        let partial = Partial::open(
            own,
            lower,
            segments,
            &self.maps,
            map_name(&path),
            self.boot,
            Arc::clone(&self.counters),
        )?;
        let partial = Arc::new(partial);
        partials.retain(|_, known| known.strong_count() > 0);
        partials.insert(ino, Arc::downgrade(&partial));
        Ok(Some(partial))
    }

    /// Fill this one first.
    fn touch(&self, partial: &Arc<Partial>) {
        if partial.is_whole() {
            return;
        }
        let mut touched = self.touched.lock();
        touched.retain(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(partial)));
        touched.push_front(Arc::downgrade(partial));
        touched.truncate(TOUCHED_MAX);
        self.wake.notify_all();
    }

    /// Opens a file of a number.
    pub fn open(&self, ino: u64, flags: i32) -> Result<u64, Trouble> {
        let path = self.path(ino)?;
        let wanted = OFlags::from_bits_retain(flags.cast_unsigned());
        let mode = wanted & OFlags::RWMODE;
        let durable = wanted & (OFlags::DSYNC | OFlags::SYNC);
        let file = Arc::new(File::from(self.open_path(&path, mode | durable)?));
        self.opened(ino, file, !durable.is_empty())
    }

    fn opened(&self, ino: u64, file: Arc<File>, is_sync: bool) -> Result<u64, Trouble> {
        let partial = self.partial(ino, &file)?;
        if let Some(partial) = &partial {
            self.touch(partial);
        }
        let number = self.next_handle.fetch_add(1, Ordering::Relaxed);
        let handle = Handle {
            ino,
            file,
            partial,
            is_sync,
        };
        self.handles.lock().insert(number, Arc::new(handle));
        Ok(number)
    }

    /// Closes a file.
    pub fn release(&self, handle: u64) {
        let closed = self.handles.lock().remove(&handle);
        drop(closed);
    }

    /// A name's owner as who made it, unless the folder hands its group on.
    fn own(
        &self,
        folder: &[u8],
        file: BorrowedFd<'_>,
        who: (u32, u32),
    ) -> Result<bool, Errno> {
        let (parent, has_default) = self.at(folder, |fd, rest| {
            let parent = statat(fd, rest, AtFlags::SYMLINK_NOFOLLOW)?;
            let opened = openat(fd, rest, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            let mut none = [0_u8; 4096];
            let has_default = rustix::fs::getxattr(
                proc_path(opened.as_fd()),
                "system.posix_acl_default",
                none.as_mut_slice(),
            )
            .is_ok();
            Ok((parent, has_default))
        })?;
        let stat = fstat(file)?;
        let hands_on = parent.st_mode & 0o2000 != 0;
        let gid = if hands_on { parent.st_gid } else { who.1 };
        if (stat.st_uid, stat.st_gid) != (who.0, gid) && rustix::process::geteuid().is_root() {
            chownat(
                file,
                "",
                Some(Uid::from_raw(who.0)),
                Some(Gid::from_raw(gid)),
                AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW,
            )?;
        }
        Ok(has_default)
    }

    /// Makes a file and opens it.
    pub fn create(
        &self,
        parent: u64,
        name: &[u8],
        mode: u32,
        flags: i32,
        who: (u32, u32),
    ) -> Result<(u64, Stat, u64), Trouble> {
        let folder = self.expand(parent)?;
        let path = join(&folder, name);
        let wanted = OFlags::from_bits_retain(flags.cast_unsigned());
        let durable = wanted & (OFlags::DSYNC | OFlags::SYNC);
        let flags = (wanted & OFlags::RWMODE) | durable | OFlags::CREATE | OFlags::EXCL;
        let made = self.at(&path, |folder, rest| {
            openat(
                folder,
                rest,
                flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::from_raw_mode(mode & 0o7777),
            )
        })?;
        if !self.own(&folder, made.as_fd(), who)? {
            fchmod(&made, Mode::from_raw_mode(mode & 0o7777))?;
        }
        let stat = fstat(&made)?;
        let (ino, stat) = self.remember(parent, name, &path, stat);
        let handle = self.opened(ino, Arc::new(File::from(made)), !durable.is_empty())?;
        Ok((ino, stat, handle))
    }

    /// Makes a folder, pipe, socket, device or empty file.
    pub fn make(
        &self,
        parent: u64,
        name: &[u8],
        mode: u32,
        device: (u32, u32),
        who: (u32, u32),
    ) -> Result<(u64, Stat), Trouble> {
        let folder = self.expand(parent)?;
        let path = join(&folder, name);
        let kind = FileType::from_raw_mode(mode);
        let bits = Mode::from_raw_mode(mode & 0o7777);
        self.at(&path, |folder, rest| {
            if kind == FileType::Directory {
                mkdirat(folder, rest, bits)
            } else {
                let device = rustix::fs::makedev(device.0, device.1);
                mknodat(folder, rest, kind, bits, device)
            }
        })?;
        let made = self.open_path(&path, OFlags::PATH)?;
        let hands_on = kind == FileType::Directory && fstat(&made)?.st_mode & 0o2000 != 0;
        if !self.own(&folder, made.as_fd(), who)? {
            let bits = if hands_on { bits | Mode::SGID } else { bits };
            rustix::fs::chmod(proc_path(made.as_fd()), bits)?;
        }
        let stat = fstat(&made)?;
        Ok(self.remember(parent, name, &path, stat))
    }

    /// Makes a symbolic link.
    pub fn symlink(
        &self,
        parent: u64,
        name: &[u8],
        target: &[u8],
        who: (u32, u32),
    ) -> Result<(u64, Stat), Trouble> {
        let folder = self.expand(parent)?;
        let path = join(&folder, name);
        self.at(&path, |folder, rest| symlinkat(target, folder, rest))?;
        let made = self.open_path(&path, OFlags::PATH)?;
        self.own(&folder, made.as_fd(), who)?;
        let stat = fstat(&made)?;
        Ok(self.remember(parent, name, &path, stat))
    }

    /// Gives a file one more name.
    pub fn link(&self, ino: u64, parent: u64, name: &[u8]) -> Result<(u64, Stat), Trouble> {
        let folder = self.expand(parent)?;
        let path = join(&folder, name);
        let opened = self.descriptor(ino)?;
        self.moves.fetch_add(1, Ordering::Relaxed);
        self.at(&path, |folder, rest| {
            linkat(
                CWD,
                proc_path(opened.as_fd()),
                folder,
                rest,
                AtFlags::SYMLINK_FOLLOW,
            )
        })?;
        let stat = fstat(opened.as_fd())?;
        Ok(self.remember(parent, name, &path, stat))
    }

    /// Takes a name away.
    pub fn remove(&self, parent: u64, name: &[u8], is_folder: bool) -> Result<(), Trouble> {
        let folder = self.expand(parent)?;
        let path = join(&folder, name);
        if is_folder {
            // Whether it is empty is not known before its children have appeared.
            let opened = self.open_path(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            self.skeleton.expand(opened.as_fd())?;
        }
        let stat = self.at(&path, |fd, rest| {
            statat(fd, rest, AtFlags::SYMLINK_NOFOLLOW)
        })?;
        let flags = if is_folder {
            AtFlags::REMOVEDIR
        } else {
            AtFlags::empty()
        };
        self.at(&path, |folder, rest| unlinkat(folder, rest, flags))?;
        self.drop_name(self.ino_of(&stat), parent, name);
        Ok(())
    }

    fn drop_name(&self, ino: u64, parent: u64, name: &[u8]) {
        let mut nodes = self.nodes.write();
        if let Some(node) = nodes.get_mut(&ino) {
            node.names
                .retain(|(of, known)| *of != parent || known != name);
        }
    }

    /// Moves a name.
    pub fn rename(
        &self,
        from: (u64, &[u8]),
        to: (u64, &[u8]),
        flags: rustix::fs::RenameFlags,
    ) -> Result<(), Trouble> {
        let old = join(&self.expand(from.0)?, from.1);
        let new = join(&self.expand(to.0)?, to.1);
        let stat = |path: &[u8]| {
            self.at(path, |fd, rest| {
                statat(fd, rest, AtFlags::SYMLINK_NOFOLLOW)
            })
        };
        let moved = stat(&old)?;
        let replaced = stat(&new).ok();
        if replaced.is_some_and(|found| {
            FileType::from_raw_mode(found.st_mode) == FileType::Directory
        }) {
            let opened = self.open_path(&new, OFlags::RDONLY | OFlags::DIRECTORY)?;
            self.skeleton.expand(opened.as_fd())?;
        }
        let (old_folder, old_rest) = self.step(&old)?;
        let (new_folder, new_rest) = self.step(&new)?;
        self.moves.fetch_add(1, Ordering::Relaxed);
        rustix::fs::renameat_with(
            old_folder.as_ref().map_or(self.root.as_fd(), AsFd::as_fd),
            old_rest.as_slice(),
            new_folder.as_ref().map_or(self.root.as_fd(), AsFd::as_fd),
            new_rest.as_slice(),
            flags,
        )?;
        let moved = self.ino_of(&moved);
        let replaced = replaced.map(|stat| self.ino_of(&stat));
        if replaced == Some(moved) {
            // Two names of one file: nothing was done.
            return Ok(());
        }
        if let Some(replaced) = replaced {
            self.drop_name(replaced, to.0, to.1);
        }
        self.drop_name(moved, from.0, from.1);
        let mut nodes = self.nodes.write();
        if let Some(node) = nodes.get_mut(&moved) {
            node.names.push((to.0, to.1.to_vec()));
        }
        if flags.contains(rustix::fs::RenameFlags::EXCHANGE)
            && let Some(node) = replaced.and_then(|ino| nodes.get_mut(&ino))
        {
            node.names.push((from.0, from.1.to_vec()));
        }
        Ok(())
    }

    /// Reads.
    pub fn read(&self, handle: u64, offset: u64, len: usize) -> Result<Vec<u8>, Trouble> {
        let handle = self.handle(handle)?;
        match &handle.partial {
            Some(partial) if !partial.is_whole() => partial.read(offset, len),
            _ => Ok(super::partial::read_here(&handle.file, offset, len)?),
        }
    }

    /// Writes.
    pub fn write(&self, handle: u64, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        let handle = self.handle(handle)?;
        if let Some(partial) = handle.partial.as_ref().filter(|partial| !partial.is_whole()) {
            self.touch(partial);
            partial.write(offset, bytes)?;
            if handle.is_sync {
                partial.sync()?;
            }
            return Ok(());
        }
        Ok(handle
            .file
            .write_all_at(bytes, offset)
            .map_err(super::partial::system)?)
    }

    /// Cuts or lengthens a file.
    pub fn set_len(&self, ino: u64, handle: Option<u64>, len: u64) -> Result<(), Trouble> {
        if let Some(handle) = handle.and_then(|handle| self.handle(handle).ok()) {
            return match &handle.partial {
                Some(partial) => partial.set_len(len),
                None => Ok(rustix::fs::ftruncate(&handle.file, len)?),
            };
        }
        let opened = self.descriptor(ino)?;
        let file = Arc::new(File::from(rustix::fs::open(
            proc_path(opened.as_fd()),
            OFlags::RDWR | OFlags::CLOEXEC,
            Mode::empty(),
        )?));
        match self.partial(ino, &file)? {
            Some(partial) => partial.set_len(len),
            None => Ok(rustix::fs::ftruncate(&file, len)?),
        }
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

    /// Opens a folder: its names as they are now.
    pub fn open_folder(&self, ino: u64) -> Result<u64, Trouble> {
        let path = self.expand(ino)?;
        let folder = self.open_path(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let names = names_of(folder.as_fd(), |ino| self.shown_ino(ino))?;
        let number = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.folders.lock().insert(number, Arc::new(names));
        Ok(number)
    }

    /// The names of an open folder.
    pub fn names(&self, handle: u64) -> Result<Names, Errno> {
        self.folders
            .lock()
            .get(&handle)
            .cloned()
            .ok_or(Errno::BADF)
    }

    /// Closes a folder.
    pub fn release_folder(&self, handle: u64) {
        self.folders.lock().remove(&handle);
    }

    /// Makes a folder durable.
    pub fn sync_folder(&self, ino: u64) -> Result<(), Errno> {
        let path = self.path(ino)?;
        let folder = self.open_path(&path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        rustix::fs::fsync(folder)
    }

    /// An extended attribute; ours are not there.
    pub fn xattr(&self, ino: u64, name: &[u8]) -> Result<Vec<u8>, Errno> {
        if name.starts_with(OURS) {
            return Err(Errno::NODATA);
        }
        self.change(ino, |_, path| {
            let mut value = vec![0; 65_536];
            let len = rustix::fs::getxattr(path, name, value.as_mut_slice())?;
            value.truncate(len);
            Ok(value)
        })
    }

    /// Names of extended attributes, each with a zero behind it, without ours.
    pub fn xattrs(&self, ino: u64) -> Result<Vec<u8>, Errno> {
        self.change(ino, |_, path| {
            let mut names = vec![0; 65_536];
            let len = rustix::fs::listxattr(path, &mut names)?;
            names.truncate(len);
            Ok(names
                .split_inclusive(|byte| *byte == 0)
                .filter(|name| !name.starts_with(OURS))
                .flatten()
                .copied()
                .collect())
        })
    }

    /// Sets an extended attribute, or takes it away.
    pub fn set_xattr(
        &self,
        ino: u64,
        name: &[u8],
        value: Option<&[u8]>,
        flags: i32,
    ) -> Result<(), Errno> {
        if name.starts_with(OURS) {
            return Err(Errno::PERM);
        }
        self.change(ino, |_, path| match value {
            Some(value) => {
                let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
                rustix::fs::setxattr(path, name, value, flags)
            }
            None => rustix::fs::removexattr(path, name),
        })
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

/// The file opened once more, for writing. Who is not root and may not write it gives himself the right for a moment.
fn writable(file: &Arc<File>) -> Result<Arc<File>, Errno> {
    let path = proc_path(file.as_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(&path, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let mode = Mode::from_raw_mode(fstat(file)?.st_mode);
            rustix::fs::chmod(&path, mode | Mode::RUSR | Mode::WUSR)?;
            let opened = rustix::fs::open(&path, flags, Mode::empty());
            rustix::fs::chmod(&path, mode)?;
            opened?
        }
        other => other?,
    };
    Ok(Arc::new(File::from(opened)))
}

/// What the map of a path is called: names of patients do not stand in the state folder.
fn map_name(path: &[u8]) -> String {
    use std::fmt::Write;
    let digest = holdfast_engine::pack::sha256(path);
    digest.iter().take(16).fold(String::new(), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// The name of a file as the system has it.
pub fn bytes(name: &OsStr) -> &[u8] {
    name.as_bytes()
}
