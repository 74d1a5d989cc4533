//! The walk over everything a run was asked for, in path order, looked at ahead of time by several threads.
//!
//! Walkers list folders and take `stat` in slices of [`folder::SLICE_ENTRIES`] entries, last queued first, which is
//! depth-first order; the consumer follows and does itself what no walker has begun. What is looked at but not consumed is
//! bounded, folders open at once are bounded, and a folder of any size never has more than its names in memory.
mod folder;
pub mod roots;
pub mod rules;
mod stat;
mod work;

use std::collections::HashSet;
use std::ffi::CStr;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::fs::{CWD, FileType, statat};
use rustix::io::Errno;

pub use folder::{DescriptorPool, Folder, open_quietly};
pub use roots::RootNode;
pub use rules::{RuleConfig, Rules};
pub use stat::FileStat;
pub use work::Pace;

use folder::{Looked, Names};
use work::Shared;

/// Longest path that the format holds.
pub const PATH_BYTES_MAX: usize = 65536;
/// Folders kept open at once.
const FOLDERS_OPEN_MAX: usize = 384;

/// What a scan covers.
#[derive(Debug, Clone)]
pub struct ScanConfig {
    /// Absolute paths.
    pub roots: Vec<Vec<u8>>,
    /// What is left out, and the classes.
    pub rules: RuleConfig,
    /// Absolute paths of Holdfast's own store, spool and state: never backed up.
    pub own_paths: Vec<Vec<u8>>,
    /// Threads that look ahead.
    pub walkers: usize,
}

/// Why a scan could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// A path is not absolute, or holds `..`.
    #[error("a path to back up is not absolute")]
    BadRoot,
    /// A pattern cannot be understood.
    #[error(transparent)]
    Pattern(#[from] rules::PatternError),
    /// The root folder cannot be read.
    #[error("the root folder cannot be read: errno {0}")]
    Root(i32),
}

/// What the scan met next.
pub enum Found<'a> {
    /// An entry of the tree.
    Entry(FoundEntry<'a>),
    /// Something that could not be looked at, or is skipped.
    Trouble {
        /// Its path.
        path: &'a [u8],
        /// Its class.
        class: u16,
        /// What happened.
        trouble: Trouble,
    },
}

/// An entry that the scan met.
pub struct FoundEntry<'a> {
    /// Path in the tree.
    pub path: &'a [u8],
    /// Data class.
    pub class: u16,
    /// What `stat` said.
    pub stat: FileStat,
    /// The folder it is in; `None` for the root folder.
    pub folder: Option<&'a Arc<Folder>>,
    /// Its name in that folder.
    pub name: &'a CStr,
}

/// Why something is missing from the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It was listed and then gone.
    Vanished,
    /// The system refused with this `errno`.
    Unreadable(i32),
    /// A socket: it has no content to keep.
    Socket,
    /// Its path is longer than the format holds.
    PathTooLong,
}

struct Frame {
    folder: Arc<Folder>,
    names: Option<Arc<Names>>,
    slice: usize,
    items: std::vec::IntoIter<Looked>,
    taken: usize,
    path_bytes: usize,
}

/// A running scan: a lending iterator over entries in path order.
pub struct Scan {
    shared: Arc<Shared>,
    walkers: Vec<JoinHandle<()>>,
    frames: Vec<Frame>,
    enter: Option<Arc<Folder>>,
    first: Option<(FileStat, u16)>,
    path: Vec<u8>,
    name_holder: Option<(Arc<Names>, usize)>,
    folder_holder: Option<Arc<Folder>>,
}

impl Scan {
    /// Begins to look ahead.
    pub fn start(config: &ScanConfig) -> Result<Self, ScanError> {
        Self::start_paced(config, None)
    }

    /// Begins to look ahead, at a run's limits.
    pub fn start_paced(config: &ScanConfig, pace: Option<Pace>) -> Result<Self, ScanError> {
        let roots = RootNode::from_paths(&config.roots).ok_or(ScanError::BadRoot)?;
        let rules = Rules::new(&config.rules, identities(&config.own_paths))?;
        let stat = statat(CWD, c"/", rustix::fs::AtFlags::empty())
            .map(FileStat::from)
            .map_err(|errno| ScanError::Root(errno.raw_os_error()))?;
        let class = rules.class(b"", true, rules.default_class);
        let device = (roots.whole && rules.one_file_system).then_some(stat.dev);
        let forced = (!roots.whole).then(|| Arc::new(roots));
        let top = Folder::top(class, forced, device);
        let shared = Arc::new(Shared::new(
            rules,
            DescriptorPool::new(FOLDERS_OPEN_MAX),
            pace,
        ));
        shared.begin(&top);
        let walkers = (0..config.walkers)
            .filter_map(|_| Shared::spawn(&shared))
            .collect();
        Ok(Self {
            shared,
            walkers,
            frames: Vec::new(),
            enter: Some(top),
            first: Some((stat, class)),
            path: Vec::new(),
            name_holder: None,
            folder_holder: None,
        })
    }

    /// The rules of this scan.
    pub fn rules(&self) -> &Rules {
        &self.shared.rules
    }

    /// A walker panicked: what the scan gave is not all there is.
    pub fn is_broken(&self) -> bool {
        self.shared.is_broken()
    }

    /// A handle to open the folders it met.
    pub fn opener(&self) -> Opener {
        Opener(Arc::clone(&self.shared))
    }

    /// Entries left out by a rule so far.
    pub fn excluded(&self) -> u64 {
        self.shared
            .excluded
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The next entry or trouble in path order. A folder comes before everything under it.
    // Not an `Iterator`: what it gives borrows from it.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Found<'_>> {
        if let Some((stat, class)) = self.first.take() {
            return Some(Found::Entry(FoundEntry {
                path: b"",
                class,
                stat,
                folder: None,
                name: c"",
            }));
        }
        loop {
            if let Some(folder) = self.enter.take()
                && let Err(errno) = self.push_frame(&folder)
            {
                let trouble = trouble_of(errno);
                return Some(Found::Trouble {
                    path: &self.path,
                    class: folder.class,
                    trouble,
                });
            }
            let frame = self.frames.last_mut()?;
            if let Some(item) = frame.items.next() {
                return Some(self.give(item));
            }
            self.next_slice();
        }
    }

    fn push_frame(&mut self, folder: &Arc<Folder>) -> Result<(), Errno> {
        let names = self.shared.names(folder)?;
        let items = self.shared.take(folder, 0);
        self.frames.push(Frame {
            folder: Arc::clone(folder),
            names: Some(names),
            slice: 0,
            taken: items.len(),
            items: items.into_iter(),
            path_bytes: self.path.len(),
        });
        Ok(())
    }

    fn next_slice(&mut self) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        self.shared.release(frame.taken);
        frame.taken = 0;
        frame.slice += 1;
        let slices = frame.names.as_ref().map_or(0, |names| names.slices());
        if frame.slice < slices {
            let items = self.shared.take(&frame.folder, frame.slice);
            frame.taken = items.len();
            frame.items = items.into_iter();
        } else {
            self.frames.pop();
        }
    }

    fn give(&mut self, item: Looked) -> Found<'_> {
        let position = item.position as usize;
        if let Some(frame) = self.frames.last() {
            self.path.truncate(frame.path_bytes);
            self.name_holder = frame
                .names
                .as_ref()
                .map(|names| (Arc::clone(names), position));
            self.folder_holder = Some(Arc::clone(&frame.folder));
        }
        let name = self
            .name_holder
            .as_ref()
            .map_or(c"", |(names, at)| names.name(*at));
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name.to_bytes());
        let (path, class) = (self.path.as_slice(), item.class);
        let trouble = match &item.stat {
            _ if path.len() > PATH_BYTES_MAX => Some(Trouble::PathTooLong),
            Err(errno) => Some(trouble_of(*errno)),
            Ok(stat) if stat.kind() == FileType::Socket => Some(Trouble::Socket),
            Ok(_) => None,
        };
        match (trouble, item.stat) {
            (None, Ok(stat)) => {
                self.enter = item.child;
                let folder = self.folder_holder.as_ref();
                Found::Entry(FoundEntry {
                    path,
                    class,
                    stat,
                    folder,
                    name,
                })
            }
            (trouble, _) => Found::Trouble {
                path,
                class,
                trouble: trouble.unwrap_or(Trouble::Vanished),
            },
        }
    }
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.shared.stop();
        for walker in self.walkers.drain(..) {
            // That a walker panicked is known by `is_broken`.
            drop(walker.join());
        }
    }
}

/// Opens folders that the scan met, also after it went on.
#[derive(Clone)]
pub struct Opener(Arc<Shared>);

impl Opener {
    /// The folder's descriptor.
    pub fn open(&self, folder: &Arc<Folder>) -> Result<Arc<std::os::fd::OwnedFd>, Errno> {
        folder.open(&self.0.pool)
    }
}

fn trouble_of(errno: Errno) -> Trouble {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::STALE => Trouble::Vanished,
        errno => Trouble::Unreadable(errno.raw_os_error()),
    }
}

fn identities(paths: &[Vec<u8>]) -> HashSet<(u64, u64)> {
    let stat_of = |path: &Vec<u8>| statat(CWD, path, rustix::fs::AtFlags::empty()).ok();
    paths
        .iter()
        .filter_map(stat_of)
        .map(FileStat::from)
        .map(|stat| (stat.dev, stat.ino))
        .collect()
}
