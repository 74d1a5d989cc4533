//! Which files of a tree rest on given segments, or on segments that no pack is known to hold.
use std::collections::HashSet;
use std::sync::Arc;

use holdfast_engine::content::Content;
use holdfast_engine::cursor::Cursor;
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::{Error as EngineError, Location, Origin};

use crate::Error;
use crate::reader::{CACHE_BYTES, Reader, SegmentCache, is_of_one_segment, unwrap_outside};
use crate::spans::{From, Spans};

/// Walks a tree for the files that cannot be restored whole.
pub struct Affected {
    cursor: Cursor,
    nodes: SegmentCache,
    segments: HashSet<(Origin, u32)>,
    known: std::collections::HashMap<(Origin, u32), bool>,
    is_cut: bool,
}

/// Answers about segments that are remembered.
const KNOWN_MAX: usize = 1 << 16;

impl Affected {
    /// Looks for files that need one of `segments`, or one that the index does not have (any more).
    pub fn new(
        reader: Arc<Reader>,
        root: Location,
        segments: HashSet<(Origin, u32)>,
    ) -> Result<Self, Error> {
        Ok(Self {
            cursor: Cursor::new(root),
            nodes: SegmentCache::new(reader, CACHE_BYTES)?,
            segments,
            known: std::collections::HashMap::new(),
            is_cut: false,
        })
    }

    /// The next such file. If parts of the tree cannot be read, they are passed over, and damage is the last answer.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        while let Some(entry) = self.walk()? {
            if let EntryKind::File { size, content } = &entry.kind
                && self.is_affected(*size, content)?
            {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn walk(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            match self.cursor.next(&mut self.nodes).map_err(unwrap_outside) {
                Ok(None) if std::mem::take(&mut self.is_cut) => {
                    return Err(EngineError::Damaged {
                        what: "parts of a tree cannot be read",
                    }
                    .into());
                }
                Ok(entry) => return Ok(entry),
                Err(error) if is_of_one_segment(&error) && self.cursor.skip_lost().is_some() => {
                    self.is_cut = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn is_affected(&mut self, size: u64, content: &Content) -> Result<bool, Error> {
        for location in content.locations() {
            if self.is_bad(location)? {
                return Ok(true);
            }
        }
        if matches!(content, Content::Inline(_) | Content::Pieces(_)) {
            return Ok(false);
        }
        let mut spans = Spans::new(size, content);
        loop {
            match spans.next(&mut self.nodes).map_err(unwrap_outside) {
                Ok(None) => return Ok(false),
                Ok(Some(batch)) => {
                    for span in batch {
                        let location = match &span.from {
                            From::Chunk(location) => *location,
                            From::Pages(pages) => pages.location,
                            From::Hole | From::Inline(_) => continue,
                        };
                        if self.is_bad(&location)? {
                            return Ok(true);
                        }
                    }
                }
                // A list that cannot be read costs the file.
                Err(Error::Engine(_)) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    fn is_bad(&mut self, location: &Location) -> Result<bool, Error> {
        let key = (location.origin, location.segment);
        if self.segments.contains(&key) {
            return Ok(true);
        }
        if let Some(bad) = self.known.get(&key) {
            return Ok(*bad);
        }
        let bad = !self.nodes.reader().index.has_segment(&key.0, key.1)?;
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(key, bad);
        Ok(bad)
    }
}
