//! The clear front of a pack: whose it is, whose segments it holds, and the run keys they need.
use std::collections::HashSet;

use crate::directory::SegmentInfo;
use crate::error::{Error, Result};
use crate::id::{ClassId, Generation, Origin, PackKind, PackNonce, VaultId};
use crate::keys::ClassKeys;
use crate::limits;
use crate::segment::SegmentHead;
use crate::wire::Reader;

/// Bytes of the header before the envelopes.
pub const HEADER_FIXED_BYTES: usize = 76;

const MAGIC: [u8; 8] = *b"\x89HFPK\r\n\x1a";
const ORIGIN_ROW_BYTES: usize = 34;
const NO_ENVELOPE: u16 = 0xFFFF;

/// One run key, wrapped to its recipients: the encoded form, checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Envelope(Vec<u8>);

/// One recipient of an [`Envelope`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// 1: HPKE to the class; 2: the writer's state key.
    pub kind: u8,
    /// The wrapped run key.
    pub wrapped: &'a [u8],
}

impl Envelope {
    /// Takes an encoded envelope (`u16 count`, then the recipients); refuses bytes that are not exactly one.
    pub fn new(encoded: Vec<u8>) -> Result<Self> {
        let mut reader = Reader::new(&encoded);
        Self::skip(&mut reader)?;
        reader.end("envelope")?;
        Ok(Self(encoded))
    }

    /// Encodes recipients.
    pub fn from_recipients(recipients: &[Recipient<'_>]) -> Result<Self> {
        let count = u16::try_from(recipients.len())
            .map_err(|_| Error::limit("recipients of an envelope"))?;
        let mut out = count.to_le_bytes().to_vec();
        for recipient in recipients {
            let length = u16::try_from(recipient.wrapped.len())
                .map_err(|_| Error::limit("wrapped run key"))?;
            out.push(recipient.kind);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(recipient.wrapped);
        }
        Ok(Self(out))
    }

    /// The encoded form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its recipients.
    pub fn recipients(&self) -> Vec<Recipient<'_>> {
        let mut reader = Reader::new(&self.0);
        let count = reader.u16().unwrap_or(0);
        (0..count)
            .map_while(|_| Recipient::read(&mut reader).ok())
            .collect()
    }

    fn skip(reader: &mut Reader<'_>) -> Result<()> {
        for _ in 0..reader.u16()? {
            Recipient::read(reader)?;
        }
        Ok(())
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let before = reader.rest();
        Self::skip(reader)?;
        let length = before.len() - reader.rest().len();
        Ok(Self(before.get(..length).unwrap_or(before).to_vec()))
    }
}

impl<'a> Recipient<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let kind = reader.u8()?;
        let length = reader.u16()?;
        Ok(Self {
            kind,
            wrapped: reader.take(usize::from(length))?,
        })
    }
}

/// A pack whose segments are in this pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOrigin {
    /// Its nonce.
    pub nonce: PackNonce,
    /// Which envelope of this pack carries its run key; `None` only for a pack without segments of its own.
    pub envelope: Option<u16>,
}

/// The clear front of a pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackHeader {
    /// What the pack is for.
    pub kind: PackKind,
    /// The vault.
    pub vault: VaultId,
    /// The class.
    pub class: ClassId,
    /// The generation of the class's keys.
    pub generation: Generation,
    /// The pack's own nonce, which is also that of origin 0.
    pub nonce: PackNonce,
    /// The run keys that the segments need.
    pub envelopes: Vec<Envelope>,
    /// Whose segments are here; the first is the pack itself.
    pub origins: Vec<PackOrigin>,
}

impl PackHeader {
    /// The header's bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        self.check()?;
        let length = self.encoded_len();
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&(limits::FORMAT_VERSION as u16).to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, 0]);
        out.extend_from_slice(&self.vault.0);
        out.extend_from_slice(&self.class.0.to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&self.generation.0.to_le_bytes());
        out.extend_from_slice(&self.nonce.0);
        out.extend_from_slice(&(length as u32).to_le_bytes());
        out.extend_from_slice(&(self.envelopes.len() as u16).to_le_bytes());
        out.extend_from_slice(&(self.origins.len() as u16).to_le_bytes());
        for envelope in &self.envelopes {
            out.extend_from_slice(envelope.as_bytes());
        }
        for origin in &self.origins {
            out.extend_from_slice(&origin.nonce.0);
            out.extend_from_slice(&origin.envelope.unwrap_or(NO_ENVELOPE).to_le_bytes());
        }
        Ok(out)
    }

    /// How many bytes [`Self::encode`] gives.
    pub fn encoded_len(&self) -> usize {
        let envelopes: usize = self
            .envelopes
            .iter()
            .map(|envelope| envelope.as_bytes().len())
            .sum();
        HEADER_FIXED_BYTES + envelopes + ORIGIN_ROW_BYTES * self.origins.len()
    }

    /// How many bytes the header has, from the first [`HEADER_FIXED_BYTES`] (or more) of a pack.
    pub fn length(prefix: &[u8]) -> Result<usize> {
        Ok(Fixed::read(&mut Reader::new(prefix))?.length)
    }

    /// Parses the header at the start of a pack; also gives its length, where the first segment starts.
    pub fn parse(prefix: &[u8]) -> Result<(Self, usize)> {
        let mut reader = Reader::new(prefix);
        let fixed = Fixed::read(&mut reader)?;
        let body = reader.take(fixed.length - HEADER_FIXED_BYTES)?;
        let mut reader = Reader::new(body);
        let mut header = fixed.header;
        for _ in 0..fixed.envelopes {
            header.envelopes.push(Envelope::read(&mut reader)?);
        }
        for _ in 0..fixed.origins {
            let nonce = PackNonce(reader.array()?);
            let envelope = Some(reader.u16()?).filter(|index| *index != NO_ENVELOPE);
            header.origins.push(PackOrigin { nonce, envelope });
        }
        reader.end("header of a pack")?;
        header.check()?;
        Ok((header, fixed.length))
    }

    /// The head of a segment of one of the origins, as [`crate::segment::open_segment`] needs it.
    pub fn segment_head(&self, segment: &SegmentInfo) -> Result<SegmentHead> {
        let origin = self
            .origins
            .get(usize::from(segment.origin_index))
            .ok_or(Error::damaged("origin of a segment"))?;
        Ok(SegmentHead {
            kind: self.kind,
            class: self.class,
            generation: self.generation,
            vault: self.vault,
            nonce: origin.nonce,
            ordinal: segment.ordinal,
            codec: segment.codec,
            plain_len: segment.plain_len,
        })
    }

    /// The envelope that carries the run key of an origin.
    pub fn envelope_of(&self, nonce: &PackNonce) -> Result<&Envelope> {
        let origin = self.origins.iter().find(|origin| origin.nonce == *nonce);
        origin
            .and_then(|origin| self.envelopes.get(usize::from(origin.envelope?)))
            .ok_or(Error::damaged("an origin without an envelope"))
    }

    /// Refuses keys of another vault, class or generation.
    pub fn check_keys(&self, keys: &ClassKeys) -> Result<()> {
        let fits = [
            (self.vault == keys.vault(), "vault of a pack"),
            (self.class == keys.class(), "class of a pack"),
            (self.generation == keys.generation(), "generation of a pack"),
        ];
        fits.into_iter().try_for_each(|(fits, what)| {
            if fits {
                Ok(())
            } else {
                Err(Error::WrongKey { what })
            }
        })
    }

    fn check(&self) -> Result<()> {
        if self.origins.len() > limits::PACK_ORIGINS_MAX
            || self.envelopes.len() >= usize::from(NO_ENVELOPE)
        {
            return Err(Error::limit("origins of a pack"));
        }
        let own = self
            .origins
            .first()
            .is_some_and(|origin| origin.nonce == self.nonce);
        let mut seen: HashSet<Origin> = HashSet::with_capacity(self.origins.len());
        let sound = |(index, origin): (usize, &PackOrigin)| {
            let found = origin
                .envelope
                .map_or(index == 0, |at| usize::from(at) < self.envelopes.len());
            found && seen.insert(origin.nonce.origin())
        };
        if own && self.origins.iter().enumerate().all(sound) {
            Ok(())
        } else {
            Err(Error::damaged("origins of a pack"))
        }
    }
}

/// The fields of fixed place.
struct Fixed {
    header: PackHeader,
    length: usize,
    envelopes: u16,
    origins: u16,
}

impl Fixed {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        if reader.array()? != MAGIC {
            return Err(Error::damaged("magic of a pack"));
        }
        let version = u32::from(reader.u16()?);
        if version != limits::FORMAT_VERSION {
            return Err(Error::UnknownVersion {
                what: "pack",
                found: version,
            });
        }
        let kind = PackKind::try_from(reader.u8()?)?;
        let reserved = reader.u8()?;
        let vault = VaultId(reader.array()?);
        let class = ClassId(reader.u16()?);
        if reserved != 0 || reader.u16()? != 0 {
            return Err(Error::damaged("reserved field of a pack"));
        }
        let generation = Generation(reader.u32()?);
        let nonce = PackNonce(reader.array()?);
        let length = reader.u32()? as usize;
        let envelopes = reader.u16()?;
        let origins = reader.u16()?;
        if !(HEADER_FIXED_BYTES..=limits::PACK_BYTES_MAX).contains(&length) {
            return Err(Error::limit("header of a pack"));
        }
        let header = PackHeader {
            kind,
            vault,
            class,
            generation,
            nonce,
            envelopes: Vec::new(),
            origins: Vec::new(),
        };
        Ok(Self {
            header,
            length,
            envelopes,
            origins,
        })
    }
}
