//! Which data class a file belongs to after a look at its first bytes. A look can only raise it.
//!
//! Positions of classes are in the order of their sensitivity: a lower one is more sensitive.
use std::collections::{BTreeMap, HashMap};

use holdfast_engine::detect::{HEAD_BYTES, Rule, Target, detect};
use parking_lot::Mutex;

use super::batch::Item;

/// Folders noted in one run; beyond, files are still raised, each for itself.
const FOLDERS_MAX: usize = 100_000;

/// To which position the classes that rules name are raised in this run.
#[derive(Debug, Clone, Default)]
pub struct Raise {
    /// Class id to position; a class that this run does not write to is left out.
    pub classes: Vec<(u16, u16)>,
}

impl Raise {
    /// The position that a rule raises to; `None`: it raises nothing here.
    pub fn position(&self, target: Target) -> Option<u16> {
        match target {
            Target::Class(class) => {
                let row = self.classes.iter().find(|(id, _)| *id == class.0);
                row.map(|(_, position)| *position)
            }
            // What cannot be seen has the class of its source, which its path says, or of what lies beside it in its folder.
            Target::Source | Target::Nothing => None,
        }
    }

    /// Whether a look could raise anything above `class`.
    fn may_raise(&self, class: u16) -> bool {
        self.classes.iter().any(|(_, position)| *position < class)
    }
}

/// A folder by its path, and the position of the class that it is raised to.
pub type RaisedFolder = (Vec<u8>, u16);

/// How much of what was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files among them that were raised.
    pub raised: u64,
}

/// What a run found out about classes.
#[derive(Default)]
pub(super) struct Classes {
    raise: Option<Raise>,
    found: Mutex<HashMap<Rule, Found>>,
    folders: Mutex<BTreeMap<Vec<u8>, u16>>,
}

impl Classes {
    pub fn new(raise: Option<Raise>) -> Self {
        Self {
            raise,
            ..Self::default()
        }
    }

    /// How many of a file's first bytes are wanted; 0: none.
    pub fn head_bytes(&self, item: &Item) -> usize {
        let wanted = self
            .raise
            .as_ref()
            .is_some_and(|raise| raise.may_raise(item.scanned));
        if wanted { HEAD_BYTES } else { 0 }
    }

    /// Looks at a file's first bytes. If its class is another than it was taken to be, what was known of it is forgotten.
    pub fn look(&self, item: &mut Item, head: &[u8], size: u64) {
        let Some(raise) = self
            .raise
            .as_ref()
            .filter(|raise| raise.may_raise(item.scanned))
        else {
            return;
        };
        let detection = detect(head, size);
        let position = detection.and_then(|found| raise.position(found.rule.target()));
        item.detected = position;
        let class = raised(item.scanned, position);
        if let Some(detection) = detection {
            let mut found = self.found.lock();
            let found = found.entry(detection.rule).or_default();
            found.files += 1;
            found.bytes += size;
            found.raised += u64::from(class < item.scanned);
        }
        if class != item.class {
            item.class = class;
            item.old = None;
            item.before = None;
        }
    }

    /// Notes the folder of a file that is more sensitive than its folder.
    pub fn note_folder(&self, path: &[u8], item: &Item) {
        if item.class >= item.scanned {
            return;
        }
        let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let folder = path.get(..end).unwrap_or_default();
        let mut folders = self.folders.lock();
        if let Some(class) = folders.get_mut(folder) {
            *class = item.class.min(*class);
        } else if folders.len() < FOLDERS_MAX {
            folders.insert(folder.to_vec(), item.class);
        }
    }

    /// What was found, and the folders to be raised, by path.
    pub fn results(&self) -> (Vec<(Rule, Found)>, Vec<RaisedFolder>) {
        let mut found: Vec<(Rule, Found)> = std::mem::take(&mut *self.found.lock())
            .into_iter()
            .collect();
        found.sort_by_key(|(rule, _)| *rule as u8);
        let folders = std::mem::take(&mut *self.folders.lock());
        (found, folders.into_iter().collect())
    }
}

/// The class of a file whose path says `scanned`.
pub(super) fn raised(scanned: u16, detected: Option<u16>) -> u16 {
    detected.map_or(scanned, |detected| detected.min(scanned))
}
