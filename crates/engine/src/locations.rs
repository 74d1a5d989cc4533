//! The coding of locations in a node or list: a table of origins, then small differences.
use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::id::{Location, Origin};
use crate::limits::ORIGIN_BYTES;
use crate::wire::{Reader, put_varint, put_zigzag};

/// The fewest bytes of a location: three numbers.
pub(crate) const LOCATION_BYTES_MIN: usize = 3;
/// The most bytes of a location, with its origin in the table.
pub(crate) const LOCATION_BYTES_MAX: usize = 3 * 5 + ORIGIN_BYTES;

/// Up to so many origins are searched one by one.
const SEARCHED_ORIGINS: usize = 16;

/// The table of origins of one node or list, while it is written.
#[derive(Debug, Default)]
pub struct LocationEncoder {
    origins: Vec<Origin>,
    indexes: HashMap<Origin, usize>,
    previous: Previous,
}

/// What the next location is relative to.
#[derive(Debug, Default, Clone, Copy)]
struct Previous {
    origin: Option<usize>,
    segment: u32,
    chunk: u32,
}

impl Previous {
    /// The chunk number that the next one is counted from.
    fn chunk_base(&self, origin: usize, segment: u32) -> i64 {
        if self.origin == Some(origin) && self.segment == segment {
            i64::from(self.chunk) + 1
        } else {
            0
        }
    }
}

impl LocationEncoder {
    /// Appends a location, relative to the one before.
    pub fn put(&mut self, out: &mut Vec<u8>, location: &Location) {
        let origin = self.index_of(location.origin);
        put_varint(out, origin as u64);
        put_zigzag(
            out,
            i64::from(location.segment) - i64::from(self.previous.segment),
        );
        put_zigzag(
            out,
            i64::from(location.chunk) - self.previous.chunk_base(origin, location.segment),
        );
        self.previous = Previous {
            origin: Some(origin),
            segment: location.segment,
            chunk: location.chunk,
        };
    }

    /// Appends the origin table (`varint count`, then the origins), which stands before the locations.
    pub fn put_table(&self, out: &mut Vec<u8>) {
        put_varint(out, self.origins.len() as u64);
        for origin in &self.origins {
            out.extend_from_slice(&origin.0);
        }
    }

    /// Starts anew, keeping the memory.
    pub fn clear(&mut self) {
        self.origins.clear();
        self.indexes.clear();
        self.previous = Previous::default();
    }

    fn index_of(&mut self, origin: Origin) -> usize {
        if let Some(last) = self
            .previous
            .origin
            .filter(|last| self.origins.get(*last) == Some(&origin))
        {
            return last;
        }
        let next = self.origins.len();
        let found = if next <= SEARCHED_ORIGINS {
            self.origins.iter().position(|known| *known == origin)
        } else {
            if self.indexes.is_empty() {
                self.indexes.extend(
                    self.origins
                        .iter()
                        .enumerate()
                        .map(|(index, known)| (*known, index)),
                );
            }
            self.indexes.get(&origin).copied()
        };
        found.unwrap_or_else(|| {
            self.origins.push(origin);
            if !self.indexes.is_empty() {
                self.indexes.insert(origin, next);
            }
            next
        })
    }
}

/// Reads locations behind their origin table.
#[derive(Debug)]
pub struct LocationDecoder {
    origins: Vec<Origin>,
    previous: Previous,
}

impl LocationDecoder {
    /// Reads the origin table.
    pub fn read_table(reader: &mut Reader<'_>) -> Result<Self> {
        let count = reader.count(reader.rest().len() / ORIGIN_BYTES, "origins of a node")?;
        let origins = (0..count)
            .map(|_| reader.array().map(Origin))
            .collect::<Result<_>>()?;
        Ok(Self {
            origins,
            previous: Previous::default(),
        })
    }

    /// Reads the next location.
    pub fn read(&mut self, reader: &mut Reader<'_>) -> Result<Location> {
        const BEYOND: Error = Error::damaged("a location beyond its range");
        let index = usize::try_from(reader.varint()?).map_err(|_| BEYOND)?;
        let origin = *self
            .origins
            .get(index)
            .ok_or(Error::damaged("origin of a location"))?;
        let number = |base: i64, delta: i64| {
            base.checked_add(delta)
                .and_then(|sum| u32::try_from(sum).ok())
                .ok_or(BEYOND)
        };
        let segment = number(i64::from(self.previous.segment), reader.zigzag()?)?;
        let chunk = number(self.previous.chunk_base(index, segment), reader.zigzag()?)?;
        self.previous = Previous {
            origin: Some(index),
            segment,
            chunk,
        };
        Ok(Location {
            origin,
            segment,
            chunk,
        })
    }
}
