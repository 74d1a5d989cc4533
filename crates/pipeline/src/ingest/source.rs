//! Reading one file system entry: content, attributes, link target. Nothing is followed, nothing but regular files is opened.
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_engine::limits::INLINE_BYTES_MAX;
use rustix::fs::{
    Advice, OFlags, fadvise, fgetxattr, flistxattr, fstat, lgetxattr, llistxattr, readlinkat,
};
use rustix::io::{Errno, pread};

use super::batch::Xattrs;
use super::context::Context;
use crate::Error;
use crate::limits::Resource;
use crate::scan::{FileStat, Folder, open_quietly};

/// A file of at most this many bytes is read in one go, among its neighbours.
pub(super) const SMALL_BYTES_MAX: u64 = 64 << 10;
/// How often a file that changes under the reader is read again.
pub(super) const REREADS_MAX: u32 = 2;
/// A changing file larger than this is stored as read the first time.
pub(super) const REREAD_BYTES_MAX: u64 = 64 << 20;
/// What is asked of the system, and of the rate limit, at once.
pub(super) const READ_STEP_BYTES: usize = 1 << 20;

const XATTR_LIST_BYTES_MAX: usize = 64 << 10;

/// Why a file was not read.
pub(super) enum Failure {
    /// The file's trouble: a finding.
    File(Errno),
    /// The run's trouble.
    Run(Error),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::File(errno)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Run(error)
    }
}

/// Opens a regular file; `ENOENT` if another kind of thing is there by now.
pub(super) fn open_file(
    context: &Context,
    folder: Option<&Arc<Folder>>,
    name: &CStr,
) -> Result<(OwnedFd, FileStat), Errno> {
    let folder = context.opener.open(folder.ok_or(Errno::NOENT)?)?;
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = open_quietly(&folder, name, flags).map_err(|errno| match errno {
        // A symbolic link, or a device without a driver, took its place.
        Errno::LOOP | Errno::NXIO => Errno::NOENT,
        errno => errno,
    })?;
    let stat = FileStat::from(fstat(&fd)?);
    if stat.is_file() {
        Ok((fd, stat))
    } else {
        Err(Errno::NOENT)
    }
}

/// Tells the system that a file will be read from front to back.
pub(super) fn read_ahead(fd: &OwnedFd) {
    // Advice that is not taken costs nothing.
    let _ = fadvise(fd, 0, None, Advice::Sequential);
}

/// Appends up to `bytes` from `offset`; how many there were. Fewer only at the end of the file.
pub(super) fn read_at(
    context: &Context,
    fd: &OwnedFd,
    offset: u64,
    bytes: usize,
    out: &mut Vec<u8>,
) -> Result<usize, Failure> {
    let begin = out.len();
    let wanted = begin + bytes;
    out.reserve(bytes);
    while out.len() < wanted {
        let most = (wanted - out.len()).min(READ_STEP_BYTES);
        let step = context.limits.step(Resource::Read, most);
        context.limits.take_read(step as u64, &context.stop)?;
        let at = offset + (out.len() - begin) as u64;
        let had = out.len();
        out.resize(had + step, 0);
        let read = match pread(fd, out.get_mut(had..).unwrap_or_default(), at) {
            Err(Errno::INTR) => {
                out.truncate(had);
                continue;
            }
            Err(errno) => {
                out.truncate(had);
                return Err(errno.into());
            }
            Ok(read) => read,
        };
        out.truncate(had + read);
        context
            .counters
            .read_bytes
            .fetch_add(read as u64, Ordering::Relaxed);
        if read == 0 {
            break;
        }
    }
    Ok(out.len() - begin)
}

/// Appends a small file that should have `size` bytes: one call if it has, and as many as it takes if not.
pub(super) fn read_small(
    context: &Context,
    fd: &OwnedFd,
    size: usize,
    out: &mut Vec<u8>,
) -> Result<usize, Failure> {
    context.limits.take_file(size as u64, &context.stop)?;
    let begin = out.len();
    // One byte more than there should be: a short answer is the end.
    out.resize(begin + size + 1, 0);
    let read = pread(fd, out.get_mut(begin..).unwrap_or_default(), 0);
    out.truncate(begin + read.unwrap_or(0));
    match read {
        Ok(read) if read == size => {
            context
                .counters
                .read_bytes
                .fetch_add(read as u64, Ordering::Relaxed);
            Ok(read)
        }
        Ok(_) | Err(Errno::INTR) => {
            out.truncate(begin);
            read_at(context, fd, 0, SMALL_BYTES_MAX as usize + 1, out)
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a file's bytes go into its entry.
pub(super) fn is_inline(bytes: usize) -> bool {
    bytes <= INLINE_BYTES_MAX
}

/// Extended attributes of an open file, sorted by name.
pub(super) fn xattrs_of(fd: &OwnedFd) -> Result<Xattrs, Errno> {
    collect(
        |buffer| flistxattr(fd, buffer),
        |name, buffer| fgetxattr(fd, name, buffer),
    )
}

/// Extended attributes of something that is not opened.
pub(super) fn xattrs_at(folder: Option<&OwnedFd>, name: &CStr) -> Result<Xattrs, Errno> {
    // No system call takes a folder and a name here; this path is short whatever the folder's own is.
    let path = match folder {
        Some(fd) => {
            let mut path = format!("/proc/self/fd/{}/", fd.as_raw_fd()).into_bytes();
            path.extend_from_slice(name.to_bytes());
            path
        }
        None => b"/".to_vec(),
    };
    let path = std::ffi::OsStr::from_bytes(&path);
    collect(
        |buffer| llistxattr(path, buffer),
        |name, buffer| lgetxattr(path, name, buffer),
    )
}

fn collect(
    list: impl Fn(&mut [u8]) -> Result<usize, Errno>,
    get: impl Fn(&CStr, &mut [u8]) -> Result<usize, Errno>,
) -> Result<Xattrs, Errno> {
    let mut few = [0_u8; 512];
    let mut many = Vec::new();
    let names = match list(&mut few) {
        Ok(0) | Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
        Ok(len) => few.get(..len).unwrap_or_default(),
        Err(Errno::RANGE) => {
            many.resize(XATTR_LIST_BYTES_MAX, 0);
            let len = list(&mut many)?;
            many.get(..len).unwrap_or_default()
        }
        Err(errno) => return Err(errno),
    };
    let mut xattrs = Xattrs::new();
    let mut value = vec![0_u8; XATTR_LIST_BYTES_MAX];
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        match get(name, &mut value) {
            Ok(len) => xattrs.push((
                name.to_bytes().to_vec(),
                value.get(..len).unwrap_or_default().to_vec(),
            )),
            // Removed meanwhile, or not for our eyes (`trusted.*`).
            Err(Errno::NODATA | Errno::PERM | Errno::ACCESS) => {}
            Err(errno) => return Err(errno),
        }
    }
    xattrs.sort();
    Ok(xattrs)
}

/// Target of a symbolic link.
pub(super) fn link_target(folder: &OwnedFd, name: &CStr) -> Result<Vec<u8>, Errno> {
    Ok(readlinkat(folder, name, Vec::new())?.into_bytes())
}
