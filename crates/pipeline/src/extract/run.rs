//! What the threads of a restore share: the target, what was asked for, counters, and the way to tell.
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender};
use parking_lot::Mutex;
use rustix::io::Errno;

use super::attributes::Refused;
use super::folders::Target;
use super::large::Staging;
use super::window::Place;
use crate::Error;
use crate::limits::Limits;
use crate::reader::Reader;

/// What becomes of files that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// They stay. Those that differ from what would be restored are findings.
    Never,
    /// They are replaced if they were modified earlier.
    Older,
    /// They are replaced.
    Always,
}

/// Why an entry was not restored, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// Some of its bytes are lost; what is left is under another name, if anything is.
    Damaged,
    /// Something else has its name, and stays.
    Exists,
    /// The system refused to make it.
    Refused,
    /// An attribute could not be set: said once for each kind of attribute.
    Attributes,
}

impl FindingKind {
    /// The stable name.
    pub fn code(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Exists => "exists",
            Self::Refused => "refused",
            Self::Attributes => "attributes",
        }
    }
}

/// Trouble with one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its path in the tree.
    pub path: Vec<u8>,
    /// What happened.
    pub kind: FindingKind,
    /// More of it: ranges, reasons. No path.
    pub detail: String,
    /// The class of its tree.
    pub class: u16,
}

/// What a restore tells.
pub enum Event {
    /// Trouble with one entry.
    Finding(Finding),
    /// The end.
    Finished(Result<(), Error>),
}

/// How far a restore is.
#[derive(Debug, Default)]
pub struct Counters {
    /// Files and other non-folders that stand.
    pub files: AtomicU64,
    /// Folders that stand.
    pub folders: AtomicU64,
    /// Bytes of content of `files`.
    pub bytes: AtomicU64,
    /// Files planned so far.
    pub files_total: AtomicU64,
    /// Bytes planned so far.
    pub bytes_total: AtomicU64,
    /// Files that were there already, or stay as they are.
    pub skipped: AtomicU64,
    /// Bytes read from packs.
    pub stored_bytes: AtomicU64,
    /// Findings.
    pub findings: AtomicU64,
    /// Findings of damage.
    pub damaged: AtomicU64,
}

/// Adds to a counter.
pub fn count(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// What the threads of a restore share.
pub struct Run {
    /// What is read.
    pub reader: Arc<Reader>,
    /// Where it goes.
    pub target: Target,
    /// Where unfinished files are; `None` in a dry run.
    pub staging: Option<Staging>,
    /// What becomes of files that exist.
    pub overwrite: Overwrite,
    /// An earlier restore into this target did not end: its folders and files are this one's.
    pub is_resumed: bool,
    /// When the earlier restore began (seconds since 1970): what was born later is its own.
    pub began_s: i64,
    /// The bits that the process takes from the mode of what it makes.
    pub umask: u16,
    /// Rates and pause.
    pub limits: Arc<Limits>,
    /// Set to stop.
    pub stop: Arc<AtomicBool>,
    /// How far it is.
    pub counters: Arc<Counters>,
    /// To the caller.
    pub events: Sender<Event>,
    /// Attributes whose refusal was told.
    pub told: Mutex<HashSet<&'static str>>,
}

impl Run {
    /// Stops the thread if the caller asked to.
    pub fn check_stop(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) {
            Err(Error::Stopped)
        } else {
            Ok(())
        }
    }

    /// Tells of trouble; waits for the caller if it is far behind.
    pub fn find(
        &self,
        path: Vec<u8>,
        kind: FindingKind,
        detail: String,
        class: u16,
    ) -> Result<(), Error> {
        count(&self.counters.findings, 1);
        if kind == FindingKind::Damaged {
            count(&self.counters.damaged, 1);
        }
        let mut event = Event::Finding(Finding {
            path,
            kind,
            detail,
            class,
        });
        loop {
            self.check_stop()?;
            match self.events.send_timeout(event, Duration::from_millis(100)) {
                Ok(()) => return Ok(()),
                Err(SendTimeoutError::Timeout(back)) => event = back,
                Err(SendTimeoutError::Disconnected(_)) => return Err(Error::Stopped),
            }
        }
    }

    /// Tells that the system refused an entry. An error if it will refuse all others, too.
    pub fn refused(&self, place: &Place, errno: Errno) -> Result<(), Error> {
        match errno {
            Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO | Errno::MFILE | Errno::NFILE => {
                Err(Error::io("write", errno))
            }
            Errno::EXIST => self.find(
                place.path(),
                FindingKind::Exists,
                "its name was taken meanwhile".into(),
                place.class,
            ),
            Errno::LOOP | Errno::NOTDIR => {
                let detail =
                    "a symbolic link or a file stands where a folder of its path goes".into();
                self.find(place.path(), FindingKind::Refused, detail, place.class)
            }
            errno => self.find(
                place.path(),
                FindingKind::Refused,
                reason(errno),
                place.class,
            ),
        }
    }

    /// Tells what could not be set on an entry that is otherwise restored: the first time for each kind.
    pub fn attributes_refused(
        &self,
        path: impl FnOnce() -> Vec<u8>,
        class: u16,
        refused: &Refused,
    ) -> Result<(), Error> {
        let news: Vec<_> = {
            let mut told = self.told.lock();
            refused
                .iter()
                .filter(|(what, _)| told.insert(what))
                .collect()
        };
        if news.is_empty() {
            return Ok(());
        }
        let details: Vec<String> = news
            .iter()
            .map(|(what, errno)| format!("{what}: {}", reason(*errno)))
            .collect();
        let detail = format!("{} (said once, may concern others)", details.join(", "));
        self.find(path(), FindingKind::Attributes, detail, class)
    }
}

/// The system's reason as text.
pub fn reason(errno: Errno) -> String {
    std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string()
}
