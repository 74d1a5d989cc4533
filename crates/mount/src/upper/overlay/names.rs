//! Making, moving and taking away names.
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fstat, linkat, mkdirat,
    mknodat, openat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::{Core, proc_path};
use crate::read_only::join;
use crate::upper::partial::Trouble;

impl Core {
    /// A name's owner as who created it, unless the folder hands its group on.
    fn own(&self, folder: &[u8], file: BorrowedFd<'_>, who: (u32, u32)) -> Result<bool, Errno> {
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
        let created = self.at(&path, |folder, rest| {
            openat(
                folder,
                rest,
                flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::from_raw_mode(mode & 0o7777),
            )
        })?;
        if !self.own(&folder, created.as_fd(), who)? {
            fchmod(&created, Mode::from_raw_mode(mode & 0o7777))?;
        }
        let stat = fstat(&created)?;
        let (ino, stat) = self.remember(parent, name, &path, stat);
        let handle = self.opened(ino, Arc::new(File::from(created)), !durable.is_empty())?;
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
        let created = self.open_path(&path, OFlags::PATH)?;
        let hands_on = kind == FileType::Directory && fstat(&created)?.st_mode & 0o2000 != 0;
        if !self.own(&folder, created.as_fd(), who)? {
            let bits = if hands_on { bits | Mode::SGID } else { bits };
            rustix::fs::chmod(proc_path(created.as_fd()), bits)?;
        }
        let stat = fstat(&created)?;
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
        let created = self.open_path(&path, OFlags::PATH)?;
        self.own(&folder, created.as_fd(), who)?;
        let stat = fstat(&created)?;
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
        let stat =
            |path: &[u8]| self.at(path, |fd, rest| statat(fd, rest, AtFlags::SYMLINK_NOFOLLOW));
        let moved = stat(&old)?;
        let replaced = stat(&new).ok();
        if replaced
            .is_some_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
        {
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
}
