//! The words of the format: fixed integers, varints, zigzag, counted bytes.
use crate::error::{Error, Result};

const SHORT: Error = Error::damaged("ends too early");

/// Reads from the front of bytes of unknown origin. Nothing here panics or allocates more than it was given.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from the start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(head)
    }

    /// The next `N` bytes, as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        let (head, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An unsigned number of one to ten bytes in its shortest form.
    #[inline]
    pub fn varint(&mut self) -> Result<u64> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        self.varint_tail(first)
    }

    fn varint_tail(&mut self, first: u8) -> Result<u64> {
        let mut value = u64::from(first & 0x7f);
        for shift in (7..70).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                return Err(Error::damaged("varint beyond 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                if byte == 0 {
                    return Err(Error::damaged("varint in an over-long form"));
                }
                return Ok(value);
            }
        }
        Err(Error::damaged("varint beyond 64 bits"))
    }

    /// A signed number.
    #[inline]
    pub fn zigzag(&mut self) -> Result<i64> {
        let coded = self.varint()?;
        Ok((coded >> 1).cast_signed() ^ -((coded & 1).cast_signed()))
    }

    /// A varint that fits 32 bits.
    #[inline]
    pub fn varint_u32(&mut self, what: &'static str) -> Result<u32> {
        u32::try_from(self.varint()?).map_err(|_| Error::limit(what))
    }

    /// A varint that counts something of which there may be at most `max`.
    #[inline]
    pub fn count(&mut self, max: usize, what: &'static str) -> Result<usize> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|count| *count <= max)
            .ok_or(Error::limit(what))
    }

    /// Counted bytes, at most `max`.
    #[inline]
    pub fn bytes(&mut self, max: usize, what: &'static str) -> Result<&'a [u8]> {
        let count = self.count(max, what)?;
        self.take(count)
    }

    /// The version byte at the front of a plaintext.
    pub fn version(&mut self, what: &'static str) -> Result<()> {
        match self.u8()? {
            1 => Ok(()),
            found => Err(Error::UnknownVersion {
                what,
                found: u32::from(found),
            }),
        }
    }

    /// Refuses trailing bytes.
    pub fn end(&self, what: &'static str) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::damaged(what))
        }
    }
}

/// Appends an unsigned number in its shortest form.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number.
#[inline]
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends counted bytes.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
