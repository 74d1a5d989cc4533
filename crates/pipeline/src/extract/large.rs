//! A file of many pieces, written in any order under a temporary name; it gets its own when every byte is right.
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::attributes::Attributes;
use super::folders::Folder;
use super::window::{FirstLink, Place};
use crate::Error;
use crate::local::{WRITEBACK_GENTLE_BYTES, start_writeback};
use crate::reader::is_not_listed;

/// Files of many pieces that are open at once.
const OPEN_MAX: usize = 128;
/// Bytes written to a file before the kernel is told to write back.
const WRITEBACK_BYTES: u64 = 16 << 20;
/// Names that are tried for what could be saved of a damaged file.
const DAMAGED_NAMES_MAX: u32 = 1000;
/// The longest name that file systems take.
const NAME_BYTES_MAX: usize = 255;
/// The end of the name of the map of a damaged file.
const MAP_TAIL: &str = ".map";

/// A file of many pieces.
pub struct LargeFile {
    /// Where it goes.
    pub place: Place,
    /// Its length.
    pub size: u64,
    /// What it has besides content.
    pub attributes: Attributes,
    /// Set if others are links to it.
    pub first: Option<Arc<FirstLink>>,
    number: u64,
    /// Pieces that are not done, and one for the planner until it has planned all.
    remaining: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<Arc<OwnedFd>>,
    is_made: bool,
    in_folder: bool,
    unflushed: u64,
    /// Where they lie, about: pieces come nearly in order.
    unflushed_at: Option<(u64, u64)>,
    lost: Vec<(u64, u64)>,
    /// More than a line in the index is missing.
    is_lost: bool,
    refused: Option<Errno>,
}

/// How a large file ended.
pub enum Ending {
    /// Whole, under its name; what could not be set is listed.
    Whole(super::attributes::Refused),
    /// Something took its name meanwhile.
    Exists,
    /// These ranges (offset, length) are lost; the rest is under the name given, if anything is.
    Damaged(Vec<(u64, u64)>, Option<Vec<u8>>),
    /// The system refused.
    Refused(Errno),
}

/// Where temporaries are, and which large files are open.
pub struct Staging {
    folder: OwnedFd,
    device: u64,
    keeps_damaged: bool,
    open: Mutex<VecDeque<Weak<LargeFile>>>,
}

impl Staging {
    /// Temporaries go into this folder. `keeps_damaged`: what could be saved of a damaged file gets a name of its own.
    pub fn new(folder: OwnedFd, keeps_damaged: bool) -> Result<Self, Errno> {
        let device = rustix::fs::fstat(&folder)?.st_dev;
        Ok(Self {
            folder,
            device,
            keeps_damaged,
            open: Mutex::default(),
        })
    }

    /// The folder.
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    fn opened(&self, file: &Arc<LargeFile>) {
        let oldest = {
            let mut open = self.open.lock();
            open.push_back(Arc::downgrade(file));
            if open.len() > OPEN_MAX {
                open.pop_front()
            } else {
                None
            }
        };
        if let Some(oldest) = oldest
            .and_then(|file| file.upgrade())
            .filter(|oldest| !Arc::ptr_eq(oldest, file))
        {
            oldest.state.lock().file = None;
        }
    }
}

impl LargeFile {
    /// A file to be planned; `number` is its own within the restore.
    pub fn new(
        place: Place,
        size: u64,
        attributes: Attributes,
        first: Option<Arc<FirstLink>>,
        number: u64,
    ) -> Self {
        Self {
            place,
            size,
            attributes,
            first,
            number,
            remaining: AtomicU64::new(1),
            state: Mutex::default(),
        }
    }

    /// One more piece will come.
    pub fn expect(&self) {
        self.remaining.fetch_add(1, Ordering::AcqRel);
    }

    /// One piece is done (or the planning is). True for the last.
    pub fn is_last(&self) -> bool {
        self.remaining.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Notes bytes that cannot be restored: lost, or for all that is known only not listed.
    pub fn lose(&self, offset: u64, len: u64, why: &Error) {
        let mut state = self.state.lock();
        state.lost.push((offset, len));
        state.is_lost |= !is_not_listed(why);
    }

    /// What stands before the ranges that are not restored.
    pub fn lost_word(&self) -> &'static str {
        if self.state.lock().is_lost {
            "lost bytes"
        } else {
            "bytes that no index run lists (`holdfast repair index` looks for them)"
        }
    }

    /// Notes that the system refused: the file is given up.
    pub fn refuse(&self, errno: Errno) {
        self.state.lock().refused.get_or_insert(errno);
    }

    /// Writes bytes at their offset; `gently`, the kernel writes them back in small steps.
    pub fn write(
        self: &Arc<Self>,
        staging: &Staging,
        folder: BorrowedFd<'_>,
        offset: u64,
        bytes: &[u8],
        gently: bool,
    ) -> Result<(), Errno> {
        let file = self.file(staging, folder)?;
        pwrite_all(file.as_fd(), bytes, offset)?;
        let mut state = self.state.lock();
        let end = offset + bytes.len() as u64;
        state.unflushed += bytes.len() as u64;
        let (from, to) = state.unflushed_at.unwrap_or((offset, end));
        state.unflushed_at = Some((from.min(offset), to.max(end)));
        let enough = if gently {
            WRITEBACK_GENTLE_BYTES as u64
        } else {
            WRITEBACK_BYTES
        };
        // Only what is new: the kernel goes through all that is cached of the range it is told.
        let mut flush = None;
        if state.unflushed >= enough {
            state.unflushed = 0;
            flush = state.unflushed_at.take();
        }
        drop(state);
        if let Some((from, to)) = flush {
            start_writeback(file.as_fd(), from, to - from);
        }
        Ok(())
    }

    fn file(
        self: &Arc<Self>,
        staging: &Staging,
        folder: BorrowedFd<'_>,
    ) -> Result<Arc<OwnedFd>, Errno> {
        let mut state = self.state.lock();
        if let Some(file) = &state.file {
            return Ok(Arc::clone(file));
        }
        if !state.is_made {
            state.in_folder = rustix::fs::fstat(folder)?.st_dev != staging.device;
        }
        let (parent, name) = self.temporary(&state, staging, folder);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = if state.is_made {
            rustix::fs::openat(parent, name.as_slice(), flags, Mode::empty())?
        } else {
            let _ = rustix::fs::unlinkat(parent, name.as_slice(), AtFlags::empty());
            let new = flags | OFlags::CREATE | OFlags::EXCL;
            let file = rustix::fs::openat(parent, name.as_slice(), new, Mode::RUSR | Mode::WUSR)?;
            state.is_made = true;
            rustix::fs::ftruncate(&file, self.size)?;
            file
        };
        let file = Arc::new(file);
        state.file = Some(Arc::clone(&file));
        drop(state);
        staging.opened(self);
        Ok(file)
    }

    fn temporary<'a>(
        &self,
        state: &State,
        staging: &'a Staging,
        folder: BorrowedFd<'a>,
    ) -> (BorrowedFd<'a>, Vec<u8>) {
        if state.in_folder {
            (
                folder,
                format!(".holdfast-restore-{}", self.number).into_bytes(),
            )
        } else {
            (staging.folder(), self.number.to_string().into_bytes())
        }
    }

    /// After the last piece: gives the file its name, or says what is wrong with it.
    pub fn finish(
        self: &Arc<Self>,
        staging: &Staging,
        folder: Result<BorrowedFd<'_>, Errno>,
    ) -> Ending {
        let ended = folder.and_then(|folder| self.finish_in(staging, folder));
        ended.unwrap_or_else(Ending::Refused)
    }

    fn finish_in(
        self: &Arc<Self>,
        staging: &Staging,
        folder: BorrowedFd<'_>,
    ) -> Result<Ending, Errno> {
        let refused = self.state.lock().refused;
        let file = match refused {
            // A file of holes only has not been made yet.
            None => self.file(staging, folder),
            Some(errno) => Err(errno),
        };
        let mut state = self.state.lock();
        let (parent, name) = self.temporary(&state, staging, folder);
        let ended = file.and_then(|file| {
            if state.lost.is_empty() {
                self.publish(parent, &name, folder, file.as_fd())
            } else {
                let lost = std::mem::take(&mut state.lost);
                self.publish_damaged(staging, (parent, &name), folder, file.as_fd(), lost)
            }
        });
        if !matches!(ended, Ok(Ending::Whole(_) | Ending::Damaged(_, Some(_)))) {
            let _ = rustix::fs::unlinkat(parent, name.as_slice(), AtFlags::empty());
        }
        state.file = None;
        ended
    }

    fn publish(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        folder: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
    ) -> Result<Ending, Errno> {
        let refused = self.attributes.set(file, false);
        let to = &*self.place.name;
        let renamed = if self.place.is_replaced {
            rustix::fs::renameat(parent, name, folder, to)
        } else {
            rename_new(parent, name, folder, to)
        };
        match renamed {
            Ok(()) => Ok(Ending::Whole(refused)),
            Err(Errno::EXIST) => Ok(Ending::Exists),
            Err(errno) => Err(errno),
        }
    }

    fn publish_damaged(
        &self,
        staging: &Staging,
        (parent, name): (BorrowedFd<'_>, &[u8]),
        folder: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        lost: Vec<(u64, u64)>,
    ) -> Result<Ending, Errno> {
        let lost = merge_ranges(lost);
        let is_all = lost.iter().map(|(_, len)| len).sum::<u64>() >= self.size;
        if is_all || !staging.keeps_damaged {
            return Ok(Ending::Damaged(lost, None));
        }
        let _ = self.attributes.set(file, false);
        for attempt in 0..DAMAGED_NAMES_MAX {
            let (to, map) = damaged_names(&self.place.name, attempt);
            // The map first: what is not whole never stands without it.
            match write_new(folder, &map, damaged_map(self.size, &lost).as_bytes()) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(errno),
            }
            let renamed = rename_new(parent, name, folder, &to);
            if renamed.is_err() {
                let _ = rustix::fs::unlinkat(folder, map.as_slice(), AtFlags::empty());
            }
            match renamed {
                Ok(()) => return Ok(Ending::Damaged(lost, Some(to))),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(Ending::Damaged(lost, None))
    }
}

/// `NAME.damaged` and its map `NAME.damaged.map`; then `NAME.damaged.1` and so on. Shortened to what file systems take.
fn damaged_names(name: &[u8], attempt: u32) -> (Vec<u8>, Vec<u8>) {
    let tail = if attempt == 0 {
        ".damaged".to_owned()
    } else {
        format!(".damaged.{attempt}")
    };
    let room = NAME_BYTES_MAX - tail.len() - MAP_TAIL.len();
    let head = name.get(..name.len().min(room)).unwrap_or(name);
    let damaged = [head, tail.as_bytes()].concat();
    let map = [&damaged, MAP_TAIL.as_bytes()].concat();
    (damaged, map)
}

/// Which ranges of a damaged file are lost, and read as zeros: JSON on one line, in order.
fn damaged_map(size: u64, lost: &[(u64, u64)]) -> String {
    let ranges: Vec<String> = lost
        .iter()
        .map(|(offset, length)| format!("{{\"offset\":{offset},\"length\":{length}}}"))
        .collect();
    format!(
        "{{\"format\":\"holdfast-damaged-1\",\"size\":{size},\"lost\":[{}]}}\n",
        ranges.join(",")
    )
}

/// Writes a small file that is not there yet, readable by its owner.
fn write_new(folder: BorrowedFd<'_>, name: &[u8], bytes: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
    pwrite_all(file.as_fd(), bytes, 0).inspect_err(|_| {
        let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    })
}

/// Renames without replacing anything.
pub fn rename_new(
    parent: BorrowedFd<'_>,
    name: &[u8],
    folder: BorrowedFd<'_>,
    to: &[u8],
) -> Result<(), Errno> {
    match rustix::fs::renameat_with(parent, name, folder, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rustix::fs::linkat(parent, name, folder, to, AtFlags::empty())?;
            rustix::fs::unlinkat(parent, name, AtFlags::empty())
        }
        result => result,
    }
}

/// Writes all of `bytes` at an offset.
pub fn pwrite_all(file: BorrowedFd<'_>, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or_default();
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Sorted ranges, those that touch joined.
fn merge_ranges(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (offset, len) in ranges {
        match merged.last_mut() {
            Some((start, length)) if *start + *length >= offset => {
                *length = (*length).max(offset + len - *start);
            }
            _ => merged.push((offset, len)),
        }
    }
    merged
}

/// Keeps the folder of a large file alive in findings.
impl LargeFile {
    /// Where it goes.
    pub fn folder(&self) -> &Arc<Folder> {
        &self.place.folder
    }
}
