//! Links, pipes and devices; hard links; and the metadata of folders.
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;

use holdfast_engine::entry::{Entry, EntryKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::attributes::{Attributes, Refused};
use super::folders::OpenFolders;
use super::run::{FindingKind, Run, count};
use super::window::{Link, Place, Window};
use crate::Error;

/// The name under which a replacement is made, in the same folder.
pub fn temporary_name(name: &[u8]) -> Vec<u8> {
    let tail = b".holdfast-restore";
    let head = name.get(..name.len().min(254 - tail.len())).unwrap_or(name);
    [b".", head, tail.as_slice()].concat()
}

/// Makes a symbolic link, pipe or device.
pub fn make(
    folder: BorrowedFd<'_>,
    place: &Place,
    attributes: &Attributes,
    entry: &Entry,
) -> Result<Refused, Errno> {
    let temporary = place.is_replaced.then(|| temporary_name(&place.name));
    let name = temporary.as_deref().unwrap_or(&place.name);
    if temporary.is_some() {
        let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
    let refused = make_at(folder, name, attributes, entry)?;
    if temporary.is_some() {
        rustix::fs::renameat(folder, name, folder, &*place.name)?;
    }
    Ok(refused)
}

/// Makes a symbolic link, pipe or device under a name that is free, and sets what belongs to it.
pub fn make_at(
    folder: BorrowedFd<'_>,
    name: &[u8],
    attributes: &Attributes,
    entry: &Entry,
) -> Result<Refused, Errno> {
    let (kind, device) = match &entry.kind {
        EntryKind::Symlink { target } => {
            rustix::fs::symlinkat(target.as_slice(), folder, name)?;
            return Ok(attributes.set_link(folder, name));
        }
        EntryKind::Fifo => (FileType::Fifo, 0),
        EntryKind::CharDevice { major, minor } => (
            FileType::CharacterDevice,
            rustix::fs::makedev(*major, *minor),
        ),
        EntryKind::BlockDevice { major, minor } => {
            (FileType::BlockDevice, rustix::fs::makedev(*major, *minor))
        }
        EntryKind::File { .. } | EntryKind::Folder => return Err(Errno::INVAL),
    };
    rustix::fs::mknodat(folder, name, kind, Mode::RUSR | Mode::WUSR, device)?;
    set_node(folder, name, attributes)
}

/// Sets what belongs to a pipe or device, which must not be opened: through a descriptor that only names it.
fn set_node(
    folder: BorrowedFd<'_>,
    name: &[u8],
    attributes: &Attributes,
) -> Result<Refused, Errno> {
    let node = rustix::fs::openat(
        folder,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut refused = attributes.set_link(folder, name);
    let path = format!("/proc/self/fd/{}", node.as_raw_fd());
    if let Err(errno) = rustix::fs::chmod(path, attributes.mode()) {
        refused.push(("mode", errno));
    }
    Ok(refused)
}

/// Makes the hard links of a window: their files are whole by now, or never will be.
pub fn make_links(run: &Run, window: &Window, folders: &mut OpenFolders<'_>) -> Result<(), Error> {
    for link in &window.links {
        run.check_stop()?;
        if !link.first.is_done.load(Ordering::Acquire) {
            let detail = "the file that it is a further name of was not restored".into();
            run.find(
                link.place.path(),
                FindingKind::Damaged,
                detail,
                link.place.class,
            )?;
            continue;
        }
        match make_link(run, link, folders) {
            Ok(()) => count(&run.counters.files, 1),
            Err(errno) => run.refused(&link.place, errno)?,
        }
    }
    Ok(())
}

fn make_link(run: &Run, link: &Link, folders: &mut OpenFolders<'_>) -> Result<(), Errno> {
    let from = run.target.open_folder(&link.first.folder.path)?;
    let folder = folders.get(&link.place.folder)?;
    let name = &*link.place.name;
    if !link.place.is_replaced {
        return rustix::fs::linkat(from, &*link.first.name, folder, name, AtFlags::empty());
    }
    let temporary = temporary_name(name);
    let _ = rustix::fs::unlinkat(folder, temporary.as_slice(), AtFlags::empty());
    rustix::fs::linkat(
        &from,
        &*link.first.name,
        folder,
        temporary.as_slice(),
        AtFlags::empty(),
    )?;
    rustix::fs::renameat(folder, temporary.as_slice(), folder, name)?;
    // Renaming one name of a file onto another does nothing.
    match rustix::fs::unlinkat(folder, temporary.as_slice(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Sets what belongs to folders that nothing more goes into, deepest first.
pub fn finish_folders(run: &Run, window: &Window) -> Result<(), Error> {
    for (folder, attributes, class) in &window.folders {
        run.check_stop()?;
        if folder.is_missing || (!folder.is_new && run.overwrite == super::run::Overwrite::Never) {
            continue;
        }
        let refused = match run.target.open_folder(&folder.path) {
            Ok(opened) => attributes.set(opened.as_fd(), false),
            Err(errno) => vec![("folder", errno)],
        };
        run.attributes_refused(|| folder.path.clone(), *class, &refused)?;
    }
    Ok(())
}
