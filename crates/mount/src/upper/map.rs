//! Which blocks of a large file are here. A kill loses nothing that was written, a power cut nothing that was synced.
//!
//! ```text
//! 0    8   magic            32  16  the boot in which the live part is valid
//! 8    8   size below       48   1  1 while blocks are being filled
//! 16   8   live limit       52   4  the file's own nanoseconds then
//! 24   8   synced limit     56   8  and seconds
//! 64       live bits, then synced bits: one per block, 1: here
//! ```
//!
//! Beyond the limit nothing comes from below: the file was cut there once. Live bits are written after the data they speak of,
//! so after a kill they are right: both are in the kernel's hands. After a power cut (another boot) they may be on the disk
//! without their data; the synced part never is: it is written when the data was synced.
use rustix::io::Errno;

/// log2 of a block.
pub const BLOCK_LOG2: u32 = 16;
/// Bytes of a block.
pub const BLOCK_BYTES: u64 = 1 << BLOCK_LOG2;

const MAGIC: [u8; 8] = *b"HFMAP\0\0\x01";
const HEADER_BYTES: u64 = 64;
const LIVE_LIMIT_AT: u64 = 16;
const SYNCED_LIMIT_AT: u64 = 24;
const BOOT_AT: u64 = 32;
const FILLING_AT: u64 = 48;

/// The boot of the machine, which tells a kill from a power cut.
pub type Boot = [u8; 16];

/// Where a map is kept.
pub trait Medium {
    /// All its bytes; none if there is no map yet.
    fn read_all(&mut self) -> Result<Vec<u8>, Errno>;
    /// Writes in place.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno>;
    /// Makes what was written durable.
    fn sync(&mut self) -> Result<(), Errno>;
}

/// The map of one file.
pub struct Map<M> {
    medium: M,
    size: u64,
    limit: u64,
    synced_limit: u64,
    bits: Vec<u8>,
    is_synced: bool,
    /// The modification time of the file when filling it was interrupted.
    interrupted: Option<(i64, u32)>,
}

impl<M: Medium> Map<M> {
    /// Opens the map of a file that is `size` bytes below and `file_len` here; a new one if there is none or its making was
    /// interrupted: nobody was told then that anything was written.
    pub fn open(mut medium: M, size: u64, file_len: u64, boot: Boot) -> Result<Self, Errno> {
        let bytes = medium.read_all()?;
        let blocks = bits_len(size);
        let whole = bytes.len() as u64 == HEADER_BYTES + 2 * blocks as u64;
        if !whole || bytes.get(..8) != Some(&MAGIC[..]) || u64_at(&bytes, 8) != size {
            return Self::create(medium, size, file_len, boot);
        }
        let start = HEADER_BYTES as usize;
        let live = bytes.get(start..start + blocks).unwrap_or_default();
        let synced = bytes.get(start + blocks..).unwrap_or_default();
        let same = bytes.get(BOOT_AT as usize..BOOT_AT as usize + 16) == Some(&boot[..]);
        let synced_limit = u64_at(&bytes, SYNCED_LIMIT_AT as usize);
        let live_limit = u64_at(&bytes, LIVE_LIMIT_AT as usize);
        let filling = bytes.get(FILLING_AT as usize) == Some(&1);
        let mut map = Self {
            medium,
            size,
            limit: if same { live_limit } else { synced_limit },
            synced_limit,
            bits: if same { live } else { synced }.to_vec(),
            is_synced: !same || live == synced,
            interrupted: filling.then(|| (u64_at(&bytes, 56).cast_signed(), u32_at(&bytes, 52))),
        };
        if !same {
            // First what the live part says, then that it is valid.
            map.medium.write(HEADER_BYTES, &map.bits)?;
            map.medium.write(LIVE_LIMIT_AT, &map.limit.to_le_bytes())?;
            map.medium.sync()?;
            map.medium.write(BOOT_AT, &boot)?;
        }
        if file_len < map.limit {
            // Cut just before the end: the file says so, the map could not any more.
            map.cut(file_len)?;
        }
        Ok(map)
    }

    fn create(mut medium: M, size: u64, file_len: u64, boot: Boot) -> Result<Self, Errno> {
        let blocks = bits_len(size);
        let limit = size.min(file_len);
        medium.write(HEADER_BYTES, &vec![0; 2 * blocks])?;
        medium.write(8, &size.to_le_bytes())?;
        medium.write(LIVE_LIMIT_AT, &limit.to_le_bytes())?;
        medium.write(SYNCED_LIMIT_AT, &limit.to_le_bytes())?;
        medium.write(BOOT_AT, &boot)?;
        medium.write(FILLING_AT, &[0; 16])?;
        // All of it first: a map without limits would say that everything is here.
        medium.sync()?;
        medium.write(0, &MAGIC)?;
        medium.sync()?;
        Ok(Self {
            medium,
            size,
            limit,
            synced_limit: limit,
            bits: vec![0; blocks],
            is_synced: true,
            interrupted: None,
        })
    }

    /// Up to where content comes from below.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The time that a file had when filling it was interrupted: it is to be given back.
    pub fn take_interrupted(&mut self) -> Option<(i64, u32)> {
        self.interrupted.take()
    }

    /// Whether the bytes of a block are here.
    pub fn is_here(&self, block: u64) -> bool {
        let bit = self.bits.get((block / 8) as usize);
        block << BLOCK_LOG2 >= self.limit || bit.is_none_or(|byte| byte & (1 << (block % 8)) != 0)
    }

    /// The first run of blocks from `from` to before `to` that are not here.
    pub fn missing(&self, from: u64, to: u64) -> Option<(u64, u64)> {
        let to = to.min(self.limit.div_ceil(BLOCK_BYTES));
        let first = (from..to).find(|block| !self.is_here(*block))?;
        let end = (first..to).find(|block| self.is_here(*block));
        Some((first, end.unwrap_or(to)))
    }

    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.missing(0, u64::MAX >> BLOCK_LOG2).is_none()
    }

    /// Bytes below the limit that are here.
    pub fn bytes_here(&self) -> u64 {
        let blocks = self.limit.div_ceil(BLOCK_BYTES);
        let here = (0..blocks).filter(|block| self.is_here(*block)).count() as u64;
        (here << BLOCK_LOG2).min(self.limit)
    }

    /// Notes that blocks from `from` to before `to` are here: their data was written before.
    pub fn mark(&mut self, from: u64, to: u64) -> Result<(), Errno> {
        let end = to.min(self.bits.len() as u64 * 8);
        let mut changed = false;
        for block in from..end {
            if let Some(byte) = self.bits.get_mut((block / 8) as usize) {
                let bit = 1 << (block % 8);
                changed |= *byte & bit == 0;
                *byte |= bit;
            }
        }
        if changed {
            self.is_synced = false;
            let (start, stop) = ((from / 8) as usize, end.div_ceil(8) as usize);
            let bytes = self.bits.get(start..stop).unwrap_or_default();
            self.medium.write(HEADER_BYTES + from / 8, bytes)?;
        }
        Ok(())
    }

    /// Notes that the file was cut: beyond `len` nothing comes from below any more.
    pub fn cut(&mut self, len: u64) -> Result<(), Errno> {
        if len < self.limit {
            self.limit = len;
            self.is_synced = false;
            self.medium.write(LIVE_LIMIT_AT, &len.to_le_bytes())?;
        }
        Ok(())
    }

    /// Before the file grows: what was cut must never come back behind a power cut.
    pub fn before_growth(&mut self) -> Result<(), Errno> {
        if self.limit < self.synced_limit {
            self.medium
                .write(SYNCED_LIMIT_AT, &self.limit.to_le_bytes())?;
            self.medium.sync()?;
            self.synced_limit = self.limit;
        }
        Ok(())
    }

    /// Before blocks are filled: the modification time to be given back if that is interrupted.
    pub fn begin_filling(&mut self, mtime: (i64, u32)) -> Result<(), Errno> {
        let mut bytes = [0; 16];
        bytes[0] = 1;
        bytes[4..8].copy_from_slice(&mtime.1.to_le_bytes());
        bytes[8..].copy_from_slice(&mtime.0.to_le_bytes());
        self.medium.write(FILLING_AT, &bytes)
    }

    /// After the time was given back.
    pub fn end_filling(&mut self) -> Result<(), Errno> {
        self.medium.write(FILLING_AT, &[0])
    }

    /// After the file's data was synced: makes durable that it is here.
    pub fn checkpoint(&mut self) -> Result<(), Errno> {
        if self.is_synced {
            return Ok(());
        }
        let at = HEADER_BYTES + self.bits.len() as u64;
        self.medium.write(at, &self.bits)?;
        self.medium
            .write(SYNCED_LIMIT_AT, &self.limit.to_le_bytes())?;
        self.medium.sync()?;
        self.synced_limit = self.limit;
        self.is_synced = true;
        Ok(())
    }

    /// Length of the file below.
    pub fn size(&self) -> u64 {
        self.size
    }
}

fn bits_len(size: u64) -> usize {
    size.div_ceil(BLOCK_BYTES).div_ceil(8) as usize
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let found = bytes
        .get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok());
    found.map_or(0, u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok());
    found.map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
