//! Open files: reading, writing, and what of them is still lacking.
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use rustix::fs::{Mode, OFlags, fstat};
use rustix::io::Errno;

use super::{Core, Handle, TOUCHED_MAX, proc_path};
use crate::content::Lower;
use crate::listing::Found;
use crate::upper::partial::{Partial, Trouble, read_here, system};
use crate::upper::skeleton::lower_of;

impl Core {
    /// What is known of a file that may lack content: shared by all who have it open.
    pub fn partial(&self, ino: u64, file: &Arc<File>) -> Result<Option<Arc<Partial>>, Trouble> {
        if self.whole.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut partials = self.partials.lock();
        if let Some(known) = partials.get(&ino).and_then(Weak::upgrade) {
            return Ok(Some(known));
        }
        let Some(path) = lower_of(file.as_fd())? else {
            return Ok(None);
        };
        let trees = self.skeleton.trees();
        let found = trees.lookup(&path)?;
        let Some(Found::Entry(entry, _)) = found else {
            return Err(Errno::IO.into());
        };
        let holdfast_engine::entry::EntryKind::File { size, content } = &entry.kind else {
            return Err(Errno::IO.into());
        };
        let segments = Arc::clone(trees.segments());
        let lower = Lower::open(*size, content, &segments)?;
        // Filling must write, whatever the mode and whoever opened it.
        let own = writable(file)?;
        let partial = Partial::open(
            own,
            lower,
            segments,
            &self.maps,
            map_name(&path),
            self.boot,
            Arc::clone(&self.counters),
        )?;
        let partial = Arc::new(partial);
        partials.retain(|_, known| known.strong_count() > 0);
        partials.insert(ino, Arc::downgrade(&partial));
        Ok(Some(partial))
    }

    /// Fill this one first.
    fn touch(&self, partial: &Arc<Partial>) {
        if partial.is_whole() {
            return;
        }
        let mut touched = self.touched.lock();
        touched.retain(|known| !std::ptr::eq(known.as_ptr(), Arc::as_ptr(partial)));
        touched.push_front(Arc::downgrade(partial));
        touched.truncate(TOUCHED_MAX);
        self.wake.notify_all();
    }

    /// Opens a file of a number.
    pub fn open(&self, ino: u64, flags: i32) -> Result<u64, Trouble> {
        let path = self.path(ino)?;
        let wanted = OFlags::from_bits_retain(flags.cast_unsigned());
        let mode = wanted & OFlags::RWMODE;
        let durable = wanted & (OFlags::DSYNC | OFlags::SYNC);
        let file = Arc::new(File::from(self.open_path(&path, mode | durable)?));
        self.opened(ino, file, !durable.is_empty())
    }

    pub(super) fn opened(&self, ino: u64, file: Arc<File>, is_sync: bool) -> Result<u64, Trouble> {
        let partial = self.partial(ino, &file)?;
        if let Some(partial) = &partial {
            self.touch(partial);
        }
        let number = self.next_handle.fetch_add(1, Ordering::Relaxed);
        let handle = Handle {
            ino,
            file,
            partial,
            is_sync,
        };
        self.handles.lock().insert(number, Arc::new(handle));
        Ok(number)
    }

    /// Closes a file.
    pub fn release(&self, handle: u64) {
        let closed = self.handles.lock().remove(&handle);
        drop(closed);
    }

    /// Reads.
    pub fn read(&self, handle: u64, offset: u64, len: usize) -> Result<Vec<u8>, Trouble> {
        let handle = self.handle(handle)?;
        match &handle.partial {
            Some(partial) if !partial.is_whole() => partial.read(offset, len),
            _ => Ok(read_here(&handle.file, offset, len)?),
        }
    }

    /// Writes.
    pub fn write(&self, handle: u64, offset: u64, bytes: &[u8]) -> Result<(), Trouble> {
        let handle = self.handle(handle)?;
        if let Some(partial) = handle
            .partial
            .as_ref()
            .filter(|partial| !partial.is_whole())
        {
            self.touch(partial);
            partial.write(offset, bytes)?;
            if handle.is_sync {
                partial.sync()?;
            }
            return Ok(());
        }
        Ok(handle.file.write_all_at(bytes, offset).map_err(system)?)
    }

    /// Cuts or lengthens a file.
    pub fn set_len(&self, ino: u64, handle: Option<u64>, len: u64) -> Result<(), Trouble> {
        if let Some(handle) = handle.and_then(|handle| self.handle(handle).ok()) {
            return match &handle.partial {
                Some(partial) => partial.set_len(len),
                None => Ok(rustix::fs::ftruncate(&handle.file, len)?),
            };
        }
        let opened = self.descriptor(ino)?;
        let file = Arc::new(File::from(rustix::fs::open(
            proc_path(opened.as_fd()),
            OFlags::RDWR | OFlags::CLOEXEC,
            Mode::empty(),
        )?));
        match self.partial(ino, &file)? {
            Some(partial) => partial.set_len(len),
            None => Ok(rustix::fs::ftruncate(&file, len)?),
        }
    }
}

/// The file opened once more, for writing. Who is not root and may not write it gives himself the right for a moment.
fn writable(file: &Arc<File>) -> Result<Arc<File>, Errno> {
    let path = proc_path(file.as_fd());
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let opened = match rustix::fs::open(&path, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let mode = Mode::from_raw_mode(fstat(file)?.st_mode);
            rustix::fs::chmod(&path, mode | Mode::RUSR | Mode::WUSR)?;
            let opened = rustix::fs::open(&path, flags, Mode::empty());
            rustix::fs::chmod(&path, mode)?;
            opened?
        }
        other => other?,
    };
    Ok(Arc::new(File::from(opened)))
}

/// What the map of a path is called: names of patients do not stand in the state folder.
fn map_name(path: &[u8]) -> String {
    use std::fmt::Write;
    let digest = holdfast_engine::pack::sha256(path);
    digest
        .iter()
        .take(16)
        .fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        })
}
