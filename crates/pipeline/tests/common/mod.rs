//! A vault in memory: takes what a run hands out, and reads it back with the run keys, segment by segment.
#![allow(dead_code)]
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_engine::compress::Decompressor;
use holdfast_engine::content::{Content, Piece, parse_group_list, parse_piece_list};
use holdfast_engine::cursor::Cursor;
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::group::PageGroup;
use holdfast_engine::index_set::{IndexSet, SegmentPlace};
use holdfast_engine::pack::{Envelope, Recipient};
use holdfast_engine::record::parse_run;
use holdfast_engine::segment::{SegmentHead, open_segment};
use holdfast_engine::sorted::{SortedIndex, write_sorted};
use holdfast_engine::tree::NodeSource;
use holdfast_engine::{
    ClassId, ClassKeys, Generation, Location, PackKey, PackKind, PackName, Role, RunKey, VaultId,
};
use holdfast_pipeline::ingest::{
    Event, Finding, Finished, Ingest, IngestConfig, IngestOptions, Owners, StreamSpec,
};
use holdfast_pipeline::limits::Limits;
use holdfast_pipeline::packer::ClassSetup;
use holdfast_pipeline::scan::{RuleConfig, ScanConfig};

pub const VAULT: VaultId = VaultId([9; 16]);

/// A folder that is removed when it is dropped. One at a time: the folders above are in every tree.
pub struct Scratch(pub PathBuf, #[allow(dead_code)] MutexGuard<'static, ()>);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Scratch {
    pub fn new(name: &str) -> Self {
        let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        drop(
            std::process::Command::new("rm")
                .arg("-rf")
                .arg(&path)
                .status(),
        );
        fs::create_dir_all(path.join("src")).expect("folder");
        fs::create_dir_all(path.join("state")).expect("folder");
        Self(path, guard)
    }

    pub fn src(&self) -> PathBuf {
        self.0.join("src")
    }

    pub fn file(&self, name: &str, content: &[u8]) {
        let path = self.src().join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folders");
        fs::write(path, content).expect("file");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(
            std::process::Command::new("rm")
                .arg("-rf")
                .arg(&self.0)
                .status(),
        );
    }
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Everything in memory, and the local files of the writer.
pub struct Vault {
    pub packs: HashMap<PackName, Arc<Vec<u8>>>,
    pub index: Arc<IndexSet>,
    pub classes: Vec<u16>,
    pub state: PathBuf,
    pub cache: Option<PathBuf>,
    pub writer_state: Vec<Vec<u8>>,
    pub options: IngestOptions,
    pub limits: Arc<Limits>,
    pub rules: RuleConfig,
    pub streams: Vec<StreamSpec>,
    runs: u32,
}

/// What one run did.
pub struct Outcome {
    pub finished: Finished,
    pub findings: Vec<Finding>,
    pub packs: Vec<(PackKind, usize)>,
    pub checkpoints: usize,
}

impl Outcome {
    pub fn root(&self) -> Location {
        self.finished.classes[0].root.location
    }

    pub fn stored(&self) -> usize {
        self.packs.iter().map(|(_, bytes)| bytes).sum()
    }
}

pub fn keys(class: u16) -> Arc<ClassKeys> {
    Arc::new(ClassKeys::new(
        VAULT,
        ClassId(class),
        Generation(1),
        &[class as u8; 32],
        &[5; 32],
    ))
}

fn run_key(kind: PackKind) -> RunKey {
    RunKey(if kind == PackKind::Map {
        [4; 32]
    } else {
        [3; 32]
    })
}

fn setup(class: u16) -> ClassSetup {
    let envelope = || {
        Envelope::from_recipients(&[Recipient {
            kind: 1,
            wrapped: &[0; 1700],
        }])
        .expect("envelope")
    };
    ClassSetup {
        keys: keys(class),
        run_key: run_key(PackKind::Data),
        envelope: envelope(),
        map_run_key: run_key(PackKind::Map),
        map_envelope: envelope(),
    }
}

impl Vault {
    pub fn new(scratch: &Scratch) -> Self {
        Self {
            packs: HashMap::new(),
            index: Arc::new(IndexSet::new()),
            classes: vec![1],
            state: scratch.0.join("state"),
            cache: None,
            writer_state: Vec::new(),
            options: IngestOptions {
                audit_files: 0,
                ..IngestOptions::default()
            },
            limits: Arc::new(Limits::new()),
            rules: RuleConfig::default(),
            streams: Vec::new(),
            runs: 0,
        }
    }

    pub fn start(&mut self, roots: &[&Path]) -> (Ingest, PathBuf) {
        self.runs += 1;
        let cache_out = self.state.join(format!("source.cache.{}", self.runs));
        let config = IngestConfig {
            scan: ScanConfig {
                roots: roots
                    .iter()
                    .map(|root| root.as_os_str().as_bytes().to_vec())
                    .collect(),
                rules: self.rules.clone(),
                own_paths: vec![self.state.as_os_str().as_bytes().to_vec()],
                walkers: 2,
            },
            classes: self.classes.iter().map(|class| setup(*class)).collect(),
            streams: self.streams.clone(),
            index: Arc::clone(&self.index),
            cache_in: self.cache.clone(),
            cache_out: cache_out.clone(),
            state_in: self.writer_state.clone(),
            owners: Owners::default(),
            options: self.options.clone(),
            limits: Arc::clone(&self.limits),
            maps: None,
        };
        (Ingest::start(config).expect("started"), cache_out)
    }

    /// A run to its end, as Python would drive it.
    pub fn backup(&mut self, root: &Path) -> Outcome {
        let (run, cache_out) = self.start(&[root]);
        let outcome = self.drive(&run).expect("finished");
        if outcome.finished.cache_written {
            self.cache = Some(cache_out);
        }
        if let Some((payload, base)) = &outcome.finished.state {
            if *base {
                self.writer_state.clear();
            }
            self.writer_state.push(payload.clone());
        }
        outcome
    }

    pub fn drive(&mut self, run: &Ingest) -> Option<Outcome> {
        let (mut findings, mut packs, mut checkpoints) = (Vec::new(), Vec::new(), 0);
        loop {
            match run.poll(Duration::from_secs(5)).expect("running") {
                None if run.is_ended() => return None,
                None | Some(Event::Fenced { .. }) => {}
                Some(Event::Pack(pack)) => {
                    packs.push((pack.kind, pack.bytes.len()));
                    self.packs.insert(pack.name, pack.bytes);
                    run.pack_stored(&pack.name).expect("stored");
                }
                Some(Event::Checkpoint(checkpoint)) => {
                    checkpoints += 1;
                    for ready in &checkpoint.runs {
                        self.learn(ready.class, &ready.payload);
                    }
                    run.checkpoint_done(checkpoint.number).expect("checkpoint");
                }
                Some(Event::Finding(finding)) => findings.push(finding),
                Some(Event::Finished(finished)) => {
                    for ready in &finished.runs {
                        self.learn(ready.class, &ready.payload);
                    }
                    return Some(Outcome {
                        finished: *finished,
                        findings,
                        packs,
                        checkpoints,
                    });
                }
            }
        }
    }

    pub fn learn(&self, class: usize, payload: &[u8]) {
        let records = parse_run(payload).expect("run");
        let mut sorted = Vec::new();
        write_sorted(
            &records,
            ClassId(self.classes[class]),
            Generation(1),
            &mut sorted,
        )
        .expect("sorted");
        self.index
            .add(SortedIndex::open(Box::new(sorted)).expect("index"), true);
    }

    fn segment(&self, place: &SegmentPlace) -> Vec<u8> {
        let key = PackKey::derive(
            &run_key(place.kind),
            VAULT,
            place.class,
            place.generation,
            place.kind,
            &place.nonce,
        )
        .expect("key");
        let begin = place.offset as usize;
        let sealed = self.packs[&place.pack][begin..begin + place.sealed_len as usize].to_vec();
        let head = SegmentHead {
            kind: place.kind,
            class: place.class,
            generation: place.generation,
            vault: VAULT,
            nonce: place.nonce,
            ordinal: place.ordinal,
            codec: place.codec,
            plain_len: place.plain_len,
        };
        open_segment(
            &key,
            &head,
            sealed,
            &mut Decompressor::new().expect("context"),
        )
        .expect("segment")
    }

    pub fn chunk(&self, location: &Location) -> Vec<u8> {
        let places = self
            .index
            .lookup_segment(&location.origin, location.segment)
            .expect("index");
        let place = places.first().expect("a place for the segment");
        self.segment(place)[place.chunk_range(location.chunk).expect("chunk")].to_vec()
    }

    pub fn content(&self, size: u64, content: &Content) -> Vec<u8> {
        let mut out = Vec::new();
        let mut pieces = |pieces: &[Piece]| {
            for piece in pieces {
                match &piece.place {
                    Some(place) => out.extend(self.chunk(place)),
                    None => out.resize(out.len() + piece.len as usize, 0),
                }
            }
        };
        match content {
            Content::Inline(bytes) => return bytes.clone(),
            Content::Pieces(list) => pieces(list),
            Content::PiecesAt(lists) => {
                for list in lists {
                    pieces(&parse_piece_list(&self.chunk(list)).expect("list"));
                }
            }
            Content::PageMap { groups, .. } => groups
                .iter()
                .for_each(|group| out.extend(self.group(group))),
            Content::PageMapAt { lists, .. } => {
                for list in lists {
                    for group in parse_group_list(&self.chunk(list)).expect("list") {
                        out.extend(self.group(&group));
                    }
                }
            }
        }
        assert_eq!(out.len() as u64, size);
        out
    }

    fn group(&self, location: &Location) -> Vec<u8> {
        let group = PageGroup::parse(&self.chunk(location)).expect("group");
        let page = 1_usize << group.page_size_log2;
        let mut out = Vec::new();
        for extent in &group.extents {
            match &extent.place {
                Some((place, first)) => {
                    let chunk = self.chunk(place);
                    let begin = *first as usize * page;
                    let end = (begin + extent.pages as usize * page).min(chunk.len());
                    out.extend_from_slice(&chunk[begin..end]);
                }
                None => out.resize(out.len() + extent.pages as usize * page, 0),
            }
        }
        out.truncate((group.ids.len() - 1) * page + group.last_page_bytes as usize);
        for (number, bytes) in out.chunks(page).enumerate() {
            let id = group.ids[number];
            assert!(
                id == PageGroup::HOLE || keys(1).page_id(bytes) == id,
                "page {number}"
            );
        }
        out
    }

    /// Every entry of a tree.
    pub fn entries(&self, root: Location) -> Vec<Entry> {
        let mut source = Source(self);
        let mut cursor = Cursor::new(root);
        let mut entries = Vec::new();
        while let Some(entry) = cursor.next(&mut source).expect("tree") {
            entries.push(entry);
        }
        entries
    }

    /// Files below `root` and their content, by path relative to it.
    pub fn files(&self, tree: Location, root: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut prefix = root.as_os_str().as_bytes()[1..].to_vec();
        prefix.push(b'/');
        let mut files = BTreeMap::new();
        for entry in self.entries(tree) {
            if let (Some(name), EntryKind::File { size, content }) =
                (entry.path.strip_prefix(prefix.as_slice()), &entry.kind)
            {
                files.insert(name.to_vec(), self.content(*size, content));
            }
        }
        files
    }
}

struct Source<'a>(&'a Vault);

impl NodeSource for Source<'_> {
    fn get(&mut self, _role: Role, location: &Location) -> holdfast_engine::Result<Vec<u8>> {
        Ok(self.0.chunk(location))
    }
}

/// The regular files below a folder, as the system shows them.
pub fn on_disk(root: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("folder") {
            let entry = entry.expect("entry");
            let kind = entry.file_type().expect("type");
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                let name = path
                    .strip_prefix(root)
                    .expect("below")
                    .as_os_str()
                    .as_bytes()
                    .to_vec();
                files.insert(name, fs::read(path).expect("content"));
            }
        }
    }
    files
}
