//! What a tree needs, by walking it: the set of segments that a reference set must name.
use std::sync::Arc;

use holdfast_engine::cursor::Cursor;
use holdfast_engine::entry::EntryKind;
use holdfast_engine::refs::RefSet;
use holdfast_engine::tree::NodeSource;
use holdfast_engine::{Error as EngineError, Location, Role};

use crate::Error;
use crate::reader::{CACHE_BYTES, Reader, SegmentCache, unwrap_outside};
use crate::spans::{From, Spans};

/// Notes every segment that something was read from.
struct Noting<'a> {
    nodes: &'a mut SegmentCache,
    refs: &'a mut RefSet,
}

impl NodeSource for Noting<'_> {
    fn get(&mut self, role: Role, location: &Location) -> Result<Vec<u8>, EngineError> {
        self.refs.add_location(location);
        self.nodes.get(role, location)
    }
}

/// Every segment that the tree at `root` needs: its nodes, its lists and groups, and the content of its files.
///
/// Reads metadata only. Fails where a part of the tree cannot be read: what it needs is not known then.
pub fn references(reader: &Arc<Reader>, root: Location) -> Result<RefSet, Error> {
    let mut refs = RefSet::new();
    let mut nodes = SegmentCache::new(Arc::clone(reader), CACHE_BYTES)?;
    let mut cursor = Cursor::new(root);
    loop {
        let mut noting = Noting {
            nodes: &mut nodes,
            refs: &mut refs,
        };
        let Some(entry) = cursor.next(&mut noting).map_err(unwrap_outside)? else {
            return Ok(refs);
        };
        let EntryKind::File { size, content } = &entry.kind else {
            continue;
        };
        let mut spans = Spans::new(*size, content);
        while let Some(batch) = spans.next(&mut noting).map_err(unwrap_outside)? {
            for span in batch {
                match &span.from {
                    From::Chunk(location) => noting.refs.add_location(location),
                    From::Pages(pages) => noting.refs.add_location(&pages.location),
                    From::Hole | From::Inline(_) => {}
                }
            }
        }
    }
}
