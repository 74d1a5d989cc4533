//! One group of a page map: what 256 pages of a file are, and where.
use crate::content::PAGE_SIZES_LOG2;
use crate::error::{Error, Result};
use crate::id::{Id, Location};
use crate::limits;
use crate::locations::{LocationDecoder, LocationEncoder};
use crate::wire::{Reader, put_varint};

/// A run of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// How many.
    pub pages: u32,
    /// The chunk of role 6 that holds them and the first page's number in it; `None`: a hole.
    pub place: Option<(Location, u32)>,
}

/// Up to 256 pages of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageGroup {
    /// log2 of the page size.
    pub page_size_log2: u8,
    /// Length of the last page: less than a page only at the end of the file.
    pub last_page_bytes: u32,
    /// The pages' ids; 16 zero bytes for a page of a hole.
    pub ids: Vec<Id>,
    /// Where the pages are, in order.
    pub extents: Vec<Extent>,
}

impl PageGroup {
    /// The id that stands for a page of a hole.
    pub const HOLE: Id = Id([0; 16]);

    /// The group as a chunk of role 4.
    pub fn encode(&self) -> Result<Vec<u8>> {
        self.check()
            .map_err(|_| Error::misuse("a page group that no reader takes"))?;
        let mut locations = LocationEncoder::default();
        let mut extents = Vec::new();
        put_varint(&mut extents, self.extents.len() as u64);
        for extent in &self.extents {
            put_varint(
                &mut extents,
                u64::from(extent.pages) << 1 | u64::from(extent.place.is_none()),
            );
            if let Some((location, first_page)) = &extent.place {
                locations.put(&mut extents, location);
                put_varint(&mut extents, u64::from(*first_page));
            }
        }
        let mut out = vec![1];
        put_varint(&mut out, u64::from(self.page_size_log2));
        put_varint(&mut out, self.ids.len() as u64);
        put_varint(&mut out, u64::from(self.last_page_bytes));
        locations.put_table(&mut out);
        for id in &self.ids {
            out.extend_from_slice(&id.0);
        }
        out.extend_from_slice(&extents);
        Ok(out)
    }

    /// Parses a group; checks that its extents cover its pages, and that holes are where ids are zero.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > limits::NODE_BYTES_MAX {
            return Err(Error::limit("bytes of a page group"));
        }
        let mut reader = Reader::new(bytes);
        reader.version("page group")?;
        let page_size_log2 = reader.count(usize::from(*PAGE_SIZES_LOG2.end()), "page size")? as u8;
        let pages = reader.count(limits::MAP_GROUP_PAGES, "pages of a group")?;
        let last_page_bytes = reader.varint_u32("page size")?;
        let mut locations = LocationDecoder::read_table(&mut reader)?;
        let ids = (0..pages)
            .map(|_| reader.array().map(Id))
            .collect::<Result<_>>()?;
        let count = reader.count(pages, "extents of a group")?;
        let extents = (0..count)
            .map(|_| Extent::read(&mut reader, &mut locations))
            .collect::<Result<_>>()?;
        reader.end("page group")?;
        let group = Self {
            page_size_log2,
            last_page_bytes,
            ids,
            extents,
        };
        group.check()?;
        Ok(group)
    }

    /// Bytes of the file that the group covers.
    pub fn bytes_len(&self) -> u64 {
        ((self.ids.len() as u64).saturating_sub(1) << self.page_size_log2)
            + u64::from(self.last_page_bytes)
    }

    fn check(&self) -> Result<()> {
        let sizes = PAGE_SIZES_LOG2.contains(&self.page_size_log2)
            && (1..=1_u32 << self.page_size_log2).contains(&self.last_page_bytes)
            && (1..=limits::MAP_GROUP_PAGES).contains(&self.ids.len());
        if sizes && self.extents_fit() {
            Ok(())
        } else {
            Err(Error::damaged("page group"))
        }
    }

    fn extents_fit(&self) -> bool {
        let mut ids = self.ids.as_slice();
        for extent in &self.extents {
            let Some((covered, rest)) = ids.split_at_checked(extent.pages as usize) else {
                return false;
            };
            let holes = extent.place.is_none();
            if covered.is_empty() || covered.iter().any(|id| (*id == Self::HOLE) != holes) {
                return false;
            }
            ids = rest;
        }
        ids.is_empty()
    }
}

impl Extent {
    fn read(reader: &mut Reader<'_>, locations: &mut LocationDecoder) -> Result<Self> {
        let coded = reader.varint_u32("pages of an extent")?;
        let place = if coded & 1 == 0 {
            let location = locations.read(reader)?;
            let first_page =
                reader.count(limits::SEGMENT_PLAIN_BYTES_MAX >> 9, "pages of a chunk")? as u32;
            Some((location, first_page))
        } else {
            None
        };
        Ok(Self {
            pages: coded >> 1,
            place,
        })
    }
}
