//! The content of one file, in order, to a descriptor: each span is proved before its bytes go out.
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::{Error as EngineError, Role};

use crate::Error;
use crate::local::write_all;
use crate::reader::{CACHE_BYTES, Reader, SegmentCache, unwrap_outside};
use crate::spans::{From, Span, Spans};

static ZEROS: [u8; 65536] = [0; 65536];

/// Writes a file's content to `out`; returns its length. Stops at the first byte that cannot be proved.
pub fn read_file(
    reader: &Arc<Reader>,
    entry: &Entry,
    out: BorrowedFd<'_>,
    stop: &AtomicBool,
) -> Result<u64, Error> {
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
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            write_span(&span, &mut data, out)?;
        }
    }
    Ok(*size)
}

fn write_span(span: &Span, data: &mut SegmentCache, out: BorrowedFd<'_>) -> Result<(), Error> {
    match &span.from {
        From::Inline(bytes) => write_all(out, bytes),
        From::Hole => {
            let mut rest = span.len;
            while rest > 0 {
                let step = rest.min(ZEROS.len() as u64);
                write_all(out, ZEROS.get(..step as usize).unwrap_or(&ZEROS))?;
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
            write_all(out, bytes)
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
            write_all(out, pages.check(keys, page_bytes, chunk, span.len)?)
        }
    }
}
