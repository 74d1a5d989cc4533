//! A restore, planned by pack: each is read once in a window, and files are written in whatever order their bytes come.
//!
//! A file has its own name only when every byte of it was proved. What could be saved of a damaged file is `NAME.damaged`,
//! with holes for what is lost. Nothing outside the target is ever written: links in it are not followed.
//!
//! | module | what it does |
//! |---|---|
//! | [`walk`] | the trees as one, what is selected |
//! | [`plan`], [`exists`] | folders, decisions about what exists, windows |
//! | [`window`] | pieces sorted by where they are read |
//! | [`work`], [`large`], [`special`] | reading, proving, writing |
//! | [`folders`], [`attributes`] | the target's folders without links; what a file has besides content |
pub mod attributes;
pub mod exists;
pub mod folders;
pub mod large;
pub mod plan;
pub mod run;
pub mod special;
pub mod walk;
pub mod window;
pub mod work;

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use holdfast_engine::Location;
use parking_lot::Mutex;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;
use crate::error::Step;
use crate::limits::Limits;
use crate::reader::Reader;
use attributes::{Names, Owners};
use folders::{Folder, OpenFolders, Target};
use large::Staging;
use plan::{Planner, STAGING_NAME};
use run::Run;
pub use run::{Counters, Event, Finding, FindingKind, Overwrite};
use walk::{Selection, Walk};
use window::Window;
use work::Work;

/// Events that wait for the caller.
const EVENTS_MAX: usize = 4096;
/// Threads that open and write, unless told otherwise.
const WORKERS: usize = 2;

/// What to restore, where to, and how.
#[allow(
    clippy::struct_excessive_bools,
    reason = "four wishes that have nothing to do with each other"
)]
pub struct Request {
    /// (class, root of its tree), the class with the lowest rank first.
    pub trees: Vec<(u16, Location)>,
    /// Which paths; see [`Selection`].
    pub selection: Selection,
    /// The folder to restore into; made if it is missing.
    pub target: PathBuf,
    /// What becomes of files that exist.
    pub overwrite: Overwrite,
    /// Owners are restored.
    pub owners: bool,
    /// Names of owners go before their numbers, by this machine's tables.
    pub names: Option<Box<dyn Names>>,
    /// Nothing is written; counts are those of a restore.
    pub dry_run: bool,
    /// Threads that open and write; 0: two.
    pub workers: usize,
    /// The file system is synced before the end is told.
    pub sync: bool,
    /// What could be saved of a damaged file gets a name of its own.
    pub keep_damaged: bool,
}

/// A restore in threads of its own.
pub struct Extract {
    events: Receiver<Event>,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Extract {
    /// Begins.
    pub fn start(
        reader: Arc<Reader>,
        request: Request,
        limits: Arc<Limits>,
    ) -> Result<Self, Error> {
        let (sender, events) = bounded(EVENTS_MAX);
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(Counters::default());
        let (own_stop, own_counters) = (Arc::clone(&stop), Arc::clone(&counters));
        let thread = std::thread::Builder::new()
            .name("extract".into())
            .spawn(move || {
                let result = extract(&reader, request, limits, own_stop, own_counters, &sender);
                // Nobody listens any more: then nobody has to know.
                let _ = sender.send(Event::Finished(result));
            })
            .map_err(|error| Error::Io {
                what: "thread",
                errno: error.raw_os_error().unwrap_or(11),
            })?;
        Ok(Self {
            events,
            stop,
            counters,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The next event, or `None` after `timeout`.
    pub fn poll(&self, timeout: Duration) -> Option<Event> {
        match self.events.recv_timeout(timeout) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::Finished(Err(Error::Internal(
                "a restore ended without a word",
            )))),
        }
    }

    /// Asks it to stop; it does within a second, and says [`Error::Stopped`].
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for Extract {
    fn drop(&mut self) {
        self.stop();
        // A thread that waits for room in the channel is let go.
        let (_, none) = bounded(0);
        self.events = none;
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

/// What was found in the target at the start.
struct Opened {
    run: Run,
    root: Arc<Folder>,
}

fn extract(
    reader: &Arc<Reader>,
    request: Request,
    limits: Arc<Limits>,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    events: &Sender<Event>,
) -> Result<(), Error> {
    let workers = if request.workers == 0 {
        WORKERS
    } else {
        request.workers
    };
    let Opened { run, root } = open(reader, &request, limits, stop, counters, events.clone())?;
    let walk = Walk::new(reader, &request.trees, request.selection)?;
    let owners = Owners::new(request.owners, request.names);
    let result =
        Planner::new(&run, walk, owners, root).run(&mut |window| restore(&run, window, workers));
    if let Some(staging) = &run.staging {
        clear(staging.folder());
        if result.is_ok() {
            rustix::fs::unlinkat(run.target.root(), STAGING_NAME, AtFlags::REMOVEDIR)
                .step("remove folder")?;
            if request.sync {
                rustix::fs::syncfs(run.target.root()).step("sync")?;
            }
        }
    }
    result
}

/// Restores one window.
fn restore(run: &Run, mut window: Window, workers: usize) -> Result<(), Error> {
    let Some(staging) = run.staging.as_ref().filter(|_| !window.is_empty()) else {
        return Ok(());
    };
    let batches = window.batches(run.reader.source.span_bytes());
    let work = Work::new(run, staging, &window, &batches);
    let results: Vec<Result<(), Error>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|_| {
                scope.spawn(|| {
                    let result = work.work();
                    if result.is_err() {
                        work.give_up();
                    }
                    result
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or(Err(Error::Internal("a worker panicked")))
            })
            .collect()
    });
    results.into_iter().collect::<Result<(), Error>>()?;
    let mut folders = OpenFolders::new(&run.target);
    special::make_links(run, &window, &mut folders)?;
    special::finish_folders(run, &window)
}

fn open(
    reader: &Arc<Reader>,
    request: &Request,
    limits: Arc<Limits>,
    stop: Arc<AtomicBool>,
    counters: Arc<Counters>,
    events: Sender<Event>,
) -> Result<Opened, Error> {
    let (target, is_new) = open_target(&request.target, request.dry_run)?;
    let mut is_resumed = false;
    let mut began_s = 0;
    let staging = if request.dry_run {
        None
    } else {
        let (folder, found) = open_staging(&target)?;
        is_resumed = found;
        let stat = rustix::fs::fstat(&folder).step("stat")?;
        began_s = stat.st_ctime as i64;
        if found {
            // What the earlier restore left is of no use: its pieces are not known.
            began_s = birth(&folder).unwrap_or(began_s);
            clear(folder.as_fd());
        }
        Some(Staging::new(folder, request.keep_damaged).step("stat")?)
    };
    let run = Run {
        reader: Arc::clone(reader),
        target: Target::new(target),
        staging,
        overwrite: request.overwrite,
        is_resumed,
        began_s,
        umask: current_umask(),
        limits,
        stop,
        counters,
        events,
        told: Mutex::new(HashSet::new()),
    };
    let root = Folder {
        path: Vec::new(),
        is_new: is_new || is_resumed,
        is_missing: false,
    };
    Ok(Opened {
        run,
        root: Arc::new(root),
    })
}

const FOLDER_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Opens the target; makes it (and what is missing above it) unless nothing may be written. True if it was made.
fn open_target(path: &Path, dry_run: bool) -> Result<(OwnedFd, bool), Error> {
    match rustix::fs::open(path, FOLDER_FLAGS, Mode::empty()) {
        Ok(folder) => return Ok((folder, false)),
        Err(Errno::NOENT) if dry_run => {
            // Any empty folder shows the same plan; nothing is looked up in a new one.
            let folder =
                rustix::fs::open("/proc/self/fdinfo", FOLDER_FLAGS, Mode::empty()).step("open")?;
            return Ok((folder, true));
        }
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(Error::io("open target", errno)),
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(|error| Error::Io {
        what: "make target",
        errno: error.raw_os_error().unwrap_or(5),
    })?;
    rustix::fs::mkdir(path, Mode::RWXU).step("make target")?;
    Ok((
        rustix::fs::open(path, FOLDER_FLAGS, Mode::empty()).step("open target")?,
        true,
    ))
}

/// Opens the folder of temporaries and locks it. True if an earlier restore left it.
fn open_staging(target: &OwnedFd) -> Result<(OwnedFd, bool), Error> {
    let found = match rustix::fs::mkdirat(target, STAGING_NAME, Mode::RWXU) {
        Ok(()) => false,
        Err(Errno::EXIST) => true,
        Err(errno) => return Err(Error::io("make folder of temporaries", errno)),
    };
    let flags = FOLDER_FLAGS | OFlags::NOFOLLOW;
    let folder = rustix::fs::openat(target, STAGING_NAME, flags, Mode::empty())
        .step("open folder of temporaries")?;
    // One restore at a time into one target.
    rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive)
        .step("another restore is at work in the target")?;
    Ok((folder, found))
}

/// Deletes every file in the folder of temporaries.
fn clear(folder: std::os::fd::BorrowedFd<'_>) {
    let Ok(entries) = rustix::fs::Dir::read_from(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name != c"." && name != c".." {
            // A leftover costs room, not correctness.
            let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
        }
    }
}

/// When a folder was made, in seconds since 1970, where the file system knows.
fn birth(folder: &OwnedFd) -> Option<i64> {
    use rustix::fs::StatxFlags;
    let stat = rustix::fs::statx(folder, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME).ok()?;
    (stat.stx_mask & StatxFlags::BTIME.bits() != 0).then_some(stat.stx_btime.tv_sec)
}

/// The process's umask, read where setting it is not needed.
fn current_umask() -> u16 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u16::from_str_radix(text.trim(), 8).ok())
        .unwrap_or(0o777)
}

/// A path from raw bytes.
pub fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}
