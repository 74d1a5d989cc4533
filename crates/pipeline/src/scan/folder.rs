//! A folder of the scan: its open descriptor (or the way to open it again), its sorted names, and its slices of `stat` results.
use std::collections::VecDeque;
use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Condvar, Mutex};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, fstat, openat, statat};
use rustix::io::Errno;

use super::roots::RootNode;
use super::stat::FileStat;

/// Entries that are looked at as one piece of work.
pub(super) const SLICE_ENTRIES: usize = 1024;
const LISTING_BUFFER_BYTES: usize = 128 * 1024;

/// Sorted names of one folder, in one allocation.
#[derive(Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    order: Vec<u32>,
    /// The folder holds a valid `CACHEDIR.TAG`.
    pub is_cache: bool,
}

impl Names {
    /// Adds a name with its type as the listing gives it.
    fn push(&mut self, kind: FileType, name: &CStr) -> Result<(), Errno> {
        self.order
            .push(u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?);
        self.bytes.push(match kind {
            FileType::Directory => b'd',
            FileType::Unknown => b'?',
            _ => b'f',
        });
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        Ok(())
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        self.order
            .sort_unstable_by(|a, b| name_at(bytes, *a).cmp(name_at(bytes, *b)));
        // A folder that changes while it is listed may give a name twice.
        self.order
            .dedup_by(|a, b| name_at(bytes, *a) == name_at(bytes, *b));
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Number of slices: at least one, so that an empty folder has a piece of work too.
    pub fn slices(&self) -> usize {
        self.len().div_ceil(SLICE_ENTRIES).max(1)
    }

    /// The name at `position` in sorted order.
    pub fn name(&self, position: usize) -> &CStr {
        self.order
            .get(position)
            .map_or(c"", |offset| name_at(&self.bytes, *offset))
    }

    pub fn contains(&self, wanted: &CStr) -> bool {
        self.order
            .binary_search_by(|offset| name_at(&self.bytes, *offset).cmp(wanted))
            .is_ok()
    }
}

fn name_at(bytes: &[u8], offset: u32) -> &CStr {
    bytes
        .get(offset as usize + 1..)
        .and_then(|rest| CStr::from_bytes_until_nul(rest).ok())
        .unwrap_or_default()
}

/// One entry of a slice.
pub(super) struct Looked {
    /// Position of its name in the folder's sorted names.
    pub position: u32,
    /// Data class.
    pub class: u16,
    pub stat: Result<FileStat, Errno>,
    /// Set for folders that will be entered.
    pub child: Option<Arc<Folder>>,
}

/// How far a slice is.
pub(super) enum Slice {
    Queued,
    Working,
    Ready(Vec<Looked>),
    Taken,
}

/// How far a folder is.
#[derive(Default)]
pub(super) struct Progress {
    /// A thread is listing it, or has.
    pub claimed: bool,
    pub names: Option<Result<Arc<Names>, Errno>>,
    pub slices: Vec<Slice>,
}

/// A folder met by the scan.
pub struct Folder {
    parent: Option<Arc<Folder>>,
    name: Box<CStr>,
    depth: u32,
    /// Data class that its entries have unless a rule says otherwise.
    pub(super) class: u16,
    /// Set below a path that was asked for: its device, if other file systems are not to be entered.
    pub(super) device: Option<u64>,
    /// Set above the paths that were asked for.
    pub(super) forced: Option<Arc<RootNode>>,
    identity: OnceLock<(u64, u64)>,
    fd: Mutex<Option<Arc<OwnedFd>>>,
    pub(super) progress: Mutex<Progress>,
    pub(super) changed: Condvar,
}

impl Folder {
    pub(super) fn top(class: u16, forced: Option<Arc<RootNode>>, device: Option<u64>) -> Arc<Self> {
        Arc::new(Self::make(None, c"/".into(), 0, (class, device, forced)))
    }

    pub(super) fn child(
        self: &Arc<Self>,
        name: &CStr,
        class: u16,
        device: Option<u64>,
        forced: Option<Arc<RootNode>>,
    ) -> Arc<Self> {
        let parent = Some(Arc::clone(self));
        Arc::new(Self::make(
            parent,
            name.into(),
            self.depth + 1,
            (class, device, forced),
        ))
    }

    fn make(
        parent: Option<Arc<Self>>,
        name: Box<CStr>,
        depth: u32,
        (class, device, forced): (u16, Option<u64>, Option<Arc<RootNode>>),
    ) -> Self {
        Self {
            parent,
            name,
            depth,
            class,
            device,
            forced,
            identity: OnceLock::new(),
            fd: Mutex::new(None),
            progress: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Its path as in the tree: no leading `/`, empty for the root folder.
    pub fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut folder = Some(self);
        while let Some(this) = folder.filter(|this| this.parent.is_some()) {
            names.push(this.name.to_bytes());
            folder = this.parent.as_deref();
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Its descriptor, opened (again) where needed. The folder that answers is the one first met, or it is `ENOENT`.
    pub fn open(self: &Arc<Self>, pool: &DescriptorPool) -> Result<Arc<OwnedFd>, Errno> {
        if let Some(fd) = self.fd.lock().as_ref() {
            return Ok(Arc::clone(fd));
        }
        // From the nearest folder above that is open, down to this one.
        let mut way = vec![self];
        let mut base: Option<Arc<OwnedFd>> = None;
        let mut above = self.parent.as_ref();
        while let Some(folder) = above {
            base.clone_from(&folder.fd.lock());
            if base.is_some() {
                break;
            }
            way.push(folder);
            above = folder.parent.as_ref();
        }
        for folder in way.iter().rev() {
            let fd = Arc::new(folder.open_below(base.as_deref())?);
            base = Some(fd);
        }
        let fd = base.ok_or(Errno::NOENT)?;
        *self.fd.lock() = Some(Arc::clone(&fd));
        pool.remember(self);
        Ok(fd)
    }

    fn open_below(&self, base: Option<&OwnedFd>) -> Result<OwnedFd, Errno> {
        let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        // The way to a path that was asked for may lead through symbolic links; below it none is followed.
        if self.forced.is_none() {
            flags |= OFlags::NOFOLLOW;
        }
        let fd = match base {
            Some(base) => open_quietly(base, &self.name, flags)?,
            None => openat(CWD, self.name.as_ref(), flags, Mode::empty())?,
        };
        let stat = FileStat::from(fstat(&fd)?);
        let identity = (stat.dev, stat.ino);
        if *self.identity.get_or_init(|| identity) == identity {
            Ok(fd)
        } else {
            Err(Errno::NOENT)
        }
    }

    /// Reads and sorts its names.
    pub(super) fn list(self: &Arc<Self>, pool: &DescriptorPool) -> Result<Names, Errno> {
        let mut names = Names::default();
        if let Some(forced) = &self.forced {
            for name in forced.children.keys() {
                let mut with_nul = name.clone();
                with_nul.push(0);
                let name = CStr::from_bytes_with_nul(&with_nul).map_err(|_| Errno::NOENT)?;
                names.push(FileType::Unknown, name)?;
            }
            return Ok(names);
        }
        // Only one thread lists a folder, so the position of the shared descriptor is its own.
        let shared = self.open(pool)?;
        let mut buffer = vec![MaybeUninit::uninit(); LISTING_BUFFER_BYTES];
        rustix::fs::seek(shared.as_ref(), rustix::fs::SeekFrom::Start(0))?;
        let mut listing = RawDir::new(shared.as_ref(), &mut buffer);
        while let Some(entry) = listing.next() {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_type(), entry.file_name())?;
            }
        }
        names.sort();
        Ok(names)
    }

    /// `stat` of an entry; symbolic links are followed only on the way to a path that was asked for.
    pub(super) fn stat(self: &Arc<Self>, name: &CStr, fd: &OwnedFd) -> Result<FileStat, Errno> {
        let passed_through = self
            .forced
            .as_ref()
            .and_then(|forced| forced.children.get(name.to_bytes()))
            .is_some_and(|node| !node.whole);
        let flags = if passed_through {
            AtFlags::NO_AUTOMOUNT
        } else {
            AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT
        };
        statat(fd, name, flags).map(FileStat::from)
    }
}

/// A chain of folders is dropped link by link: its length is bounded by the disk, the stack is not.
impl Drop for Folder {
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut folder) = next.and_then(Arc::into_inner) {
            next = folder.parent.take();
        }
    }
}

/// Opens for reading without touching the time of last access, where the kernel allows that.
pub fn open_quietly(folder: &OwnedFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    match openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => openat(folder, name, flags, Mode::empty()),
        result => result,
    }
}

/// Bounds the number of folders that are open at once; the oldest is closed, and opened again when needed.
pub struct DescriptorPool {
    open: Mutex<VecDeque<Weak<Folder>>>,
    open_max: usize,
}

impl DescriptorPool {
    pub(super) fn new(open_max: usize) -> Self {
        Self {
            open: Mutex::default(),
            open_max,
        }
    }

    fn remember(&self, folder: &Arc<Folder>) {
        let mut open = self.open.lock();
        open.push_back(Arc::downgrade(folder));
        while open.len() > self.open_max {
            if let Some(oldest) = open.pop_front().and_then(|weak| weak.upgrade()) {
                // Users hold their own handle, so nothing is closed under their hands.
                let closed = oldest.fd.lock().take();
                drop(open);
                drop(closed);
                drop(oldest);
                open = self.open.lock();
            }
        }
    }
}
