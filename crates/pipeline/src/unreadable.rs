//! Which segments of packs do not open: what damage really is, before anybody asks what it costs.
use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use holdfast_engine::compress::Decompressor;
use holdfast_engine::index_set::PackSegment;
use holdfast_engine::{Error as EngineError, Origin, PackName};

use crate::Error;
use crate::limits::Limits;
use crate::reader::{Reader, is_of_one_segment};
use crate::source::{is_of_one_object, object_name};

type Segment = (Origin, u32);

/// Those of the packs' segments that do not open, from this pack or any other: each is read and opened as a restore does.
///
/// A segment whose key is not at hand counts: nothing shows that it is sound.
pub fn unreadable(
    reader: &Reader,
    packs: impl IntoIterator<Item = PackName>,
    limits: &Limits,
) -> Result<Vec<PackSegment>, Error> {
    let stop = AtomicBool::new(false);
    let mut decompressor = Decompressor::new()?;
    let mut gone = HashMap::new();
    let mut known: HashMap<Segment, bool> = HashMap::new();
    let mut found = Vec::new();
    let packs: HashSet<PackName> = packs.into_iter().collect();
    for row in reader.index.segments_of(&packs)? {
        let key = (row.origin, row.ordinal);
        let opens = match known.get(&key) {
            Some(opens) => *opens,
            None => opens(reader, &key, limits, &stop, &mut decompressor, &mut gone)?,
        };
        known.insert(key, opens);
        if !opens {
            found.push(row);
        }
    }
    Ok(found)
}

/// Whether one copy of a segment opens. A pack that is not there is asked for once, not once for each segment.
fn opens(
    reader: &Reader,
    segment: &Segment,
    limits: &Limits,
    stop: &AtomicBool,
    decompressor: &mut Decompressor,
    gone: &mut HashMap<PackName, bool>,
) -> Result<bool, Error> {
    for place in reader.index.lookup_segment(&segment.0, segment.1)? {
        let is_gone = match gone.get(&place.pack) {
            Some(is_gone) => *is_gone,
            None => is_missing(reader, &object_name(place.kind, &place.pack))?,
        };
        gone.insert(place.pack, is_gone);
        if is_gone {
            continue;
        }
        limits.take_read(u64::from(place.sealed_len), stop)?;
        match reader.open_place(&place, decompressor) {
            Ok(_) => return Ok(true),
            Err(Error::Engine(EngineError::WrongKey { .. })) => {}
            Err(error) if is_of_one_segment(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn is_missing(reader: &Reader, name: &str) -> Result<bool, Error> {
    match reader.source.read(name, 0, 1) {
        Ok(front) => Ok(front.is_empty()),
        Err(Error::Io { errno, .. }) if is_of_one_object(errno) => Ok(errno == 2),
        Err(Error::Engine(EngineError::Damaged { .. })) => Ok(false),
        Err(error) => Err(error),
    }
}
