//! Signs of ransomware, as counts: names that it gives, bytes that contradict their names, content that has other names.
//!
//! Nothing but counts leaves: no name, no byte, no hash.
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_engine::promise::{KINDS, Kind, Look};
use parking_lot::Mutex;

use super::batch::Past;

/// Names and extensions that are looked for, all lower case.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Last extensions, without the dot, sorted.
    extensions: Vec<Vec<u8>>,
    /// Beginnings of names, sorted; none begins with another.
    notes: Vec<Vec<u8>>,
}

impl Wanted {
    /// Sorts what is looked for.
    pub fn new(extensions: &[Vec<u8>], notes: &[Vec<u8>]) -> Self {
        let lower = |words: &[Vec<u8>]| {
            let mut words: Vec<Vec<u8>> =
                words.iter().map(|word| word.to_ascii_lowercase()).collect();
            words.retain(|word| !word.is_empty());
            words.sort();
            words.dedup();
            words
        };
        let mut found: Vec<Vec<u8>> = Vec::new();
        for note in lower(notes) {
            if found.last().is_none_or(|last| !note.starts_with(last)) {
                found.push(note);
            }
        }
        Self {
            extensions: lower(extensions),
            notes: found,
        }
    }

    /// Whether a lower-case name has an extension that is looked for.
    fn is_marked(&self, name: &[u8]) -> bool {
        name.iter()
            .rposition(|byte| *byte == b'.')
            .and_then(|dot| name.get(dot + 1..))
            .is_some_and(|extension| {
                self.extensions
                    .binary_search_by(|known| known.as_slice().cmp(extension))
                    .is_ok()
            })
    }

    /// Whether a lower-case name begins as a note does.
    fn is_note(&self, name: &[u8]) -> bool {
        let behind = self.notes.partition_point(|note| note.as_slice() <= name);
        behind
            .checked_sub(1)
            .and_then(|at| self.notes.get(at))
            .is_some_and(|note| name.starts_with(note))
    }
}

/// Files of a kind that were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindCount {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes among them that are noise, and nothing says why.
    pub noise_bytes: u64,
    /// Files whose bytes contradict their name.
    pub defaced: u64,
    /// Files that look encrypted from their first byte on, and nothing says why.
    pub opaque: u64,
    /// Changed files among them: what was there before is gone.
    pub opaque_changed: u64,
}

/// What was seen of some files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    kinds: [KindCount; KINDS.len()],
    /// Per position of a class: bytes of noise in files that are dense by design.
    dense_bytes: Vec<u64>,
}

impl Tally {
    /// Takes what was seen of a new or changed file.
    pub fn file(&mut self, (class, past): (u16, Past), look: &Look, size: u64) {
        let Some(count) = self.kinds.get_mut(look.kind as usize) else {
            return;
        };
        count.files += 1;
        count.bytes += size;
        count.defaced += u64::from(look.is_defaced());
        let opaque = u64::from(look.is_scrambled());
        count.opaque += opaque;
        count.opaque_changed += if past == Past::New { 0 } else { opaque };
        let noise = look.noise_bytes(size);
        if !look.is_dense() {
            count.noise_bytes += noise;
        } else if noise > 0 {
            let class = usize::from(class);
            if self.dense_bytes.len() <= class {
                self.dense_bytes.resize(class + 1, 0);
            }
            if let Some(bytes) = self.dense_bytes.get_mut(class) {
                *bytes += noise;
            }
        }
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.kinds.iter_mut().zip(&other.kinds) {
            mine.files += theirs.files;
            mine.bytes += theirs.bytes;
            mine.noise_bytes += theirs.noise_bytes;
            mine.defaced += theirs.defaced;
            mine.opaque += theirs.opaque;
            mine.opaque_changed += theirs.opaque_changed;
        }
        if self.dense_bytes.len() < other.dense_bytes.len() {
            self.dense_bytes.resize(other.dense_bytes.len(), 0);
        }
        for (mine, theirs) in self.dense_bytes.iter_mut().zip(&other.dense_bytes) {
            *mine += theirs;
        }
    }
}

/// What a run saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignCounts {
    /// New and changed files that were read, by what their names promise.
    pub kinds: Vec<(Kind, KindCount)>,
    /// Per position of a class: bytes of noise in files that are dense by design.
    pub dense_bytes: Vec<u64>,
    /// Files in the tree with an extension that is looked for.
    pub marked: u64,
    /// Files in the tree named like a note.
    pub notes: u64,
    /// Files that are gone, and whose content came under another name.
    pub moved: u64,
    /// Files that are gone, and in whose place on the disk stands a new one, under another name, that looks encrypted.
    pub veiled: u64,
}

/// What the threads of a run gather.
#[derive(Default)]
pub(super) struct Signs {
    wanted: Wanted,
    marked: AtomicU64,
    notes: AtomicU64,
    tally: Mutex<Tally>,
    gone: Mutex<Traces>,
    come: Mutex<Traces>,
}

/// Contents and inodes of files, as hashes.
#[derive(Default)]
struct Traces {
    contents: Sample,
    inodes: Sample,
}

impl Signs {
    pub fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// Looks at the name of a file of the tree.
    pub fn name(&self, path: &[u8]) {
        if self.wanted.extensions.is_empty() && self.wanted.notes.is_empty() {
            return;
        }
        let mut lower = [0_u8; 255];
        let name = name_of(path);
        let Some(lower) = lower.get_mut(..name.len()) else {
            return;
        };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        if self.wanted.is_marked(lower) {
            self.marked.fetch_add(1, Ordering::Relaxed);
        }
        if self.wanted.is_note(lower) {
            self.notes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes what was seen of some new and changed files.
    pub fn add(&self, tally: &Tally) {
        if *tally != Tally::default() {
            self.tally.lock().add(tally);
        }
    }

    /// A file is gone: the mark of its content, and its inode.
    pub fn gone(&self, mark: u64, inode: u64) {
        let mut gone = self.gone.lock();
        gone.contents.insert(mark);
        gone.inodes.insert(inode);
    }

    /// A file is new: the mark of its content, and its inode, which counts if it looks encrypted.
    pub fn come(&self, mark: u64, inode: u64, is_scrambled: bool) {
        let mut come = self.come.lock();
        come.contents.insert(mark);
        if is_scrambled {
            come.inodes.insert(inode);
        }
    }

    pub fn counts(&self) -> SignCounts {
        let tally = self.tally.lock();
        let (mut gone, mut come) = (self.gone.lock(), self.come.lock());
        SignCounts {
            kinds: KINDS
                .iter()
                .copied()
                .zip(tally.kinds)
                .filter(|(_, count)| count.files > 0)
                .collect(),
            dense_bytes: tally.dense_bytes.clone(),
            marked: self.marked.load(Ordering::Relaxed),
            notes: self.notes.load(Ordering::Relaxed),
            moved: gone.contents.common(&mut come.contents),
            veiled: gone.inodes.common(&mut come.inodes),
        }
    }
}

/// The last component of a path.
pub(super) fn name_of(path: &[u8]) -> &[u8] {
    let from = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |at| at + 1);
    path.get(from..).unwrap_or_default()
}

/// Hashes that a sample holds at most: 1 MiB.
const SAMPLE_MAX: usize = 128 << 10;
/// What a sample of so few is taken from is beyond counting.
const SHIFT_MAX: u32 = 40;

/// Values, or an even part of them when there are many: those whose hash ends in `shift` zero bits. Two samples of a set each
/// hold the same part of what is in both.
#[derive(Default)]
struct Sample {
    hashes: Vec<u64>,
    shift: u32,
}

impl Sample {
    /// Takes a value; 0 is none.
    fn insert(&mut self, value: u64) {
        if value == 0 || !is_in(mixed(value), self.shift) {
            return;
        }
        self.hashes.push(mixed(value));
        while self.hashes.len() > SAMPLE_MAX && self.shift < SHIFT_MAX {
            self.thin(self.shift + 1);
        }
        // One value over and over: the part of a sample is enough.
        self.hashes.truncate(SAMPLE_MAX);
    }

    fn thin(&mut self, shift: u32) {
        self.shift = self.shift.max(shift);
        let shift = self.shift;
        self.hashes.retain(|hash| is_in(*hash, shift));
    }

    /// How many values both have, about; exact while neither was thinned.
    fn common(&mut self, other: &mut Self) -> u64 {
        self.thin(other.shift);
        other.thin(self.shift);
        self.hashes.sort_unstable();
        other.hashes.sort_unstable();
        let (mut mine, mut theirs) = (
            self.hashes.iter().peekable(),
            other.hashes.iter().peekable(),
        );
        let mut count = 0;
        while let (Some(one), Some(two)) = (mine.peek(), theirs.peek()) {
            match one.cmp(two) {
                std::cmp::Ordering::Less => drop(mine.next()),
                std::cmp::Ordering::Greater => drop(theirs.next()),
                std::cmp::Ordering::Equal => {
                    count += 1;
                    mine.next();
                    theirs.next();
                }
            }
        }
        count << self.shift
    }
}

/// Spreads what may be small numbers (the finalizer of splitmix64).
fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn is_in(hash: u64, shift: u32) -> bool {
    hash.trailing_zeros() >= shift
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn names_are_counted_whatever_their_case() {
        let wanted = Wanted::new(
            &words(&["lockbit", "WNCRY", ""]),
            &words(&["how_to_decrypt", "how_to_decrypt_files", "_readme.txt"]),
        );
        let signs = Signs::new(wanted);
        for path in [
            "srv/a.hl7.LockBit",
            "srv/b.wncry",
            "srv/lockbit",
            "srv/HOW_TO_DECRYPT.html",
            "srv/How_To_Decrypt_Files.txt",
            "srv/how_to",
            "srv/_readme.txt",
            "srv/a_readme.txt",
        ] {
            signs.name(path.as_bytes());
        }
        let counts = signs.counts();
        assert_eq!((counts.marked, counts.notes), (2, 3));
    }

    #[test]
    fn moved_and_veiled_files_are_counted_once_each() {
        let signs = Signs::default();
        for file in 1..=100 {
            signs.gone(1000 + file, file);
        }
        for file in 1..=60 {
            signs.come(1000 + file, 500 + file, false);
        }
        for file in 61..=90 {
            signs.come(9000 + file, file, true);
        }
        signs.come(0, 99, false);
        signs.name(b"a.lockbit");
        let counts = signs.counts();
        assert_eq!((counts.moved, counts.veiled, counts.marked), (60, 30, 0));
    }

    #[test]
    fn a_sample_of_many_still_tells_how_many_are_common() {
        let (mut one, mut two) = (Sample::default(), Sample::default());
        for value in 1..=400_000 {
            one.insert(value);
            two.insert(value + 200_000);
        }
        assert!(one.shift > 0 && one.hashes.len() <= SAMPLE_MAX);
        let common = one.common(&mut two);
        assert!((190_000..210_000).contains(&common), "{common}");
        let mut same = Sample::default();
        for _ in 0..SAMPLE_MAX * 2 {
            same.insert(7);
        }
        assert!(same.hashes.len() <= SAMPLE_MAX);
    }

    #[test]
    fn a_tally_tells_noise_from_what_is_dense() {
        let noise: Vec<u8> = {
            let mut state = 1_u64;
            let step = |_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            };
            (0..4096).map(step).collect()
        };
        let mut tally = Tally::default();
        for name in ["a.txt", "a.gpg"] {
            let mut look = Look::new(name.as_bytes(), &noise);
            look.feed(&noise, 4);
            tally.file((2, Past::New), &look, 4096);
            tally.file((2, Past::Changed), &look, 4096);
        }
        let signs = Signs::default();
        signs.add(&tally);
        signs.add(&tally);
        let counts = signs.counts();
        assert_eq!(counts.dense_bytes, [0, 0, 16384]);
        let text = KindCount {
            files: 4,
            bytes: 16384,
            noise_bytes: 16384,
            defaced: 4,
            opaque: 4,
            opaque_changed: 2,
        };
        assert_eq!(counts.kinds.first(), Some(&(Kind::Text, text)));
        assert_eq!(counts.kinds.len(), 2);
    }
}
