//! The walk: what the scan meets becomes batches in path order, to be read where the last run does not know it.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::StreamSpec;
use super::batch::{Batch, Body, Item, Ordered, Past, ToRead};
use super::classify::raised;
use super::context::Context;
use super::events::FindingKind;
use super::past::{Known, Memory};
use super::source::SMALL_BYTES_MAX;
use crate::Error;
use crate::scan::{FileStat, Folder, Found, FoundEntry, Scan, Trouble};
use crossbeam_channel::{Sender, bounded};
use holdfast_engine::entry::compare_paths;

/// Entries of a batch.
const BATCH_ENTRIES_MAX: usize = 512;
/// Entries of a batch that are to be read.
const BATCH_UNREAD_MAX: usize = 64;
/// Bytes of a batch that are to be read.
const BATCH_UNREAD_BYTES_MAX: u64 = 1 << 20;

/// Where batches go.
pub(super) struct Outlets {
    pub order: Sender<Ordered>,
    pub small: Sender<ToRead>,
    pub large_files: Sender<ToRead>,
}

/// Walks everything, streams included, and hands it on in order.
pub(super) fn walk(
    context: &Arc<Context>,
    mut scan: Scan,
    mut streams: Vec<StreamSpec>,
    memory: Memory,
    outlets: &Outlets,
) -> Result<(), Error> {
    streams.sort_by(|a, b| compare_paths(&b.path, &a.path));
    let mut walker = Walker::new(context, memory, outlets);
    let classes: Vec<u16> = streams
        .iter()
        .map(|stream| {
            stream
                .class
                .unwrap_or_else(|| scan.rules().class_from_top(&stream.path))
        })
        .collect();
    let mut streams: Vec<(StreamSpec, u16)> = streams.into_iter().zip(classes).collect();
    while let Some(found) = scan.next() {
        context.check_stop()?;
        let (Found::Entry(FoundEntry { path, .. }) | Found::Trouble { path, .. }) = &found;
        let mut hidden = false;
        while let Some((stream, class)) =
            streams.pop_if(|(stream, _)| compare_paths(&stream.path, path).is_le())
        {
            hidden |= stream.path == *path;
            walker.stream(stream, class)?;
        }
        match found {
            _ if hidden => {}
            Found::Entry(entry) => walker.entry(&entry)?,
            Found::Trouble {
                path,
                class,
                trouble,
            } => walker.trouble(path, class, trouble)?,
        }
    }
    while let Some((stream, class)) = streams.pop() {
        walker.stream(stream, class)?;
    }
    walker.memory.end(context);
    walker.flush()?;
    if scan.is_broken() {
        return Err(Error::Internal("a thread of the scan panicked"));
    }
    outlets.order.send(Ordered::End).map_err(|_| Error::Stopped)
}

struct Walker<'a> {
    context: &'a Context,
    memory: Memory,
    outlets: &'a Outlets,
    batch: Batch,
    unread: usize,
    unread_bytes: u64,
    /// Files of several names met so far, per class: content is read once.
    linked: HashSet<(u64, u64, u16)>,
    /// The last fence.
    fence: u32,
}

impl<'a> Walker<'a> {
    fn new(context: &'a Context, memory: Memory, outlets: &'a Outlets) -> Self {
        Self {
            context,
            memory,
            outlets,
            batch: Batch::default(),
            unread: 0,
            unread_bytes: 0,
            linked: HashSet::new(),
            fence: 0,
        }
    }

    /// Puts a fence between what was looked up so far and what follows, if one was asked for.
    fn fence(&mut self) -> Result<(), Error> {
        let wanted = self.context.fence.load(Ordering::Acquire);
        if wanted == self.fence {
            return Ok(());
        }
        self.fence = wanted;
        self.flush()?;
        self.memory.ask_again();
        self.outlets
            .order
            .send(Ordered::Fence(wanted))
            .map_err(|_| Error::Stopped)
    }

    fn entry(&mut self, entry: &FoundEntry<'_>) -> Result<(), Error> {
        self.fence()?;
        let stat = entry.stat;
        let again = stat.is_file()
            && stat.nlink > 1
            && !self.linked.insert((stat.dev, stat.ino, entry.class));
        let known = self.memory.recall(self.context, entry)?;
        let counters = &self.context.counters;
        let counter = match known.past {
            Past::New => &counters.new,
            Past::Changed => &counters.changed,
            Past::Unchanged | Past::Audited => &counters.unchanged,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if stat.is_file() {
            self.context.signs.name(entry.path);
        }
        if self.context.options.dry_run {
            self.count(&stat, matches!(known.body, Body::Unread));
            return Ok(());
        }
        let body = match known.body {
            Body::Unread if again => Body::SameFile,
            body => body,
        };
        self.add(
            entry.path,
            entry.class,
            stat,
            entry.folder,
            Known { body, ..known },
        )
    }

    /// What a dry run has instead of work.
    fn count(&self, stat: &FileStat, unread: bool) {
        let counters = &self.context.counters;
        if stat.is_file() {
            counters.files.fetch_add(1, Ordering::Relaxed);
            counters.bytes.fetch_add(stat.size, Ordering::Relaxed);
            let read = if unread { stat.size } else { 0 };
            counters.read_bytes.fetch_add(read, Ordering::Relaxed);
        } else if stat.is_folder() {
            counters.folders.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn trouble(&mut self, path: &[u8], class: u16, trouble: Trouble) -> Result<(), Error> {
        let (kind, errno) = match trouble {
            Trouble::Vanished => (FindingKind::Vanished, 0),
            Trouble::Unreadable(errno) => (FindingKind::Unreadable, errno),
            Trouble::Socket => (FindingKind::Socket, 0),
            Trouble::PathTooLong => (FindingKind::PathTooLong, 0),
        };
        {
            self.memory.skip_to(self.context, path);
            let body = Body::Missing(kind, errno);
            self.add(
                path,
                class,
                NO_STAT,
                None,
                Known {
                    body,
                    ..Known::to_be_read(Past::New)
                },
            )
        }
    }

    fn add(
        &mut self,
        path: &[u8],
        class: u16,
        stat: FileStat,
        folder: Option<&Arc<Folder>>,
        known: Known,
    ) -> Result<(), Error> {
        let Known {
            past,
            body,
            before,
            old,
            rewritten,
            detected,
        } = known;
        let unread = matches!(body, Body::Unread | Body::Attributes { .. });
        let large = matches!(body, Body::Unread) && stat.is_file() && stat.size > SMALL_BYTES_MAX;
        if large {
            self.flush()?;
        }
        let path = self.batch.push_path(path);
        self.batch.items.push(Item {
            path,
            class: raised(class, detected),
            scanned: class,
            detected,
            past,
            unsteady: false,
            stat,
            // What is not read needs no folder, and an open folder is a descriptor.
            folder: if unread { folder.cloned() } else { None },
            body,
            old,
            rewritten,
            before,
            silent: false,
            scrambled: false,
        });
        if large {
            return self.read_later(&self.outlets.large_files, None);
        }
        if unread {
            self.unread += 1;
            let small = stat.is_file() && stat.size <= SMALL_BYTES_MAX;
            self.unread_bytes += if small { stat.size } else { 0 };
        }
        let full = self.batch.items.len() >= BATCH_ENTRIES_MAX
            || self.unread >= BATCH_UNREAD_MAX
            || self.unread_bytes >= BATCH_UNREAD_BYTES_MAX;
        if full { self.flush() } else { Ok(()) }
    }

    fn stream(&mut self, stream: StreamSpec, class: u16) -> Result<(), Error> {
        if self.context.options.dry_run {
            return Ok(());
        }
        self.flush()?;
        self.context.counters.new.fetch_add(1, Ordering::Relaxed);
        let path = self.batch.push_path(&stream.path);
        let stat = FileStat {
            mode: STREAM_MODE,
            mtime: (self.context.options.started_s, 0),
            ..NO_STAT
        };
        self.batch.items.push(Item {
            path,
            class,
            scanned: class,
            detected: None,
            past: Past::New,
            unsteady: false,
            stat,
            folder: None,
            body: Body::Unread,
            old: None,
            rewritten: false,
            before: None,
            silent: false,
            scrambled: false,
        });
        self.read_later(&self.outlets.large_files, Some(stream))
    }

    /// Hands the batch on.
    fn flush(&mut self) -> Result<(), Error> {
        if self.batch.items.is_empty() {
            return Ok(());
        }
        if self.unread > 0 {
            return self.read_later(&self.outlets.small, None);
        }
        let batch = std::mem::take(&mut self.batch);
        self.outlets
            .order
            .send(Ordered::Ready(batch))
            .map_err(|_| Error::Stopped)
    }

    fn read_later(
        &mut self,
        readers: &Sender<ToRead>,
        stream: Option<StreamSpec>,
    ) -> Result<(), Error> {
        let (done, later) = bounded(1);
        let batch = std::mem::take(&mut self.batch);
        (self.unread, self.unread_bytes) = (0, 0);
        self.outlets
            .order
            .send(Ordered::Later(later))
            .map_err(|_| Error::Stopped)?;
        readers
            .send(ToRead {
                batch,
                stream,
                done,
            })
            .map_err(|_| Error::Stopped)
    }
}

/// Type and permissions of a stream's file.
const STREAM_MODE: u32 = 0o100_600;

const NO_STAT: FileStat = FileStat {
    dev: 0,
    ino: 0,
    mode: 0,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdev: 0,
    size: 0,
    blocks: 0,
    mtime: (0, 0),
    ctime: (0, 0),
};
