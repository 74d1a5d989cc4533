//! Frames of a cache file: a length, a checksum, and up to 64 KiB of records, which may run on in the next frame.
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use holdfast_engine::wire::{Reader, put_varint};

use crate::Error;

/// Payload of every frame but the last.
const FRAME_BYTES: usize = 64 << 10;
const FRONT_BYTES: usize = 12;
/// The end: an empty frame, then the number of records and its checksum.
const END_BYTES: usize = 20;
const RECORD_BYTES_MAX: usize = 1 << 30;

fn checksum(payload: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    let digest = digest(&SHA256, payload);
    for (to, from) in sum.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    sum
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::Io {
        what,
        errno: error.raw_os_error().unwrap_or(0),
    }
}

fn end_of(records: u64) -> [u8; END_BYTES] {
    let mut end = [0; END_BYTES];
    let count = records.to_le_bytes();
    for (to, from) in end
        .iter_mut()
        .skip(4)
        .zip(count.iter().chain(&checksum(&count)))
    {
        *to = *from;
    }
    end
}

/// Gives records out of frames.
pub(super) struct FrameReader {
    file: BufReader<File>,
    buffer: Vec<u8>,
    begin: usize,
    pub records: u64,
}

impl FrameReader {
    /// `None` if there is no whole file.
    pub fn open(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let len = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(len.checked_sub(END_BYTES as u64)?))
            .ok()?;
        let mut end = [0; END_BYTES];
        file.read_exact(&mut end).ok()?;
        let records = u64::from_le_bytes(*end.get(4..)?.first_chunk::<8>()?);
        if end != end_of(records) {
            return None;
        }
        file.rewind().ok()?;
        let file = BufReader::with_capacity(256 << 10, file);
        Some(Self {
            file,
            buffer: Vec::new(),
            begin: 0,
            records,
        })
    }

    /// The next bytes, whatever they are.
    pub fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        self.fill(count)?;
        let bytes = self.buffer.get(self.begin..self.begin + count)?.to_vec();
        self.begin += count;
        Some(bytes)
    }

    /// The next record; `None` at the end, or where the file rotted.
    pub fn record(&mut self) -> Option<&[u8]> {
        let length = loop {
            let rest = self.buffer.get(self.begin..)?;
            let mut reader = Reader::new(rest);
            match reader.varint() {
                Ok(length) => {
                    self.begin += rest.len() - reader.rest().len();
                    break usize::try_from(length)
                        .ok()
                        .filter(|length| *length <= RECORD_BYTES_MAX)?;
                }
                Err(_) => self.next_frame()?,
            }
        };
        self.fill(length)?;
        let begin = self.begin;
        self.begin += length;
        self.buffer.get(begin..begin + length)
    }

    fn fill(&mut self, count: usize) -> Option<()> {
        while self.buffer.len() - self.begin < count {
            self.next_frame()?;
        }
        Some(())
    }

    fn next_frame(&mut self) -> Option<()> {
        let mut front = [0; FRONT_BYTES];
        self.file.read_exact(&mut front).ok()?;
        let (length, sum) = front.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length == 0 || length > FRAME_BYTES {
            return None;
        }
        self.buffer.drain(..self.begin);
        self.begin = 0;
        let had = self.buffer.len();
        self.buffer.resize(had + length, 0);
        let payload = self.buffer.get_mut(had..)?;
        let whole = self.file.read_exact(payload).is_ok() && checksum(payload) == *sum;
        if !whole {
            self.buffer.truncate(had);
            return None;
        }
        Some(())
    }
}

/// Writes frames, beginning where they differ from those of an old file.
pub(super) struct FrameWriter {
    path: PathBuf,
    old: Option<BufReader<File>>,
    out: Option<BufWriter<File>>,
    written: u64,
    payload: Vec<u8>,
    records: u64,
}

impl FrameWriter {
    pub fn create(path: &Path, old: Option<&Path>) -> Self {
        let old = old.and_then(|old| File::open(old).ok());
        Self {
            path: path.to_owned(),
            old: old.map(|file| BufReader::with_capacity(256 << 10, file)),
            out: None,
            written: 0,
            payload: Vec::with_capacity(2 * FRAME_BYTES),
            records: 0,
        }
    }

    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.payload.extend_from_slice(bytes);
        while self.payload.len() >= FRAME_BYTES {
            let rest = self.payload.split_off(FRAME_BYTES);
            let frame = std::mem::replace(&mut self.payload, rest);
            self.frame(&frame)?;
        }
        Ok(())
    }

    pub fn record(&mut self, record: &[u8]) -> Result<(), Error> {
        self.records += 1;
        put_varint(&mut self.payload, record.len() as u64);
        self.put(record)
    }

    pub fn finish(mut self) -> Result<bool, Error> {
        let rest = std::mem::take(&mut self.payload);
        if !rest.is_empty() {
            self.frame(&rest)?;
        }
        self.emit(&end_of(self.records))?;
        let Some(out) = self.out.take() else {
            return Ok(false);
        };
        let file = out
            .into_inner()
            .map_err(|error| io("write the cache")(error.into_error()))?;
        file.sync_data().map_err(io("sync the cache"))?;
        Ok(true)
    }

    fn frame(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(FRONT_BYTES + payload.len());
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&checksum(payload));
        bytes.extend_from_slice(payload);
        self.emit(&bytes)
    }

    fn emit(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(old) = &mut self.old {
            let mut same = vec![0; bytes.len()];
            if old.read_exact(&mut same).is_ok() && same == bytes {
                self.written += bytes.len() as u64;
                return Ok(());
            }
        }
        self.diverge()?;
        let Some(out) = &mut self.out else {
            return Err(Error::Internal("no cache file"));
        };
        out.write_all(bytes).map_err(io("write the cache"))
    }

    /// From here on the files differ: what is the same is copied.
    fn diverge(&mut self) -> Result<(), Error> {
        if self.out.is_some() {
            return Ok(());
        }
        let file = File::create(&self.path).map_err(io("create the cache"))?;
        let mut out = BufWriter::with_capacity(256 << 10, file);
        if let Some(old) = self.old.take() {
            let mut old = old.into_inner();
            old.rewind().map_err(io("read the old cache"))?;
            let copied = std::io::copy(&mut old.take(self.written), &mut out);
            copied.map_err(io("copy the old cache"))?;
        }
        self.out = Some(out);
        Ok(())
    }
}
