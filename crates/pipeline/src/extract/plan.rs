//! From entries to windows: makes folders on the way, decides about what exists, and lists the pieces that files need.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use holdfast_engine::content::Content;
use holdfast_engine::entry::{Entry, EntryKind, is_under};
use rustix::fs::{FileType, Gid, Mode, Uid};
use rustix::io::Errno;

use super::attributes::{Attributes, Owners};
use super::exists::{Decision, decide};
use super::folders::{Folder, OpenFolders, file_type, stat};
use super::large::LargeFile;
use super::run::{FindingKind, Run, count};
use super::walk::Walk;
use super::window::{
    Direct, FirstLink, Link, Owner, Place, SmallFile, Window, join, last_name, parent_of,
};
use super::work::finish_large;
use crate::Error;
use crate::reader::{is_of_one_segment, unwrap_outside};
use crate::spans::Spans;

/// The engine's folder in the target while a restore is under way.
pub const STAGING_NAME: &[u8] = b".holdfast-restore";

/// A folder that more may go into.
struct OpenFolder {
    folder: Arc<Folder>,
    /// `None`: no tree says anything about it.
    attributes: Option<(Attributes, u16)>,
}

/// Fills windows.
pub struct Planner<'a> {
    run: &'a Run,
    walk: Walk,
    owners: Owners,
    folders: OpenFolders<'a>,
    above: Vec<OpenFolder>,
    links: HashMap<(usize, u64), Arc<FirstLink>>,
    large_count: u64,
    window: Window,
}

impl<'a> Planner<'a> {
    /// Plans what the walk gives.
    pub fn new(run: &'a Run, walk: Walk, owners: Owners, root: Arc<Folder>) -> Self {
        Self {
            run,
            walk,
            owners,
            folders: OpenFolders::new(&run.target),
            above: vec![OpenFolder {
                folder: root,
                attributes: None,
            }],
            links: HashMap::new(),
            large_count: 0,
            window: Window::default(),
        }
    }

    /// Plans everything; `restore` is called with each window in turn, the last one perhaps empty.
    pub fn run(
        &mut self,
        restore: &mut dyn FnMut(Window) -> Result<(), Error>,
    ) -> Result<(), Error> {
        while let Some((entry, tree)) = self.walk.next_entry()? {
            self.run.check_stop()?;
            self.tell_lost()?;
            self.entry(entry, tree, restore)?;
            if self.window.is_full() {
                restore(std::mem::take(&mut self.window))?;
            }
        }
        self.tell_lost()?;
        while !self.above.is_empty() {
            self.leave_folder();
        }
        restore(std::mem::take(&mut self.window))
    }

    /// Tells of parts of the trees that cannot be read.
    fn tell_lost(&mut self) -> Result<(), Error> {
        for lost in self.walk.take_lost() {
            let detail = lost.detail();
            self.run
                .find(lost.first_path, FindingKind::Damaged, detail, lost.class)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        entry: Entry,
        tree: usize,
        restore: &mut dyn FnMut(Window) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let class = self.walk.class(tree);
        if matches!(entry.kind, EntryKind::Folder) && self.is_open(&entry.path) {
            return Ok(());
        }
        self.enter(&entry.path)?;
        if matches!(entry.kind, EntryKind::Folder) {
            return self.folder(&entry, class);
        }
        let Some(top) = self.above.last() else {
            return Err(Error::Internal("no folder"));
        };
        let folder = Arc::clone(&top.folder);
        if folder.is_missing || entry.path.is_empty() {
            return Ok(());
        }
        count(&self.run.counters.files_total, 1);
        count(&self.run.counters.bytes_total, entry.content_bytes());
        let name: Box<[u8]> = last_name(&entry.path).into();
        let key = entry.link_id.map(|id| (tree, id));
        let first = key.and_then(|key| self.links.get(&key).cloned());
        let decision = self.decide(&folder, &name, &entry, class, first.is_some())?;
        let Decision::Make { is_replaced } = decision else {
            count(&self.run.counters.skipped, 1);
            return Ok(());
        };
        let place = Place {
            folder,
            name,
            is_replaced,
            class,
        };
        if self.run.staging.is_none() {
            count(&self.run.counters.files, 1);
            count(&self.run.counters.bytes, entry.content_bytes());
            return Ok(());
        }
        if let Some(first) = first {
            self.window.links.push(Link { place, first });
            return Ok(());
        }
        let first = key.map(|key| self.first_link(key, &place, false));
        self.file(place, entry, tree, first, restore)
    }

    fn first_link(&mut self, key: (usize, u64), place: &Place, is_done: bool) -> Arc<FirstLink> {
        let first = Arc::new(FirstLink {
            folder: Arc::clone(&place.folder),
            name: place.name.clone(),
            is_done: AtomicBool::new(is_done),
        });
        self.links.insert(key, Arc::clone(&first));
        first
    }

    fn file(
        &mut self,
        place: Place,
        entry: Entry,
        tree: usize,
        first: Option<Arc<FirstLink>>,
        restore: &mut dyn FnMut(Window) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let attributes = self.owners.attributes(&entry, place.folder.is_new);
        let EntryKind::File { size, content } = &entry.kind else {
            if let Some(first) = first {
                // Links of links and pipes are rare: each name is made anew.
                self.links.retain(|_, known| !Arc::ptr_eq(known, &first));
            }
            self.window
                .add_direct(Direct::Special(place, attributes, Box::new(entry)));
            return Ok(());
        };
        match content {
            Content::Inline(bytes) if bytes.len() as u64 == *size => {
                let file = SmallFile {
                    place,
                    attributes,
                    first,
                };
                self.window.add_direct(Direct::File(file, bytes.clone()));
                Ok(())
            }
            _ if *size == 0 => {
                self.window.add_direct(Direct::File(
                    SmallFile {
                        place,
                        attributes,
                        first,
                    },
                    Vec::new(),
                ));
                Ok(())
            }
            Content::Pieces(pieces) if is_one_chunk(pieces, *size) => {
                let owner = Owner::Small(self.window.small.len() as u32);
                self.window.small.push(SmallFile {
                    place,
                    attributes,
                    first,
                });
                let mut spans = Spans::new(*size, content);
                for span in spans.next(self.walk.nodes(tree)?)?.unwrap_or_default() {
                    self.window.add_span(&span, owner, &self.run.reader.index)?;
                }
                Ok(())
            }
            content => {
                self.large_count += 1;
                let file = LargeFile::new(place, *size, attributes, first, self.large_count);
                self.large(&Arc::new(file), content, tree, restore)
            }
        }
    }

    /// Plans a file of many pieces, over as many windows as it takes.
    fn large(
        &mut self,
        file: &Arc<LargeFile>,
        content: &Content,
        tree: usize,
        restore: &mut dyn FnMut(Window) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut spans = Spans::new(file.size, content);
        let mut planned = 0;
        self.window.large.push(Arc::clone(file));
        loop {
            let batch = match spans.next(self.walk.nodes(tree)?).map_err(unwrap_outside) {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(error) if is_of_one_segment(&error) => {
                    file.lose(planned, file.size - planned, &error);
                    break;
                }
                Err(error) => return Err(error),
            };
            for span in batch {
                planned = span.offset + span.len;
                if self.window.is_full() {
                    self.run.check_stop()?;
                    restore(std::mem::take(&mut self.window))?;
                    self.window.large.push(Arc::clone(file));
                }
                let owner = Owner::Large(self.window.large.len() as u32 - 1);
                if self.window.add_span(&span, owner, &self.run.reader.index)? {
                    file.expect();
                }
            }
        }
        match &self.run.staging {
            Some(staging) if file.is_last() => {
                finish_large(self.run, staging, &mut self.folders, file)
            }
            _ => Ok(()),
        }
    }

    /// Whether a folder was given before, above another include.
    fn is_open(&self, path: &[u8]) -> bool {
        let known = |open: &OpenFolder| open.folder.path == path && open.attributes.is_some();
        self.above.iter().any(known) || (path.is_empty() && self.above.len() > 1)
    }

    /// Leaves the folders that a path is not under, and makes those above it that no tree has.
    fn enter(&mut self, path: &[u8]) -> Result<(), Error> {
        while self.above.len() > 1
            && self
                .above
                .last()
                .is_some_and(|top| !is_under(path, &top.folder.path) || top.folder.path == path)
        {
            self.leave_folder();
        }
        let parent = parent_of(path);
        let known = self.above.last().map_or(0, |top| top.folder.path.len());
        if parent.len() <= known {
            return Ok(());
        }
        let ends = parent
            .iter()
            .enumerate()
            .skip(known + usize::from(known > 0))
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at);
        for end in ends.chain(std::iter::once(parent.len())) {
            let path = parent.get(..end).unwrap_or(parent).to_vec();
            let folder = self.make_folder(path, 0, Mode::from_raw_mode(0o755))?;
            self.above.push(OpenFolder {
                folder,
                attributes: None,
            });
        }
        Ok(())
    }

    fn leave_folder(&mut self) {
        let Some(left) = self.above.pop() else { return };
        if let (Some((attributes, class)), true) = (left.attributes, self.run.staging.is_some()) {
            self.window.folders.push((left.folder, attributes, class));
        }
    }

    fn folder(&mut self, entry: &Entry, class: u16) -> Result<(), Error> {
        let above_is_missing = self.above.last().is_some_and(|top| top.folder.is_missing);
        if !above_is_missing {
            count(&self.run.counters.folders, 1);
        }
        if entry.path.is_empty() {
            let in_new = self.above.first().is_some_and(|root| root.folder.is_new);
            let attributes = self.owners.attributes(entry, in_new);
            if let Some(root) = self.above.first_mut().filter(|root| root.folder.is_new) {
                root.attributes = Some((attributes, class));
            }
            return Ok(());
        }
        let folder = self.make_folder(entry.path.clone(), class, Mode::RWXU)?;
        let attributes = self.owners.attributes(entry, folder.is_new);
        self.above.push(OpenFolder {
            folder,
            attributes: Some((attributes, class)),
        });
        Ok(())
    }

    fn make_folder(&mut self, path: Vec<u8>, class: u16, mode: Mode) -> Result<Arc<Folder>, Error> {
        let Some(parent) = self.above.last().map(|top| Arc::clone(&top.folder)) else {
            return Err(Error::Internal("no folder"));
        };
        let name = last_name(&path);
        let is_reserved = parent.path.is_empty() && name == STAGING_NAME;
        let is_missing = parent.is_missing;
        let missing = |path| {
            Arc::new(Folder {
                path,
                is_new: false,
                is_missing: true,
            })
        };
        if is_missing {
            return Ok(missing(path));
        }
        let result = if is_reserved {
            Err(Errno::EXIST)
        } else {
            self.mkdir(&parent, name, mode)
        };
        match result {
            Ok(is_new) => Ok(Arc::new(Folder {
                path,
                is_new,
                is_missing: false,
            })),
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO)) => {
                Err(Error::io("mkdir", errno))
            }
            Err(errno) => {
                let kind = if errno == Errno::EXIST {
                    FindingKind::Exists
                } else {
                    FindingKind::Refused
                };
                let detail = format!(
                    "{}: neither the folder nor anything under it was restored",
                    super::run::reason(errno)
                );
                self.run.find(path.clone(), kind, detail, class)?;
                Ok(missing(path))
            }
        }
    }

    /// Makes a folder that only its owner may enter, or finds one. True if it is this restore's own.
    fn mkdir(&mut self, parent: &Arc<Folder>, name: &[u8], mode: Mode) -> Result<bool, Errno> {
        if self.run.staging.is_none() {
            return self.would_make(parent, name);
        }
        let is_resumed = self.run.is_resumed;
        let folder = self.folders.get(parent)?;
        match rustix::fs::mkdirat(folder, name, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let found = stat(folder, name)?
                    .is_some_and(|found| file_type(&found) == FileType::Directory);
                return if found {
                    Ok(is_resumed)
                } else {
                    Err(Errno::EXIST)
                };
            }
            Err(errno) => return Err(errno),
        }
        if !parent.is_new {
            // A folder with the set-group-id bit hands its group on: undo that.
            let opened = self.run.target.open_folder(&join(&parent.path, name))?;
            let found = rustix::fs::fstat(&opened)?;
            let own = (rustix::process::geteuid(), rustix::process::getegid());
            if (found.st_uid, found.st_gid) != (own.0.as_raw(), own.1.as_raw()) {
                rustix::fs::fchown(
                    &opened,
                    Some(Uid::from_raw(own.0.as_raw())),
                    Some(Gid::from_raw(own.1.as_raw())),
                )?;
            }
            rustix::fs::fchmod(&opened, mode)?;
        }
        Ok(true)
    }

    /// In a dry run: whether a folder would be made.
    fn would_make(&mut self, parent: &Arc<Folder>, name: &[u8]) -> Result<bool, Errno> {
        if parent.is_new {
            return Ok(true);
        }
        let folder = self.folders.get(parent)?;
        match stat(folder, name)? {
            None => Ok(true),
            Some(found) if file_type(&found) == FileType::Directory => Ok(false),
            Some(_) => Err(Errno::EXIST),
        }
    }

    /// Whether an entry is made, given what has its name now. Tells what is refused.
    fn decide(
        &mut self,
        folder: &Arc<Folder>,
        name: &[u8],
        entry: &Entry,
        class: u16,
        is_link: bool,
    ) -> Result<Decision, Error> {
        let (run, path) = (self.run, &entry.path);
        if folder.path.is_empty() && name == STAGING_NAME {
            run.find(
                path.clone(),
                FindingKind::Exists,
                "the name is the restore's own".into(),
                class,
            )?;
            return Ok(Decision::Leave);
        }
        if folder.is_new && !run.is_resumed {
            return Ok(Decision::Make { is_replaced: false });
        }
        let decision = match self
            .folders
            .get(folder)
            .and_then(|folder| stat(folder, name))
        {
            Ok(None) => Decision::Make { is_replaced: false },
            Ok(Some(found)) => decide(run, &found, entry, is_link),
            Err(errno) => {
                run.find(
                    path.clone(),
                    FindingKind::Refused,
                    super::run::reason(errno),
                    class,
                )?;
                Decision::Leave
            }
        };
        if let Decision::Refuse(why) = decision {
            run.find(path.clone(), FindingKind::Exists, why.into(), class)?;
        }
        if decision == Decision::Same {
            self.remember_link(folder, name, entry, class);
        }
        Ok(decision)
    }

    /// A file that is there already may be what further names are linked to.
    fn remember_link(&mut self, folder: &Arc<Folder>, name: &[u8], entry: &Entry, class: u16) {
        let Some(id) = entry.link_id else { return };
        let tree = (0..)
            .take(64)
            .find(|tree| self.walk.class(*tree) == class)
            .unwrap_or(0);
        if !self.links.contains_key(&(tree, id)) {
            let place = Place {
                folder: Arc::clone(folder),
                name: name.into(),
                is_replaced: false,
                class,
            };
            self.first_link((tree, id), &place, true);
        }
    }
}

fn is_one_chunk(pieces: &[holdfast_engine::content::Piece], size: u64) -> bool {
    matches!(pieces, [piece] if piece.len == size && piece.place.is_some())
}
