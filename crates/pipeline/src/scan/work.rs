//! The pieces of work of a scan, shared by walkers and consumer.
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::folder::{DescriptorPool, Folder, Looked, Names, SLICE_ENTRIES, Slice};
use super::rules::{CACHEDIR_SIGNATURE, Rules};
use super::stat::FileStat;
use crate::limits::Limits;

/// Entries looked at ahead of the consumer.
const LOOKED_MAX: usize = 48 * 1024;
/// How often who waits for a walker looks whether all of them live.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Neighbours whose attributes a disk reads together.
const ENTRIES_PER_OPERATION: usize = 16;

/// The limits that a scan keeps to, and what ends its waiting.
#[derive(Clone)]
pub struct Pace {
    /// How fast.
    pub limits: Arc<Limits>,
    /// Set to wait no longer.
    pub stop: Arc<AtomicBool>,
}

impl Pace {
    /// Waits as the limits say, until `stop` is set.
    pub fn new(limits: Arc<Limits>, stop: Arc<AtomicBool>) -> Self {
        Self { limits, stop }
    }
}

struct Job {
    folder: Arc<Folder>,
    slice: usize,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Job>,
    looked: usize,
    stopped: bool,
}

/// What walkers and consumer share.
pub(super) struct Shared {
    pub rules: Rules,
    pub pool: DescriptorPool,
    pub excluded: AtomicU64,
    /// A walker panicked: what it had begun never comes.
    pub broken: AtomicBool,
    queue: Mutex<Queue>,
    wake: Condvar,
    pace: Option<Pace>,
}

impl Shared {
    pub fn new(rules: Rules, pool: DescriptorPool, pace: Option<Pace>) -> Self {
        Self {
            rules,
            pool,
            excluded: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            queue: Mutex::default(),
            wake: Condvar::new(),
            pace,
        }
    }

    /// Whether a walker panicked.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Queues the root folder.
    pub fn begin(&self, top: &Arc<Folder>) {
        self.queue.lock().jobs.push(Job {
            folder: Arc::clone(top),
            slice: 0,
        });
        self.wake.notify_all();
    }

    /// Starts a walker; without one the consumer does everything itself.
    pub fn spawn(shared: &Arc<Self>) -> Option<JoinHandle<()>> {
        let shared = Arc::clone(shared);
        let builder = std::thread::Builder::new().name("hf-walk".into());
        let walk = move || {
            let alarm = Alarm(&shared);
            shared.walk();
            drop(alarm);
        };
        builder.spawn(walk).ok()
    }

    pub fn stop(&self) {
        let mut queue = self.queue.lock();
        queue.stopped = true;
        queue.jobs.clear();
        drop(queue);
        self.wake.notify_all();
    }

    /// The consumer is through with that many entries.
    pub fn release(&self, entries: usize) {
        if entries > 0 {
            let mut queue = self.queue.lock();
            queue.looked = queue.looked.saturating_sub(entries);
            drop(queue);
            self.wake.notify_all();
        }
    }

    fn walk(&self) {
        let mut queue = self.queue.lock();
        loop {
            if queue.stopped {
                return;
            }
            if queue.looked < LOOKED_MAX
                && let Some(job) = queue.jobs.pop()
            {
                drop(queue);
                self.run(&job.folder, job.slice);
                queue = self.queue.lock();
                continue;
            }
            self.wake.wait(&mut queue);
        }
    }

    /// Does a piece of work unless another thread has begun it.
    fn run(&self, folder: &Arc<Folder>, slice: usize) {
        if slice == 0 {
            self.list(folder);
        }
        let mut progress = folder.progress.lock();
        let Some(Ok(names)) = progress.names.clone() else {
            return;
        };
        match progress.slices.get_mut(slice) {
            Some(state @ Slice::Queued) => *state = Slice::Working,
            _ => return,
        }
        drop(progress);
        let looked = self.look(folder, &names, slice);
        let children: Vec<Job> = looked
            .iter()
            .rev()
            .filter_map(|item| item.child.clone())
            .map(|folder| Job { folder, slice: 0 })
            .collect();
        let mut queue = self.queue.lock();
        queue.looked += looked.len();
        if !queue.stopped {
            queue.jobs.extend(children);
        }
        drop(queue);
        if let Some(state) = folder.progress.lock().slices.get_mut(slice) {
            *state = Slice::Ready(looked);
        }
        folder.changed.notify_all();
        self.wake.notify_all();
    }

    /// Lists the folder unless another thread has begun to, and queues its further slices.
    fn list(&self, folder: &Arc<Folder>) {
        let mut progress = folder.progress.lock();
        if progress.claimed {
            return;
        }
        progress.claimed = true;
        drop(progress);
        self.ask(1);
        let listed = folder.list(&self.pool).map(|mut names| {
            names.is_cache = self.rules.exclude_caches && self.holds_cache_tag(folder, &names);
            Arc::new(names)
        });
        let slices = listed.as_ref().map_or(0, |names| names.slices());
        let mut progress = folder.progress.lock();
        progress.slices.resize_with(slices, || Slice::Queued);
        progress.names = Some(listed);
        drop(progress);
        folder.changed.notify_all();
        if slices > 1 {
            let mut queue = self.queue.lock();
            let further = (1..slices).rev();
            queue.jobs.extend(further.map(|slice| Job {
                folder: Arc::clone(folder),
                slice,
            }));
            drop(queue);
            self.wake.notify_all();
        }
    }

    /// Waits until the disk may be asked that often. A stopped run does not wait: its consumer ends the scan.
    fn ask(&self, operations: u64) {
        if let Some(pace) = &self.pace {
            drop(pace.limits.take_operations(operations, &pace.stop));
        }
    }

    fn holds_cache_tag(&self, folder: &Arc<Folder>, names: &Names) -> bool {
        let read = || -> Result<bool, Errno> {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let tag = openat(
                folder.open(&self.pool)?,
                c"CACHEDIR.TAG",
                flags,
                Mode::empty(),
            )?;
            let mut head = [0_u8; CACHEDIR_SIGNATURE.len()];
            let length = rustix::io::read(&tag, &mut head)?;
            Ok(head.get(..length) == Some(CACHEDIR_SIGNATURE))
        };
        names.contains(c"CACHEDIR.TAG") && read().unwrap_or(false)
    }

    fn look(&self, folder: &Arc<Folder>, names: &Names, slice: usize) -> Vec<Looked> {
        let begin = slice * SLICE_ENTRIES;
        let end = names.len().min(begin + SLICE_ENTRIES);
        let mut looked = Vec::with_capacity(end.saturating_sub(begin));
        self.ask(end.saturating_sub(begin).div_ceil(ENTRIES_PER_OPERATION) as u64);
        let fd = match folder.open(&self.pool) {
            Ok(fd) => fd,
            Err(errno) => {
                let class = folder.class;
                looked.extend((begin..end).map(|position| Looked {
                    position: position as u32,
                    class,
                    stat: Err(errno),
                    child: None,
                }));
                return looked;
            }
        };
        let mut path = if self.rules.need_paths() {
            folder.path()
        } else {
            Vec::new()
        };
        if !path.is_empty() {
            path.push(b'/');
        }
        let prefix = path.len();
        for position in begin..end {
            path.truncate(prefix);
            path.extend_from_slice(names.name(position).to_bytes());
            match self.look_at(folder, &fd, names, position, &path) {
                Some(item) => looked.push(item),
                None => drop(self.excluded.fetch_add(1, Ordering::Relaxed)),
            }
        }
        looked
    }

    /// One entry; `None` if it is left out. `path` is only right if the rules need it.
    fn look_at(
        &self,
        folder: &Arc<Folder>,
        fd: &OwnedFd,
        names: &Names,
        position: usize,
        path: &[u8],
    ) -> Option<Looked> {
        let name = names.name(position);
        let rules = &self.rules;
        let asked_for = folder
            .forced
            .as_ref()
            .and_then(|forced| forced.children.get(name.to_bytes()));
        if names.is_cache && name != c"CACHEDIR.TAG" {
            return None;
        }
        let stat = match folder.stat(name, fd) {
            Ok(stat) => stat,
            Err(errno) => {
                let class = rules.class(path, false, folder.class);
                return Some(Looked {
                    position: position as u32,
                    class,
                    stat: Err(errno),
                    child: None,
                });
            }
        };
        let is_folder = stat.is_folder();
        let too_large = stat.is_file() && rules.file_bytes_max.is_some_and(|max| stat.size > max);
        let unwanted = asked_for.is_none() && (too_large || rules.excluded(path, is_folder));
        if unwanted || rules.own.contains(&(stat.dev, stat.ino)) {
            return None;
        }
        let class = rules.class(path, is_folder, folder.class);
        let (class, within) = if is_folder {
            rules.raised(path, class)
        } else {
            (class, class)
        };
        let child = match asked_for {
            Some(node) if is_folder && !node.whole => {
                Some(folder.child(name, within, None, Some(Arc::clone(node))))
            }
            Some(_) if is_folder => {
                let device = rules.one_file_system.then_some(stat.dev);
                Some(folder.child(name, within, device, None))
            }
            None if is_folder && folder.device.is_none_or(|device| device == stat.dev) => {
                Some(folder.child(name, within, folder.device, None))
            }
            _ => None,
        };
        let stat: Result<FileStat, Errno> = Ok(stat);
        Some(Looked {
            position: position as u32,
            class,
            stat,
            child,
        })
    }

    /// The sorted names of a folder: those a walker found, or found now.
    pub fn names(&self, folder: &Arc<Folder>) -> Result<Arc<Names>, Errno> {
        self.run(folder, 0);
        let mut progress = folder.progress.lock();
        loop {
            if let Some(names) = &progress.names {
                return names.clone();
            }
            if self.is_broken() {
                return Err(Errno::IO);
            }
            folder.changed.wait_for(&mut progress, LOOK_AGAIN);
        }
    }

    /// The entries of a slice: those a walker looked at, or looked at now.
    pub fn take(&self, folder: &Arc<Folder>, slice: usize) -> Vec<Looked> {
        self.run(folder, slice);
        let mut progress = folder.progress.lock();
        loop {
            match progress.slices.get_mut(slice) {
                Some(state @ Slice::Ready(_)) => {
                    if let Slice::Ready(items) = std::mem::replace(state, Slice::Taken) {
                        return items;
                    }
                }
                Some(Slice::Queued | Slice::Working) if self.is_broken() => return Vec::new(),
                Some(Slice::Queued | Slice::Working) => {
                    folder.changed.wait_for(&mut progress, LOOK_AGAIN);
                }
                Some(Slice::Taken) | None => return Vec::new(),
            }
        }
    }
}

/// Tells of a walker's panic.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::rules::RuleConfig;

    #[test]
    fn nobody_waits_for_a_walker_that_panicked() {
        let rules = Rules::new(&RuleConfig::default(), std::collections::HashSet::new());
        let shared = Shared::new(rules.expect("rules"), DescriptorPool::new(4), None);
        let folder = Folder::top(1, None, None);
        folder.progress.lock().claimed = true;
        std::thread::scope(|scope| {
            let walker = scope.spawn(|| {
                let _alarm = Alarm(&shared);
                panic!("in the middle of a folder");
            });
            assert!(walker.join().is_err());
            assert!(shared.names(&folder).is_err());
        });
        assert!(shared.is_broken());
    }
}
