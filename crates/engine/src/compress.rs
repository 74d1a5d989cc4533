//! Whether and how plaintext is compressed, and the way back within its declared length.
use zstd::zstd_safe;

use crate::error::{Error, Result};
use crate::segment::TAG_BYTES;

/// How the plaintext of a segment is coded before it is sealed.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// As it is.
    Raw = 0,
    /// One zstd frame that records its content size.
    Zstd = 1,
}

impl TryFrom<u8> for Codec {
    type Error = Error;

    fn try_from(byte: u8) -> Result<Self> {
        match byte {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Zstd),
            _ => Err(Error::damaged("codec")),
        }
    }
}

/// The result of [`Compressor::code`].
pub struct Coded {
    /// How `bytes` are coded.
    pub codec: Codec,
    /// The coded plaintext, with room for the tag behind it.
    pub bytes: Vec<u8>,
    /// The other of the two buffers, to be used again; its content means nothing.
    pub spare: Vec<u8>,
}

/// A compression context for one thread.
pub struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    probe: Vec<u8>,
}

/// Smaller plaintexts are compressed without asking first.
const SAMPLED_BYTES_MIN: usize = 128 << 10;
/// Bytes that the probe compresses: in four pieces from all over the plaintext.
const PROBE_BYTES: usize = 32 << 10;
/// Above this order-0 entropy (bits per byte) of a sample, the probe decides.
const ENTROPY_DOUBTFUL: f64 = 7.6;

impl Compressor {
    /// The level that backups use.
    pub const LEVEL: i32 = 1;

    /// A context of the given zstd level.
    pub fn new(level: i32) -> Result<Self> {
        let context =
            zstd::bulk::Compressor::new(level).map_err(|_| Error::misuse("zstd level"))?;
        Ok(Self {
            context,
            probe: Vec::new(),
        })
    }

    /// Codes `plain`: as it is (moved, not copied) if a sample or the result shows that compression saves under 3 %.
    pub fn code(&mut self, mut plain: Vec<u8>, mut spare: Vec<u8>) -> Result<Coded> {
        if self.is_worth_a_try(&plain)? {
            self.compress(&plain, &mut spare)?;
            if is_saving(spare.len(), plain.len()) {
                return Ok(Coded {
                    codec: Codec::Zstd,
                    bytes: spare,
                    spare: plain,
                });
            }
        }
        plain.reserve(TAG_BYTES);
        Ok(Coded {
            codec: Codec::Raw,
            bytes: plain,
            spare,
        })
    }

    fn compress(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        out.reserve(zstd_safe::compress_bound(plain.len()) + TAG_BYTES);
        self.context
            .compress_to_buffer(plain, out)
            .map_err(|_| Error::misuse("compression context"))?;
        Ok(())
    }

    fn is_worth_a_try(&mut self, plain: &[u8]) -> Result<bool> {
        if plain.len() < SAMPLED_BYTES_MIN || sample_entropy(plain) < ENTROPY_DOUBTFUL {
            return Ok(true);
        }
        let mut probe = Vec::with_capacity(PROBE_BYTES);
        for piece in spread(plain, 4, PROBE_BYTES / 4) {
            probe.extend_from_slice(piece);
        }
        let mut out = std::mem::take(&mut self.probe);
        self.compress(&probe, &mut out)?;
        let worth = is_saving(out.len(), probe.len());
        self.probe = out;
        Ok(worth)
    }
}

/// Whether compression took off 3 % or more.
fn is_saving(coded: usize, plain: usize) -> bool {
    coded * 100 <= plain * 97
}

/// `count` pieces of `piece_bytes`, evenly spread; `bytes` must be longer than all of them.
fn spread(bytes: &[u8], count: usize, piece_bytes: usize) -> impl Iterator<Item = &[u8]> {
    let stride = bytes.len() / count.max(1);
    bytes
        .chunks(stride.max(1))
        .take(count)
        .map(move |part| part.get(..piece_bytes).unwrap_or(part))
}

/// Order-0 entropy in bits per byte of 8 KiB out of each MiB (at least 8 KiB).
fn sample_entropy(plain: &[u8]) -> f64 {
    let pieces = 16 * plain.len().div_ceil(1 << 20);
    entropy_of(spread(plain, pieces, 512))
}

/// Order-0 entropy in bits per byte.
pub(crate) fn entropy(bytes: &[u8]) -> f64 {
    entropy_of(std::iter::once(bytes))
}

fn entropy_of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> f64 {
    let mut counts = [0_u32; 256];
    let mut total = 0;
    for piece in pieces {
        total += piece.len() as u32;
        for byte in piece {
            counts[usize::from(*byte)] += 1;
        }
    }
    let total = f64::from(total);
    let bits = |count: &u32| f64::from(*count) * (total / f64::from(*count)).log2();
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(bits)
        .sum::<f64>()
        / total
}

/// A decompression context for one thread.
pub struct Decompressor {
    context: zstd::bulk::Decompressor<'static>,
}

impl Decompressor {
    /// A context for any segment.
    pub fn new() -> Result<Self> {
        let context =
            zstd::bulk::Decompressor::new().map_err(|_| Error::misuse("decompression context"))?;
        Ok(Self { context })
    }

    /// The plaintext of exactly `plain_len` bytes; anything else, or any more, is damage.
    ///
    /// Takes no more memory than `plain_len`, whatever the frame says.
    pub fn decode(&mut self, codec: Codec, bytes: Vec<u8>, plain_len: u32) -> Result<Vec<u8>> {
        let plain_len = plain_len as usize;
        if plain_len > crate::limits::SEGMENT_PLAIN_BYTES_MAX {
            return Err(Error::limit("plaintext of a segment"));
        }
        let plain = match codec {
            Codec::Raw => bytes,
            Codec::Zstd => self.decompress(&bytes, plain_len)?,
        };
        if plain.len() == plain_len {
            Ok(plain)
        } else {
            Err(Error::damaged("length of a plaintext"))
        }
    }

    fn decompress(&mut self, coded: &[u8], plain_len: usize) -> Result<Vec<u8>> {
        let recorded = zstd_safe::get_frame_content_size(coded).ok().flatten();
        let frame = zstd_safe::find_frame_compressed_size(coded).ok();
        if recorded != Some(plain_len as u64) || frame != Some(coded.len()) {
            return Err(Error::damaged("zstd frame"));
        }
        let mut plain = Vec::with_capacity(plain_len);
        self.context
            .decompress_to_buffer(coded, &mut plain)
            .map_err(|_| Error::damaged("zstd frame"))?;
        Ok(plain)
    }
}
