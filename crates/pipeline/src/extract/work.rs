//! A worker: reads a batch of segments, opens each, and writes its chunks to every file that needs them.
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_engine::compress::Decompressor;
use holdfast_engine::index_set::SegmentPlace;
use holdfast_engine::{Error as EngineError, Role};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::folders::OpenFolders;
use super::large::{Ending, LargeFile, Staging};
use super::run::{FindingKind, Run, count};
use super::special;
use super::window::{Batch, Direct, Need, Owner, Piece, Place, SmallFile, Window};
use crate::Error;
use crate::limits::Resource;
use crate::reader::{NOT_LISTED, Segment, is_not_listed, is_of_one_segment};
use crate::source::object_name;

/// Things without segments that are taken at once.
const DIRECT_AT_ONCE: usize = 256;
/// Bytes that are asked of the limits at once.
const LIMIT_STEP_BYTES: u64 = 1 << 20;

/// The work of one window, shared by its workers.
pub struct Work<'a> {
    run: &'a Run,
    staging: &'a Staging,
    window: &'a Window,
    batches: &'a [Batch],
    next_batch: AtomicUsize,
    next_direct: AtomicUsize,
}

/// What one thread keeps.
struct Worker<'a> {
    run: &'a Run,
    staging: &'a Staging,
    window: &'a Window,
    folders: OpenFolders<'a>,
    decompressor: Decompressor,
}

impl<'a> Work<'a> {
    /// Nothing done yet.
    pub fn new(
        run: &'a Run,
        staging: &'a Staging,
        window: &'a Window,
        batches: &'a [Batch],
    ) -> Self {
        Self {
            run,
            staging,
            window,
            batches,
            next_batch: AtomicUsize::new(0),
            next_direct: AtomicUsize::new(0),
        }
    }

    /// Leaves nothing to the other threads.
    pub fn give_up(&self) {
        self.next_batch.store(self.batches.len(), Ordering::Relaxed);
        self.next_direct
            .store(self.window.direct.len(), Ordering::Relaxed);
    }

    /// Takes what nobody has taken, until nothing is left. On an error the other threads stop as well.
    pub fn work(&self) -> Result<(), Error> {
        let mut worker = Worker {
            run: self.run,
            staging: self.staging,
            window: self.window,
            folders: OpenFolders::new(&self.run.target),
            decompressor: Decompressor::new()?,
        };
        loop {
            self.run.check_stop()?;
            let start = self
                .next_direct
                .fetch_add(DIRECT_AT_ONCE, Ordering::Relaxed);
            let end = (start + DIRECT_AT_ONCE).min(self.window.direct.len());
            if let Some(directs) = self
                .window
                .direct
                .get(start..end)
                .filter(|directs| !directs.is_empty())
            {
                directs
                    .iter()
                    .try_for_each(|direct| worker.direct(direct))?;
                continue;
            }
            let Some(batch) = self
                .batches
                .get(self.next_batch.fetch_add(1, Ordering::Relaxed))
            else {
                return Ok(());
            };
            worker.batch(batch)?;
        }
    }
}

impl Worker<'_> {
    fn batch(&mut self, batch: &Batch) -> Result<(), Error> {
        let window = self.window;
        let pieces = window.pieces.get(batch.pieces.clone()).unwrap_or_default();
        let runs = || pieces.chunk_by(|a, b| a.need == b.need);
        let many = runs().nth(1).is_some();
        let bytes = if many {
            self.read_batch(batch, pieces)?
        } else {
            None
        };
        for run in runs() {
            self.run.check_stop()?;
            let Some(need) = run
                .first()
                .and_then(|piece| window.needs.get(piece.need as usize))
            else {
                continue;
            };
            match self.open(need, batch, bytes.as_deref()) {
                Ok(segment) => self.segment(&segment, run)?,
                Err(error) if is_of_one_segment(&error) => self.lost(run, &error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The bytes of several segments, or none if they cannot be read together.
    fn read_batch(&mut self, batch: &Batch, pieces: &[Piece]) -> Result<Option<Vec<u8>>, Error> {
        let need = pieces
            .first()
            .and_then(|piece| self.window.needs.get(piece.need as usize));
        let Some(place) = need.and_then(|need| need.place.as_ref()) else {
            return Ok(None);
        };
        let len = batch.bytes.end - batch.bytes.start;
        self.take_read(len)?;
        match self.run.reader.source.read(
            &object_name(place.kind, &place.pack),
            batch.bytes.start,
            len,
        ) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_of_one_segment(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn take_read(&self, mut len: u64) -> Result<(), Error> {
        count(&self.run.counters.stored_bytes, len);
        while len > 0 {
            let step = len.min(LIMIT_STEP_BYTES);
            self.run.limits.take_read(step, &self.run.stop)?;
            len -= step;
        }
        Ok(())
    }

    fn open(&mut self, need: &Need, batch: &Batch, bytes: Option<&[u8]>) -> Result<Segment, Error> {
        let first = match &need.place {
            Some(place) => self.open_first(place, batch, bytes),
            None => Err(NOT_LISTED.into()),
        };
        match first {
            Ok(segment) => Ok(segment),
            // Another copy may be sound.
            Err(error) if is_of_one_segment(&error) => {
                self.run
                    .reader
                    .open(&need.origin, need.ordinal, &mut self.decompressor)
            }
            Err(error) => Err(error),
        }
    }

    fn open_first(
        &mut self,
        place: &SegmentPlace,
        batch: &Batch,
        bytes: Option<&[u8]>,
    ) -> Result<Segment, Error> {
        let reader = &self.run.reader;
        let start = place.offset.saturating_sub(batch.bytes.start) as usize;
        let part = bytes.and_then(|bytes| bytes.get(start..start + place.sealed_len as usize));
        let plain = if let Some(part) = part {
            reader.open_sealed(place, part.to_vec(), &mut self.decompressor)?
        } else {
            self.take_read(u64::from(place.sealed_len))?;
            reader.open_place(place, &mut self.decompressor)?
        };
        Ok(Segment {
            place: place.clone(),
            plain,
        })
    }

    /// Writes what a segment holds to all that need it. Pieces are sorted by chunk.
    fn segment(&mut self, segment: &Segment, pieces: &[Piece]) -> Result<(), Error> {
        let mut chunk = 0_u32;
        let mut start = 0_usize;
        for piece in pieces {
            while chunk < piece.chunk {
                start += segment
                    .place
                    .chunks
                    .get(chunk as usize)
                    .map_or(0, |span| span.len as usize);
                chunk += 1;
            }
            match self.bytes_of(segment, piece, start) {
                Ok(bytes) => self.deliver(piece, bytes)?,
                Err(error) => self.lost(std::slice::from_ref(piece), &error.into())?,
            }
        }
        Ok(())
    }

    fn bytes_of<'s>(
        &self,
        segment: &'s Segment,
        piece: &Piece,
        start: usize,
    ) -> Result<&'s [u8], EngineError> {
        const WRONG: EngineError = EngineError::Damaged {
            what: "a piece is not what its entry says",
        };
        let span = segment
            .place
            .chunks
            .get(piece.chunk as usize)
            .ok_or(WRONG)?;
        let chunk = segment
            .plain
            .get(start..start + span.len as usize)
            .ok_or(WRONG)?;
        let Some(pages) = piece
            .pages
            .and_then(|pages| self.window.pages.get(pages as usize))
        else {
            let fits = span.role == Role::Chunk && chunk.len() as u64 == piece.len;
            return if fits { Ok(chunk) } else { Err(WRONG) };
        };
        if span.role != Role::Pages {
            return Err(WRONG);
        }
        let keys = self
            .run
            .reader
            .keys
            .class(segment.place.class, segment.place.generation)?;
        pages.check(keys, span.page_bytes, chunk, piece.len)
    }

    /// Writes proved bytes to the file that they are for.
    fn deliver(&mut self, piece: &Piece, bytes: &[u8]) -> Result<(), Error> {
        match piece.owner {
            Owner::Small(file) => match self.window.small.get(file as usize) {
                Some(file) => {
                    self.run
                        .limits
                        .take_write(bytes.len() as u64, &self.run.stop)?;
                    self.small(file, bytes)
                }
                None => Err(Error::Internal("a piece of no file")),
            },
            Owner::Large(file) => {
                let file = self
                    .window
                    .large
                    .get(file as usize)
                    .ok_or(Error::Internal("a piece of no file"))?;
                let mut done = 0;
                while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
                    let step = self.run.limits.step(Resource::Write, rest.len());
                    let (part, _) = rest.split_at(step);
                    self.run.limits.take_write(step as u64, &self.run.stop)?;
                    let gently = self.run.limits.is_limited();
                    let offset = piece.offset + done as u64;
                    let written = self
                        .folders
                        .get(&file.place.folder)
                        .and_then(|folder| file.write(self.staging, folder, offset, part, gently));
                    if let Err(errno) = written {
                        file.refuse(errno);
                        break;
                    }
                    done += step;
                }
                self.piece_done(file)
            }
        }
    }

    /// Notes that pieces cannot be restored.
    fn lost(&mut self, pieces: &[Piece], why: &Error) -> Result<(), Error> {
        for piece in pieces {
            match piece.owner {
                Owner::Small(file) => {
                    let file = self
                        .window
                        .small
                        .get(file as usize)
                        .ok_or(Error::Internal("a piece of no file"))?;
                    let detail = format!(
                        "all {} bytes are {} ({why}); nothing was written",
                        piece.len,
                        if is_not_listed(why) {
                            "not restored"
                        } else {
                            "lost"
                        }
                    );
                    self.run.find(
                        file.place.path(),
                        FindingKind::Damaged,
                        detail,
                        file.place.class,
                    )?;
                }
                Owner::Large(file) => {
                    let file = self
                        .window
                        .large
                        .get(file as usize)
                        .ok_or(Error::Internal("a piece of no file"))?;
                    file.lose(piece.offset, piece.len, why);
                    self.piece_done(file)?;
                }
            }
        }
        Ok(())
    }

    fn piece_done(&mut self, file: &Arc<LargeFile>) -> Result<(), Error> {
        if file.is_last() {
            finish_large(self.run, self.staging, &mut self.folders, file)
        } else {
            Ok(())
        }
    }

    fn direct(&mut self, direct: &Direct) -> Result<(), Error> {
        match direct {
            Direct::File(file, bytes) => {
                self.run
                    .limits
                    .take_write(bytes.len() as u64, &self.run.stop)?;
                self.small(file, bytes)
            }
            Direct::Special(place, attributes, entry) => {
                let made = self
                    .folders
                    .get(&place.folder)
                    .and_then(|folder| special::make(folder, place, attributes, entry));
                match made {
                    Ok(refused) => {
                        count(&self.run.counters.files, 1);
                        self.run
                            .attributes_refused(|| place.path(), place.class, &refused)
                    }
                    Err(errno) => self.run.refused(place, errno),
                }
            }
        }
    }

    /// Makes a file of proved bytes, with all that belongs to it, in one go.
    fn small(&mut self, file: &SmallFile, bytes: &[u8]) -> Result<(), Error> {
        match self.make_small(file, bytes) {
            Ok(refused) => {
                if let Some(first) = &file.first {
                    first.is_done.store(true, Ordering::Release);
                }
                count(&self.run.counters.files, 1);
                count(&self.run.counters.bytes, bytes.len() as u64);
                self.run
                    .attributes_refused(|| file.place.path(), file.place.class, &refused)
            }
            Err(errno) => self.run.refused(&file.place, errno),
        }
    }

    fn make_small(
        &mut self,
        file: &SmallFile,
        bytes: &[u8],
    ) -> Result<super::attributes::Refused, Errno> {
        let umask = self.run.umask;
        let folder = self.folders.get(&file.place.folder)?;
        let attributes = &file.attributes;
        // In a folder of our own, without another owner to come, the file may have its mode from the start.
        let has_mode = file.place.folder.is_new
            && attributes.owner.is_none()
            && attributes.mode & !0o777 == 0
            && attributes.mode & umask == 0;
        let mode = if has_mode {
            attributes.mode()
        } else {
            Mode::RUSR | Mode::WUSR
        };
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        // A file that a kill cuts short must not be found under its own name.
        let temporary = special::temporary_name(&file.place.name);
        let name = temporary.as_slice();
        let opened = match rustix::fs::openat(folder, name, flags, mode) {
            // Left by a restore that was killed.
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(folder, name, rustix::fs::AtFlags::empty())?;
                rustix::fs::openat(folder, name, flags, mode)?
            }
            opened => opened?,
        };
        let written = super::large::pwrite_all(std::os::fd::AsFd::as_fd(&opened), bytes, 0);
        let ended = written.and_then(|()| {
            let refused = attributes.set(std::os::fd::AsFd::as_fd(&opened), has_mode);
            rename(folder, name, &file.place)?;
            Ok(refused)
        });
        if ended.is_err() {
            let _ = rustix::fs::unlinkat(folder, name, rustix::fs::AtFlags::empty());
        }
        ended
    }
}

/// Gives a new file its name; one that is there already stays, unless it is to be replaced.
fn rename(folder: BorrowedFd<'_>, name: &[u8], place: &Place) -> Result<(), Errno> {
    if place.is_replaced {
        return rustix::fs::renameat(folder, name, folder, &*place.name);
    }
    let only_new = rustix::fs::RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(folder, name, folder, &*place.name, only_new) {
        // File systems that cannot tell: the look before must do.
        Err(Errno::INVAL | Errno::NOSYS) => {
            match rustix::fs::statat(folder, &*place.name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Err(Errno::EXIST),
                Err(_) => rustix::fs::renameat(folder, name, folder, &*place.name),
            }
        }
        done => done,
    }
}

/// Gives a large file its name, and tells how it ended.
pub fn finish_large(
    run: &Run,
    staging: &Staging,
    folders: &mut OpenFolders<'_>,
    file: &Arc<LargeFile>,
) -> Result<(), Error> {
    let place = &file.place;
    match file.finish(staging, folders.get(&place.folder)) {
        Ending::Whole(refused) => {
            if let Some(first) = &file.first {
                first.is_done.store(true, Ordering::Release);
            }
            count(&run.counters.files, 1);
            count(&run.counters.bytes, file.size);
            run.attributes_refused(|| place.path(), place.class, &refused)
        }
        Ending::Exists => run.refused(place, Errno::EXIST),
        Ending::Refused(errno) => run.refused(place, errno),
        Ending::Damaged(ranges, kept) => {
            let shown: Vec<String> = ranges
                .iter()
                .take(16)
                .map(|(offset, len)| format!("{offset}+{len}"))
                .collect();
            let more = if ranges.len() > 16 { ", …" } else { "" };
            let kept = if kept.is_some() {
                "the rest is in NAME.damaged, and what is lost of it in NAME.damaged.map"
            } else {
                "nothing was written"
            };
            let detail = format!(
                "{} (offset+length): {}{more}; {kept}",
                file.lost_word(),
                shown.join(", ")
            );
            run.find(place.path(), FindingKind::Damaged, detail, place.class)
        }
    }
}
