//! Folders as they are first looked into: their children appear with their attributes, and without their content.
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use holdfast_engine::content::Content;
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_pipeline::extract::attributes::{Attributes, Owners};
use holdfast_pipeline::extract::special::make_at;
use parking_lot::Mutex;
use rustix::fs::{
    AtFlags, Mode, OFlags, XattrFlags, fgetxattr, fremovexattr, fsetxattr, fstat, fsync, ftruncate,
    futimens, linkat, mkdirat, openat, unlinkat,
};
use rustix::io::Errno;

use super::partial::{Trouble, mtime_of, only_mtime, system};
use super::{LINKED, LOWER};
use crate::listing::{Found, TreeSet};
use crate::read_only::join;

/// A longer path does not fit an attribute of every file system: what it names is brought here at once.
const PATH_KEPT_BYTES: usize = 1000;
/// Folders within folders that are brought here at once for their long paths.
const DEPTH_MAX: usize = 4096;

/// Makes folders appear.
pub struct Skeleton {
    trees: Arc<TreeSet>,
    owners: Mutex<Owners>,
    /// First names of files that have several.
    links: OwnedFd,
    /// One folder at a time: two who look into one wait for each other.
    busy: Mutex<()>,
}

impl Skeleton {
    /// Of the trees of a snapshot; `links`: a folder of the state.
    pub fn new(trees: Arc<TreeSet>, owners: Owners, links: OwnedFd) -> Self {
        Self {
            trees,
            owners: Mutex::new(owners),
            links,
            busy: Mutex::new(()),
        }
    }

    /// The trees beneath.
    pub fn trees(&self) -> &Arc<TreeSet> {
        &self.trees
    }

    /// Makes a folder's children appear, unless they have. Interrupted, it is done again: nobody has seen them.
    pub fn expand(&self, folder: BorrowedFd<'_>) -> Result<(), Trouble> {
        let Some(_) = lower_of(folder)? else {
            return Ok(());
        };
        let _one = self.busy.lock();
        self.expand_now(folder, 0)
    }

    fn expand_now(&self, folder: BorrowedFd<'_>, depth: usize) -> Result<(), Trouble> {
        let Some(path) = lower_of(folder)? else {
            return Ok(());
        };
        self.children(folder, &path, depth)?;
        // One commit of the file system's journal holds all of it, before it says that it is all.
        fsync(folder)?;
        match fremovexattr(folder, LOWER) {
            Ok(()) | Err(Errno::NODATA) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn children(&self, folder: BorrowedFd<'_>, path: &[u8], depth: usize) -> Result<(), Trouble> {
        let mtime = mtime_of(&fstat(folder)?);
        let mut listing = self.trees.list(path);
        while let Some((name, found)) = listing.next()? {
            self.child(folder, &join(path, &name), &name, found, depth)?;
        }
        if listing.is_lost() {
            // A folder that shows less than it holds would be taken for whole.
            return Err(Errno::IO.into());
        }
        futimens(folder, &only_mtime(mtime))?;
        Ok(())
    }

    fn child(
        &self,
        folder: BorrowedFd<'_>,
        path: &[u8],
        name: &[u8],
        found: Found,
        depth: usize,
    ) -> Result<(), Trouble> {
        let Found::Entry(entry, tree) = found else {
            return self.folder(folder, path, name, None, depth);
        };
        let attributes = self.owners.lock().attributes(&entry, true);
        if matches!(entry.kind, EntryKind::Folder) {
            return self.folder(folder, path, name, Some(&attributes), depth);
        }
        // What an interrupted attempt left.
        match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let first = entry.link_id.map(|id| format!("{tree}-{id:016x}"));
        if let Some(first) = &first {
            match linkat(&self.links, first.as_str(), folder, name, AtFlags::empty()) {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        match &entry.kind {
            EntryKind::File { size, content } => self.file(
                folder,
                path,
                name,
                *size,
                content,
                &attributes,
                first.as_ref(),
            ),
            _ => Ok(special(folder, name, &entry, &attributes)?),
        }
    }

    fn folder(
        &self,
        parent: BorrowedFd<'_>,
        path: &[u8],
        name: &[u8],
        attributes: Option<&Attributes>,
        depth: usize,
    ) -> Result<(), Trouble> {
        match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(parent, name, flags, Mode::empty())?;
        if path.len() > PATH_KEPT_BYTES {
            if depth >= DEPTH_MAX {
                return Err(Errno::NAMETOOLONG.into());
            }
            self.children(folder.as_fd(), path, depth + 1)?;
        } else {
            fsetxattr(&folder, LOWER, path, XattrFlags::empty())?;
        }
        match attributes {
            // What the file system here does not take is left out, as by a restore.
            Some(attributes) => drop(attributes.set(folder.as_fd(), false)),
            None => rustix::fs::fchmod(&folder, Mode::from_raw_mode(0o755))?,
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one entry")]
    fn file(
        &self,
        folder: BorrowedFd<'_>,
        path: &[u8],
        name: &[u8],
        size: u64,
        content: &Content,
        attributes: &Attributes,
        first: Option<&String>,
    ) -> Result<(), Trouble> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
        ftruncate(&file, size)?;
        match content {
            Content::Inline(bytes) => file.write_all_at(bytes, 0).map_err(system)?,
            _ if size == 0 => {}
            _ if path.len() > PATH_KEPT_BYTES => {
                let lower = crate::content::Lower::open(size, content, self.trees.segments())?;
                let mut at = 0;
                while at < size {
                    let bytes = lower.read(self.trees.segments(), at, 1 << 20)?;
                    file.write_all_at(&bytes, at).map_err(system)?;
                    at += bytes.len() as u64;
                }
                fsync(&file)?;
            }
            _ => fsetxattr(&file, LOWER, path, XattrFlags::empty())?,
        }
        if let Some(first) = first {
            fsetxattr(&file, LINKED, first.as_bytes(), XattrFlags::empty())?;
            linkat(folder, name, &self.links, first.as_str(), AtFlags::empty())?;
        }
        drop(attributes.set(file.as_fd(), false));
        Ok(())
    }
}

/// Makes a link, pipe or device. One that only root may make, and we are not, is left out.
fn special(
    folder: BorrowedFd<'_>,
    name: &[u8],
    entry: &Entry,
    attributes: &Attributes,
) -> Result<(), Errno> {
    let link = matches!(entry.kind, EntryKind::Symlink { .. });
    match make_at(folder, name, attributes, entry) {
        Err(Errno::PERM) if !link => Ok(()),
        done => done.map(drop),
    }
}

/// The path of the snapshot whose children or content are lacking; `None`: nothing is.
pub fn lower_of(file: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = vec![0; PATH_KEPT_BYTES + 1];
    match fgetxattr(file, LOWER, value.as_mut_slice()) {
        Ok(len) => {
            value.truncate(len);
            Ok(Some(value))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}
