//! The kernel's requests to a read-only mount.
use std::collections::hash_map::Entry as Slot;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fuser::{
    Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyXattr, Request,
};
use holdfast_engine::entry::EntryKind;
use parking_lot::Mutex;

use super::{KEPT, NAME_BYTES_MAX, ReadOnly, What};
use crate::kernel::{ask_for, give_xattr, seek_kind};

impl Filesystem for ReadOnly {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        ask_for(
            config,
            &[
                InitFlags::FUSE_PARALLEL_DIROPS,
                InitFlags::FUSE_DO_READDIRPLUS | InitFlags::FUSE_READDIRPLUS_AUTO,
                InitFlags::FUSE_CACHE_SYMLINKS,
                InitFlags::FUSE_POSIX_ACL,
                InitFlags::FUSE_ASYNC_DIO,
            ],
        );
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.find(parent, name.as_bytes()) {
            Ok(node) => {
                node.lookups.fetch_add(1, Ordering::Relaxed);
                reply.entry(&KEPT, &node.attr, Generation(0));
            }
            Err(error) => reply.error(error),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        let mut nodes = self.nodes.lock();
        if let Slot::Occupied(node) = nodes.entry(ino.0) {
            let before = node.get().lookups.fetch_sub(nlookup, Ordering::Relaxed);
            if before <= nlookup {
                node.remove();
            }
        }
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(ino) {
            Ok(node) => reply.attr(&KEPT, &node.attr),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.node(ino).as_deref().map(|node| &node.what) {
            Ok(What::Link(target)) => reply.data(target),
            Ok(What::Tree {
                entry: Some(entry), ..
            }) => match &entry.kind {
                EntryKind::Symlink { target } => reply.data(target),
                _ => reply.error(Errno::EINVAL),
            },
            Ok(_) => reply.error(Errno::EINVAL),
            Err(error) => reply.error(*error),
        }
    }

    fn open(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.open_file(ino) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.file(fh).and_then(|(snapshot, lower)| {
            lower
                .read(&self.segments, offset, size as usize)
                .map_err(|error| self.unread.told(snapshot, &error))
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn lseek(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let found = self.file(fh).and_then(|(snapshot, lower)| {
            let what = seek_kind(whence).ok_or(Errno::EINVAL)?;
            let offset = u64::try_from(offset)
                .ok()
                .filter(|offset| *offset < lower.size())
                .ok_or(Errno::ENXIO)?;
            lower
                .seek(&self.segments, offset, what)
                .map_err(|error| self.unread.told(snapshot, &error))?
                .ok_or(Errno::ENXIO)
        });
        match found {
            Ok(offset) => reply.offset(offset.cast_signed()),
            Err(error) => reply.error(error),
        }
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.files.lock().remove(&fh.0);
        reply.ok();
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.children(ino) {
            Ok(folder) => {
                let handle = self.handles.fetch_add(1, Ordering::Relaxed);
                let mut folders = self.open_folders.lock();
                folders.insert(handle, Arc::new(Mutex::new(folder)));
                reply.opened(
                    FileHandle(handle),
                    FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE,
                );
            }
            Err(error) => reply.error(error),
        }
    }

    fn readdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let done = self.read_folder(ino, fh, offset, &mut |fs, at, name, child| {
            let (ino, kind) = fs.glimpse(child);
            Ok(reply.add(INodeNo(ino), at, kind, OsStr::from_bytes(name)))
        });
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let done = self.read_folder(ino, fh, offset, &mut |fs, at, name, child| {
            let node = fs.node_of(child)?;
            let name = OsStr::from_bytes(name);
            let full = reply.add(node.attr.ino, at, name, &KEPT, &node.attr, Generation(0));
            if !full {
                node.lookups.fetch_add(1, Ordering::Relaxed);
            }
            Ok(full)
        });
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.open_folders.lock().remove(&fh.0);
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let (entries, bytes) = self.totals;
        let block: u32 = 4096;
        reply.statfs(
            bytes.div_ceil(u64::from(block)),
            0,
            0,
            entries,
            0,
            block,
            NAME_BYTES_MAX,
            block,
        );
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let node = match self.node(ino) {
            Ok(node) => node,
            Err(error) => return reply.error(error),
        };
        let value = match &node.what {
            What::Tree {
                entry: Some(entry), ..
            } => entry
                .xattrs
                .iter()
                .find(|(known, _)| known == name.as_bytes())
                .map(|(_, value)| value.as_slice()),
            _ => None,
        };
        match value {
            Some(value) => give_xattr(value, size, reply),
            None => reply.error(Errno::ENODATA),
        }
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.node(ino) {
            Ok(node) => {
                let mut names = Vec::new();
                if let What::Tree {
                    entry: Some(entry), ..
                } = &node.what
                {
                    for (name, _) in &entry.xattrs {
                        names.extend_from_slice(name);
                        names.push(0);
                    }
                }
                give_xattr(&names, size, reply);
            }
            Err(error) => reply.error(error),
        }
    }
}
