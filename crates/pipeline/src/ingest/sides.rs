//! Local copies of page-map groups, one file per page-mapped file, beside the stat cache: what a changed file is compared with.
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use holdfast_engine::limits::NODE_BYTES_MAX;
use parking_lot::Mutex;

use crate::Error;

const SUM_BYTES: usize = 8;

/// The folder of these files.
pub(super) struct Sides {
    folder: PathBuf,
    /// Numbers of the files that the old cache or the new one refers to.
    wanted: Mutex<HashSet<u64>>,
}

fn io(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| Error::Io {
        what,
        errno: error.raw_os_error().unwrap_or(0),
    }
}

fn sum(bytes: &[u8]) -> [u8; SUM_BYTES] {
    digest(&SHA256, bytes)
        .as_ref()
        .first_chunk()
        .copied()
        .unwrap_or_default()
}

impl Sides {
    /// Beside the caches: `SOURCE.cache` and `SOURCE.cache.new` share `SOURCE.pages`.
    pub fn beside(cache: &Path) -> Self {
        let name = cache
            .file_name()
            .map(std::ffi::OsStr::as_encoded_bytes)
            .unwrap_or_default();
        let stem = name.split(|byte| *byte == b'.').next().unwrap_or_default();
        let folder = cache.with_file_name(format!("{}.pages", String::from_utf8_lossy(stem)));
        Self {
            folder,
            wanted: Mutex::default(),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:016x}"))
    }

    /// A file that must stay.
    pub fn keep(&self, number: u64) {
        self.wanted.lock().insert(number);
    }

    /// Reads groups; `None` if there is no such file.
    pub fn read(&self, number: u64) -> Option<SideReader> {
        let file = File::open(self.path(number)).ok().filter(|_| number != 0)?;
        Some(SideReader(BufReader::with_capacity(64 << 10, file)))
    }

    /// Begins a new file.
    pub fn write(&self) -> Result<SideWriter, Error> {
        let mut number = [0; 8];
        SystemRandom::new()
            .fill(&mut number)
            .map_err(|_| Error::Internal("no randomness"))?;
        let number = u64::from_le_bytes(number).max(1);
        std::fs::create_dir_all(&self.folder).map_err(io("create a folder of page maps"))?;
        let path = self.path(number);
        let file = File::create(&path).map_err(io("create a copy of a page map"))?;
        self.keep(number);
        Ok(SideWriter {
            file: Some(BufWriter::with_capacity(64 << 10, file)),
            path,
            number,
        })
    }

    /// Deletes what nothing refers to.
    pub fn sweep(&self) {
        let Ok(files) = std::fs::read_dir(&self.folder) else {
            return;
        };
        let wanted = self.wanted.lock();
        for file in files.flatten() {
            let name = file.file_name();
            let number = name
                .to_str()
                .and_then(|name| u64::from_str_radix(name, 16).ok());
            if number.is_some_and(|number| !wanted.contains(&number)) {
                // One that stays costs space only, and goes next time.
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

/// Groups of one file, in order.
pub(super) struct SideReader(BufReader<File>);

impl SideReader {
    /// The next group; `None` at the end, or from where the copy is damaged.
    pub fn next_group(&mut self) -> Option<Vec<u8>> {
        let mut front = [0; 4 + SUM_BYTES];
        self.0.read_exact(&mut front).ok()?;
        let (length, expected) = front.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > NODE_BYTES_MAX {
            return None;
        }
        let mut group = vec![0; length];
        self.0.read_exact(&mut group).ok()?;
        // A damaged copy only means that pages are stored again.
        Some(if sum(&group) == expected {
            group
        } else {
            Vec::new()
        })
    }
}

/// A file of groups being written; removed unless it is finished.
pub(super) struct SideWriter {
    file: Option<BufWriter<File>>,
    path: PathBuf,
    number: u64,
}

impl SideWriter {
    pub fn put(&mut self, group: &[u8]) -> Result<(), Error> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut write = || -> std::io::Result<()> {
            file.write_all(&(group.len() as u32).to_le_bytes())?;
            file.write_all(&sum(group))?;
            file.write_all(group)
        };
        write().map_err(io("write a copy of a page map"))
    }

    /// Completes it: its number.
    pub fn finish(mut self) -> Result<u64, Error> {
        if let Some(file) = self.file.take() {
            let file = file
                .into_inner()
                .map_err(|error| io("write a copy of a page map")(error.into_error()))?;
            drop(file);
        }
        Ok(self.number)
    }
}

impl Drop for SideWriter {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // The file was not finished: if it stays, the next sweep takes it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
