//! Where a stream is cut: content-defined, under the secret gear table of a class.

/// The sizes of chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutSizes {
    /// No chunk but the last of a stream is smaller.
    pub min_bytes: usize,
    /// The size that chunks tend to; a power of two.
    pub avg_bytes: usize,
    /// No chunk is larger.
    pub max_bytes: usize,
}

impl Default for CutSizes {
    fn default() -> Self {
        Self {
            min_bytes: 256 << 10,
            avg_bytes: 1 << 20,
            max_bytes: 4 << 20,
        }
    }
}

/// Finds the end of each chunk of one stream. Cuts depend on the bytes since the last cut only, never on how they arrive.
pub struct Cutter {
    gear: Box<[u64; 256]>,
    sizes: CutSizes,
}

impl Cutter {
    /// A cutter at the start of a stream.
    pub fn new(gear: &[u64; 256], sizes: CutSizes) -> Self {
        todo!()
    }

    /// The length of the chunk that starts at `data[0]`; `None`: give the same bytes again with more behind them.
    ///
    /// With `eof` the data is the stream's last, and any rest is a chunk (`None` only if there is no data).
    /// Nothing is scanned twice when the caller comes back with more.
    pub fn next_cut(&mut self, data: &[u8], eof: bool) -> Option<usize> {
        todo!()
    }
}
