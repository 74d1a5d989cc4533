//! One record of the cache, coded against the one before it.
use std::collections::HashMap;
use std::sync::Arc;

use holdfast_engine::content::Piece;
use holdfast_engine::wire::{Reader, put_bytes, put_varint, put_zigzag};
use holdfast_engine::{Error, Location, Origin, Result};

use crate::ingest::batch::{PageFile, Stored, Xattrs};
use crate::scan::FileStat;

const FLAG_FILE: u8 = 1;
const FLAG_FRESH: u8 = 2;
const FLAG_XATTRS: u8 = 4;
const FLAG_TARGET: u8 = 8;
const FLAG_ONE_TIME: u8 = 16;
const LENGTH_MAX: usize = 1 << 24;

/// What is in an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// A file: its content, and the mark of it.
    File { stored: Stored, mark: u64 },
    /// Anything else: the target of a link, or nothing.
    Other { target: Vec<u8> },
}

/// What was known of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub path: Vec<u8>,
    /// Position of its class; beyond all classes if it is written to no longer.
    pub class: u16,
    /// Position of the class that its content raised it to.
    pub detected: Option<u16>,
    /// Not to be trusted: it may have changed after it was read.
    pub fresh: bool,
    pub mode: u32,
    pub size: u64,
    pub mtime: (i64, u32),
    pub ctime: (i64, u32),
    pub ino: u64,
    pub xattrs: Xattrs,
    pub held: Held,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            path: Vec::new(),
            class: 0,
            detected: None,
            fresh: false,
            mode: 0,
            size: 0,
            mtime: (0, 0),
            ctime: (0, 0),
            ino: 0,
            xattrs: Vec::new(),
            held: Held::Other { target: Vec::new() },
        }
    }
}

impl Record {
    /// Whether `stat` shows the entry as it was.
    pub fn matches(&self, stat: &FileStat) -> bool {
        (self.size, self.mtime, self.ctime, self.ino, self.mode)
            == (stat.size, stat.mtime, stat.ctime, stat.ino, stat.mode)
    }
}

/// What records are coded against. Encoder and decoder are equal after the same records.
#[derive(Default)]
pub(super) struct Codec {
    path: Vec<u8>,
    mtime: i64,
    ino: u64,
    origins: Vec<Origin>,
    numbers: HashMap<Origin, usize>,
    last: (usize, u32, u32),
}

impl Codec {
    pub fn encode(&mut self, record: &Record, out: &mut Vec<u8>) {
        let shared = self
            .path
            .iter()
            .zip(&record.path)
            .take_while(|(a, b)| a == b)
            .count();
        put_varint(out, shared as u64);
        put_bytes(out, record.path.get(shared..).unwrap_or_default());
        self.path.truncate(shared);
        self.path
            .extend_from_slice(record.path.get(shared..).unwrap_or_default());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let target = matches!(&record.held, Held::Other { target } if !target.is_empty());
        let one_time = record.ctime == record.mtime;
        out.push(
            flag(matches!(record.held, Held::File { .. }), FLAG_FILE)
                | flag(record.fresh, FLAG_FRESH)
                | flag(!record.xattrs.is_empty(), FLAG_XATTRS)
                | flag(target, FLAG_TARGET)
                | flag(one_time, FLAG_ONE_TIME),
        );
        put_varint(out, u64::from(record.class));
        put_varint(out, record.detected.map_or(0, |class| u64::from(class) + 1));
        put_varint(out, u64::from(record.mode));
        put_varint(out, record.size);
        put_zigzag(out, record.mtime.0.wrapping_sub(self.mtime));
        put_varint(out, u64::from(record.mtime.1));
        if !one_time {
            put_zigzag(out, record.ctime.0.wrapping_sub(record.mtime.0));
            put_varint(out, u64::from(record.ctime.1));
        }
        put_zigzag(out, record.ino.wrapping_sub(self.ino).cast_signed());
        (self.mtime, self.ino) = (record.mtime.0, record.ino);
        if !record.xattrs.is_empty() {
            put_varint(out, record.xattrs.len() as u64);
            for (name, value) in &record.xattrs {
                put_bytes(out, name);
                put_bytes(out, value);
            }
        }
        match &record.held {
            Held::File { stored, mark } => {
                out.extend_from_slice(&mark.to_le_bytes());
                self.encode_stored(stored, out);
            }
            Held::Other { target } if !target.is_empty() => put_bytes(out, target),
            Held::Other { .. } => {}
        }
    }

    fn encode_stored(&mut self, stored: &Stored, out: &mut Vec<u8>) {
        match stored {
            Stored::Inline(bytes) => {
                out.push(0);
                put_bytes(out, bytes);
            }
            Stored::Pieces(pieces) => {
                out.push(1);
                put_varint(out, pieces.len() as u64);
                for piece in pieces {
                    put_varint(out, piece.len << 1 | u64::from(piece.place.is_none()));
                    if let Some(place) = &piece.place {
                        self.put_place(out, place);
                    }
                }
            }
            Stored::Pages(pages) => {
                out.push(2);
                out.push(pages.page_size_log2);
                put_varint(out, pages.side);
                put_varint(out, pages.groups.len() as u64);
                for group in &pages.groups {
                    self.put_place(out, group);
                }
                put_varint(out, pages.segments.len() as u64);
                for (origin, segment) in &pages.segments {
                    self.put_place(
                        out,
                        &Location {
                            origin: *origin,
                            segment: *segment,
                            chunk: 0,
                        },
                    );
                }
            }
        }
    }

    fn put_place(&mut self, out: &mut Vec<u8>, place: &Location) {
        let (last_number, last_segment, last_chunk) = self.last;
        let number = if self.origins.get(last_number) == Some(&place.origin) {
            last_number
        } else {
            let next = self.origins.len();
            *self.numbers.entry(place.origin).or_insert(next)
        };
        put_varint(out, number as u64);
        if number == self.origins.len() {
            self.origins.push(place.origin);
            out.extend_from_slice(&place.origin.0);
        }
        let (segment, chunk) = base(
            number == last_number,
            last_segment,
            last_chunk,
            place.segment,
        );
        put_zigzag(out, i64::from(place.segment) - i64::from(segment));
        put_zigzag(out, i64::from(place.chunk) - i64::from(chunk));
        self.last = (number, place.segment, place.chunk);
    }

    pub fn decode(&mut self, bytes: &[u8], record: &mut Record) -> Result<()> {
        let mut reader = Reader::new(bytes);
        let shared = reader.count(self.path.len(), "shared path of a cache record")?;
        self.path.truncate(shared);
        self.path
            .extend_from_slice(reader.bytes(LENGTH_MAX, "path of a cache record")?);
        record.path.clear();
        record.path.extend_from_slice(&self.path);
        let flags = reader.u8()?;
        record.fresh = flags & FLAG_FRESH != 0;
        record.class = reader.varint_u32("class of a cache record")? as u16;
        let detected = reader.varint_u32("class of a cache record")?;
        record.detected = detected.checked_sub(1).map(|class| class as u16);
        record.mode = reader.varint_u32("mode of a cache record")?;
        record.size = reader.varint()?;
        record.mtime.0 = self.mtime.wrapping_add(reader.zigzag()?);
        record.mtime.1 = reader.varint_u32("time of a cache record")?;
        record.ctime = record.mtime;
        if flags & FLAG_ONE_TIME == 0 {
            record.ctime.0 = record.mtime.0.wrapping_add(reader.zigzag()?);
            record.ctime.1 = reader.varint_u32("time of a cache record")?;
        }
        record.ino = self.ino.wrapping_add(reader.zigzag()?.cast_unsigned());
        (self.mtime, self.ino) = (record.mtime.0, record.ino);
        record.xattrs.clear();
        if flags & FLAG_XATTRS != 0 {
            for _ in 0..reader.count(LENGTH_MAX, "attributes of a cache record")? {
                let name = reader
                    .bytes(LENGTH_MAX, "attribute of a cache record")?
                    .to_vec();
                let value = reader
                    .bytes(LENGTH_MAX, "attribute of a cache record")?
                    .to_vec();
                record.xattrs.push((name, value));
            }
        }
        record.held = if flags & FLAG_FILE != 0 {
            let mark = reader.u64()?;
            Held::File {
                stored: self.decode_stored(&mut reader)?,
                mark,
            }
        } else if flags & FLAG_TARGET != 0 {
            Held::Other {
                target: reader
                    .bytes(LENGTH_MAX, "target of a cache record")?
                    .to_vec(),
            }
        } else {
            Held::Other { target: Vec::new() }
        };
        reader.end("cache record")
    }

    fn decode_stored(&mut self, reader: &mut Reader<'_>) -> Result<Stored> {
        Ok(match reader.u8()? {
            0 => Stored::Inline(
                reader
                    .bytes(LENGTH_MAX, "content of a cache record")?
                    .to_vec(),
            ),
            1 => {
                let count = reader.count(reader.rest().len(), "pieces of a cache record")?;
                let mut pieces = Vec::with_capacity(count);
                for _ in 0..count {
                    let coded = reader.varint()?;
                    let place = if coded & 1 == 0 {
                        Some(self.take_place(reader)?)
                    } else {
                        None
                    };
                    pieces.push(Piece {
                        len: coded >> 1,
                        place,
                    });
                }
                Stored::Pieces(pieces)
            }
            2 => {
                let page_size_log2 = reader.u8()?;
                let side = reader.varint()?;
                let count = reader.count(reader.rest().len(), "groups of a cache record")?;
                let groups = (0..count)
                    .map(|_| self.take_place(reader))
                    .collect::<Result<_>>()?;
                let count = reader.count(reader.rest().len(), "segments of a cache record")?;
                let segment = |place: Location| (place.origin, place.segment);
                let segments = (0..count)
                    .map(|_| self.take_place(reader).map(segment))
                    .collect::<Result<_>>()?;
                Stored::Pages(Arc::new(PageFile {
                    page_size_log2,
                    groups,
                    segments,
                    side,
                }))
            }
            _ => {
                return Err(Error::Damaged {
                    what: "content of a cache record",
                });
            }
        })
    }

    fn take_place(&mut self, reader: &mut Reader<'_>) -> Result<Location> {
        let number = reader.count(self.origins.len(), "origin of a cache record")?;
        if number == self.origins.len() {
            self.origins.push(Origin(reader.array()?));
        }
        let origin = self.origins.get(number).copied();
        let origin = origin.ok_or(Error::Damaged {
            what: "origin of a cache record",
        })?;
        let (last_number, last_segment, last_chunk) = self.last;
        let same = number == last_number;
        let told = |base: u32, by: i64| u32::try_from(i64::from(base).wrapping_add(by));
        let wrong = |_| Error::Damaged {
            what: "place in a cache record",
        };
        let by = reader.zigzag()?;
        let segment = told(if same { last_segment } else { 0 }, by).map_err(wrong)?;
        let (_, before) = base(same, last_segment, last_chunk, segment);
        let chunk = told(before, reader.zigzag()?).map_err(wrong)?;
        self.last = (number, segment, chunk);
        Ok(Location {
            origin,
            segment,
            chunk,
        })
    }
}

/// What a place's segment and chunk are told against.
fn base(same_origin: bool, last_segment: u32, last_chunk: u32, segment: u32) -> (u32, u32) {
    match (same_origin, segment == last_segment) {
        (true, true) => (last_segment, last_chunk.wrapping_add(1)),
        (true, false) => (last_segment, 0),
        _ => (0, 0),
    }
}
