//! The end of the pipeline: entries in order become trees, reference sets and findings.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender};
use holdfast_engine::content::{Content, encode_group_list, encode_piece_list};
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::limits::PIECES_INLINE_MAX;
use holdfast_engine::refs::RefSet;
use holdfast_engine::tree::{NodeSink, TreeBuilder};
use holdfast_engine::{ClassKeys, PackKind, Role};
use rustix::fs::{FileType, major, minor};

use super::batch::{Batch, Body, Item, Ordered, Past, Stored, Xattrs};
use super::context::{Context, Job};
use super::events::{ClassResult, Event, Finding, FindingKind, Finished};
use super::record::Recorder;
use super::sink::{Refs, Sink};
use crate::Error;
use crate::scan::FileStat;

/// Pieces, or groups, in one list that is a chunk of its own.
const LIST_ENTRIES_MAX: usize = 50_000;

/// Takes everything in order, then waits until all of it is stored.
pub(super) fn finish(
    context: &Arc<Context>,
    order: &Receiver<Ordered>,
    jobs: Sender<Job>,
    recorder: Recorder,
) -> Result<(), Error> {
    let mut trees = Finisher::new(context, &jobs, recorder);
    let mut whole = false;
    for ordered in order {
        context.check_stop()?;
        let batch = match ordered {
            Ordered::Ready(batch) => batch,
            Ordered::Later(later) => later.recv().map_err(|_| Error::Stopped)?,
            Ordered::Fence(number) => {
                let is_clean = trees.is_clean()?;
                context.tell(Event::Fenced { number, is_clean });
                continue;
            }
            Ordered::End => {
                whole = true;
                break;
            }
        };
        trees.take(batch)?;
    }
    context.check_stop()?;
    if !whole {
        // The walk gave up its end of the queue before it could say why.
        return Err(Error::Stopped);
    }
    if context.options.dry_run {
        let counts = context.counts();
        let nothing = Finished {
            counts,
            ..Finished::default()
        };
        context.tell(Event::Finished(Box::new(nothing)));
        return Ok(());
    }
    let (mut classes, recorder) = trees.end()?;
    context.seal_later(context.packer.flush()?, &jobs)?;
    drop(jobs);
    let runs = context.packer.ledger.settle(&context.stop)?;
    for result in &mut classes {
        let position = context
            .packer
            .classes()
            .position(|keys| keys.class() == result.class);
        if let Some(stored) = position.and_then(|class| context.packer.stored.get(class)) {
            result.new_bytes = stored.new_bytes.load(Ordering::Relaxed);
            result.stored_bytes = stored.pack_bytes.load(Ordering::Relaxed);
        }
    }
    let is_lost = !has_references(context, &classes)?;
    context.sides.sweep();
    let (cache_written, state) = recorder.finish(std::mem::take(&mut context.removed.lock()))?;
    let (detections, raised) = context.classes.results();
    let event = Finished {
        classes,
        runs,
        counts: context.counts(),
        cache_written,
        is_lost,
        state,
        detections,
        raised,
        signs: context.signs.counts(),
    };
    context.tell(Event::Finished(Box::new(event)));
    Ok(())
}

/// Whether all that the trees need is there: packs may have been excluded since they were first referred to.
fn has_references(context: &Context, classes: &[ClassResult]) -> Result<bool, Error> {
    for result in classes {
        let class = context
            .packer
            .classes()
            .position(|keys| keys.class() == result.class);
        if !has_all(context, class.unwrap_or(0), &result.refs)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_all(context: &Context, class: usize, refs: &RefSet) -> Result<bool, Error> {
    for (origin, segment) in refs.iter() {
        if !context.packer.has_segment(class, &origin, segment)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One class's tree while it grows.
struct ClassTree {
    keys: Arc<ClassKeys>,
    builder: TreeBuilder,
    refs: Refs,
    files: u64,
    entries: u64,
}

/// What a file of several names holds, from its first name.
struct Linked {
    link_id: u64,
    body: Option<LinkedBody>,
}

#[derive(Clone)]
struct LinkedBody {
    class: u16,
    detected: Option<u16>,
    stored: Stored,
    xattrs: Xattrs,
    mark: u64,
    stat: FileStat,
    unsteady: bool,
}

struct Finisher<'a> {
    context: &'a Context,
    jobs: &'a Sender<Job>,
    trees: Vec<ClassTree>,
    linked: HashMap<(u64, u64, u16), Linked>,
    entry: Entry,
    recorder: Recorder,
}

impl<'a> Finisher<'a> {
    fn new(context: &'a Context, jobs: &'a Sender<Job>, recorder: Recorder) -> Self {
        let tree = |keys: &Arc<ClassKeys>| ClassTree {
            keys: Arc::clone(keys),
            builder: TreeBuilder::new(Arc::clone(keys)),
            refs: Refs::default(),
            files: 0,
            entries: 0,
        };
        let entry = Entry {
            path: Vec::new(),
            kind: EntryKind::Folder,
            mode: 0,
            uid: 0,
            gid: 0,
            user: Vec::new(),
            group: Vec::new(),
            mtime: (0, 0),
            xattrs: Vec::new(),
            link_id: None,
        };
        let trees = context.packer.classes().map(tree).collect();
        Self {
            context,
            jobs,
            trees,
            linked: HashMap::new(),
            entry,
            recorder,
        }
    }

    fn take(&mut self, mut batch: Batch) -> Result<(), Error> {
        for mut item in std::mem::take(&mut batch.items) {
            let path = batch.path(item.path);
            let body = std::mem::replace(&mut item.body, Body::Unread);
            match body {
                Body::Missing(kind, errno) => self.find(path, item.class, kind, errno),
                Body::Failed(detail) => {
                    self.context
                        .find(Finding::of_stream(path, item.class, detail));
                }
                Body::Unread | Body::Attributes { .. } => {
                    return Err(Error::Internal("an entry that nobody read"));
                }
                Body::SameFile => self.same_file(path, &mut item)?,
                Body::File {
                    stored,
                    xattrs,
                    mark,
                } => self.file(path, &item, stored, xattrs, mark)?,
                Body::Other { target, xattrs } => {
                    let kind = other_kind(&item, target);
                    self.push(path, &item, kind, xattrs, None, None)?;
                }
            }
        }
        Ok(())
    }

    /// Whether all that the trees refer to so far has a copy outside excluded packs.
    fn is_clean(&self) -> Result<bool, Error> {
        for (class, tree) in self.trees.iter().enumerate() {
            if !has_all(self.context, class, &tree.refs.set)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn find(&self, path: &[u8], class: u16, kind: FindingKind, errno: i32) {
        self.context.find(Finding {
            path: path.to_vec(),
            class,
            kind,
            errno,
            detail: String::new(),
        });
    }

    fn file(
        &mut self,
        path: &[u8],
        item: &Item,
        stored: Stored,
        xattrs: Xattrs,
        mark: u64,
    ) -> Result<(), Error> {
        if item.unsteady {
            self.find(path, item.class, FindingKind::ChangedWhileReading, 0);
        }
        self.context.classes.note_folder(path, item);
        if item.silent {
            self.find(path, item.class, FindingKind::SilentChange, 0);
        }
        if item.past == Past::New && item.stat.size > 0 {
            let signs = &self.context.signs;
            signs.come(mark, item.stat.ino, item.scrambled);
        }
        let mut link_id = None;
        if item.stat.nlink > 1 {
            let id = self.tree(item.class)?.keys.path_hash(path);
            let key = (item.stat.dev, item.stat.ino, item.scanned);
            let linked = self.linked.entry(key).or_insert(Linked {
                link_id: id,
                body: None,
            });
            if linked.body.is_none() {
                linked.body = Some(LinkedBody {
                    class: item.class,
                    detected: item.detected,
                    stored: stored.clone(),
                    xattrs: xattrs.clone(),
                    mark,
                    stat: item.stat,
                    unsteady: item.unsteady,
                });
            }
            link_id = Some(linked.link_id);
        }
        let content = self.content(item.class, &stored)?;
        let kind = EntryKind::File {
            size: item.stat.size,
            content,
        };
        self.push(path, item, kind, xattrs, link_id, Some((stored, mark)))
    }

    /// A further name: what the first one holds, as it was when that was read.
    fn same_file(&mut self, path: &[u8], item: &mut Item) -> Result<(), Error> {
        let linked = self
            .linked
            .get(&(item.stat.dev, item.stat.ino, item.scanned));
        let Some(body) = linked.and_then(|linked| linked.body.clone()) else {
            self.find(path, item.class, FindingKind::Vanished, 0);
            return Ok(());
        };
        // What the scan saw of this name may be older than the content.
        item.stat = body.stat;
        item.unsteady = body.unsteady;
        (item.class, item.detected) = (body.class, body.detected);
        self.file(path, item, body.stored, body.xattrs, body.mark)
    }

    fn push(
        &mut self,
        path: &[u8],
        item: &Item,
        kind: EntryKind,
        xattrs: Xattrs,
        link_id: Option<u64>,
        held: Option<(Stored, u64)>,
    ) -> Result<(), Error> {
        let entry = &mut self.entry;
        set(&mut entry.path, path);
        entry.kind = kind;
        entry.mode = (item.stat.mode & 0o7777) as u16;
        entry.uid = item.stat.uid;
        entry.gid = item.stat.gid;
        let owners = &self.context.owners;
        set(
            &mut entry.user,
            owners.users.get(&entry.uid).map_or(b"", Vec::as_slice),
        );
        set(
            &mut entry.group,
            owners.groups.get(&entry.gid).map_or(b"", Vec::as_slice),
        );
        entry.mtime = item.stat.mtime;
        entry.xattrs = xattrs;
        entry.link_id = link_id;
        let (context, jobs) = (self.context, self.jobs);
        let class = usize::from(item.class);
        let tree = self
            .trees
            .get_mut(class)
            .ok_or(Error::Internal("no such class"))?;
        let ClassTree {
            keys,
            builder,
            refs,
            ..
        } = tree;
        let mut sink = Sink {
            context,
            jobs,
            class,
            keys,
            refs,
            kind: PackKind::Metadata,
        };
        // What is wrong with the entry is the entry's trouble; what is wrong with storing its node is the run's.
        let refused = match self.entry.check() {
            Err(error) => Some(error),
            Ok(()) => match builder.push(&self.entry, &mut sink) {
                Ok(()) => None,
                Err(error @ holdfast_engine::Error::Misuse { .. }) => Some(error),
                Err(error) => return Err(error.into()),
            },
        };
        if let Some(error) = refused {
            let kind = match error {
                holdfast_engine::Error::LimitExceeded { .. } => FindingKind::BeyondLimits,
                _ => FindingKind::Refused,
            };
            self.find(path, item.class, kind, 0);
            return Ok(());
        }
        let counters = &context.counters;
        tree.entries += 1;
        if let EntryKind::File { size, .. } = self.entry.kind {
            tree.files += 1;
            counters.files.fetch_add(1, Ordering::Relaxed);
            counters.bytes.fetch_add(size, Ordering::Relaxed);
        } else if self.entry.kind == EntryKind::Folder {
            counters.folders.fetch_add(1, Ordering::Relaxed);
        }
        self.recorder.entry(keys, item, &mut self.entry, held)
    }

    fn tree(&mut self, class: u16) -> Result<&mut ClassTree, Error> {
        self.trees
            .get_mut(usize::from(class))
            .ok_or(Error::Internal("no such class"))
    }

    /// The content as it stands in an entry; long lists become chunks.
    fn content(&mut self, class: u16, stored: &Stored) -> Result<Content, Error> {
        let (context, jobs) = (self.context, self.jobs);
        let ClassTree { keys, refs, .. } = self.tree(class)?;
        let class = usize::from(class);
        let mut sink = Sink {
            context,
            jobs,
            class,
            keys,
            refs,
            kind: PackKind::Metadata,
        };
        Ok(match stored {
            Stored::Inline(bytes) => Content::Inline(bytes.clone()),
            Stored::Pieces(pieces) => {
                for place in pieces.iter().filter_map(|piece| piece.place) {
                    sink.refs.add(place.origin, place.segment);
                }
                if pieces.len() <= PIECES_INLINE_MAX {
                    return Ok(Content::Pieces(pieces.clone()));
                }
                sink.kind = PackKind::Map;
                let mut lists = Vec::new();
                for part in pieces.chunks(LIST_ENTRIES_MAX) {
                    lists.push(sink.put(Role::Pieces, &encode_piece_list(part)?)?);
                }
                Content::PiecesAt(lists)
            }
            Stored::Pages(pages) => {
                let page_size_log2 = pages.page_size_log2;
                for (origin, segment) in &pages.segments {
                    sink.refs.add(*origin, *segment);
                }
                for group in &pages.groups {
                    sink.refs.add(group.origin, group.segment);
                }
                if pages.groups.len() <= PIECES_INLINE_MAX {
                    return Ok(Content::PageMap {
                        page_size_log2,
                        groups: pages.groups.clone(),
                    });
                }
                sink.kind = PackKind::Map;
                let mut lists = Vec::new();
                for part in pages.groups.chunks(LIST_ENTRIES_MAX) {
                    lists.push(sink.put(Role::Pieces, &encode_group_list(part)?)?);
                }
                Content::PageMapAt {
                    page_size_log2,
                    lists,
                }
            }
        })
    }

    fn end(self) -> Result<(Vec<ClassResult>, Recorder), Error> {
        let (context, jobs) = (self.context, self.jobs);
        let mut results = Vec::new();
        for (class, tree) in self.trees.into_iter().enumerate() {
            let ClassTree {
                keys,
                builder,
                mut refs,
                files,
                entries,
            } = tree;
            if entries == 0 {
                continue;
            }
            let mut sink = Sink {
                context,
                jobs,
                class,
                keys: &keys,
                refs: &mut refs,
                kind: PackKind::Metadata,
            };
            let root = builder.finish(&mut sink)?;
            let (class, generation) = (keys.class(), keys.generation());
            results.push(ClassResult {
                class,
                generation,
                root,
                files,
                new_bytes: 0,
                stored_bytes: 0,
                refs: refs.set,
            });
        }
        Ok((results, self.recorder))
    }
}

fn set(field: &mut Vec<u8>, bytes: &[u8]) {
    field.clear();
    field.extend_from_slice(bytes);
}

fn other_kind(item: &Item, target: Vec<u8>) -> EntryKind {
    let device = item.stat.rdev;
    match item.stat.kind() {
        FileType::Symlink => EntryKind::Symlink { target },
        FileType::Fifo => EntryKind::Fifo,
        FileType::CharacterDevice => EntryKind::CharDevice {
            major: major(device),
            minor: minor(device),
        },
        FileType::BlockDevice => EntryKind::BlockDevice {
            major: major(device),
            minor: minor(device),
        },
        _ => EntryKind::Folder,
    }
}
