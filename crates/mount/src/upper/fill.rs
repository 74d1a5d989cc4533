//! Filling in the background: first what was touched, then everything else, until nothing is lacking.
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use holdfast_pipeline::Error;
use holdfast_pipeline::limits::Limits;
use holdfast_pipeline::reader::is_of_one_segment;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::overlay::{Core, names_of};
use super::partial::{FILL_BYTES, Partial, Trouble};
use crate::read_only::join;

/// How long to wait before trying again what could not be filled.
const AGAIN: Duration = Duration::from_secs(30);
/// Looks for what was touched at least so often.
const LOOK: Duration = Duration::from_millis(200);

/// How far filling is.
#[derive(Default)]
pub struct Progress {
    /// Bytes of files that are here, of those that were gone through.
    pub here_bytes: AtomicU64,
    /// Files that are here, of those that were gone through.
    pub here_files: AtomicU64,
    /// Files that could not be filled in the last pass: their content is damaged or missing.
    pub lost_files: AtomicU64,
    /// Why filling does not go on, if it does not: an errno of the local disk.
    pub stuck: AtomicU64,
}

/// The background of one mount.
pub struct Filler {
    core: Arc<Core>,
    limits: Arc<Limits>,
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    idle: Mutex<()>,
}

/// What a pass through the tree found.
#[derive(Default)]
struct Pass {
    lost: u64,
    lacking: u64,
}

impl Filler {
    /// Fills the tree of a mount under limits, until it is told to stop.
    pub fn new(
        core: Arc<Core>,
        limits: Arc<Limits>,
        stop: Arc<AtomicBool>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            core,
            limits,
            stop,
            progress,
            idle: Mutex::new(()),
        }
    }

    /// Goes through the tree until a whole pass finds nothing lacking and nothing moved meanwhile.
    pub fn run(&self) {
        let mut is_first = true;
        while !self.is_stopped() {
            let moves = self.core.moves.load(Ordering::Acquire);
            match self.pass(is_first) {
                Ok(pass) => {
                    is_first = false;
                    self.progress.lost_files.store(pass.lost, Ordering::Relaxed);
                    self.progress.stuck.store(0, Ordering::Relaxed);
                    let still = moves == self.core.moves.load(Ordering::Acquire);
                    if pass.lost == 0 && pass.lacking == 0 && still {
                        // Each file was synced before it said that it is whole, each folder before it showed its children.
                        self.core.whole.store(true, Ordering::Release);
                        return;
                    } else if pass.lost > 0 {
                        self.rest(AGAIN);
                    }
                }
                Err(Trouble::Here(errno)) => {
                    let code = errno.raw_os_error().unsigned_abs();
                    self.progress.stuck.store(code.into(), Ordering::Relaxed);
                    self.rest(AGAIN);
                }
                Err(Trouble::Below(_)) => self.rest(AGAIN),
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Waits, still filling what is touched.
    fn rest(&self, time: Duration) {
        let mut left = time;
        while !self.is_stopped() && !left.is_zero() {
            let mut idle = self.idle.lock();
            self.core.wake.wait_for(&mut idle, LOOK.min(left));
            drop(idle);
            left = left.saturating_sub(LOOK);
            let _ = self.touched();
        }
    }

    fn pass(&self, is_first: bool) -> Result<Pass, Trouble> {
        let mut pass = Pass::default();
        let mut folders = VecDeque::from([Vec::new()]);
        while let Some(folder) = folders.pop_front() {
            if self.is_stopped() {
                pass.lacking += 1;
                return Ok(pass);
            }
            match self.folder(&folder, is_first, &mut pass) {
                Ok(mut below) => {
                    below.append(&mut folders);
                    folders = below;
                }
                // Taken away or moved meanwhile.
                Err(Trouble::Here(Errno::NOENT | Errno::STALE | Errno::NOTDIR)) => {
                    pass.lacking += 1;
                }
                Err(trouble) => note(trouble, &mut pass)?,
            }
        }
        Ok(pass)
    }

    /// Fills the files of a folder; returns the folders in it.
    fn folder(
        &self,
        path: &[u8],
        is_first: bool,
        pass: &mut Pass,
    ) -> Result<VecDeque<Vec<u8>>, Trouble> {
        let opened = self
            .core
            .open_path(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        self.core.expand_open(opened.as_fd())?;
        let mut names = names_of(opened.as_fd(), |ino| ino)?;
        names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut folders = VecDeque::new();
        for (name, _, kind) in names {
            if self.is_stopped() {
                pass.lacking += 1;
                break;
            }
            let kind = if kind == FileType::Unknown {
                let stat = statat(&opened, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            } else {
                kind
            };
            match kind {
                FileType::Directory => folders.push_back(join(path, &name)),
                FileType::RegularFile => {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let file = match openat(&opened, name.as_slice(), flags, Mode::empty()) {
                        Ok(file) => Arc::new(File::from(file)),
                        Err(Errno::NOENT) => {
                            pass.lacking += 1;
                            continue;
                        }
                        Err(errno) => return Err(errno.into()),
                    };
                    match self.file(&file, is_first) {
                        Ok(was_lacking) => pass.lacking += u64::from(was_lacking),
                        Err(trouble) => note(trouble, pass)?,
                    }
                }
                _ => {}
            }
        }
        Ok(folders)
    }

    /// Fills one file. True if it lacked something.
    fn file(&self, file: &Arc<File>, is_first: bool) -> Result<bool, Trouble> {
        let stat = rustix::fs::fstat(file)?;
        let ino = self.core.ino_of(&stat);
        let partial = self.core.partial(ino, file)?;
        let lacked = match &partial {
            // An application may keep open for days what became whole long ago.
            Some(partial) if partial.is_whole() => false,
            Some(partial) => {
                self.fill(partial)?;
                true
            }
            None => false,
        };
        let became_whole = partial.is_some();
        if (is_first || became_whole) && self.core.seen.lock().insert(ino) {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            self.progress.here_bytes.fetch_add(size, Ordering::Relaxed);
            self.progress.here_files.fetch_add(1, Ordering::Relaxed);
        }
        Ok(lacked)
    }

    fn fill(&self, partial: &Arc<Partial>) -> Result<(), Trouble> {
        while !partial.is_whole() && !self.is_stopped() {
            self.touched()?;
            self.part(partial)?;
        }
        Ok(())
    }

    fn part(&self, partial: &Arc<Partial>) -> Result<u64, Trouble> {
        self.limits.take_read(FILL_BYTES, &self.stop)?;
        self.limits.take_write(FILL_BYTES, &self.stop)?;
        partial.fill_some()
    }

    /// Fills what was touched, the last one first. One that is damaged costs only itself.
    fn touched(&self) -> Result<(), Trouble> {
        loop {
            let next = self.core.touched.lock().front().cloned();
            let Some(weak) = next else { return Ok(()) };
            let Some(partial) = weak.upgrade().filter(|partial| !partial.is_whole()) else {
                self.drop_touched(&weak);
                continue;
            };
            if self.is_stopped() {
                return Ok(());
            }
            match self.part(&partial) {
                Ok(_) => {}
                Err(Trouble::Below(error)) if is_of_one_segment(&error) => {
                    self.drop_touched(&weak);
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    fn drop_touched(&self, done: &std::sync::Weak<Partial>) {
        self.core.touched.lock().retain(|known| !known.ptr_eq(done));
    }
}

/// A file that cannot be filled costs itself; a disk that takes no more costs the pass.
fn note(trouble: Trouble, pass: &mut Pass) -> Result<(), Trouble> {
    match trouble {
        Trouble::Here(Errno::NOSPC | Errno::DQUOT | Errno::ROFS) => Err(trouble),
        Trouble::Below(Error::Stopped) => {
            pass.lacking += 1;
            Ok(())
        }
        // A store that is away says nothing about the files in it.
        Trouble::Below(error) if !is_of_one_segment(&error) => Err(Trouble::Below(error)),
        _ => {
            pass.lost += 1;
            Ok(())
        }
    }
}
