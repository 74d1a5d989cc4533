//! Attributes as the kernel sets and asks them, and where data and holes are.
use fuser::{Errno, FileHandle, INodeNo, ReplyAttr, TimeOrNow};
use rustix::fs::{AtFlags, Gid, SeekFrom, Timespec, Timestamps, UTIME_OMIT, Uid};

use super::filesystem::{KEPT, Overlay};
use super::partial::Trouble;
use crate::attributes::{of_stat, os, timespec};
use crate::content::Seek;
use crate::kernel::seek_kind;

impl Overlay {
    pub(super) fn attr(&self, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.stat(ino.0, fh.map(|fh| fh.0)) {
            Ok(stat) => match of_stat(ino.0, &stat) {
                Some(attr) => reply.attr(&KEPT, &attr),
                None => reply.error(Errno::EIO),
            },
            Err(errno) => reply.error(os(errno)),
        }
    }

    pub(super) fn set_times(
        &self,
        ino: u64,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
    ) -> Result<(), Trouble> {
        let omit = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        };
        let times = Timestamps {
            last_access: atime.map_or(omit, timespec),
            last_modification: mtime.map_or(omit, timespec),
        };
        let done = self.0.change(ino, |_, path| {
            rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::empty())
        });
        match done {
            // A link cannot be reached that way on every kernel; by its own name it can.
            Err(rustix::io::Errno::LOOP) => {
                let path = self.0.path(ino)?;
                Ok(self.0.at(&path, |folder, rest| {
                    rustix::fs::utimensat(folder, rest, &times, AtFlags::SYMLINK_NOFOLLOW)
                })?)
            }
            other => Ok(other?),
        }
    }

    pub(super) fn set_owner(
        &self,
        ino: u64,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> Result<(), Trouble> {
        Ok(self.0.change(ino, |_, path| {
            let path = path.to_owned();
            rustix::fs::chownat(
                rustix::fs::CWD,
                path.as_str(),
                uid.map(Uid::from_raw),
                gid.map(Gid::from_raw),
                AtFlags::empty(),
            )
        })?)
    }

    pub(super) fn seek(&self, fh: FileHandle, offset: i64, whence: i32) -> Result<u64, Trouble> {
        let invalid = rustix::io::Errno::INVAL;
        let what = seek_kind(whence).ok_or(invalid)?;
        let from = u64::try_from(offset).map_err(|_| rustix::io::Errno::NXIO)?;
        let handle = self.0.handle(fh.0)?;
        if handle
            .partial
            .as_ref()
            .is_some_and(|partial| !partial.is_whole())
        {
            // Where its holes are is not known here: it is all data, with a hole at its end.
            let size = rustix::fs::fstat(&handle.file)?.st_size.unsigned_abs();
            return match what {
                _ if from >= size => Err(rustix::io::Errno::NXIO.into()),
                Seek::Data => Ok(from),
                Seek::Hole => Ok(size),
            };
        }
        let position = match what {
            Seek::Data => SeekFrom::Data(from),
            Seek::Hole => SeekFrom::Hole(from),
        };
        Ok(rustix::fs::seek(&handle.file, position)?)
    }
}
