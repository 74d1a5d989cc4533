//! The content of one file, in order, to a descriptor: each span is proved before its bytes go out.
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::{Error as EngineError, Role};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

use crate::Error;
use crate::limits::{Limits, Resource};
use crate::local::write_all;
use crate::reader::{CACHE_BYTES, Reader, SegmentCache, unwrap_outside};
use crate::spans::{From, Span, Spans};

static ZEROS: [u8; 65536] = [0; 65536];

/// Written at once to what may be slow to take it: a pipe that has room at all has room for this.
const PIPE_STEP_BYTES: usize = 4096;
/// Written at once to a regular file.
const FILE_STEP_BYTES: usize = 1 << 20;
/// How long a full pipe is waited for before it is asked again whether to stop.
const LOOK_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Where the content goes: within the limits, and never waiting for a reader without looking whether to stop.
struct Target<'a> {
    out: BorrowedFd<'a>,
    step: usize,
    limits: &'a Limits,
    stop: &'a AtomicBool,
}

impl<'a> Target<'a> {
    fn new(out: BorrowedFd<'a>, limits: &'a Limits, stop: &'a AtomicBool) -> Self {
        let regular = fstat(out).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
        Self {
            out,
            step: if regular {
                FILE_STEP_BYTES
            } else {
                PIPE_STEP_BYTES
            },
            limits,
            stop,
        }
    }

    fn write(&self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let paced = self
                .limits
                .step(Resource::Read, FILE_STEP_BYTES)
                .min(bytes.len());
            let (part, rest) = bytes.split_at_checked(paced).unwrap_or((bytes, &[]));
            self.limits.take_read(part.len() as u64, self.stop)?;
            for step in part.chunks(self.step) {
                self.wait()?;
                write_all(self.out, step)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Until the target takes more; an error of the target shows when it is written to.
    fn wait(&self) -> Result<(), Error> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            let out = self.out.as_fd();
            let mut asked = [PollFd::from_borrowed_fd(out, PollFlags::OUT)];
            match poll(&mut asked, Some(&LOOK_AGAIN)) {
                Ok(0) | Err(Errno::INTR) => {}
                _ => return Ok(()),
            }
        }
    }
}

/// Writes a file's content to `out`; returns its length. Stops at the first byte that cannot be proved.
pub fn read_file(
    reader: &Arc<Reader>,
    entry: &Entry,
    out: BorrowedFd<'_>,
    limits: &Limits,
    stop: &AtomicBool,
) -> Result<u64, Error> {
    let target = Target::new(out, limits, stop);
    let EntryKind::File { size, content } = &entry.kind else {
        return Err(EngineError::Misuse {
            what: "only files have content",
        }
        .into());
    };
    let mut nodes = SegmentCache::new(Arc::clone(reader), CACHE_BYTES)?;
    let mut data = SegmentCache::new(Arc::clone(reader), CACHE_BYTES)?;
    let mut spans = Spans::new(*size, content);
    while let Some(batch) = spans.next(&mut nodes).map_err(unwrap_outside)? {
        for span in batch {
            write_span(&span, &mut data, &target)?;
        }
    }
    Ok(*size)
}

fn write_span(span: &Span, data: &mut SegmentCache, out: &Target<'_>) -> Result<(), Error> {
    match &span.from {
        From::Inline(bytes) => out.write(bytes),
        From::Hole => {
            let mut rest = span.len;
            while rest > 0 {
                let step = rest.min(ZEROS.len() as u64);
                out.write(ZEROS.get(..step as usize).unwrap_or(&ZEROS))?;
                rest -= step;
            }
            Ok(())
        }
        From::Chunk(location) => {
            let segment = data.segment(&location.origin, location.segment)?;
            let bytes = segment.chunk(Role::Chunk, location.chunk)?;
            if bytes.len() as u64 != span.len {
                return Err(EngineError::Damaged {
                    what: "length of a piece",
                }
                .into());
            }
            out.write(bytes)
        }
        From::Pages(pages) => {
            let segment = data.segment(&pages.location.origin, pages.location.segment)?;
            let chunk = segment.chunk(Role::Pages, pages.location.chunk)?;
            let place = &segment.place;
            let page_bytes = place
                .chunks
                .get(pages.location.chunk as usize)
                .and_then(|chunk| chunk.page_bytes);
            let reader = Arc::clone(data.reader());
            let keys = reader.keys.class(place.class, place.generation)?;
            out.write(pages.check(keys, page_bytes, chunk, span.len)?)
        }
    }
}
