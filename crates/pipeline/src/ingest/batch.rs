//! Entries on their way from the scan to the trees.
use std::ffi::CString;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use holdfast_engine::content::Piece;
use holdfast_engine::{Location, Origin};

use super::StreamSpec;
use super::events::FindingKind;
use crate::scan::{FileStat, Folder};

/// Extended attributes, sorted by name.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Where the bytes of a file are, in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Few enough to be kept in the entry.
    Inline(Vec<u8>),
    /// Chunks and holes, in order.
    Pieces(Vec<Piece>),
    /// A page map.
    Pages(Arc<PageFile>),
}

/// A page map: its groups, and every segment that they point into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageFile {
    /// log2 of the page size.
    pub page_size_log2: u8,
    /// The groups, in order.
    pub groups: Vec<Location>,
    /// Segments of the groups' extents.
    pub segments: Vec<(Origin, u32)>,
    /// The local copy of the groups; 0: none.
    pub side: u64,
}

/// What the last run knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Past {
    New,
    Changed,
    Unchanged,
    /// Unchanged by its times, and read all the same.
    Audited,
}

/// What is in an entry.
pub(super) enum Body {
    /// To be read.
    Unread,
    /// A file whose content is known, and its attributes are not.
    Attributes { stored: Stored },
    /// A file's content.
    File {
        stored: Stored,
        xattrs: Xattrs,
        mark: u64,
    },
    /// A folder, symbolic link or special file.
    Other { target: Vec<u8>, xattrs: Xattrs },
    /// A further name of a file met before.
    SameFile,
    /// Left out, for this reason.
    Missing(FindingKind, i32),
    /// The command behind it failed, and how.
    Failed(String),
}

/// One entry.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a thing of its own, said by another stage"
)]
pub(super) struct Item {
    pub path: (u32, u32),
    /// Position of its data class.
    pub class: u16,
    /// Position of the class that its path says.
    pub scanned: u16,
    /// Position that its content raises it to.
    pub detected: Option<u16>,
    pub past: Past,
    /// It differed between the beginning and the end of each reading.
    pub unsteady: bool,
    pub stat: FileStat,
    pub folder: Option<Arc<Folder>>,
    pub body: Body,
    /// The page map of a file that changed.
    pub old: Option<Arc<PageFile>>,
    /// It has the size it had, and changed: in place.
    pub rewritten: bool,
    /// The mark of an audited file's content when it was last read.
    pub before: Option<u64>,
    /// The audit found other content than the last run stored.
    pub silent: bool,
    /// It looks encrypted.
    pub scrambled: bool,
}

impl Item {
    /// Takes what `stat` said after a reading.
    pub fn read_as(&mut self, stat: FileStat) {
        if !self.stat.same_content(&stat) {
            // It changed since the scan, and its times say so: no matter for an audit.
            self.before = None;
        }
        self.stat = stat;
    }
}

/// Neighbouring entries.
#[derive(Default)]
pub(super) struct Batch {
    pub paths: Vec<u8>,
    pub items: Vec<Item>,
}

impl Batch {
    pub fn push_path(&mut self, path: &[u8]) -> (u32, u32) {
        let begin = self.paths.len() as u32;
        self.paths.extend_from_slice(path);
        (begin, path.len() as u32)
    }

    pub fn path(&self, (begin, len): (u32, u32)) -> &[u8] {
        self.paths
            .get(begin as usize..(begin + len) as usize)
            .unwrap_or_default()
    }

    /// The last component of a path, as the system takes it.
    pub fn name(&self, path: (u32, u32)) -> CString {
        let path = self.path(path);
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        // The scan had it from the system, which has no zero bytes in names.
        CString::new(name).unwrap_or_default()
    }
}

/// Batches in order, some of them still being read.
pub(super) enum Ordered {
    Ready(Batch),
    Later(Receiver<Batch>),
    /// Everything before this was looked up before the fence of this number was asked for, or after.
    Fence(u32),
    /// The walk met everything. A queue that ends without this is a walk that failed.
    End,
}

/// A batch to be read, and where it goes then.
pub(super) struct ToRead {
    pub batch: Batch,
    /// The command behind its one entry.
    pub stream: Option<StreamSpec>,
    pub done: Sender<Batch>,
}
