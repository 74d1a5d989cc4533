//! The kernel's requests, each handed to the part that answers it.
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{FallocateFlags, Mode, Stat};

use super::overlay::{Core, bytes};
use super::partial::Trouble;
use crate::attributes::{device_parts, of_stat, os};
use crate::kernel::{ask_for, give_xattr};

/// Everything goes through the kernel: it may remember until it is the one that changes it.
pub(super) const KEPT: Duration = Duration::from_mins(1);
/// Largest answer to a write; a database writes up to 1 MiB at once.
const WRITE_BYTES: u32 = 1 << 20;

/// The file system of a writable mount.
pub struct Overlay(pub Arc<Core>);

fn entry(reply: ReplyEntry, found: Result<(u64, Stat), Trouble>) {
    match found.map(|(ino, stat)| of_stat(ino, &stat)) {
        Ok(Some(attr)) => reply.entry(&KEPT, &attr, Generation(0)),
        Ok(None) => reply.error(Errno::EIO),
        Err(trouble) => reply.error(trouble.errno()),
    }
}

fn empty(reply: ReplyEmpty, done: Result<(), Trouble>) {
    match done {
        Ok(()) => reply.ok(),
        Err(trouble) => reply.error(trouble.errno()),
    }
}

impl Filesystem for Overlay {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        ask_for(
            config,
            &[
                InitFlags::FUSE_PARALLEL_DIROPS,
                InitFlags::FUSE_CACHE_SYMLINKS,
                InitFlags::FUSE_POSIX_ACL | InitFlags::FUSE_DONT_MASK,
                InitFlags::FUSE_ASYNC_DIO,
            ],
        );
        let _ = config.set_max_write(WRITE_BYTES);
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, self.0.lookup(parent.0, bytes(name)));
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.0.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        self.attr(ino, fh, reply);
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let done = (|| -> Result<(), Trouble> {
            if uid.is_some() || gid.is_some() {
                self.set_owner(ino.0, uid, gid)?;
            }
            if let Some(size) = size {
                self.0.set_len(ino.0, fh.map(|fh| fh.0), size)?;
            }
            if let Some(mode) = mode {
                let mode = Mode::from_raw_mode(mode & 0o7777);
                self.0
                    .change(ino.0, |_, path| rustix::fs::chmod(path, mode))?;
            }
            if atime.is_some() || mtime.is_some() {
                self.set_times(ino.0, atime, mtime)?;
            }
            Ok(())
        })();
        match done {
            Ok(()) => self.attr(ino, fh, reply),
            Err(trouble) => reply.error(self.0.told(&trouble)),
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        let target = self.0.path(ino.0).and_then(|path| {
            self.0.at(&path, |folder, rest| {
                rustix::fs::readlinkat(folder, rest, Vec::new())
            })
        });
        match target {
            Ok(target) => reply.data(target.as_bytes()),
            Err(errno) => reply.error(os(errno)),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (mode, who) = (mode & !umask, (req.uid(), req.gid()));
        let done = self
            .0
            .make(parent.0, bytes(name), mode, device_parts(rdev), who);
        entry(reply, done);
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let mode = (mode & !umask & 0o7777) | 0o040_000;
        let who = (req.uid(), req.gid());
        entry(reply, self.0.make(parent.0, bytes(name), mode, (0, 0), who));
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.0.remove(parent.0, bytes(name), false));
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.0.remove(parent.0, bytes(name), true));
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        link_name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let who = (req.uid(), req.gid());
        let target = bytes(target.as_os_str());
        entry(
            reply,
            self.0.symlink(parent.0, bytes(link_name), target, who),
        );
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let flags = rustix::fs::RenameFlags::from_bits_retain(flags.bits());
        let from = (parent.0, bytes(name));
        empty(
            reply,
            self.0.rename(from, (newparent.0, bytes(newname)), flags),
        );
    }

    fn link(
        &self,
        _req: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        entry(reply, self.0.link(ino.0, newparent.0, bytes(newname)));
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        match self.0.open(ino.0, flags.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE),
            Err(trouble) => reply.error(self.0.told(&trouble)),
        }
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let who = (req.uid(), req.gid());
        let done = self
            .0
            .create(parent.0, bytes(name), mode & !umask, flags, who);
        match done.map(|(ino, stat, handle)| (of_stat(ino, &stat), handle)) {
            Ok((Some(attr), handle)) => reply.created(
                &KEPT,
                &attr,
                Generation(0),
                FileHandle(handle),
                FopenFlags::FOPEN_KEEP_CACHE,
            ),
            Ok((None, _)) => reply.error(Errno::EIO),
            Err(trouble) => reply.error(self.0.told(&trouble)),
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
        match self.0.read(fh.0, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(trouble) => reply.error(self.0.told(&trouble)),
        }
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.write(fh.0, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(trouble) => reply.error(self.0.told(&trouble)),
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
        self.0.release(fh.0);
        reply.ok();
    }

    fn fsync(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        let done = self.0.handle(fh.0).and_then(|handle| {
            match handle
                .partial
                .as_ref()
                .filter(|partial| !partial.is_whole())
            {
                Some(partial) => partial.sync(),
                None if datasync => rustix::fs::fdatasync(&handle.file),
                None => rustix::fs::fsync(&handle.file),
            }
        });
        empty(reply, done.map_err(Trouble::from));
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.0.open_folder(ino.0) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(trouble) => reply.error(self.0.told(&trouble)),
        }
    }

    fn readdir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let names = match self.0.names(fh.0) {
            Ok(names) => names,
            Err(errno) => return reply.error(os(errno)),
        };
        for (position, (name, ino, kind)) in names.iter().enumerate().skip(offset as usize) {
            let kind = match kind {
                rustix::fs::FileType::Directory => FileType::Directory,
                rustix::fs::FileType::Symlink => FileType::Symlink,
                rustix::fs::FileType::Fifo => FileType::NamedPipe,
                rustix::fs::FileType::Socket => FileType::Socket,
                rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
                rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
                _ => FileType::RegularFile,
            };
            let name = std::os::unix::ffi::OsStrExt::from_bytes(name.as_slice());
            let name: &OsStr = name;
            if reply.add(INodeNo(*ino), position as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.release_folder(fh.0);
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        empty(reply, self.0.sync_folder(ino.0).map_err(Trouble::from));
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        match rustix::fs::fstatvfs(self.0.root()) {
            Ok(found) => reply.statfs(
                found.f_blocks,
                found.f_bfree,
                found.f_bavail,
                found.f_files,
                found.f_ffree,
                found.f_bsize as u32,
                found.f_namemax as u32,
                found.f_frsize as u32,
            ),
            Err(errno) => reply.error(os(errno)),
        }
    }

    fn setxattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let done = self.0.set_xattr(ino.0, bytes(name), Some(value), flags);
        empty(reply, done.map_err(Trouble::from));
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.0.xattr(ino.0, bytes(name)) {
            Ok(value) => give_xattr(&value, size, reply),
            Err(errno) => reply.error(os(errno)),
        }
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.0.xattrs(ino.0) {
            Ok(names) => give_xattr(&names, size, reply),
            Err(errno) => reply.error(os(errno)),
        }
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let done = self.0.set_xattr(ino.0, bytes(name), None, 0);
        empty(reply, done.map_err(Trouble::from));
    }

    fn fallocate(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let flags = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let done = (|| -> Result<(), Trouble> {
            let handle = self.0.handle(fh.0)?;
            match &handle.partial {
                Some(partial) => partial.allocate(flags, offset, length),
                None => Ok(rustix::fs::fallocate(&handle.file, flags, offset, length)?),
            }
        })();
        empty(reply, done);
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
        match self.seek(fh, offset, whence) {
            Ok(found) => reply.offset(found.cast_signed()),
            Err(trouble) => reply.error(self.0.told(&trouble)),
        }
    }
}
