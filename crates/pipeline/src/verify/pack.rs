//! One pack, from its first byte to its last.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::digest;
use holdfast_engine::compress::Decompressor;
use holdfast_engine::directory::{ChunkInfo, Directory, SegmentInfo};
use holdfast_engine::pack::{PackHeader, TRAILER_BYTES, open_directory, parse_trailer};
use holdfast_engine::record::IndexRecord;
use holdfast_engine::segment::open_segment;
use holdfast_engine::sorted::PackRow;
use holdfast_engine::{ClassKeys, Error as EngineError, Id, Role};

use super::{Counters, Verdict, is_of_pack};
use crate::Error;
use crate::limits::Limits;
use crate::reader::{Reader, read_header};
use crate::source::object_name;

/// Bytes that are read and hashed at once, unless a segment is longer.
const STEP_BYTES: u64 = 1 << 20;

/// Proves one pack after the other.
pub struct Prover<'a> {
    reader: &'a Arc<Reader>,
    limits: &'a Limits,
    stop: &'a AtomicBool,
    counters: &'a Counters,
}

/// The bytes of one pack, read in order and hashed.
struct Stream<'a> {
    prover: &'a Prover<'a>,
    name: String,
    offset: u64,
    hash: digest::Context,
    /// Read ahead, not hashed yet.
    ahead: Vec<u8>,
    used: usize,
    span_bytes: u64,
    size: u64,
}

impl<'a> Prover<'a> {
    /// Proves with what the reader has.
    pub fn new(
        reader: &'a Arc<Reader>,
        limits: &'a Limits,
        stop: &'a AtomicBool,
        counters: &'a Counters,
    ) -> Self {
        Self {
            reader,
            limits,
            stop,
            counters,
        }
    }

    /// Reads a pack. An error only if the run cannot go on. What is `proved` is opened only if it is not what it was.
    pub fn prove(&self, row: &PackRow, proved: bool) -> Result<Verdict, Error> {
        if proved {
            let verdict = self.read(row, false)?;
            if verdict.reason.is_empty() {
                return Ok(verdict);
            }
        }
        self.read(row, true)
    }

    fn read(&self, row: &PackRow, open: bool) -> Result<Verdict, Error> {
        let mut verdict = Verdict {
            name: row.name,
            size: row.size,
            segments: 0,
            is_opened: false,
            reason: String::new(),
            record: None,
            damaged: Vec::new(),
        };
        match self.judge(row, open, &mut verdict) {
            Ok(()) => {}
            Err(error) if is_of_pack(&error) => {
                let missing = matches!(error, Error::Io { errno: 2, .. });
                verdict.reason = if missing {
                    "missing".into()
                } else {
                    error.to_string()
                };
            }
            Err(error) => return Err(error),
        }
        Ok(verdict)
    }

    fn judge(&self, row: &PackRow, open: bool, verdict: &mut Verdict) -> Result<(), Error> {
        let name = object_name(row.kind, &row.name);
        let front = if open {
            self.front(row, &name)
        } else {
            Ok(None)
        };
        if front.as_ref().is_err_and(|error| !is_of_pack(error)) {
            return front.map(|_| ());
        }
        let mut decompressor = Decompressor::new()?;
        let mut stream = Stream::new(self, name, row.size);
        let mut reason = String::new();
        let mut record = None;
        match front {
            Ok(Some((header, directory))) => {
                verdict.is_opened = true;
                record = Some(record_of(row, &header, &directory));
                stream.skip_to(directory.span().map_or(0, |(start, _)| start))?;
                for segment in &directory.segments {
                    let sealed = stream.take(u64::from(segment.sealed_len))?;
                    match self.segment(&header, segment, sealed, &mut decompressor) {
                        Ok(()) => verdict.segments += 1,
                        Err(error) if is_of_pack(&error) => {
                            let origin = header.origins.get(usize::from(segment.origin_index));
                            if let Some(origin) = origin {
                                verdict
                                    .damaged
                                    .push((origin.nonce.origin(), segment.ordinal));
                            }
                            if reason.is_empty() {
                                reason = format!("segment {}: {error}", segment.ordinal);
                            }
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(None) => {}
            Err(error) => reason = error.to_string(),
        }
        stream.skip_to(row.size)?;
        let hash = stream.finish()?;
        if hash != row.name.0 {
            let more = if reason.is_empty() {
                String::new()
            } else {
                format!("; {reason}")
            };
            reason = format!("its SHA-256 is not its name{more}");
        }
        verdict.record = record.filter(|_| reason.is_empty());
        verdict.reason = reason;
        Ok(())
    }

    /// Header and directory; nothing without keys of the class.
    fn front(&self, row: &PackRow, name: &str) -> Result<Option<(PackHeader, Directory)>, Error> {
        let Ok(keys) = self.reader.keys.class(row.class, row.generation) else {
            return Ok(None);
        };
        let source = &self.reader.source;
        let header_len = {
            let parsed = read_header(&**source, name)?;
            parsed.encoded_len() as u64
        };
        let header = source.read(name, 0, header_len)?;
        let tail_at = row.size.saturating_sub(TRAILER_BYTES as u64);
        let length = parse_trailer(&source.read(name, tail_at, TRAILER_BYTES as u64)?)? as u64;
        let start = tail_at.checked_sub(length).ok_or(EngineError::Damaged {
            what: "trailer of a pack",
        })?;
        let sealed = source.read(name, start, length)?;
        Ok(Some(open_directory(keys, &header, &sealed, row.size)?))
    }

    fn segment(
        &self,
        header: &PackHeader,
        segment: &SegmentInfo,
        sealed: Vec<u8>,
        decompressor: &mut Decompressor,
    ) -> Result<(), Error> {
        let head = header.segment_head(segment)?;
        let key = self.reader.keys.pack_key(header, &head.nonce)?;
        let plain = open_segment(&key, &head, sealed, decompressor)?;
        let keys = self.reader.keys.class(header.class, header.generation)?;
        let mut rest = plain.as_slice();
        for chunk in &segment.chunks {
            let (content, after) =
                rest.split_at_checked(chunk.len as usize)
                    .ok_or(EngineError::Damaged {
                        what: "length of a segment",
                    })?;
            rest = after;
            if id_of(keys, chunk, content) != chunk.id {
                return Err(EngineError::Damaged {
                    what: "a chunk is not what its id says",
                }
                .into());
            }
        }
        Ok(())
    }
}

/// The hash of what an index run must say of a pack.
fn record_of(row: &PackRow, header: &PackHeader, directory: &Directory) -> [u8; 32] {
    let record = IndexRecord {
        name: row.name,
        size: row.size,
        kind: header.kind,
        nonces: header.origins.iter().map(|origin| origin.nonce).collect(),
        directory: directory.clone(),
    };
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, &record.encode()).as_ref());
    out
}

fn id_of(keys: &ClassKeys, chunk: &ChunkInfo, content: &[u8]) -> Id {
    match (chunk.role, chunk.page_bytes) {
        (Role::Pages, Some(page_bytes)) => {
            let pages: Vec<Id> = content
                .chunks(page_bytes as usize)
                .map(|page| keys.page_id(page))
                .collect();
            keys.pages_id(page_bytes, &pages)
        }
        (role, _) => keys.id(role, content),
    }
}

impl<'a> Stream<'a> {
    fn new(prover: &'a Prover<'a>, name: String, size: u64) -> Self {
        let span_bytes = prover.reader.source.span_bytes().max(STEP_BYTES);
        Self {
            prover,
            name,
            offset: 0,
            hash: digest::Context::new(&digest::SHA256),
            ahead: Vec::new(),
            used: 0,
            span_bytes,
            size,
        }
    }

    /// The next bytes, hashed; damage if the pack ends before.
    fn take(&mut self, len: u64) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(len as usize);
        while (out.len() as u64) < len {
            let wanted = len as usize - out.len();
            let ahead = self.ahead.get(self.used..).unwrap_or_default();
            if ahead.is_empty() {
                self.fill(wanted as u64)?;
                continue;
            }
            let part = ahead.get(..wanted.min(ahead.len())).unwrap_or(ahead);
            self.hash.update(part);
            out.extend_from_slice(part);
            self.used += part.len();
        }
        Ok(out)
    }

    fn fill(&mut self, wanted: u64) -> Result<(), Error> {
        let len = wanted
            .max(self.span_bytes)
            .min(self.size.saturating_sub(self.offset));
        if len == 0 {
            return Err(EngineError::Damaged {
                what: "a pack is cut short",
            }
            .into());
        }
        let mut asked = 0;
        while asked < len {
            let step = (len - asked).min(STEP_BYTES);
            self.prover.limits.take_read(step, self.prover.stop)?;
            asked += step;
        }
        self.ahead = self
            .prover
            .reader
            .source
            .read(&self.name, self.offset, len)?;
        self.used = 0;
        if self.ahead.is_empty() {
            return Err(EngineError::Damaged {
                what: "a pack is cut short",
            }
            .into());
        }
        self.offset += self.ahead.len() as u64;
        self.prover
            .counters
            .bytes
            .fetch_add(self.ahead.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn position(&self) -> u64 {
        self.offset - (self.ahead.len() - self.used) as u64
    }

    fn skip_to(&mut self, end: u64) -> Result<(), Error> {
        while self.position() < end {
            let wanted = end - self.position();
            let ahead = self.ahead.get(self.used..).unwrap_or_default();
            if ahead.is_empty() {
                self.fill(wanted.min(STEP_BYTES))?;
                continue;
            }
            let part = ahead.get(..wanted as usize).unwrap_or(ahead);
            self.hash.update(part);
            self.used += part.len();
        }
        Ok(())
    }

    /// The hash of all, if nothing follows.
    fn finish(self) -> Result<[u8; 32], Error> {
        if !self
            .prover
            .reader
            .source
            .read(&self.name, self.size, 1)?
            .is_empty()
        {
            return Err(EngineError::Damaged {
                what: "a pack is longer than the index says",
            }
            .into());
        }
        let mut out = [0; 32];
        out.copy_from_slice(self.hash.finish().as_ref());
        Ok(out)
    }
}
