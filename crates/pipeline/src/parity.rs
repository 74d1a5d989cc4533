//! Parity rows under construction, in unnamed files: memory stays at a few slices however large the packs are.
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_engine::limits::{PACK_BYTES_MAX, PARITY_ROWS_MAX, PARITY_SLOTS};
use holdfast_engine::parity::{ParityCode, add};
use rustix::io::Errno;

use crate::Error;

/// Bytes that are worked on at a time, of each row.
const SLICE_BYTES: usize = 256 << 10;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Rows of one group. Packs are added in any order, each once; adding one twice takes it out again.
pub struct ParityRows {
    code: ParityCode,
    files: Vec<File>,
    len: u64,
    /// A slice of each row, while it is worked on.
    sums: Vec<Vec<u8>>,
}

impl ParityRows {
    /// Rows of zeros, as files without a name in a folder.
    pub fn new(folder: &Path, rows: usize) -> Result<Self, Error> {
        let code = ParityCode::new(rows)?;
        let files = (0..rows)
            .map(|_| unnamed(folder))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            code,
            files,
            len: 0,
            sums: vec![Vec::new(); rows],
        })
    }

    /// The length of the rows: that of the longest pack.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds the pack in a slot to all rows.
    pub fn add(&mut self, slot: usize, pack: &[u8]) -> Result<(), Error> {
        if slot >= PARITY_SLOTS {
            return Err(Error::Internal("a parity slot that does not exist"));
        }
        self.grow(pack.len())?;
        for (at, slice) in (0_u64..).zip(pack.chunks(SLICE_BYTES)) {
            let at = at * SLICE_BYTES as u64;
            for (file, sum) in self.files.iter().zip(&mut self.sums) {
                sum.resize(slice.len(), 0);
                file.read_exact_at(sum, at).map_err(|e| io("read", &e))?;
            }
            self.code.add_products(slot, slice, &mut self.sums)?;
            for (file, sum) in self.files.iter().zip(&self.sums) {
                file.write_all_at(sum, at).map_err(|e| io("write", &e))?;
            }
        }
        Ok(())
    }

    /// Adds the bytes of a row to it.
    pub fn add_row(&mut self, row: usize, bytes: &[u8]) -> Result<(), Error> {
        self.grow(bytes.len())?;
        let file = self.files.get(row).ok_or(NO_ROW)?;
        for (at, slice) in (0_u64..).zip(bytes.chunks(SLICE_BYTES)) {
            let at = at * SLICE_BYTES as u64;
            let mut sum = vec![0; slice.len()];
            file.read_exact_at(&mut sum, at)
                .map_err(|e| io("read", &e))?;
            add(&mut sum, slice);
            file.write_all_at(&sum, at).map_err(|e| io("write", &e))?;
        }
        Ok(())
    }

    /// The first `len` bytes of a row, behind a header.
    pub fn row(&self, row: usize, header: &[u8], len: usize) -> Result<Vec<u8>, Error> {
        let file = self.files.get(row).ok_or(NO_ROW)?;
        if len as u64 > self.len {
            return Err(Error::Internal("more of a parity row than there is"));
        }
        let mut object = vec![0; header.len() + len];
        let (head, body) = object.split_at_mut(header.len());
        head.copy_from_slice(header);
        file.read_exact_at(body, 0).map_err(|e| io("read", &e))?;
        Ok(object)
    }

    /// Turns rows into lost packs: afterwards row i is the pack of the i-th lost slot.
    ///
    /// Every pack that is not lost was added before, and so were the stored bytes of the rows numbered `rows`.
    pub fn recover(&mut self, lost: &[usize], rows: &[usize]) -> Result<(), Error> {
        let mut at = 0;
        while at < self.len {
            let len = (self.len - at).min(SLICE_BYTES as u64) as usize;
            let mut slices = Vec::with_capacity(rows.len());
            for row in rows {
                let mut slice = vec![0; len];
                let file = self.files.get(*row).ok_or(NO_ROW)?;
                file.read_exact_at(&mut slice, at)
                    .map_err(|e| io("read", &e))?;
                slices.push((*row, slice));
            }
            for (file, slice) in self.files.iter().zip(self.code.recover(lost, slices)?) {
                file.write_all_at(&slice, at).map_err(|e| io("write", &e))?;
            }
            at += len as u64;
        }
        Ok(())
    }

    fn grow(&mut self, len: usize) -> Result<(), Error> {
        if len > PACK_BYTES_MAX {
            return Err(Error::Internal("a pack beyond the format's limit"));
        }
        if len as u64 > self.len {
            for file in &self.files {
                file.set_len(len as u64).map_err(|e| io("truncate", &e))?;
            }
            self.len = len as u64;
        }
        Ok(())
    }
}

const NO_ROW: Error = Error::Internal("a parity row that does not exist");
const _: () = assert!(PARITY_SLOTS + PARITY_ROWS_MAX <= 256);

fn unnamed(folder: &Path) -> Result<File, Error> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".parity-{}-{number}", std::process::id()));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| io("open", &e))?;
    std::fs::remove_file(&path).map_err(|e| io("unlink", &e))?;
    Ok(file)
}

fn io(what: &'static str, error: &std::io::Error) -> Error {
    Error::io(
        what,
        Errno::from_raw_os_error(error.raw_os_error().unwrap_or(0)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_packs_come_back_from_rows() {
        let folder = std::env::temp_dir();
        let packs: Vec<Vec<u8>> = (1..=3)
            .map(|n| {
                (0..n * 200_000)
                    .map(|x: usize| (x * 31 * n) as u8)
                    .collect()
            })
            .collect();
        let mut rows = ParityRows::new(&folder, 2).unwrap();
        assert!(rows.is_empty());
        for (slot, pack) in packs.iter().enumerate() {
            rows.add(slot, pack).unwrap();
        }
        assert_eq!(rows.len(), 600_000);
        let first = rows.row(0, b"", 600_000).unwrap();
        let second = rows.row(1, b"", 600_000).unwrap();
        let mut found = ParityRows::new(&folder, 2).unwrap();
        found.add_row(0, &first).unwrap();
        found.add_row(1, &second).unwrap();
        found.add(1, &packs[1]).unwrap();
        found.recover(&[0, 2], &[0, 1]).unwrap();
        assert_eq!(found.row(0, b"", 200_000).unwrap(), packs[0]);
        assert_eq!(found.row(1, b"", 600_000).unwrap(), packs[2]);
        assert_eq!(found.row(0, b"head", 1).unwrap().len(), 5);
    }

    #[test]
    fn impossible_requests_are_refused() {
        let mut rows = ParityRows::new(&std::env::temp_dir(), 1).unwrap();
        assert!(rows.add(PARITY_SLOTS, b"x").is_err());
        assert!(rows.add_row(1, b"x").is_err());
        assert!(rows.row(0, b"", 2).is_err());
        assert!(rows.row(1, b"", 0).is_err());
        assert!(rows.recover(&[0], &[4]).is_err());
        assert!(ParityRows::new(Path::new("/nonexistent"), 1).is_err());
        assert!(ParityRows::new(&std::env::temp_dir(), 0).is_err());
    }
}
