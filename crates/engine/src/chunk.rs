//! Where a stream is cut: content-defined, under the secret gear table of a class.
//!
//! A gear hash of the last 64 bytes, compared with a threshold that is stricter before the average size and looser
//! behind it (normalised chunking, `FastCDC` 2016). The smallest size is skipped without being hashed.

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

/// Bytes that a hash depends on.
const WINDOW: usize = 64;
/// Bytes of one of the four lanes that are hashed side by side.
const LANE: usize = 1024;

/// Finds the end of each chunk of one stream. Cuts depend on the bytes since the last cut only, never on how they arrive.
#[derive(Clone)]
pub struct Cutter {
    gear: Box<[u64; 256]>,
    sizes: CutSizes,
    /// A cut before the average size needs a hash below this.
    strict: u64,
    /// A cut behind it needs a hash below this.
    loose: u64,
    /// How many bytes of the current chunk are known to hold no cut.
    scanned: usize,
}

impl Cutter {
    /// A cutter at the start of a stream. Sizes are brought into order: 64 ≤ min ≤ avg ≤ max.
    pub fn new(gear: &[u64; 256], sizes: CutSizes) -> Self {
        let min_bytes = sizes.min_bytes.max(WINDOW);
        let avg_bytes = sizes.avg_bytes.max(min_bytes);
        let sizes = CutSizes {
            min_bytes,
            avg_bytes,
            max_bytes: sizes.max_bytes.max(avg_bytes),
        };
        let bits = avg_bytes.ilog2();
        Self {
            gear: Box::new(*gear),
            sizes,
            strict: 1 << (64 - (bits + 2)),
            loose: 1 << (64 - (bits - 2)),
            scanned: 0,
        }
    }

    /// The length of the chunk that starts at `data[0]`; `None`: give the same bytes again with more behind them.
    ///
    /// With `eof` the data is the stream's last, and any rest is a chunk (`None` only if there is no data).
    /// Nothing is scanned twice when the caller comes back with more.
    pub fn next_cut(&mut self, data: &[u8], eof: bool) -> Option<usize> {
        let cut = self.find(data);
        let cut = cut.or((eof && !data.is_empty()).then_some(data.len()));
        self.scanned = if cut.is_some() {
            0
        } else {
            self.scanned.max(data.len().min(self.sizes.max_bytes))
        };
        cut
    }

    fn find(&self, data: &[u8]) -> Option<usize> {
        let CutSizes {
            min_bytes,
            avg_bytes,
            max_bytes,
        } = self.sizes;
        let data = data.get(..max_bytes).unwrap_or(data);
        let from = self.scanned.max(min_bytes);
        let found = self
            .scan(data, from, avg_bytes, self.strict)
            .or_else(|| self.scan(data, from.max(avg_bytes), max_bytes, self.loose));
        found.or((data.len() == max_bytes).then_some(max_bytes))
    }

    /// The first cut in `from + 1 ..= to` whose hash is below the threshold.
    fn scan(&self, data: &[u8], from: usize, to: usize, threshold: u64) -> Option<usize> {
        let data = data.get(..to).unwrap_or(data);
        let mut position = from;
        while let Some(block) = data.get(position - WINDOW..position + 4 * LANE) {
            if self.lowest_of_four(block) < threshold
                && let Some(cut) = self.scan_lane(block, threshold)
            {
                return Some(position - WINDOW + cut);
            }
            position += 4 * LANE;
        }
        let rest = data.get(position - WINDOW..)?;
        self.scan_lane(rest, threshold)
            .map(|cut| position - WINDOW + cut)
    }

    /// The first cut in data that starts one window before the first place where a cut may be.
    fn scan_lane(&self, data: &[u8], threshold: u64) -> Option<usize> {
        let (window, rest) = data.split_at_checked(WINDOW)?;
        let mut hash = self.warm(window);
        for (index, byte) in rest.iter().enumerate() {
            hash = (hash << 1).wrapping_add(self.gear[usize::from(*byte)]);
            if hash < threshold {
                return Some(WINDOW + index + 1);
            }
        }
        None
    }

    /// The lowest hash of a block of a window and four lanes: four chains of dependent steps run side by side.
    fn lowest_of_four(&self, block: &[u8]) -> u64 {
        let lane = |number: usize| {
            block
                .get(number * LANE..(number + 1) * LANE + WINDOW)
                .unwrap_or(&[])
        };
        let lanes = [lane(0), lane(1), lane(2), lane(3)];
        let mut hashes = lanes.map(|lane| self.warm(lane.get(..WINDOW).unwrap_or(&[])));
        let mut lowest = [u64::MAX; 4];
        let [a, b, c, d] = lanes.map(|lane| lane.get(WINDOW..).unwrap_or(&[]));
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            for ((hash, lowest), byte) in hashes.iter_mut().zip(&mut lowest).zip([a, b, c, d]) {
                *hash = (*hash << 1).wrapping_add(self.gear[usize::from(*byte)]);
                *lowest = (*lowest).min(*hash);
            }
        }
        lowest.into_iter().fold(u64::MAX, u64::min)
    }

    fn warm(&self, window: &[u8]) -> u64 {
        window.iter().fold(0, |hash: u64, byte| {
            (hash << 1).wrapping_add(self.gear[usize::from(*byte)])
        })
    }
}
