//! What changed between two trees, skipping what they share.
use std::cmp::Ordering;

use crate::cursor::{Item, Lost, Walk};
use crate::entry::{Entry, compare_paths};
use crate::error::Result;
use crate::id::Location;
use crate::tree::NodeSource;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Only in the new tree.
    Added(Entry),
    /// Only in the old tree.
    Removed(Entry),
    /// In both, not equal.
    Changed {
        /// As it was.
        old: Entry,
        /// As it is.
        new: Entry,
    },
}

/// The differences of two trees, in order of path. Reads only nodes that are not shared.
pub struct Diff {
    old: Walk,
    new: Walk,
    /// Which of the two was being opened last.
    is_old: bool,
    /// Stretches of paths, up to and not including an end, of which one tree cannot say what it has.
    blind: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// What to do with the next items of both trees.
enum Step {
    SkipBoth,
    OpenOld,
    OpenNew,
    OpenBoth,
    TakeOld,
    TakeNew,
    TakeBoth,
}

impl Diff {
    /// Compares an old tree with a new one. Reads nothing yet.
    pub fn new(old: Location, new: Location) -> Self {
        Self {
            old: Walk::new(old),
            new: Walk::new(new),
            is_old: false,
            blind: Vec::new(),
        }
    }

    /// After an error: drops the subtree that cannot be read, and says what it was; `None` if nothing is left to drop.
    ///
    /// Nothing is said from then on about paths that may have been in it: what the other tree has there may be unchanged.
    pub fn skip_lost(&mut self) -> Option<Lost> {
        let walk = if self.is_old {
            &mut self.old
        } else {
            &mut self.new
        };
        let lost = walk.skip_lost()?;
        let end = walk.peek().map(|next| next.first_path().to_vec());
        self.blind.push((lost.first_path.clone(), end));
        Some(lost)
    }

    /// The next difference.
    #[allow(clippy::should_implement_trait)] // Needs the source, which an iterator could not be given.
    pub fn next(&mut self, source: &mut dyn NodeSource) -> Result<Option<Change>> {
        while let Some(change) = self.next_seen(source)? {
            let path = match &change {
                Change::Added(entry) | Change::Removed(entry) => &entry.path,
                Change::Changed { new, .. } => &new.path,
            };
            let is_before = |a: &[u8], b: &[u8]| compare_paths(a, b) == Ordering::Less;
            self.blind
                .retain(|(_, end)| end.as_ref().is_none_or(|end| is_before(path, end)));
            if self.blind.iter().all(|(first, _)| is_before(path, first)) {
                return Ok(Some(change));
            }
        }
        Ok(None)
    }

    fn open_old(&mut self, source: &mut dyn NodeSource) -> Result<()> {
        self.is_old = true;
        self.old.open(source)
    }

    fn open_new(&mut self, source: &mut dyn NodeSource) -> Result<()> {
        self.is_old = false;
        self.new.open(source)
    }

    /// The next difference, stretches of which nothing can be said included.
    fn next_seen(&mut self, source: &mut dyn NodeSource) -> Result<Option<Change>> {
        while let Some(step) = decide(self.old.peek(), self.new.peek()) {
            match step {
                Step::SkipBoth => {
                    self.old.skip();
                    self.new.skip();
                }
                Step::OpenOld => self.open_old(source)?,
                Step::OpenNew => self.open_new(source)?,
                Step::OpenBoth => {
                    self.open_old(source)?;
                    self.open_new(source)?;
                }
                Step::TakeOld => return Ok(self.old.take_entry()?.map(Change::Removed)),
                Step::TakeNew => return Ok(self.new.take_entry()?.map(Change::Added)),
                Step::TakeBoth => {
                    let (old, new) = (self.old.take_entry()?, self.new.take_entry()?);
                    if let (Some(old), Some(new)) = (old, new)
                        && old != new
                    {
                        return Ok(Some(Change::Changed { old, new }));
                    }
                }
            }
        }
        Ok(None)
    }
}

/// The next step; `None` when both trees are at their end.
fn decide(old: Option<&Item>, new: Option<&Item>) -> Option<Step> {
    Some(match (old, new) {
        (None, None) => return None,
        (Some(Item::Entry(_)), None) => Step::TakeOld,
        (None, Some(Item::Entry(_))) => Step::TakeNew,
        (Some(Item::Root(old)), Some(Item::Root(new))) if old == new => Step::SkipBoth,
        (Some(Item::Root(_)), _) | (Some(_), None) => Step::OpenOld,
        (_, Some(Item::Root(_))) | (None, Some(_)) => Step::OpenNew,
        (Some(Item::Entry(old)), Some(Item::Entry(new))) => {
            match compare_paths(&old.path, &new.path) {
                Ordering::Less => Step::TakeOld,
                Ordering::Equal => Step::TakeBoth,
                Ordering::Greater => Step::TakeNew,
            }
        }
        (Some(Item::Node(old, _)), Some(Item::Entry(new))) => {
            match compare_paths(&old.first_path, &new.path) {
                Ordering::Greater => Step::TakeNew,
                _ => Step::OpenOld,
            }
        }
        (Some(Item::Entry(old)), Some(Item::Node(new, _))) => {
            match compare_paths(&new.first_path, &old.path) {
                Ordering::Greater => Step::TakeOld,
                _ => Step::OpenNew,
            }
        }
        (Some(Item::Node(old, old_level)), Some(Item::Node(new, new_level))) => {
            if old.location == new.location {
                Step::SkipBoth
            } else {
                match old_level
                    .cmp(new_level)
                    .reverse()
                    .then_with(|| compare_paths(&old.first_path, &new.first_path))
                {
                    Ordering::Less => Step::OpenOld,
                    Ordering::Equal => Step::OpenBoth,
                    Ordering::Greater => Step::OpenNew,
                }
            }
        }
    })
}
