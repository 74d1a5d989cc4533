//! A map in a file of the state folder.
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fdatasync, fstat, fsync};
use rustix::io::Errno;

use super::map::Medium;
use super::partial::system;

/// A map in a file of the state folder.
pub struct MapFile {
    file: File,
    folder: Arc<File>,
    is_new: bool,
}

impl MapFile {
    /// Opens or makes the file of a map.
    pub fn open(folder: &Arc<File>, name: &str) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(folder.as_fd(), name, flags, Mode::RUSR | Mode::WUSR)?;
        // Whoever had it open last may still be noting what is here.
        rustix::fs::flock(&fd, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(Self {
            file: File::from(fd),
            folder: Arc::clone(folder),
            is_new: true,
        })
    }
}

impl Medium for MapFile {
    fn read_all(&mut self) -> Result<Vec<u8>, Errno> {
        let len = fstat(&self.file)?.st_size;
        let mut bytes = vec![0; usize::try_from(len).map_err(|_| Errno::FBIG)?];
        self.file.read_exact_at(&mut bytes, 0).map_err(system)?;
        Ok(bytes)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.file.write_all_at(bytes, at).map_err(system)
    }

    fn sync(&mut self) -> Result<(), Errno> {
        fdatasync(&self.file)?;
        if self.is_new {
            fsync(&self.folder)?;
            self.is_new = false;
        }
        Ok(())
    }
}
