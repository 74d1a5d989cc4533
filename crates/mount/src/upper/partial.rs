//! One file that is here in part: reads fetch what they need, writes go here, and what was fetched stays.
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdfast_pipeline::Error;
use holdfast_pipeline::source::read_up_to;
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{
    AtFlags, FallocateFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fallocate, fdatasync,
    fremovexattr, fstat, fsync, ftruncate, futimens, unlinkat,
};
use rustix::io::Errno;

use super::LOWER;
use super::map::{BLOCK_BYTES, BLOCK_LOG2, Boot, Map};
use super::map_file::MapFile;
use crate::content::Lower;
use crate::segments::Segments;
use crate::unread::Unread;

/// A file of at most so many bytes is filled at once, and needs no map.
pub const SMALL_BYTES: u64 = 1 << 20;
/// Blocks that are fetched together: four times what a database asks for, a quarter of a chunk.
const WINDOW_BLOCKS: u64 = 4;
/// Bytes that the background fetches at once.
pub const FILL_BYTES: u64 = 1 << 20;

/// What a file says of itself while it is here in part.
struct Inner {
    /// Of a large file.
    map: Option<Map<MapFile>>,
}

/// Counters of one mount.
#[derive(Default)]
pub struct Counters {
    /// Bytes that came from the vault.
    pub filled_bytes: AtomicU64,
    /// Files that are whole, of those that began in part.
    pub filled_files: AtomicU64,
    /// What of the snapshot could not be read.
    pub unread: Unread,
}

/// A file that is here in part.
pub struct Partial {
    file: Arc<File>,
    lower: Lower,
    segments: Arc<Segments>,
    maps: Arc<File>,
    map_name: String,
    inner: Mutex<Inner>,
    whole: AtomicBool,
    counters: Arc<Counters>,
}

/// Why a file did not do what was asked: its content below, or the disk here.
#[derive(Debug)]
pub enum Trouble {
    /// From below.
    Below(Error),
    /// From here.
    Here(Errno),
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self::Here(errno)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Below(error)
    }
}

impl Trouble {
    /// As an application is told.
    pub fn errno(&self) -> fuser::Errno {
        match self {
            Self::Below(error) => crate::attributes::errno(error),
            Self::Here(errno) => crate::attributes::os(*errno),
        }
    }

    fn is_no_room(&self) -> bool {
        matches!(
            self,
            Self::Here(Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO)
        )
    }
}

impl Partial {
    /// A file (open for reading and writing) that lacks content of `lower`.
    pub fn open(
        file: Arc<File>,
        lower: Lower,
        segments: Arc<Segments>,
        maps: &Arc<File>,
        map_name: String,
        boot: Boot,
        counters: Arc<Counters>,
    ) -> Result<Self, Errno> {
        let mut map = None;
        if lower.size() > SMALL_BYTES {
            let len = len_of(&fstat(&file)?);
            let mut opened = Map::open(MapFile::open(maps, &map_name)?, lower.size(), len, boot)?;
            if let Some(mtime) = opened.take_interrupted() {
                futimens(&file, &only_mtime(mtime))?;
                opened.end_filling()?;
            }
            counters
                .filled_bytes
                .fetch_add(opened.bytes_here(), Ordering::Relaxed);
            map = Some(opened);
        }
        Ok(Self {
            file,
            lower,
            segments,
            maps: Arc::clone(maps),
            map_name,
            inner: Mutex::new(Inner { map }),
            whole: AtomicBool::new(false),
            counters,
        })
    }

    /// Whether everything is here.
    pub fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// Its attributes: never those of a moment while it is being filled.
    pub fn stat(&self) -> Result<Stat, Errno> {
        let _inner = self.inner.lock();
        let mut stat = fstat(&self.file)?;
        if !self.is_whole() {
            // Programs take few blocks for holes, and do not read them.
            let blocks = stat.st_size.unsigned_abs().div_ceil(512).cast_signed();
            stat.st_blocks = stat.st_blocks.max(blocks);
        }
        Ok(stat)
    }

    /// Keeps filling out while something else of the file is changed.
    pub fn hold(&self) -> impl Drop + '_ {
        self.inner.lock()
    }

    /// Reads as from a file that is here.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Trouble> {
        if self.is_whole() {
            return Ok(read_here(&self.file, offset, len)?);
        }
        let mut inner = self.inner.lock();
        if self.is_whole() {
            return Ok(read_here(&self.file, offset, len)?);
        }
        let (from, to) = blocks_around(offset, len as u64);
        match self.fetch(&mut inner, from, to) {
            Ok(()) => {
                drop(inner);
                Ok(read_here(&self.file, offset, len)?)
            }
            // A disk without room stops filling, not reading.
            Err(trouble) if trouble.is_no_room() => self.read_past(&inner, offset, len),
            Err(trouble) => Err(trouble),
        }
    }

    /// Reads what is here from here, and the rest from below without keeping it.
    fn read_past(
        &self,
        inner: &MutexGuard<'_, Inner>,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, Trouble> {
        let Some(map) = &inner.map else {
            return Ok(self.lower.read(&self.segments, offset, len)?);
        };
        let mut bytes = read_here(&self.file, offset, len)?;
        let end = (offset + bytes.len() as u64).min(map.limit());
        let mut at = offset;
        while at < end {
            let block = at >> BLOCK_LOG2;
            let stop = ((block + 1) << BLOCK_LOG2).min(end);
            if !map.is_here(block) {
                let below = self.lower.read(&self.segments, at, (stop - at) as usize)?;
                let (start, len) = ((at - offset) as usize, below.len());
                if let Some(part) = bytes.get_mut(start..start + len) {
                    part.copy_from_slice(&below);
                }
            }
            at = stop;
        }
        Ok(bytes)
    }

    /// Writes; what the blocks at the edges lack is fetched first.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        if self.is_whole() {
            return Ok(self.file.write_all_at(bytes, offset).map_err(system)?);
        }
        let mut inner = self.inner.lock();
        self.prepare(&mut inner, offset, bytes.len() as u64)?;
        self.file.write_all_at(bytes, offset).map_err(system)?;
        if let Some(map) = &mut inner.map {
            let (from, to) = blocks_around(offset, bytes.len() as u64);
            map.mark(from, to)?;
        }
        Ok(())
    }

    /// Makes a range ready to be overwritten: its edges are here, a small file is here whole.
    fn prepare(
        &self,
        inner: &mut MutexGuard<'_, Inner>,
        offset: u64,
        len: u64,
    ) -> Result<(), Trouble> {
        if self.is_whole() {
            return Ok(());
        }
        let end = offset + len;
        if inner.map.is_none() {
            return self.fill_small(inner);
        }
        if !offset.is_multiple_of(BLOCK_BYTES) {
            let block = offset >> BLOCK_LOG2;
            self.fetch_exactly(inner, block, block + 1)?;
        }
        if !end.is_multiple_of(BLOCK_BYTES) {
            let block = end >> BLOCK_LOG2;
            self.fetch_exactly(inner, block, block + 1)?;
        }
        let size = len_of(&fstat(&self.file)?);
        if let Some(map) = inner.map.as_mut().filter(|_| end > size) {
            map.before_growth()?;
        }
        Ok(())
    }

    /// Cuts or lengthens the file.
    pub fn set_len(&self, len: u64) -> Result<(), Trouble> {
        let mut inner = self.inner.lock();
        if self.is_whole() {
            return Ok(ftruncate(&self.file, len)?);
        }
        if len == 0 {
            // First the cut: what is interrupted in between has the old content, or none.
            ftruncate(&self.file, 0)?;
            return Ok(self.finish(&mut inner)?);
        }
        if inner.map.is_none() {
            self.fill_small(&mut inner)?;
            return Ok(ftruncate(&self.file, len)?);
        }
        let size = len_of(&fstat(&self.file)?);
        if let Some(map) = inner.map.as_mut() {
            if len > size {
                map.before_growth()?;
            }
            ftruncate(&self.file, len)?;
            map.cut(len)?;
        }
        Ok(())
    }

    /// Reserves room, punches holes, or zeroes a range.
    pub fn allocate(&self, flags: FallocateFlags, offset: u64, len: u64) -> Result<(), Trouble> {
        let mut inner = self.inner.lock();
        if self.is_whole() {
            return Ok(fallocate(&self.file, flags, offset, len)?);
        }
        let plain = FallocateFlags::KEEP_SIZE;
        let zeroing = FallocateFlags::PUNCH_HOLE | FallocateFlags::ZERO_RANGE;
        if !(flags & !(plain | zeroing)).is_empty() {
            return Err(Errno::OPNOTSUPP.into());
        }
        let size = len_of(&fstat(&self.file)?);
        if flags.intersects(zeroing) {
            let end = (offset + len).min(size);
            if offset < end {
                self.prepare(&mut inner, offset, end - offset)?;
            }
            fallocate(&self.file, flags, offset, len)?;
            if let Some(map) = inner.map.as_mut().filter(|_| offset < end) {
                let (from, to) = blocks_around(offset, end - offset);
                map.mark(from, to)?;
            }
            return Ok(());
        }
        if let Some(map) = inner.map.as_mut().filter(|_| offset + len > size) {
            map.before_growth()?;
        }
        Ok(fallocate(&self.file, flags, offset, len)?)
    }

    /// Makes durable what was written.
    pub fn sync(&self) -> Result<(), Errno> {
        let mut inner = self.inner.lock();
        fsync(&self.file)?;
        match &mut inner.map {
            Some(map) => map.checkpoint(),
            None => Ok(()),
        }
    }

    /// Fetches one more part; how many bytes, none when everything is here.
    pub fn fill_some(&self) -> Result<u64, Trouble> {
        let mut inner = self.inner.lock();
        if self.is_whole() {
            return Ok(0);
        }
        let Some(map) = &inner.map else {
            self.fill_small(&mut inner)?;
            return Ok(self.lower.size());
        };
        let Some((from, to)) = map.missing(0, u64::MAX >> BLOCK_LOG2) else {
            self.finish(&mut inner)?;
            return Ok(0);
        };
        let to = to.min(from + FILL_BYTES / BLOCK_BYTES);
        self.fetch_exactly(&mut inner, from, to)?;
        if inner.map.as_ref().is_some_and(Map::is_whole) {
            self.finish(&mut inner)?;
        }
        Ok((to - from) << BLOCK_LOG2)
    }

    /// Fetches what blocks lack, and a little around it: a disk is asked once, and who reads here will read there.
    fn fetch(&self, inner: &mut MutexGuard<'_, Inner>, from: u64, to: u64) -> Result<(), Trouble> {
        let Some(map) = &inner.map else {
            return self.fill_small(inner);
        };
        if map.missing(from, to).is_none() {
            return Ok(());
        }
        let from = from - from % WINDOW_BLOCKS;
        let to = to.next_multiple_of(WINDOW_BLOCKS);
        self.fetch_exactly(inner, from, to)
    }

    fn fetch_exactly(
        &self,
        inner: &mut MutexGuard<'_, Inner>,
        from: u64,
        to: u64,
    ) -> Result<(), Trouble> {
        let mut at = from;
        while let Some(map) = inner.map.as_mut() {
            let Some((first, end)) = map.missing(at, to) else {
                return Ok(());
            };
            let start = first << BLOCK_LOG2;
            let stop = (end << BLOCK_LOG2).min(map.limit());
            let bytes = self
                .lower
                .read(&self.segments, start, (stop - start) as usize)?;
            let mtime = mtime_of(&fstat(&self.file)?);
            map.begin_filling(mtime)?;
            self.file.write_all_at(&bytes, start).map_err(system)?;
            futimens(&self.file, &only_mtime(mtime))?;
            map.end_filling()?;
            map.mark(first, end)?;
            self.counters
                .filled_bytes
                .fetch_add(bytes.len() as u64, Ordering::Relaxed);
            at = end;
        }
        Ok(())
    }

    fn fill_small(&self, inner: &mut MutexGuard<'_, Inner>) -> Result<(), Trouble> {
        if self.is_whole() {
            return Ok(());
        }
        let bytes = self
            .lower
            .read(&self.segments, 0, self.lower.size() as usize)?;
        let mtime = mtime_of(&fstat(&self.file)?);
        self.file.write_all_at(&bytes, 0).map_err(system)?;
        futimens(&self.file, &only_mtime(mtime))?;
        self.counters
            .filled_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(self.finish(inner)?)
    }

    /// Everything is here: first durable, then said so.
    fn finish(&self, inner: &mut MutexGuard<'_, Inner>) -> Result<(), Errno> {
        fdatasync(&self.file)?;
        match fremovexattr(&self.file, LOWER) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => return Err(errno),
        }
        if inner.map.take().is_some() {
            // A map of a file that is whole is never read again.
            let _ = unlinkat(&self.maps, self.map_name.as_str(), AtFlags::empty());
        }
        self.counters.filled_files.fetch_add(1, Ordering::Relaxed);
        self.whole.store(true, Ordering::Release);
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // As a file system does when it is unmounted: nobody is left to be told if it fails.
        if let Some(map) = &mut self.inner.get_mut().map
            && fdatasync(&self.file).is_ok()
        {
            let _ = map.checkpoint();
        }
    }
}

/// Reads from a file that is here, up to its end.
pub fn read_here(file: &File, offset: u64, len: usize) -> Result<Vec<u8>, Errno> {
    read_up_to(file, offset, len).map_err(system)
}

/// The system's number of an error.
#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub fn system(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Sets the modification time, and leaves the other alone.
pub fn only_mtime(mtime: (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.0,
            tv_nsec: i64::from(mtime.1),
        },
    }
}

/// The modification time of a file.
pub fn mtime_of(stat: &Stat) -> (i64, u32) {
    (
        stat.st_mtime,
        u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    )
}

fn len_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn blocks_around(offset: u64, len: u64) -> (u64, u64) {
    (
        offset >> BLOCK_LOG2,
        offset.saturating_add(len).div_ceil(BLOCK_BYTES),
    )
}
