//! What things are called: ids of content, places of content, names of packs, and whose they are.
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Declares a value of fixed bytes that shows as lower-case hex.
macro_rules! hex_value {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                parse_hex(text).map(Self)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = Error;

            fn try_from(bytes: &[u8]) -> Result<Self> {
                bytes.try_into().map(Self).map_err(|_| Error::damaged("length of a name or id"))
            }
        }
    };
}

hex_value! {
    /// The keyed hash of content: equal within one class generation exactly if the content is equal.
    Id, 16
}
hex_value! {
    /// The first half of a [`PackNonce`]: names a pack in a [`Location`] for good, wherever its segments are copied.
    Origin, 16
}
hex_value! {
    /// The nonce of a pack, bound to the run key that seals its segments ([`PackNonce::bind`](crate::keys)).
    PackNonce, 32
}
hex_value! {
    /// SHA-256 of a whole pack: its name in a store.
    PackName, 32
}
hex_value! {
    /// The 16 random bytes that name a vault.
    VaultId, 16
}

/// Which data class; part of every derivation, so that classes never share chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u16);

/// Which generation of a class's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl PackNonce {
    /// The part of the nonce that locations carry.
    pub fn origin(&self) -> Origin {
        let mut origin = [0; 16];
        origin.copy_from_slice(&self.0[..16]);
        Origin(origin)
    }
}

/// Where content is: the `chunk`-th chunk of the segment that `origin` sealed as number `segment`. Survives repacking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The pack that the segment was sealed for.
    pub origin: Origin,
    /// The segment's ordinal in its origin.
    pub segment: u32,
    /// The chunk's number in its segment.
    pub chunk: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.origin, self.segment, self.chunk)
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().ok_or(Error::damaged("text of a location"));
        Ok(Self {
            origin: next()?.parse()?,
            segment: parse_decimal(next()?)?,
            chunk: parse_decimal(next()?)?,
        })
    }
}

/// What a chunk holds; part of its [`Id`], so that content of one role never passes for another.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Plaintext of a file.
    Chunk = 1,
    /// A tree node.
    Node = 2,
    /// A piece list, or a group list.
    Pieces = 3,
    /// A page-map group.
    Group = 4,
    /// One page; used inside groups only.
    Page = 5,
    /// A chunk made of pages.
    Pages = 6,
}

impl TryFrom<u8> for Role {
    type Error = Error;

    fn try_from(byte: u8) -> Result<Self> {
        Ok(match byte {
            1 => Self::Chunk,
            2 => Self::Node,
            3 => Self::Pieces,
            4 => Self::Group,
            5 => Self::Page,
            6 => Self::Pages,
            _ => return Err(Error::damaged("role of a chunk")),
        })
    }
}

/// What a pack is for: data may go to a cold store while metadata stays on a hot one.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackKind {
    /// Content of files.
    Data = 1,
    /// Tree nodes and piece lists.
    Metadata = 2,
    /// Page-map groups and group lists: the writer can open these.
    Map = 3,
}

impl TryFrom<u8> for PackKind {
    type Error = Error;

    fn try_from(byte: u8) -> Result<Self> {
        Ok(match byte {
            1 => Self::Data,
            2 => Self::Metadata,
            3 => Self::Map,
            _ => return Err(Error::damaged("kind of a pack")),
        })
    }
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N]> {
    const WRONG: Error = Error::damaged("hex of a name or id");
    let digit = |c: u8| match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(WRONG),
    };
    if text.len() != 2 * N {
        return Err(WRONG);
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = match pair {
            [high, low] => digit(*high)? << 4 | digit(*low)?,
            _ => return Err(WRONG),
        };
    }
    Ok(out)
}

/// A decimal number without sign or leading zeros, so that each location has one text.
fn parse_decimal(text: &str) -> Result<u32> {
    let canonical =
        text == "0" || (!text.starts_with('0') && text.bytes().all(|c| c.is_ascii_digit()));
    if !canonical {
        return Err(Error::damaged("text of a location"));
    }
    text.parse()
        .map_err(|_| Error::damaged("text of a location"))
}
