//! Open folders, and extended attributes.
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{OFlags, XattrFlags};
use rustix::io::Errno;
use std::os::fd::AsFd;

use super::{Core, Names, names_of};
use crate::upper::OURS;
use crate::upper::partial::Trouble;

impl Core {
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
        self.folders.lock().get(&handle).cloned().ok_or(Errno::BADF)
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
