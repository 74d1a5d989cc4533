//! What earlier runs knew: the stat cache, merged with the scan in one pass, or what a writer state says if there is none.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_engine::content::{Content, parse_group_list, parse_piece_list, total_len};
use holdfast_engine::entry::compare_paths;
use holdfast_engine::group::PageGroup;
use holdfast_engine::state::{StateFile, WriterState};
use holdfast_engine::tree::NodeSource;
use holdfast_engine::{ClassId, ClassKeys, Location, Origin, Role};

use super::batch::{Body, PageFile, Past, Stored};
use super::classify::raised;
use super::context::Context;
use super::source::SMALL_BYTES_MAX;
use crate::Error;
use crate::reader::{CACHE_BYTES, SegmentCache};
use crate::scan::FoundEntry;
use crate::statcache::CacheReader;
use crate::statcache::record::Held;

/// Larger files are not read for an audit.
const AUDIT_BYTES_MAX: u64 = 16 << 20;

/// What is known of an entry.
pub(super) struct Known {
    pub past: Past,
    pub body: Body,
    /// The mark that an audited file should have.
    pub before: Option<u64>,
    /// The page map of a file that changed.
    pub old: Option<Arc<PageFile>>,
    /// It has the size it had, and changed: in place.
    pub rewritten: bool,
    /// Position that its content raised it to.
    pub detected: Option<u16>,
}

impl Known {
    /// Nothing is known but that it must be read.
    pub fn to_be_read(past: Past) -> Self {
        Self {
            past,
            body: Body::Unread,
            before: None,
            old: None,
            rewritten: false,
            detected: None,
        }
    }
}

impl Known {
    fn unchanged(body: Body) -> Self {
        Self {
            body,
            ..Self::to_be_read(Past::Unchanged)
        }
    }
}

/// The knowledge of earlier runs.
pub(super) struct Memory {
    cache: Option<CacheReader>,
    /// Files of a writer state, by class and hash of the path.
    states: HashMap<(ClassId, u64), StateFile>,
    /// Opens what states name.
    maps: Option<SegmentCache>,
    /// A writer state was read.
    state: bool,
    paranoid: bool,
    audit: Audit,
    /// The last segment asked for, and whether it can be referred to.
    last: Option<(Origin, u32, bool)>,
}

impl Memory {
    /// States that cannot be understood are as good as none: everything is read.
    pub fn new(context: &Context, cache: Option<CacheReader>, states: &[Vec<u8>]) -> Self {
        let mut files = HashMap::new();
        let mut state = false;
        if cache.is_none() {
            let mut taken = states.iter().map(|payload| take_state(&mut files, payload));
            state = !states.is_empty() && taken.all(|taken| taken.is_ok());
            if !state {
                files.clear();
            }
        }
        let reader = context.maps.clone().filter(|_| state);
        let maps = reader.and_then(|reader| SegmentCache::new(reader, CACHE_BYTES).ok());
        let options = &context.options;
        let known = cache.as_ref().map_or(0, |cache| cache.records);
        Self {
            cache,
            states: files,
            maps,
            state,
            paranoid: options.paranoid,
            audit: Audit::new(options.audit_files, known, options.started_s),
            last: None,
        }
    }

    /// Whether there is a writer state that a new one can be a difference to.
    pub fn has_state(&self) -> bool {
        self.state
    }

    /// What is known of the entry that the scan met. Entries must come in path order.
    pub fn recall(&mut self, context: &Context, entry: &FoundEntry<'_>) -> Result<Known, Error> {
        self.skip_to(context, entry.path);
        let Some(cache) = &mut self.cache else {
            return self.recall_state(context, entry);
        };
        let Some(record) = cache.peek_mut().filter(|record| record.path == entry.path) else {
            return Ok(Known::to_be_read(Past::New));
        };
        let detected = record.detected;
        let class = raised(entry.class, detected);
        let as_it_was = record.class == class && record.matches(&entry.stat);
        let trusted = as_it_was && !record.fresh;
        // Read again only to be sure: that is no change, whatever comes of it.
        let past = if as_it_was && record.fresh {
            Past::Audited
        } else {
            Past::Changed
        };
        let held = std::mem::replace(&mut record.held, Held::Other { target: Vec::new() });
        let xattrs = std::mem::take(&mut record.xattrs);
        let same_class = record.class == class;
        let same_size = record.size == entry.stat.size;
        cache.advance();
        let (stored, mark) = match held {
            Held::File { stored, mark } if entry.stat.is_file() => (stored, mark),
            Held::Other { target } if trusted && !entry.stat.is_file() => {
                return Ok(Known::unchanged(Body::Other { target, xattrs }));
            }
            _ => return Ok(Known::to_be_read(past)),
        };
        if let Stored::Pages(pages) = &stored {
            context.sides.keep(pages.side);
        }
        if !trusted || !self.is_stored(context, class, &stored)? {
            let old = match stored {
                Stored::Pages(pages) if same_class => Some(pages),
                _ => None,
            };
            return Ok(Known {
                old,
                rewritten: same_size && !as_it_was,
                detected,
                ..Known::to_be_read(past)
            });
        }
        if self.paranoid || self.audit.picks(entry.stat.size) {
            let before = (mark != 0).then_some(mark);
            let old = match stored {
                Stored::Pages(pages) => Some(pages),
                _ => None,
            };
            return Ok(Known {
                before,
                old,
                detected,
                ..Known::to_be_read(Past::Audited)
            });
        }
        Ok(Known {
            detected,
            ..Known::unchanged(Body::File {
                stored,
                xattrs,
                mark,
            })
        })
    }

    /// Passes over what the cache knows before `path`: it is gone.
    pub fn skip_to(&mut self, context: &Context, path: &[u8]) {
        self.skip_while(context, |known| compare_paths(known, path).is_lt());
    }

    /// Nothing more will be asked for.
    pub fn end(&mut self, context: &Context) {
        self.skip_while(context, |_| true);
        let left = self.states.drain().map(|((_, hash), _)| hash);
        context.removed.lock().extend(left);
    }

    fn skip_while(&mut self, context: &Context, gone: impl Fn(&[u8]) -> bool) {
        let Some(cache) = &mut self.cache else { return };
        while let Some(record) = cache.peek().filter(|record| gone(&record.path)) {
            context.counters.removed.fetch_add(1, Ordering::Relaxed);
            if let Held::File { stored, mark } = &record.held {
                if let Stored::Pages(pages) = stored {
                    context.sides.keep(pages.side);
                }
                if record.size > 0 {
                    context.signs.gone(*mark, record.ino);
                }
            }
            let keys = context.packer.keys(usize::from(record.class));
            if let (true, Ok(keys)) = (record.size > SMALL_BYTES_MAX, keys) {
                context.removed.lock().push(keys.path_hash(&record.path));
            }
            cache.advance();
        }
    }

    /// Packs were excluded: what was answered before may not hold any longer.
    pub fn ask_again(&mut self) {
        self.last = None;
    }

    fn recall_state(&mut self, context: &Context, entry: &FoundEntry<'_>) -> Result<Known, Error> {
        if self.states.is_empty() || self.paranoid || entry.stat.size <= SMALL_BYTES_MAX {
            return Ok(Known::to_be_read(Past::New));
        }
        let Some((class, file)) = self.state_of(context, entry) else {
            return Ok(Known::to_be_read(Past::New));
        };
        let detected = (class != entry.class).then_some(class);
        let stat = &entry.stat;
        let same = (file.size, file.mtime, file.ctime, file.inode)
            == (stat.size, stat.mtime, stat.ctime, stat.ino);
        // What cannot be fetched costs reading the file.
        let stored = self
            .maps
            .as_mut()
            .and_then(|maps| stored_of(context, maps, &file).ok())
            .or(match file.content {
                Content::Pieces(pieces) => Some(Stored::Pieces(pieces)),
                _ => None,
            });
        let Some(stored) = stored else {
            return Ok(Known {
                detected,
                ..Known::to_be_read(Past::Changed)
            });
        };
        if !same || !stat.is_file() || !self.is_stored(context, class, &stored)? {
            let old = match stored {
                Stored::Pages(pages) if stat.is_file() => Some(pages),
                _ => None,
            };
            return Ok(Known {
                old,
                rewritten: file.size == stat.size,
                detected,
                ..Known::to_be_read(Past::Changed)
            });
        }
        // Attributes are not in a state, and are needed anew.
        Ok(Known {
            detected,
            ..Known::unchanged(Body::Attributes { stored })
        })
    }

    /// What a state says of an entry, and the position of the class that it was stored in: its path's, or one it was raised to.
    fn state_of(&mut self, context: &Context, entry: &FoundEntry<'_>) -> Option<(u16, StateFile)> {
        let classes = context.packer.classes().enumerate();
        let key = |keys: &ClassKeys| (keys.class(), keys.path_hash(entry.path));
        let found = classes
            .map(|(position, keys)| (position as u16, key(keys)))
            .filter(|(position, _)| raised(entry.class, Some(*position)) == *position)
            .find(|(_, key)| self.states.contains_key(key));
        let (position, key) = found?;
        Some((position, self.states.remove(&key)?))
    }

    /// Whether all content can still be referred to.
    fn is_stored(&mut self, context: &Context, class: u16, stored: &Stored) -> Result<bool, Error> {
        let mut found = |origin: Origin, segment: u32| match self.last {
            Some((last, number, known)) if (last, number) == (origin, segment) => Ok(known),
            _ => {
                let known = context
                    .packer
                    .has_segment(usize::from(class), &origin, segment)?;
                self.last = Some((origin, segment, known));
                Ok::<bool, Error>(known)
            }
        };
        match stored {
            Stored::Inline(_) => {}
            Stored::Pieces(pieces) => {
                for place in pieces.iter().filter_map(|piece| piece.place) {
                    if !found(place.origin, place.segment)? {
                        return Ok(false);
                    }
                }
            }
            Stored::Pages(pages) => {
                let groups = pages
                    .groups
                    .iter()
                    .map(|group| (group.origin, group.segment));
                for (origin, segment) in groups.chain(pages.segments.iter().copied()) {
                    if !found(origin, segment)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }
}

/// Where the bytes of a file of a state are, lists and groups fetched from this writer's own map packs.
fn stored_of(
    context: &Context,
    maps: &mut SegmentCache,
    file: &StateFile,
) -> Result<Stored, Error> {
    let groups_of = |page_size_log2, groups: Vec<Location>, maps: &mut SegmentCache| {
        let mut side = context.sides.write()?;
        let mut segments = BTreeSet::new();
        for location in &groups {
            let bytes = maps.get(Role::Group, location)?;
            let places = PageGroup::parse(&bytes)?.extents.into_iter();
            let places = places.filter_map(|extent| extent.place);
            segments.extend(places.map(|(place, _)| (place.origin, place.segment)));
            side.put(&bytes)?;
        }
        Ok::<_, Error>(Stored::Pages(Arc::new(PageFile {
            page_size_log2,
            groups,
            segments: segments.into_iter().collect(),
            side: side.finish()?,
        })))
    };
    match &file.content {
        Content::Inline(_) => Err(Error::Internal("inline content in a writer state")),
        Content::Pieces(pieces) => Ok(Stored::Pieces(pieces.clone())),
        Content::PiecesAt(lists) => {
            let mut pieces = Vec::new();
            for list in lists {
                pieces.extend(parse_piece_list(&maps.get(Role::Pieces, list)?)?);
            }
            if total_len(&pieces)? != file.size {
                return Err(Error::Internal("pieces of another file in a writer state"));
            }
            Ok(Stored::Pieces(pieces))
        }
        Content::PageMap {
            page_size_log2,
            groups,
        } => groups_of(*page_size_log2, groups.clone(), maps),
        Content::PageMapAt {
            page_size_log2,
            lists,
        } => {
            let mut groups = Vec::new();
            for list in lists {
                groups.extend(parse_group_list(&maps.get(Role::Pieces, list)?)?);
            }
            groups_of(*page_size_log2, groups, maps)
        }
    }
}

fn take_state(files: &mut HashMap<(ClassId, u64), StateFile>, payload: &[u8]) -> Result<(), Error> {
    let state = WriterState::parse(payload)?;
    if !state.delta {
        files.clear();
    }
    for record in state.records {
        match record.file {
            Some(file) if file.size > SMALL_BYTES_MAX => {
                files.insert((file.class, record.path_hash), file);
            }
            Some(_) => {}
            // The hash is keyed by class: at most one of them knows it.
            None => files.retain(|(_, hash), _| *hash != record.path_hash),
        }
    }
    Ok(())
}

/// Picks a few unchanged files, spread over the run, others each time.
struct Audit {
    state: u64,
    /// Out of 2^32.
    share: u64,
}

impl Audit {
    fn new(files: u32, known: u64, seed: i64) -> Self {
        let share = (u64::from(files) << 32).checked_div(known).unwrap_or(0);
        Self {
            state: seed.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            share,
        }
    }

    fn picks(&mut self, size: u64) -> bool {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        size <= AUDIT_BYTES_MAX && self.state >> 32 < self.share
    }
}
