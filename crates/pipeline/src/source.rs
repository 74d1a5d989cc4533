//! Where packs are read from: a local folder, or whoever answers.
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_engine::{PackKind, PackName};
use parking_lot::Mutex;
use rustix::io::Errno;

use crate::Error;

/// Open files that a [`LocalSource`] keeps.
const OPEN_FILES_MAX: usize = 8;

/// Reads parts of packs. Shared by threads.
pub trait PackSource: Send + Sync {
    /// The bytes from `offset` on: exactly `len` of them, or fewer if the object ends before.
    fn read(&self, name: &str, offset: u64, len: u64) -> Result<Vec<u8>, Error>;

    /// Up to how many bytes one read should span, rather than two reads with little between them.
    fn span_bytes(&self) -> u64;
}

/// The name of a pack in a store.
pub fn object_name(kind: PackKind, name: &PackName) -> String {
    let folder = match kind {
        PackKind::Data => "data",
        PackKind::Metadata | PackKind::Map => "meta",
    };
    let hex = name.to_string();
    format!("{folder}/{}/{hex}", hex.get(..2).unwrap_or_default())
}

/// A vault's folder on this machine.
pub struct LocalSource {
    root: PathBuf,
    open: Mutex<Vec<(String, Arc<File>)>>,
}

impl LocalSource {
    /// Reads `root/data/HH/SHA` and `root/meta/HH/SHA`.
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            open: Mutex::new(Vec::new()),
        }
    }

    fn file(&self, name: &str) -> Result<Arc<File>, Error> {
        let mut open = self.open.lock();
        if let Some(position) = open.iter().position(|(known, _)| known == name) {
            let row = open.remove(position);
            let file = Arc::clone(&row.1);
            open.push(row);
            return Ok(file);
        }
        let file = Arc::new(
            File::open(self.root.join(name)).map_err(|error| system("open pack", &error))?,
        );
        if open.len() >= OPEN_FILES_MAX {
            open.remove(0);
        }
        open.push((name.to_owned(), Arc::clone(&file)));
        Ok(file)
    }
}

impl PackSource for LocalSource {
    fn read(&self, name: &str, offset: u64, len: u64) -> Result<Vec<u8>, Error> {
        let file = self.file(name)?;
        read_up_to(&file, offset, len as usize).map_err(|error| system("read pack", &error))
    }

    fn span_bytes(&self) -> u64 {
        0
    }
}

/// The bytes of a file from `offset` on: `len` of them, or fewer if it ends before.
pub fn read_up_to(file: &File, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Whether an `errno` speaks of one object: it is not there, or cannot be read back. Anything else (a mount that went away,
/// permissions, descriptors) says nothing about the object at hand, and concerns all others as well.
pub fn is_of_one_object(errno: i32) -> bool {
    const OF_ONE: [Errno; 6] = [
        Errno::NOENT,
        Errno::IO,
        Errno::NODATA,
        Errno::BADMSG,
        Errno::ILSEQ,
        Errno::UCLEAN,
    ];
    OF_ONE.iter().any(|known| known.raw_os_error() == errno)
}

fn system(what: &'static str, error: &std::io::Error) -> Error {
    Error::Io {
        what,
        errno: error.raw_os_error().unwrap_or(5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_went_away_is_not_a_damaged_pack() {
        for errno in [Errno::NOENT, Errno::IO, Errno::UCLEAN] {
            assert!(is_of_one_object(errno.raw_os_error()));
        }
        for errno in [Errno::STALE, Errno::NOTCONN, Errno::ACCESS, Errno::MFILE] {
            assert!(!is_of_one_object(errno.raw_os_error()));
        }
    }
}
