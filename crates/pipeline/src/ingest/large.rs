//! Files of more than a few kilobytes: cut where their content says, each chunk a piece of work for any worker.
use std::ffi::CStr;
use std::os::fd::OwnedFd;

use crossbeam_channel::{Receiver, Sender, unbounded};
use holdfast_engine::chunk::{CutSizes, Cutter};
use holdfast_engine::content::Piece;
use holdfast_engine::directory::ChunkInfo;
use holdfast_engine::promise::Look;
use holdfast_engine::{Id, Location, PackKind, Role};
use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::{Errno, pread};

use super::batch::{Body, Item, Past, Stored, ToRead};
use super::context::{Context, Job};
use super::pages;
use super::signs::Tally;
use super::small::{is_news, mark_of, missing};
use super::source::{self, Failure, READ_STEP_BYTES, REREAD_BYTES_MAX, REREADS_MAX};
use super::stream;
use crate::Error;
use crate::packer::{BUNDLED_BYTES_MAX, Bench, NewChunk};
use crate::scan::FileStat;

/// First bytes, which tell what kind of file it is.
const HEAD_BYTES: usize = 4096;

/// Samples of what is read at once that are looked at for noise.
pub(super) const SAMPLES: usize = 4;

/// A large reader: each batch holds one file.
pub(super) fn read_files(
    context: &Context,
    files: &Receiver<ToRead>,
    jobs: &Sender<Job>,
) -> Result<(), Error> {
    for ToRead {
        mut batch,
        stream,
        done,
    } in files
    {
        context.check_stop()?;
        if let (Some(stream), Some(item)) = (stream, batch.items.first_mut()) {
            item.body = stream::read_stream(context, item, &stream, jobs)?;
        }
        for at in 0..batch.items.len() {
            let unread = batch
                .items
                .get(at)
                .filter(|item| matches!(item.body, Body::Unread));
            let Some(path) = unread.map(|item| item.path) else {
                continue;
            };
            let name = batch.name(path);
            let Some(item) = batch.items.get_mut(at) else {
                continue;
            };
            context.limits.take_operations(1, &context.stop)?;
            let opened = source::open_file(context, item.folder.as_ref(), &name);
            let read = opened.map_err(Failure::from);
            match read.and_then(|(fd, stat)| read_open(context, item, (&fd, &name), stat, jobs)) {
                Ok(body) => item.body = body,
                Err(Failure::File(errno)) => item.body = missing(errno),
                Err(Failure::Run(error)) => return Err(error),
            }
        }
        // The receiver is gone only when the run has failed.
        drop(done.send(batch));
    }
    Ok(())
}

/// Reads an open file until it holds still, or often enough.
pub(super) fn read_open(
    context: &Context,
    item: &mut Item,
    (fd, name): (&OwnedFd, &CStr),
    mut before: FileStat,
    jobs: &Sender<Job>,
) -> Result<Body, Failure> {
    source::read_ahead(fd);
    let mut attempt = 0;
    loop {
        let mut look = None;
        let (stored, mark, bytes) =
            read_once(context, item, (fd, name), &before, (jobs, &mut look))?;
        let after = FileStat::from(fstat(fd)?);
        let steady = before.same_content(&after) && bytes == after.size;
        item.read_as(after);
        attempt += 1;
        if steady || attempt > REREADS_MAX || after.size > REREAD_BYTES_MAX {
            item.unsteady = !steady;
            item.stat.size = bytes;
            if let Some(look) = look.filter(|_| is_news(item.past)) {
                let mut tally = Tally::default();
                tally.file((item.class, item.past), &look, bytes);
                context.signs.add(&tally);
                item.scrambled = look.is_scrambled();
            }
            item.silent =
                item.past == Past::Audited && item.before.is_some_and(|before| before != mark);
            return Ok(Body::File {
                stored,
                xattrs: source::xattrs_of(fd)?,
                mark,
            });
        }
        before = after;
    }
}

/// Reads a file from front to back, cut or in pages.
fn read_once(
    context: &Context,
    item: &mut Item,
    (fd, name): (&OwnedFd, &CStr),
    stat: &FileStat,
    (jobs, seen): (&Sender<Job>, &mut Option<Look>),
) -> Result<(Stored, u64, u64), Failure> {
    let mut head = vec![0; HEAD_BYTES.max(context.classes.head_bytes(item))];
    let read = pread(fd, &mut head, 0)?;
    head.truncate(read);
    context.classes.look(item, &head, stat.size);
    head.truncate(HEAD_BYTES);
    let look = seen.insert(Look::new(name.to_bytes(), &head));
    if let Some(log2) = pages::page_size_log2(&head, item, stat) {
        return pages::read_pages(context, item, (fd, look), stat, log2, jobs);
    }
    let mut file = FileReader::new(context, item.class, jobs)?;
    file.read(fd, stat, look)?;
    let (pieces, mark, bytes) = file.finish()?;
    let stored = if pieces.is_empty() {
        Stored::Inline(Vec::new())
    } else {
        Stored::Pieces(pieces)
    };
    Ok((stored, mark, bytes))
}

/// A chunk's place, reported by the worker that stored it.
type Report = (usize, Id, Location);

/// One pass over one file or stream.
pub(super) struct FileReader<'a> {
    context: &'a Context,
    class: u16,
    jobs: &'a Sender<Job>,
    report: Sender<Report>,
    reports: Receiver<Report>,
    pieces: Vec<Piece>,
    ids: Vec<Id>,
    awaited: usize,
    buffer: Vec<u8>,
    begin: usize,
    cutter: Cutter,
}

impl<'a> FileReader<'a> {
    pub fn new(context: &'a Context, class: u16, jobs: &'a Sender<Job>) -> Result<Self, Error> {
        let (report, reports) = unbounded();
        let keys = context.packer.keys(usize::from(class))?;
        let cutter = Cutter::new(keys.gear(), CutSizes::default());
        Ok(Self {
            context,
            class,
            jobs,
            report,
            reports,
            pieces: Vec::new(),
            ids: Vec::new(),
            awaited: 0,
            buffer: Vec::new(),
            begin: 0,
            cutter,
        })
    }

    /// Reads a file with its holes.
    fn read(&mut self, fd: &OwnedFd, stat: &FileStat, look: &mut Look) -> Result<(), Failure> {
        let sparse = stat.blocks.saturating_mul(512) < stat.size;
        let mut offset = 0;
        while offset < stat.size {
            let (data, hole) = if sparse {
                next_data(fd, offset, stat.size)?
            } else {
                (offset, stat.size)
            };
            self.hole(data - offset);
            // A file that grew is noticed by its stat.
            let end = self.read_range(fd, data, hole, look)?;
            if end < hole {
                // It shrank: what follows is gone.
                return Ok(());
            }
            offset = hole;
        }
        Ok(())
    }

    fn hole(&mut self, len: u64) {
        if len > 0 {
            self.pieces.push(Piece { len, place: None });
            self.ids.push(Id(u128::from(len).to_le_bytes()));
        }
    }

    fn read_range(
        &mut self,
        fd: &OwnedFd,
        mut offset: u64,
        end: u64,
        look: &mut Look,
    ) -> Result<u64, Failure> {
        while offset < end {
            let step = (end - offset).min(READ_STEP_BYTES as u64) as usize;
            let had = self.buffer.len();
            let read = source::read_at(self.context, fd, offset, step, &mut self.buffer)?;
            look.feed(self.buffer.get(had..).unwrap_or_default(), SAMPLES);
            offset += read as u64;
            if read == 0 {
                break;
            }
            self.cut(false)?;
        }
        self.cut(true)?;
        Ok(offset)
    }

    /// Takes bytes of a stream.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        self.cut(false)
    }

    fn cut(&mut self, end: bool) -> Result<(), Error> {
        loop {
            let data = self.buffer.get(self.begin..).unwrap_or_default();
            let Some(len) = self.cutter.next_cut(data, end).filter(|len| *len > 0) else {
                break;
            };
            let chunk = data.get(..len).unwrap_or(data).to_vec();
            self.begin += chunk.len();
            self.store(chunk)?;
        }
        self.buffer.drain(..self.begin);
        self.begin = 0;
        if end {
            let keys = self.context.packer.keys(usize::from(self.class))?;
            self.cutter = Cutter::new(keys.gear(), CutSizes::default());
        }
        Ok(())
    }

    fn store(&mut self, plain: Vec<u8>) -> Result<(), Error> {
        self.context.check_stop()?;
        self.context.wait_for_room(self.jobs)?;
        let number = self.pieces.len();
        self.pieces.push(Piece {
            len: plain.len() as u64,
            place: None,
        });
        self.ids.push(Id([0; 16]));
        self.awaited += 1;
        let (class, report) = (usize::from(self.class), self.report.clone());
        let job: Job = Box::new(move |context, bench| {
            let (id, place) = store_chunk(context, bench, class, plain)?;
            // The receiver is gone only when the file was given up.
            let _ = report.send((number, id, place));
            Ok(())
        });
        self.jobs.send(job).map_err(|_| Error::Stopped)?;
        while let Ok(report) = self.reports.try_recv() {
            self.take(report);
        }
        Ok(())
    }

    fn take(&mut self, (number, id, place): Report) {
        self.awaited -= 1;
        if let Some(piece) = self.pieces.get_mut(number) {
            piece.place = Some(place);
        }
        if let Some(slot) = self.ids.get_mut(number) {
            *slot = id;
        }
    }

    /// Everything in its place: the pieces, their mark, and how many bytes they cover.
    pub fn finish(mut self) -> Result<(Vec<Piece>, u64, u64), Error> {
        self.cut(true)?;
        // From here on a worker that gives up is noticed as the end of reports.
        let (closed, _) = unbounded();
        self.report = closed;
        while self.awaited > 0 {
            let report = self.reports.recv().map_err(|_| Error::Stopped)?;
            self.take(report);
        }
        let bytes = self.pieces.iter().map(|piece| piece.len).sum();
        Ok((self.pieces, mark_of(&self.ids), bytes))
    }
}

/// The next range of data at or behind `offset`, as (begin, end); an empty one at `size` if only a hole is left.
pub(super) fn next_data(fd: &OwnedFd, offset: u64, size: u64) -> Result<(u64, u64), Errno> {
    let data = match seek(fd, SeekFrom::Data(offset)) {
        Ok(data) => data.min(size),
        Err(Errno::NXIO) => return Ok((size, size)),
        // A file system that knows no holes.
        Err(Errno::INVAL) => return Ok((offset, size)),
        Err(errno) => return Err(errno),
    };
    let hole = seek(fd, SeekFrom::Hole(data)).map_or(size, |hole| hole.clamp(data, size));
    Ok((data, hole))
}

fn store_chunk(
    context: &Context,
    bench: &mut Bench,
    class: usize,
    plain: Vec<u8>,
) -> Result<(Id, Location), Error> {
    let packer = &context.packer;
    let id = packer.keys(class)?.id(Role::Chunk, &plain);
    if let Some(place) = packer.known(&id)? {
        packer.count_known(class, plain.len());
        return Ok((id, place));
    }
    if plain.len() >= BUNDLED_BYTES_MAX {
        let chunk = ChunkInfo {
            id,
            role: Role::Chunk,
            page_bytes: None,
            len: plain.len() as u32,
        };
        let (placed, seal) = packer.place_alone(class, chunk, plain)?;
        if let Some(seal) = seal {
            packer.seal(bench, seal)?;
        }
        return Ok((id, placed.location));
    }
    let chunk = NewChunk {
        id,
        role: Role::Chunk,
        page_bytes: None,
        plain: &plain,
    };
    let mut place = None;
    let seals = packer.place(class, PackKind::Data, [chunk], |placed| {
        place = Some(placed.location);
    })?;
    for seal in seals {
        packer.seal(bench, seal)?;
    }
    Ok((id, place.ok_or(Error::Internal("a chunk without a place"))?))
}
