//! What is left out of a backup, and which data class an entry belongs to: decisions on a path, no access to files.
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// First bytes of a `CACHEDIR.TAG` file (<https://bford.info/cachedir/>).
pub const CACHEDIR_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// A pattern that cannot be understood, by its position in its list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern {position} cannot be understood: {reason}")]
pub struct PatternError {
    /// Position in the list it was given in.
    pub position: usize,
    /// What the pattern's parser says.
    pub reason: String,
}

/// What a run was asked for, as plain values.
#[derive(Debug, Clone, Default)]
pub struct RuleConfig {
    /// Patterns as in `.gitignore`, relative to the root folder; the last match decides, `!` takes back.
    pub exclude: Vec<String>,
    /// (pattern, class): the last match decides; without one an entry has its folder's class.
    pub classes: Vec<(String, u16)>,
    /// Class of the root folder.
    pub default_class: u16,
    /// Folders that are known to hold something of a class (path, class): raised with what is in them. Their names stand in
    /// the folders above, below the paths asked for, which are raised too, without what is in them.
    pub raised: Vec<(Vec<u8>, u16)>,
    /// The paths asked for, whose names are the operator's own.
    pub roots: Vec<Vec<u8>>,
    /// Leave out what is in folders that hold a valid `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// Do not enter other file systems than that of each path asked for.
    pub one_file_system: bool,
    /// Leave out files larger than this.
    pub file_bytes_max: Option<u64>,
}

/// The compiled rules of a run.
pub struct Rules {
    exclude: Gitignore,
    classes: Gitignore,
    class_of: HashMap<String, u16>,
    /// Per folder: its own class, and that of what is in it.
    raised: HashMap<Vec<u8>, (u16, u16)>,
    /// Class of the root folder.
    pub default_class: u16,
    /// See [`RuleConfig::exclude_caches`].
    pub exclude_caches: bool,
    /// See [`RuleConfig::one_file_system`].
    pub one_file_system: bool,
    /// See [`RuleConfig::file_bytes_max`].
    pub file_bytes_max: Option<u64>,
    /// (device, inode) of what is never backed up: the store, spool and state of Holdfast itself.
    pub own: HashSet<(u64, u64)>,
}

impl Rules {
    /// Compiles the patterns. Patterns are those of `.gitignore`.
    pub fn new(config: &RuleConfig, own: HashSet<(u64, u64)>) -> Result<Self, PatternError> {
        let class_patterns: Vec<&str> = config.classes.iter().map(|(p, _)| p.as_str()).collect();
        let exclude: Vec<&str> = config.exclude.iter().map(String::as_str).collect();
        Ok(Self {
            exclude: compile(&exclude)?,
            classes: compile(&class_patterns)?,
            class_of: config.classes.iter().cloned().collect(),
            raised: raised(&config.raised, &config.roots),
            default_class: config.default_class,
            exclude_caches: config.exclude_caches,
            one_file_system: config.one_file_system,
            file_bytes_max: config.file_bytes_max,
            own,
        })
    }

    /// Whether any decision needs an entry's path.
    pub fn need_paths(&self) -> bool {
        !self.exclude.is_empty() || !self.classes.is_empty() || !self.raised.is_empty()
    }

    /// Whether the entry (and everything under it) is left out.
    pub fn excluded(&self, path: &[u8], is_folder: bool) -> bool {
        !self.exclude.is_empty() && self.exclude.matched(as_path(path), is_folder).is_ignore()
    }

    /// The class of an entry whose folder has class `parent`.
    pub fn class(&self, path: &[u8], is_folder: bool, parent: u16) -> u16 {
        if self.classes.is_empty() {
            return parent;
        }
        match self.classes.matched(as_path(path), is_folder).inner() {
            Some(glob) => self
                .class_of
                .get(glob.original())
                .copied()
                .unwrap_or(parent),
            None => parent,
        }
    }

    /// The class of a folder itself, and of what is in it, where its path says `class`.
    pub fn raised(&self, path: &[u8], class: u16) -> (u16, u16) {
        match self.raised.get(path) {
            Some((own, within)) => (class.min(*own), class.min(*within)),
            None => (class, class),
        }
    }

    /// The class of a path that no scan has met (a stream): the rules applied from the top down.
    pub fn class_from_top(&self, path: &[u8]) -> u16 {
        let mut class = self.class(b"", true, self.default_class);
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let folder = path.get(..at).unwrap_or_default();
            class = self.raised(folder, self.class(folder, true, class)).1;
        }
        self.class(path, false, class)
    }
}

/// Per folder its own class and that of what is in it: names never sink below what they lead to.
fn raised(folders: &[(Vec<u8>, u16)], roots: &[Vec<u8>]) -> HashMap<Vec<u8>, (u16, u16)> {
    let root = |path: &[u8]| {
        let path = path.to_vec();
        roots.iter().any(|root| {
            root.strip_prefix(path.as_slice())
                .is_some_and(|rest| rest.is_empty() || path.is_empty() || rest.starts_with(b"/"))
        })
    };
    let mut found: HashMap<Vec<u8>, (u16, u16)> = HashMap::new();
    for (folder, class) in folders {
        let place = found.entry(folder.clone()).or_insert((u16::MAX, u16::MAX));
        place.1 = place.1.min(*class);
        let mut path = folder.as_slice();
        while !root(path) {
            let place = found.entry(path.to_vec()).or_insert((u16::MAX, u16::MAX));
            place.0 = place.0.min(*class);
            if path.is_empty() {
                break; // No path was asked for: a run of streams alone.
            }
            let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            path = path.get(..end).unwrap_or_default();
        }
    }
    found
}

fn as_path(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

fn compile(patterns: &[&str]) -> Result<Gitignore, PatternError> {
    let failed = |position: usize, error: &ignore::Error| PatternError {
        position,
        reason: error.to_string(),
    };
    let mut builder = GitignoreBuilder::new("");
    for (position, pattern) in patterns.iter().enumerate() {
        builder
            .add_line(None, pattern)
            .map_err(|error| failed(position, &error))?;
    }
    builder
        .build()
        .map_err(|error| failed(patterns.len(), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(exclude: &[&str], classes: &[(&str, u16)]) -> Rules {
        let config = RuleConfig {
            exclude: exclude.iter().map(ToString::to_string).collect(),
            classes: classes.iter().map(|(p, c)| ((*p).to_owned(), *c)).collect(),
            default_class: 1,
            ..RuleConfig::default()
        };
        Rules::new(&config, HashSet::new()).expect("patterns")
    }

    #[test]
    fn the_last_matching_pattern_decides() {
        let rules = rules(&["*.tmp", "!keep.tmp", "/srv/cache/"], &[]);
        assert!(rules.excluded(b"srv/a.tmp", false));
        assert!(!rules.excluded(b"srv/keep.tmp", false));
        assert!(rules.excluded(b"srv/cache", true));
        assert!(!rules.excluded(b"srv/cache", false));
        assert!(!rules.excluded(b"opt/srv/cache", true));
    }

    #[test]
    fn patterns_match_names_of_any_bytes() {
        let rules = rules(&["*.bak"], &[]);
        assert!(rules.excluded(b"a/\xff\xfe.bak", false));
    }

    #[test]
    fn classes_come_from_the_last_match_or_the_folder() {
        let rules = rules(
            &[],
            &[("/srv", 5), ("*.dcm", 3), ("/srv/x", 2), ("/srv", 4)],
        );
        assert_eq!(rules.class(b"srv", true, 1), 4);
        assert_eq!(rules.class(b"srv/y", false, 4), 4);
        assert_eq!(rules.class(b"srv/y/z.dcm", false, 4), 3);
        assert_eq!(rules.class_from_top(b"srv/x/stream"), 2);
        assert_eq!(rules.class_from_top(b"other"), 1);
    }

    #[test]
    fn a_raised_folder_raises_what_is_in_it_and_the_names_above() {
        let config = RuleConfig {
            default_class: 5,
            raised: vec![
                (b"srv/share/ash".to_vec(), 1),
                (b"srv/share/ash".to_vec(), 3),
                (b"srv".to_vec(), 4),
            ],
            roots: vec![b"srv".to_vec()],
            ..RuleConfig::default()
        };
        let rules = Rules::new(&config, HashSet::new()).expect("patterns");
        assert!(rules.need_paths());
        assert_eq!(rules.raised(b"srv/share/ash", 5), (1, 1));
        assert_eq!(rules.raised(b"srv/share", 5), (1, 5));
        assert_eq!(rules.raised(b"srv", 5), (5, 4));
        assert_eq!(rules.raised(b"", 5), (5, 5));
        assert_eq!(rules.raised(b"srv/share/ash", 0), (0, 0));
        assert_eq!(rules.class_from_top(b"srv/share/ash/stream"), 1);
        assert_eq!(rules.class_from_top(b"srv/other/stream"), 4);
    }

    #[test]
    fn a_run_of_streams_alone_raises_up_to_the_root_folder() {
        let config = RuleConfig {
            default_class: 5,
            raised: vec![(b"dumps/ehr".to_vec(), 1)],
            ..RuleConfig::default()
        };
        let rules = Rules::new(&config, HashSet::new()).expect("patterns");
        assert_eq!(rules.raised(b"dumps/ehr", 5), (1, 1));
        assert_eq!(rules.raised(b"dumps", 5), (1, 5));
        assert_eq!(rules.raised(b"", 5), (1, 5));
    }

    #[test]
    fn a_bad_pattern_is_named_by_its_position() {
        let config = RuleConfig {
            exclude: vec!["ok".into(), "{a".into()],
            ..RuleConfig::default()
        };
        let error = Rules::new(&config, HashSet::new()).err().expect("refused");
        assert_eq!(error.position, 1);
    }
}
