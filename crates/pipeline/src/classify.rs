//! What a backup would make of a tree's data classes, by a look at the first bytes of every file; nothing is stored.
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_engine::detect::{Confidence, HEAD_BYTES, Rule, detect};
use rustix::fs::OFlags;
use rustix::io::pread;

use crate::Error;
use crate::ingest::Raise;
use crate::scan::{Found, FoundEntry, Opener, Scan, ScanConfig, open_quietly};

/// Files of one class, found by one rule with one confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Position of the class that they get.
    pub class: u16,
    /// What recognised them; `None`: their path decided.
    pub detection: Option<(Rule, Confidence)>,
}

/// How much there is of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files whose class is more sensitive than their path says.
    pub raised: u64,
}

/// What is in a tree.
#[derive(Debug, Default)]
pub struct Classified {
    /// Per kind, how much.
    pub kinds: Vec<(Kind, Amount)>,
    /// Entries that could not be looked at.
    pub unreadable: u64,
}

/// Looks at everything that the scan meets. Folders that hold something sensitive raise what is in them, so a tree with
/// such is walked twice.
pub fn classify(
    config: &ScanConfig,
    raise: &Raise,
    stop: &AtomicBool,
) -> Result<Classified, Error> {
    let mut config = config.clone();
    let mut folders = BTreeMap::new();
    let found = look(&config, raise, stop, &mut folders)?;
    if folders.is_empty() {
        return Ok(found);
    }
    config.rules.raised.extend(folders);
    look(&config, raise, stop, &mut BTreeMap::new())
}

fn look(
    config: &ScanConfig,
    raise: &Raise,
    stop: &AtomicBool,
    folders: &mut BTreeMap<Vec<u8>, u16>,
) -> Result<Classified, Error> {
    let mut scan = Scan::start(config)?;
    let opener = scan.opener();
    let mut head = vec![0; HEAD_BYTES];
    let mut kinds: HashMap<Kind, Amount> = HashMap::new();
    let mut unreadable = 0;
    while let Some(found) = scan.next() {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        let entry = match found {
            Found::Entry(entry) if entry.stat.is_file() => entry,
            Found::Entry(_) => continue,
            Found::Trouble { .. } => {
                unreadable += 1;
                continue;
            }
        };
        let Some(length) = read_head(&opener, &entry, &mut head) else {
            unreadable += 1;
            continue;
        };
        let detection = detect(head.get(..length).unwrap_or_default(), entry.stat.size);
        let detected = detection.and_then(|found| raise.position(found.rule.target()));
        let class = detected.map_or(entry.class, |position| position.min(entry.class));
        let kind = Kind {
            class,
            detection: detection.map(|found| (found.rule, found.confidence)),
        };
        let amount = kinds.entry(kind).or_default();
        amount.files += 1;
        amount.bytes += entry.stat.size;
        if class < entry.class {
            amount.raised += 1;
            let end = entry
                .path
                .iter()
                .rposition(|byte| *byte == b'/')
                .unwrap_or(0);
            let folder = entry.path.get(..end).unwrap_or_default().to_vec();
            let place = folders.entry(folder).or_insert(class);
            *place = class.min(*place);
        }
    }
    if scan.is_broken() {
        return Err(Error::Internal("a thread of the scan panicked"));
    }
    let mut kinds: Vec<(Kind, Amount)> = kinds.into_iter().collect();
    kinds.sort_by_key(|(kind, _)| {
        let rule = kind
            .detection
            .map(|(rule, confidence)| (rule as u8, confidence));
        (kind.class, rule)
    });
    Ok(Classified { kinds, unreadable })
}

/// Reads the first bytes; how many there were.
fn read_head(opener: &Opener, entry: &FoundEntry<'_>, head: &mut [u8]) -> Option<usize> {
    let folder = opener.open(entry.folder?).ok()?;
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open_quietly(&folder, entry.name, flags).ok()?;
    pread(&file, head, 0).ok()
}
