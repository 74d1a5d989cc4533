//! Data files of `PostgreSQL`, read page by page beside a running server.
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use holdfast_engine::postgres::{Page, judge};

use crate::Error;
use crate::limits::Limits;

/// Pages read at once.
const STEP_PAGES: usize = 128;
/// How often a page that does not match is read again: the server may be writing it.
const READ_AGAIN_MAX: usize = 4;
/// Bad pages of one file that are listed.
const BAD_PAGES_MAX: usize = 1000;

/// What a file's pages are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PageCounts {
    /// Pages read.
    pub pages: u64,
    /// Pages that do not match although they were not changed since `trusted_below`: (block in the file, its LSN).
    pub bad: Vec<(u32, u64)>,
    /// Pages that do not match and were changed later: the server's log brings them back.
    pub moving: u64,
}

/// Judges each page of a file whose first page is block `first_block` of its relation. A page that does not match is read
/// again, and bad only if it was not changed since the LSN `trusted_below`. A last part that is no whole page is left out.
pub fn check_pages(
    path: &Path,
    first_block: u32,
    page_bytes: usize,
    trusted_below: u64,
    limits: Option<&Limits>,
) -> Result<PageCounts, Error> {
    let io = |error: std::io::Error| Error::Io {
        what: "data file",
        errno: error.raw_os_error().unwrap_or(0),
    };
    let stop = AtomicBool::new(false);
    let file = File::open(path).map_err(io)?;
    let mut counts = PageCounts::default();
    let mut buffer = vec![0; page_bytes.saturating_mul(STEP_PAGES)];
    let mut again = vec![0; page_bytes];
    let mut offset = 0_u64;
    loop {
        if let Some(limits) = limits {
            limits.take_read(buffer.len() as u64, &stop)?;
        }
        let read = fill(&file, &mut buffer, offset).map_err(io)?;
        for page in buffer
            .get(..read)
            .unwrap_or_default()
            .chunks_exact(page_bytes)
        {
            let block = u32::try_from(counts.pages).unwrap_or(u32::MAX);
            let number = first_block.wrapping_add(block);
            let at = counts.pages * page_bytes as u64;
            let mut found = judge(page, number);
            for _ in 0..READ_AGAIN_MAX {
                if !matches!(found, Page::Bad { .. })
                    || fill(&file, &mut again, at).map_err(io)? < page_bytes
                {
                    break;
                }
                found = judge(&again, number);
            }
            counts.pages += 1;
            match found {
                Page::Bad { lsn } if lsn >= trusted_below => counts.moving += 1,
                Page::Bad { lsn } if counts.bad.len() < BAD_PAGES_MAX => {
                    counts.bad.push((block, lsn));
                }
                _ => {}
            }
        }
        if read < buffer.len() {
            return Ok(counts);
        }
        offset += read as u64;
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut read = 0;
    while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_engine::postgres::checksum;

    #[test]
    fn bad_and_moving_pages_are_told_apart() {
        let path = std::env::temp_dir().join(format!("holdfast-pages-{}", std::process::id()));
        let mut data = Vec::new();
        for block in 0..300_u32 {
            let mut page = vec![9_u8; 8192];
            page[0..4].fill(0);
            page[4..8].copy_from_slice(&block.to_le_bytes());
            let sum = checksum(&page, 131_072 + block).expect("a page");
            page[8..10].copy_from_slice(&sum.to_le_bytes());
            data.extend(page);
        }
        data[10 * 8192 + 5000] ^= 1;
        data[200 * 8192 + 5000] ^= 1;
        data.extend([1; 100]);
        std::fs::write(&path, &data).expect("file");
        let limits = Limits::new();
        let counts = check_pages(&path, 131_072, 8192, 100, Some(&limits)).expect("readable");
        assert_eq!(counts.pages, 300);
        assert_eq!(counts.bad, [(10, 10)]);
        assert_eq!(counts.moving, 1);
        std::fs::remove_file(&path).expect("file");
        assert!(check_pages(&path, 0, 8192, 0, None).is_err());
    }
}
