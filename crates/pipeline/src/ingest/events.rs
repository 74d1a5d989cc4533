//! What a run tells.
use holdfast_engine::detect::Rule;
use holdfast_engine::refs::RefSet;
use holdfast_engine::tree::Root;
use holdfast_engine::{ClassId, Generation};

use super::classify::{Found, RaisedFolder};
use super::context::Counts;
use super::signs::SignCounts;
use crate::packer::ledger::{CheckpointReady, LedgerEvent, PackReady, RunReady};

/// Something a caller has to know, or to do.
pub enum Event {
    /// A pack to be stored.
    Pack(PackReady),
    /// Stored packs to be made known.
    Checkpoint(CheckpointReady),
    /// A file that could not be stored whole.
    Finding(Finding),
    /// What was referred to before a fence is in the trees, and was looked up again.
    Fenced {
        /// As [`super::Ingest::fence`] gave it; it stands for all before it.
        number: u32,
        /// Every segment in them has a copy outside excluded packs.
        is_clean: bool,
    },
    /// Everything is stored.
    Finished(Box<Finished>),
}

impl From<LedgerEvent> for Event {
    fn from(event: LedgerEvent) -> Self {
        match event {
            LedgerEvent::Pack(pack) => Self::Pack(pack),
            LedgerEvent::Checkpoint(checkpoint) => Self::Checkpoint(checkpoint),
        }
    }
}

/// Why an entry is missing from the backup, or not what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// It could not be read.
    Unreadable,
    /// It was gone before it was read.
    Vanished,
    /// It changed while it was read, every time; stored as last read.
    ChangedWhileReading,
    /// A socket: skipped.
    Socket,
    /// Its path is longer than the format holds: skipped.
    PathTooLong,
    /// Its content differs from what was stored, though its times say that it did not change.
    SilentChange,
    /// The command behind it failed: left out.
    StreamFailed,
    /// Its attributes or names are beyond what the format holds: left out.
    BeyondLimits,
    /// It contradicts itself, or comes a second time: left out.
    Refused,
}

impl FindingKind {
    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Vanished => "vanished",
            Self::ChangedWhileReading => "changed-while-reading",
            Self::Socket => "socket-skipped",
            Self::PathTooLong => "path-too-long",
            Self::SilentChange => "silent-change",
            Self::StreamFailed => "stream-failed",
            Self::BeyondLimits => "beyond-limits",
            Self::Refused => "refused",
        }
    }
}

/// Trouble with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its path in the tree.
    pub path: Vec<u8>,
    /// Position of its class.
    pub class: u16,
    /// What happened.
    pub kind: FindingKind,
    /// The system's reason; 0 if there is none.
    pub errno: i32,
    /// What else there is to say, without a name in it; mostly nothing.
    pub detail: String,
}

impl Finding {
    /// A command that failed, and how.
    pub fn of_stream(path: &[u8], class: u16, detail: String) -> Self {
        Self {
            path: path.to_vec(),
            class,
            kind: FindingKind::StreamFailed,
            errno: 0,
            detail,
        }
    }
}

/// The tree of one class.
pub struct ClassResult {
    /// The class.
    pub class: ClassId,
    /// The generation written to.
    pub generation: Generation,
    /// Its root.
    pub root: Root,
    /// Regular files in it.
    pub files: u64,
    /// Bytes of content that were not stored before.
    pub new_bytes: u64,
    /// Bytes of its packs.
    pub stored_bytes: u64,
    /// Every segment it needs, its own nodes included.
    pub refs: RefSet,
}

/// The end of a run.
#[derive(Default)]
pub struct Finished {
    /// One per class that has entries, in the order the classes were given.
    pub classes: Vec<ClassResult>,
    /// The last index runs.
    pub runs: Vec<RunReady>,
    /// Totals.
    pub counts: Counts,
    /// A new stat cache was written.
    pub cache_written: bool,
    /// Some segment that the trees need is in excluded packs only: the run is to be repeated with the new cache.
    pub is_lost: bool,
    /// Writer state payload, and whether it is a base; `None` if nothing changed.
    pub state: Option<(Vec<u8>, bool)>,
    /// What the first bytes of new and changed files showed.
    pub detections: Vec<(Rule, Found)>,
    /// Folders that hold something more sensitive than their path says, and its class's position.
    pub raised: Vec<RaisedFolder>,
    /// Signs of ransomware.
    pub signs: SignCounts,
}
