//! Page maps: files that are rewritten in place, kept as pages, so that a changed page costs a page.
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, unbounded};
use holdfast_engine::directory::ChunkInfo;
use holdfast_engine::group::{Extent, PageGroup};
use holdfast_engine::limits::MAP_GROUP_PAGES;
use holdfast_engine::promise::Look;
use holdfast_engine::{ClassKeys, Id, Location, Origin, PackKind, Role};

use super::batch::{Item, PageFile, Stored};
use super::context::{Context, Job};
use super::large::{SAMPLES, next_data};
use super::sides::{SideReader, SideWriter};
use super::small::mark_of;
use super::source::{self, Failure};
use crate::Error;
use crate::packer::{BUNDLED_BYTES_MAX, Bench, NewChunk};
use crate::scan::FileStat;

/// Chunks that a group's pages may lie in before it is written whole again.
const GROUP_CHUNKS_MAX: usize = 64;
/// Groups on their way through the workers.
const GROUPS_AWAITED_MAX: usize = 8;

/// What a worker made of a group.
struct GroupDone {
    location: Location,
    /// Of what the group's pages hold, wherever they lie.
    held: Id,
    encoded: Vec<u8>,
    segments: Vec<(Origin, u32)>,
}

/// A group to be stored.
struct GroupTask {
    class: usize,
    page_size_log2: u8,
    data: Vec<u8>,
    /// Pages that lie in a hole; empty: none.
    holes: Vec<bool>,
    /// The group as it was last time.
    old: Option<Vec<u8>>,
}

/// Reads a file page by page: its content, mark and length.
pub(super) fn read_pages(
    context: &Context,
    item: &Item,
    (fd, look): (&OwnedFd, &mut Look),
    stat: &FileStat,
    page_size_log2: u8,
    jobs: &Sender<Job>,
) -> Result<(Stored, u64, u64), Failure> {
    let mut reader = PageReader::new(context, item, page_size_log2, jobs)?;
    let group_bytes = (MAP_GROUP_PAGES as u64) << page_size_log2;
    let sparse = stat.blocks.saturating_mul(512) < stat.size;
    let mut offset = 0;
    while offset < stat.size {
        let wanted = group_bytes.min(stat.size - offset);
        let mut data = Vec::new();
        let mut holes = Vec::new();
        if sparse {
            holes = hole_pages(fd, offset, wanted, page_size_log2, stat.size)?;
        }
        if holes.is_empty() || holes.contains(&false) {
            source::read_at(context, fd, offset, wanted as usize, &mut data)?;
            look.feed(&data, SAMPLES);
        } else {
            // Nothing is there, and reading it would tell no more.
            data.resize(wanted as usize, 0);
        }
        let read = data.len() as u64;
        if read > 0 {
            reader.store(data, holes)?;
        }
        offset += read;
        if read < wanted {
            // It shrank: what follows is gone.
            break;
        }
    }
    let (stored, mark) = reader.finish()?;
    Ok((stored, mark, offset))
}

/// Which pages of a group lie in a hole as a whole; empty if none does.
fn hole_pages(
    fd: &OwnedFd,
    begin: u64,
    len: u64,
    page_size_log2: u8,
    size: u64,
) -> Result<Vec<bool>, Failure> {
    let pages = len.div_ceil(1 << page_size_log2) as usize;
    let mut holes = vec![true; pages];
    let (mut offset, end) = (begin, begin + len);
    while offset < end {
        let (data, hole) = next_data(fd, offset, size)?;
        if data >= end {
            break;
        }
        let first = (data - begin) >> page_size_log2;
        let last = (hole.min(end) - begin).div_ceil(1 << page_size_log2);
        holes
            .iter_mut()
            .take(last as usize)
            .skip(first as usize)
            .for_each(|page| *page = false);
        offset = hole.max(offset + 1);
    }
    if holes.contains(&true) {
        Ok(holes)
    } else {
        Ok(Vec::new())
    }
}

struct PageReader<'a> {
    context: &'a Context,
    class: usize,
    page_size_log2: u8,
    jobs: &'a Sender<Job>,
    report: Sender<(usize, GroupDone)>,
    reports: Receiver<(usize, GroupDone)>,
    sent: usize,
    done: BTreeMap<usize, GroupDone>,
    groups: Vec<Location>,
    ids: Vec<Id>,
    segments: BTreeSet<(Origin, u32)>,
    old: Option<SideReader>,
    old_file: Option<Arc<PageFile>>,
    side: SideWriter,
}

impl<'a> PageReader<'a> {
    fn new(
        context: &'a Context,
        item: &Item,
        page_size_log2: u8,
        jobs: &'a Sender<Job>,
    ) -> Result<Self, Error> {
        let (report, reports) = unbounded();
        let old_file = item
            .old
            .clone()
            .filter(|old| old.page_size_log2 == page_size_log2);
        Ok(Self {
            context,
            class: usize::from(item.class),
            page_size_log2,
            jobs,
            report,
            reports,
            sent: 0,
            done: BTreeMap::new(),
            groups: Vec::new(),
            ids: Vec::new(),
            segments: BTreeSet::new(),
            old: old_file
                .as_ref()
                .and_then(|old| context.sides.read(old.side)),
            old_file,
            side: context.sides.write()?,
        })
    }

    fn store(&mut self, data: Vec<u8>, holes: Vec<bool>) -> Result<(), Error> {
        self.context.check_stop()?;
        self.context.wait_for_room(self.jobs)?;
        let task = GroupTask {
            class: self.class,
            page_size_log2: self.page_size_log2,
            data,
            holes,
            old: self.old.as_mut().and_then(SideReader::next_group),
        };
        let (number, report) = (self.sent, self.report.clone());
        self.sent += 1;
        let job: Job = Box::new(move |context, bench| {
            let done = store_group(context, bench, task)?;
            // The receiver is gone only when the file was given up.
            let _ = report.send((number, done));
            Ok(())
        });
        self.jobs.send(job).map_err(|_| Error::Stopped)?;
        while self.sent - self.groups.len() - self.done.len() > GROUPS_AWAITED_MAX {
            let (number, done) = self.reports.recv().map_err(|_| Error::Stopped)?;
            self.take(number, done)?;
        }
        Ok(())
    }

    fn take(&mut self, number: usize, done: GroupDone) -> Result<(), Error> {
        self.done.insert(number, done);
        while let Some(done) = self.done.remove(&self.groups.len()) {
            self.side.put(&done.encoded)?;
            self.groups.push(done.location);
            self.ids.push(done.held);
            self.segments.extend(done.segments);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(Stored, u64), Error> {
        // From here on a worker that gives up is noticed as the end of reports.
        let (closed, _) = unbounded();
        self.report = closed;
        while self.groups.len() < self.sent {
            let (number, done) = self.reports.recv().map_err(|_| Error::Stopped)?;
            self.take(number, done)?;
        }
        let mark = mark_of(&self.ids);
        if let Some(old) = self.old_file.filter(|old| old.groups == self.groups) {
            // The old copy of the groups still serves.
            return Ok((Stored::Pages(old), mark));
        }
        let pages = PageFile {
            page_size_log2: self.page_size_log2,
            groups: self.groups,
            segments: self.segments.into_iter().collect(),
            side: self.side.finish()?,
        };
        Ok((Stored::Pages(Arc::new(pages)), mark))
    }
}

/// A page's place: its chunk, and its number there.
type Place = (Location, u32);

fn store_group(context: &Context, bench: &mut Bench, task: GroupTask) -> Result<GroupDone, Error> {
    let keys = context.packer.keys(task.class)?;
    let page_bytes = 1_usize << task.page_size_log2;
    let pages = task.data.chunks(page_bytes);
    let last_page_bytes = pages.clone().next_back().map_or(0, <[u8]>::len) as u32;
    let id = |(number, page): (usize, &[u8])| {
        let hole = task.holes.get(number).copied().unwrap_or(false);
        if hole {
            PageGroup::HOLE
        } else {
            keys.page_id(page)
        }
    };
    let ids: Vec<Id> = pages.enumerate().map(id).collect();
    let mut places = kept_pages(context, &task, &ids)?;
    let changed: Vec<usize> = (0..ids.len())
        .filter(|number| places.get(*number).is_some_and(Option::is_none))
        .filter(|number| ids.get(*number) != Some(&PageGroup::HOLE))
        .collect();
    let page_size_log2 = task.page_size_log2;
    let class = task.class;
    if !changed.is_empty() {
        let changed_ids: Vec<Id> = changed
            .iter()
            .filter_map(|number| ids.get(*number))
            .copied()
            .collect();
        let plain = pages_of(task.data, &changed, page_bytes, ids.len());
        let location = store_changed(
            context,
            bench,
            keys,
            class,
            page_bytes as u32,
            &changed_ids,
            plain,
        )?;
        for (index, number) in changed.iter().enumerate() {
            if let Some(place) = places.get_mut(*number) {
                *place = Some((location, index as u32));
            }
        }
    }
    let held = keys.pages_id(page_bytes as u32, &ids);
    let extents = extents_of(&places);
    let mut segments: Vec<(Origin, u32)> = extents
        .iter()
        .filter_map(|extent| extent.place)
        .map(|(location, _)| (location.origin, location.segment))
        .collect();
    segments.sort_unstable();
    segments.dedup();
    let encoded = PageGroup {
        page_size_log2,
        last_page_bytes,
        ids,
        extents,
    }
    .encode()?;
    let id = keys.id(Role::Group, &encoded);
    let location = store_map(context, bench, class, id, &encoded)?;
    Ok(GroupDone {
        location,
        held,
        encoded,
        segments,
    })
}

/// For each page, where it is if it is as it was; none of them if they are scattered too much.
fn kept_pages(
    context: &Context,
    task: &GroupTask,
    ids: &[Id],
) -> Result<Vec<Option<Place>>, Error> {
    let nothing = vec![None; ids.len()];
    let parsed = task.old.as_deref().map(PageGroup::parse);
    let Some(Ok(old)) =
        parsed.filter(|old| matches!(old, Ok(old) if old.page_size_log2 == task.page_size_log2))
    else {
        return Ok(nothing);
    };
    let mut old_places: Vec<Option<Place>> = Vec::with_capacity(old.ids.len());
    for extent in &old.extents {
        let usable = match &extent.place {
            Some((place, _)) => {
                context
                    .packer
                    .has_segment(task.class, &place.origin, place.segment)?
            }
            None => false,
        };
        for page in 0..extent.pages {
            old_places.push(
                extent
                    .place
                    .filter(|_| usable)
                    .map(|(place, first)| (place, first + page)),
            );
        }
    }
    let kept = |(number, id): (usize, &Id)| {
        let same = old.ids.get(number) == Some(id) && *id != PageGroup::HOLE;
        if same {
            old_places.get(number).copied().flatten()
        } else {
            None
        }
    };
    let places: Vec<Option<Place>> = ids.iter().enumerate().map(kept).collect();
    let chunks: BTreeSet<Location> = places
        .iter()
        .flatten()
        .map(|(location, _)| *location)
        .collect();
    Ok(if chunks.len() > GROUP_CHUNKS_MAX {
        nothing
    } else {
        places
    })
}

/// The bytes of some pages, one after the other.
fn pages_of(data: Vec<u8>, numbers: &[usize], page_bytes: usize, pages: usize) -> Vec<u8> {
    if numbers.len() == pages {
        return data;
    }
    let page = |number: &usize| data.chunks(page_bytes).nth(*number).unwrap_or_default();
    numbers.iter().flat_map(page).copied().collect()
}

fn store_changed(
    context: &Context,
    bench: &mut Bench,
    keys: &ClassKeys,
    class: usize,
    page_bytes: u32,
    ids: &[Id],
    plain: Vec<u8>,
) -> Result<Location, Error> {
    let packer = &context.packer;
    let id = keys.pages_id(page_bytes, ids);
    if let Some(location) = packer.known(&id)? {
        packer.count_known(class, plain.len());
        return Ok(location);
    }
    let (role, page_bytes) = (Role::Pages, Some(page_bytes));
    if plain.len() >= BUNDLED_BYTES_MAX {
        let chunk = ChunkInfo {
            id,
            role,
            page_bytes,
            len: plain.len() as u32,
        };
        let (placed, seal) = packer.place_alone(class, chunk, plain)?;
        if let Some(seal) = seal {
            packer.seal(bench, seal)?;
        }
        return Ok(placed.location);
    }
    place_one(
        context,
        bench,
        class,
        PackKind::Data,
        NewChunk {
            id,
            role,
            page_bytes,
            plain: &plain,
        },
    )
}

fn store_map(
    context: &Context,
    bench: &mut Bench,
    class: usize,
    id: Id,
    encoded: &[u8],
) -> Result<Location, Error> {
    if let Some(location) = context.packer.known(&id)? {
        return Ok(location);
    }
    let chunk = NewChunk {
        id,
        role: Role::Group,
        page_bytes: None,
        plain: encoded,
    };
    place_one(context, bench, class, PackKind::Map, chunk)
}

fn place_one(
    context: &Context,
    bench: &mut Bench,
    class: usize,
    kind: PackKind,
    chunk: NewChunk<'_>,
) -> Result<Location, Error> {
    let mut location = None;
    let seals = context.packer.place(class, kind, [chunk], |placed| {
        location = Some(placed.location);
    })?;
    for seal in seals {
        context.packer.seal(bench, seal)?;
    }
    location.ok_or(Error::Internal("a chunk without a place"))
}

fn extents_of(places: &[Option<Place>]) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    for place in places {
        match extents.last_mut() {
            Some(last) if follows(last, place.as_ref()) => last.pages += 1,
            _ => extents.push(Extent {
                pages: 1,
                place: *place,
            }),
        }
    }
    extents
}

fn follows(last: &Extent, place: Option<&Place>) -> bool {
    match (&last.place, place) {
        (None, None) => true,
        (Some((chunk, first)), Some((next, number))) => {
            chunk == next && *number == first + last.pages
        }
        _ => false,
    }
}

/// The page size of a file that is better kept in pages, from its first bytes and its past.
pub(super) fn page_size_log2(head: &[u8], item: &Item, stat: &FileStat) -> Option<u8> {
    /// Smaller files cost little when they are cut by content.
    const PAGED_BYTES_MIN: u64 = 1 << 20;
    const UNKNOWN_BYTES_MIN: u64 = 8 << 20;
    if let Some(old) = &item.old {
        return Some(old.page_size_log2);
    }
    if stat.size < PAGED_BYTES_MIN {
        return None;
    }
    if let Some(log2) = signature(head) {
        return Some(log2);
    }
    let usual = if stat.size.is_multiple_of(8192) {
        13
    } else {
        12
    };
    // Mostly holes: pieces name them all at once. An archive shifts rather than changes in place.
    let sparse = stat.blocks.saturating_mul(512) < stat.size / 2;
    let archive = head.get(257..262) == Some(b"ustar");
    let paged = stat.size.is_multiple_of(4096) && !archive;
    (stat.size >= UNKNOWN_BYTES_MIN && !sparse && (item.rewritten || paged)).then_some(usual)
}

/// The page size of a known kind of file.
fn signature(head: &[u8]) -> Option<u8> {
    let at =
        |offset: usize| -> Option<[u8; 2]> { head.get(offset..offset + 2)?.first_chunk().copied() };
    let log2 = |bytes: u32| {
        (bytes.is_power_of_two() && (512..=65536).contains(&bytes)).then(|| bytes.ilog2() as u8)
    };
    if head.starts_with(b"SQLite format 3\0") {
        return match u16::from_be_bytes(at(16)?) {
            1 => Some(16),
            bytes => log2(u32::from(bytes)),
        };
    }
    // PostgreSQL: size and layout version of the first page.
    let layout = u16::from_le_bytes(at(18)?);
    if (3..=5).contains(&(layout & 0xff)) && (0x1000..=0x8000).contains(&(layout & 0xff00)) {
        return log2(u32::from(layout & 0xff00));
    }
    // InnoDB: the first page is of type FSP_HDR and names its space twice.
    let names_itself = head
        .get(34..38)
        .is_some_and(|space| Some(space) == head.get(38..42));
    if at(24) == Some([0, 8]) && names_itself {
        return Some(14);
    }
    let eight: [&[u8]; 4] = [b"QFI\xfb", b"KDMV", b"vhdxfile", b"\x01\x0f\x00\x00"];
    let oracle = at(0) == Some([0, 0xa2]);
    (oracle || eight.iter().any(|magic| head.starts_with(magic))).then_some(13)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_kinds_of_files_tell_their_page_size() {
        let mut head = vec![0; 4096];
        assert_eq!(signature(&head), None);
        head[18..20].copy_from_slice(&0x2004_u16.to_le_bytes());
        assert_eq!(signature(&head), Some(13));
        let mut sqlite = b"SQLite format 3\0\x10\x00".to_vec();
        sqlite.resize(100, 0);
        assert_eq!(signature(&sqlite), Some(12));
        assert_eq!(signature(b"short"), None);
    }

    #[test]
    fn neighbouring_pages_of_a_chunk_are_one_extent() {
        let chunk = Location {
            origin: Origin([1; 16]),
            segment: 2,
            chunk: 3,
        };
        let places = [
            None,
            None,
            Some((chunk, 4)),
            Some((chunk, 5)),
            Some((chunk, 7)),
        ];
        let extents = extents_of(&places);
        let pages: Vec<u32> = extents.iter().map(|extent| extent.pages).collect();
        assert_eq!(pages, [2, 2, 1]);
    }
}
