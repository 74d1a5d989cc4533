//! What the kernel is told about a file, from an entry of a tree or from a real file; and errors as the kernel knows them.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo, TimeOrNow};
use holdfast_engine::Error as EngineError;
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_pipeline::Error;
use holdfast_pipeline::extract::attributes::Attributes;
use rustix::fs::{Stat, Timespec, UTIME_NOW};
use rustix::io::Errno as Os;

use crate::content::hole_bytes;

/// Bytes that one block of `st_blocks` stands for.
const BLOCK: u64 = 512;
/// Names of a file that has more than one, as far as one entry tells.
const SEVERAL_LINKS: u32 = 2;

/// A time of the kernel from seconds and nanoseconds, before 1970 too.
pub fn system_time(seconds: i64, nanoseconds: u32) -> SystemTime {
    let nanoseconds = Duration::from_nanos(u64::from(nanoseconds));
    let seconds_abs = Duration::from_secs(seconds.unsigned_abs());
    let whole = if seconds >= 0 {
        UNIX_EPOCH.checked_add(seconds_abs)
    } else {
        UNIX_EPOCH.checked_sub(seconds_abs)
    };
    whole
        .and_then(|time| time.checked_add(nanoseconds))
        .unwrap_or(UNIX_EPOCH)
}

/// A time that the kernel asks to set.
///
/// For times before 1970 the protocol's seconds are negative and its nanoseconds count forward; `fuser` 0.18 subtracts both from
/// 1970, and what it made of them is undone here.
pub fn timespec(time: TimeOrNow) -> Timespec {
    match time {
        TimeOrNow::Now => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        TimeOrNow::SpecificTime(time) => match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Timespec {
                tv_sec: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(since.subsec_nanos()),
            },
            Err(before) => Timespec {
                tv_sec: i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |secs| -secs),
                tv_nsec: i64::from(before.duration().subsec_nanos()),
            },
        },
    }
}

/// The attributes of an entry. `attributes` has owner and mode as they are shown here.
pub fn of_entry(ino: u64, entry: &Entry, attributes: &Attributes) -> FileAttr {
    let (kind, size, rdev) = match &entry.kind {
        EntryKind::File { size, .. } => (FileType::RegularFile, *size, 0),
        EntryKind::Folder => (FileType::Directory, 4096, 0),
        EntryKind::Symlink { target } => (FileType::Symlink, target.len() as u64, 0),
        EntryKind::Fifo => (FileType::NamedPipe, 0, 0),
        EntryKind::CharDevice { major, minor } => (FileType::CharDevice, 0, device(*major, *minor)),
        EntryKind::BlockDevice { major, minor } => {
            (FileType::BlockDevice, 0, device(*major, *minor))
        }
    };
    let holes = match &entry.kind {
        EntryKind::File { content, .. } => hole_bytes(content),
        _ => 0,
    };
    let time = system_time(entry.mtime.0, entry.mtime.1);
    let (uid, gid) = attributes.owner.unwrap_or_else(own);
    FileAttr {
        ino: INodeNo(ino),
        size,
        blocks: size.saturating_sub(holes).div_ceil(BLOCK),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: attributes.mode & 0o7777,
        nlink: if entry.link_id.is_some() {
            SEVERAL_LINKS
        } else {
            1
        },
        uid,
        gid,
        rdev,
        blksize: 4096,
        flags: 0,
    }
}

/// The attributes of a folder that nothing is recorded of.
pub fn of_implied(ino: u64, mtime: (i64, u32)) -> FileAttr {
    let time = system_time(mtime.0, mtime.1);
    let (uid, gid) = own();
    FileAttr {
        ino: INodeNo(ino),
        size: 4096,
        blocks: 8,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: FileType::Directory,
        perm: 0o755,
        nlink: 1,
        uid,
        gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// The attributes of a real file; `None` for a kind that there is not.
pub fn of_stat(ino: u64, stat: &Stat) -> Option<FileAttr> {
    let kind = match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::RegularFile => FileType::RegularFile,
        rustix::fs::FileType::Directory => FileType::Directory,
        rustix::fs::FileType::Symlink => FileType::Symlink,
        rustix::fs::FileType::Fifo => FileType::NamedPipe,
        rustix::fs::FileType::Socket => FileType::Socket,
        rustix::fs::FileType::CharacterDevice => FileType::CharDevice,
        rustix::fs::FileType::BlockDevice => FileType::BlockDevice,
        rustix::fs::FileType::Unknown => return None,
    };
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    let time = |seconds: i64, nanoseconds: u64| {
        system_time(seconds, u32::try_from(nanoseconds).unwrap_or(0))
    };
    Some(FileAttr {
        ino: INodeNo(ino),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        blocks: u64::try_from(stat.st_blocks).unwrap_or(0),
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind,
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: device(major, minor),
        blksize: 4096,
        flags: 0,
    })
}

/// A device number as the kernel's protocol has it: 12 bits of major, 20 of minor.
pub fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// The way back.
pub fn device_parts(device: u32) -> (u32, u32) {
    (
        (device & 0x000f_ff00) >> 8,
        (device & 0xff) | ((device >> 12) & 0x000f_ff00),
    )
}

fn own() -> (u32, u32) {
    (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    )
}

/// What an application is told: damage is `EIO`, never wrong bytes.
pub fn errno(error: &Error) -> Errno {
    let code = match error {
        Error::Io { errno, .. } if *errno == Os::NOENT.raw_os_error() => Os::IO.raw_os_error(),
        Error::Io { errno, .. } | Error::Engine(EngineError::Io { errno }) => *errno,
        Error::Engine(EngineError::WrongKey { .. }) => Os::ACCESS.raw_os_error(),
        _ => Os::IO.raw_os_error(),
    };
    Errno::from_i32(code)
}

/// The system's error as the kernel takes it.
pub fn os(error: Os) -> Errno {
    Errno::from_i32(error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_come_back() {
        for (major, minor) in [(1, 3), (8, 17), (253, 65_536), (4095, 1_048_575)] {
            assert_eq!(device_parts(device(major, minor)), (major, minor));
        }
    }

    #[test]
    fn times_before_1970_come_back() {
        let time = system_time(-2, 800_000_000);
        assert_eq!(
            UNIX_EPOCH.duration_since(time).unwrap(),
            Duration::from_millis(1200)
        );
        // As fuser hands over -2 s + 0.8 s: 2.8 s before 1970.
        let handed = UNIX_EPOCH - Duration::from_millis(2800);
        let set = timespec(TimeOrNow::SpecificTime(handed));
        assert_eq!((set.tv_sec, set.tv_nsec), (-2, 800_000_000));
    }
}
