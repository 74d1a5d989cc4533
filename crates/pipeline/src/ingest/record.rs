//! What the next run will know: the stat cache, and the writer state for when that is lost.
//!
//! The state holds large files only: to read a small one again costs less than to keep what is known of it in the vault.
use holdfast_engine::content::Content;
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::state::{StateFile, StateRecord, WriterState};
use holdfast_engine::{ClassId, ClassKeys};

use super::batch::{Item, Past, Stored};
use super::source::SMALL_BYTES_MAX;
use crate::Error;
use crate::statcache::CacheWriter;
use crate::statcache::record::{Held, Record};

/// A file changed this shortly before the run, or in it, may change again within one tick of its clock.
const FRESH_SECONDS: i64 = 2;
/// The inode of a file that is to be read again: none has this one.
const NO_INODE: u64 = 0;

/// Writes both, in path order.
pub(super) struct Recorder {
    cache: CacheWriter,
    record: Record,
    states: Vec<StateRecord>,
    /// The state is complete, not a difference to an earlier one.
    base: bool,
    /// Nothing is known of an earlier run.
    first: bool,
    changed: bool,
    trusted_before_s: i64,
}

impl Recorder {
    pub fn new(cache: CacheWriter, base: bool, first: bool, started_s: i64) -> Self {
        Self {
            cache,
            record: Record::default(),
            states: Vec::new(),
            base,
            first,
            changed: false,
            trusted_before_s: started_s - FRESH_SECONDS,
        }
    }

    /// Notes an entry as it went into its tree. Its attributes are taken out of `entry`.
    pub fn entry(
        &mut self,
        keys: &ClassKeys,
        item: &Item,
        entry: &mut Entry,
        held: Option<(Stored, u64)>,
    ) -> Result<(), Error> {
        let fresh = item.unsteady || item.stat.ctime.0 >= self.trusted_before_s;
        self.state(keys, item, entry, fresh);
        let record = &mut self.record;
        record.path.clear();
        record.path.extend_from_slice(&entry.path);
        record.class = item.class;
        record.detected = item.detected;
        record.fresh = fresh;
        record.mode = item.stat.mode;
        record.size = item.stat.size;
        record.mtime = item.stat.mtime;
        record.ctime = item.stat.ctime;
        record.ino = item.stat.ino;
        record.xattrs = std::mem::take(&mut entry.xattrs);
        record.held = match (held, &mut entry.kind) {
            (Some((stored, mark)), _) => Held::File { stored, mark },
            (None, EntryKind::Symlink { target }) => Held::Other {
                target: std::mem::take(target),
            },
            _ => Held::Other { target: Vec::new() },
        };
        self.cache.push(record)
    }

    /// What cannot be trusted goes in with an inode that no file has, so that it is read again: beside its old page map.
    fn state(&mut self, keys: &ClassKeys, item: &Item, entry: &Entry, fresh: bool) {
        let EntryKind::File { size, content } = &entry.kind else {
            return;
        };
        let changed = item.past != Past::Unchanged;
        let paged = matches!(content, Content::PageMap { .. } | Content::PageMapAt { .. });
        let wanted =
            *size > SMALL_BYTES_MAX && (paged || !fresh) && !matches!(content, Content::Inline(_));
        if !wanted || !(changed || self.base) {
            return;
        }
        self.changed |= changed;
        self.states.push(StateRecord {
            path_hash: keys.path_hash(&entry.path),
            file: Some(StateFile {
                class: ClassId(keys.class().0),
                mtime: item.stat.mtime,
                ctime: item.stat.ctime,
                inode: if fresh { NO_INODE } else { item.stat.ino },
                size: *size,
                content: content.clone(),
            }),
        });
    }

    /// Completes the cache, and gives the state if anything in it changed; `removed` are the hashes of files that are gone.
    #[allow(clippy::type_complexity)]
    pub fn finish(mut self, removed: Vec<u64>) -> Result<(bool, Option<(Vec<u8>, bool)>), Error> {
        let written = self.cache.finish()?;
        self.changed |= !removed.is_empty() || self.first;
        if !self.changed || (self.states.is_empty() && removed.is_empty()) {
            return Ok((written, None));
        }
        if !self.base {
            self.states
                .extend(removed.into_iter().map(|path_hash| StateRecord {
                    path_hash,
                    file: None,
                }));
        }
        self.states.sort_by_key(|record| record.path_hash);
        self.states.dedup_by_key(|record| record.path_hash);
        let state = WriterState {
            delta: !self.base,
            records: self.states,
        };
        Ok((written, Some((state.encode()?, self.base))))
    }
}
