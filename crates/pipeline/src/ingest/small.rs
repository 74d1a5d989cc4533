//! Small files and everything without content: read in batches of neighbours, so that they share segments.
use std::ffi::CStr;
use std::ops::Range;

use crossbeam_channel::{Receiver, Sender};
use holdfast_engine::content::Piece;
use holdfast_engine::promise::Look;
use holdfast_engine::{Id, PackKind, Role};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use super::batch::{Batch, Body, Item, Past, Stored, ToRead, Xattrs};
use super::context::{Context, Job};
use super::events::FindingKind;
use super::large;
use super::signs::Tally;
use super::source::{self, Failure, REREADS_MAX, SMALL_BYTES_MAX};
use crate::Error;
use crate::packer::NewChunk;
use crate::scan::FileStat;

/// A small reader: fills batches until there are no more.
pub(super) fn read_batches(
    context: &Context,
    batches: &Receiver<ToRead>,
    jobs: &Sender<Job>,
) -> Result<(), Error> {
    let mut buffer = Vec::new();
    for ToRead {
        mut batch, done, ..
    } in batches
    {
        context.check_stop()?;
        context.wait_for_room(jobs)?;
        buffer.clear();
        read_batch(context, &mut batch, &mut buffer, jobs)?;
        // The receiver is gone only when the run has failed.
        drop(done.send(batch));
    }
    Ok(())
}

/// Samples of a small file that are looked at for noise, beside its first bytes.
const SAMPLES_MAX: usize = 4;
/// One of so many bytes.
const SAMPLE_EVERY_BYTES: usize = 2048;

/// Whether what is read of an entry was not known before.
pub(super) fn is_news(past: Past) -> bool {
    matches!(past, Past::New | Past::Changed)
}

/// A file that was read and is to be stored.
struct Read {
    item: usize,
    class: u16,
    id: Id,
    range: Range<usize>,
    xattrs: Xattrs,
}

fn read_batch(
    context: &Context,
    batch: &mut Batch,
    buffer: &mut Vec<u8>,
    jobs: &Sender<Job>,
) -> Result<(), Error> {
    let mut found: Vec<Read> = Vec::new();
    let mut tally = Tally::default();
    for at in 0..batch.items.len() {
        let to_do = |item: &&Item| matches!(item.body, Body::Unread | Body::Attributes { .. });
        let Some(item) = batch.items.get(at).filter(to_do) else {
            continue;
        };
        let name = batch.name(item.path);
        let Some(item) = batch.items.get_mut(at) else {
            continue;
        };
        let outcome = match std::mem::replace(&mut item.body, Body::Unread) {
            Body::Attributes { stored } => read_attributes(context, item, &name, stored),
            _ if item.stat.is_file() => read_file(context, item, &name, buffer, jobs),
            _ => read_other(context, item, &name),
        };
        match outcome {
            Ok(Some((range, xattrs))) => {
                let bytes = buffer.get(range.clone()).unwrap_or_default();
                context.classes.look(item, bytes, bytes.len() as u64);
                if is_news(item.past) {
                    let mut look = Look::new(name.to_bytes(), bytes);
                    look.feed(bytes, SAMPLES_MAX.min(bytes.len() / SAMPLE_EVERY_BYTES));
                    item.scrambled = look.is_scrambled();
                    tally.file((item.class, item.past), &look, bytes.len() as u64);
                }
                let id = context
                    .packer
                    .keys(usize::from(item.class))?
                    .id(Role::Chunk, bytes);
                found.push(Read {
                    item: at,
                    class: item.class,
                    id,
                    range,
                    xattrs,
                });
            }
            Ok(None) => {}
            Err(Failure::File(errno)) => item.body = missing(errno),
            Err(Failure::Run(error)) => return Err(error),
        }
    }
    context.signs.add(&tally);
    store(context, batch, buffer, found, jobs)
}

/// What an unreadable entry becomes.
pub(super) fn missing(errno: Errno) -> Body {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::STALE => Body::Missing(FindingKind::Vanished, 0),
        errno => Body::Missing(FindingKind::Unreadable, errno.raw_os_error()),
    }
}

/// What a reader found: content in the buffer, or everything, put into the item.
type Outcome = Result<Option<(Range<usize>, Xattrs)>, Failure>;

fn read_attributes(context: &Context, item: &mut Item, name: &CStr, stored: Stored) -> Outcome {
    let folder = context
        .opener
        .open(item.folder.as_ref().ok_or(Errno::NOENT)?)?;
    let xattrs = source::xattrs_at(Some(&folder), name)?;
    item.body = Body::File {
        stored,
        xattrs,
        mark: 0,
    };
    Ok(None)
}

fn read_other(context: &Context, item: &mut Item, name: &CStr) -> Outcome {
    let opened = item
        .folder
        .as_ref()
        .map(|folder| context.opener.open(folder));
    let folder = opened.transpose()?;
    let folder = folder.as_deref();
    let target = match (item.stat.kind(), folder) {
        (FileType::Symlink, Some(folder)) => source::link_target(folder, name)?,
        _ => Vec::new(),
    };
    let xattrs = source::xattrs_at(folder, name)?;
    item.body = Body::Other { target, xattrs };
    Ok(None)
}

/// Reads a small file to the end of `buffer`. `None`: it is no longer small, and was stored.
fn read_file(
    context: &Context,
    item: &mut Item,
    name: &CStr,
    buffer: &mut Vec<u8>,
    jobs: &Sender<Job>,
) -> Outcome {
    let begin = buffer.len();
    let (fd, mut before) = source::open_file(context, item.folder.as_ref(), name)?;
    for attempt in 0..=REREADS_MAX {
        buffer.truncate(begin);
        if before.size > SMALL_BYTES_MAX {
            item.body = large::read_open(context, item, (&fd, name), before, jobs)?;
            return Ok(None);
        }
        let read = source::read_small(context, &fd, before.size as usize, buffer)? as u64;
        let after = FileStat::from(fstat(&fd)?);
        let steady = before.same_content(&after) && read == after.size;
        item.read_as(after);
        if steady || attempt == REREADS_MAX {
            item.unsteady = !steady;
            item.stat.size = read;
            break;
        }
        before = after;
    }
    Ok(Some((begin..buffer.len(), source::xattrs_of(&fd)?)))
}

/// Stores what was read: one lookup each, then one short hold of the class's lock.
fn store(
    context: &Context,
    batch: &mut Batch,
    buffer: &[u8],
    found: Vec<Read>,
    jobs: &Sender<Job>,
) -> Result<(), Error> {
    let mut fresh: Vec<Read> = Vec::new();
    for read in found {
        let bytes = buffer.get(read.range.clone()).unwrap_or_default();
        if source::is_inline(bytes.len()) {
            settle(batch, read, |_| Stored::Inline(bytes.to_vec()));
        } else if let Some(place) = context.packer.known(&read.id)? {
            context
                .packer
                .count_known(usize::from(read.class), bytes.len());
            settle(batch, read, |len| {
                Stored::Pieces(vec![Piece {
                    len,
                    place: Some(place),
                }])
            });
        } else {
            fresh.push(read);
        }
    }
    fresh.sort_by_key(|read| read.class);
    while let Some(class) = fresh.first().map(|read| read.class) {
        let rest = fresh.partition_point(|read| read.class == class);
        let behind = fresh.split_off(rest);
        let mut places = Vec::with_capacity(fresh.len());
        let chunks = fresh.iter().map(|read| NewChunk {
            id: read.id,
            role: Role::Chunk,
            page_bytes: None,
            plain: buffer.get(read.range.clone()).unwrap_or_default(),
        });
        let seals = context
            .packer
            .place(usize::from(class), PackKind::Data, chunks, |placed| {
                places.push(placed.location);
            })?;
        for (read, place) in fresh.into_iter().zip(places) {
            settle(batch, read, |len| {
                Stored::Pieces(vec![Piece {
                    len,
                    place: Some(place),
                }])
            });
        }
        context.seal_later(seals, jobs)?;
        fresh = behind;
    }
    Ok(())
}

fn settle(batch: &mut Batch, read: Read, stored: impl FnOnce(u64) -> Stored) {
    let Some(item) = batch.items.get_mut(read.item) else {
        return;
    };
    let stored = stored(read.range.len() as u64);
    let mark = mark_of(&[read.id]);
    if item.past == Past::Audited && item.before.is_some_and(|before| before != mark) {
        item.silent = true;
    }
    item.body = Body::File {
        stored,
        xattrs: read.xattrs,
        mark,
    };
}

/// A short digest of the ids of a file's content, to tell in an audit whether it is still the same.
pub(super) fn mark_of(ids: &[Id]) -> u64 {
    ids.iter().fold(0, |mark: u64, id| {
        let head = id.0.first_chunk::<8>().copied().unwrap_or_default();
        mark.rotate_left(7) ^ u64::from_le_bytes(head)
    })
}
