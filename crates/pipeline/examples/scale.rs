//! Ten terabytes, as far as metadata goes: an index of 10,000,000 chunks and a tree of 10,000,000 files, made by the engine's
//! own writers, then opened, searched, merged, walked and compared. Each line: what, seconds, the peak of anonymous memory.
//!
//! `cargo run --release -p holdfast-pipeline --example scale -- FOLDER [MILLIONS]`

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use holdfast_engine::compress::Codec;
use holdfast_engine::content::{Content, Piece};
use holdfast_engine::cursor::{Cursor, lookup};
use holdfast_engine::diff::Diff;
use holdfast_engine::directory::{ChunkInfo, Directory, SegmentInfo};
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::index_set::IndexSet;
use holdfast_engine::merge::merge;
use holdfast_engine::record::IndexRecord;
use holdfast_engine::sorted::{SortedIndex, write_sorted};
use holdfast_engine::tree::{NodeSink, NodeSource, Root, TreeBuilder};
use holdfast_engine::{
    ClassId, ClassKeys, Error as EngineError, Generation, Id, Location, Origin, PackKind, PackName,
    PackNonce, Result as EngineResult, Role, VaultId,
};
use memmap2::Mmap;
use rustix::time::{ClockId, clock_gettime};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MILLION: u64 = 1_000_000;
/// Chunks of a run, as a checkpoint has them.
const RUN_CHUNKS: u64 = 500_000;
/// Chunks of a mebibyte in a pack.
const PACK_CHUNKS: u64 = 32;
const LOOKUPS: u64 = 1_000_000;
const FOLDER_FILES: u64 = 1000;

/// A number's bytes, well mixed.
fn mixed(number: u64, salt: u64) -> [u8; 32] {
    let mut out = [0; 32];
    let mut state = number ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for word in out.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    out
}

fn id_of(number: u64, salt: u64) -> Id {
    let mut id = [0; 16];
    id.copy_from_slice(&mixed(number, salt)[..16]);
    Id(id)
}

/// Watches this process's anonymous memory.
struct Memory {
    peak_kib: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
}

impl Memory {
    fn watch() -> Self {
        let (peak_kib, over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (peak, end) = (Arc::clone(&peak_kib), Arc::clone(&over));
        std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_kib(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { peak_kib, over }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn anonymous_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    #[allow(clippy::cast_precision_loss, reason = "shown to three digits")]
    let fraction = time.tv_nsec as f64 / 1e9;
    #[allow(clippy::cast_precision_loss, reason = "shown to three digits")]
    let whole = time.tv_sec as f64;
    whole + fraction
}

/// Does something, and tells its CPU seconds and the peak of anonymous memory.
fn step<T>(what: &str, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    let memory = Memory::watch();
    memory.peak_kib.store(anonymous_kib(), Ordering::Relaxed);
    let begin = cpu_seconds();
    let done = work()?;
    let seconds = cpu_seconds() - begin;
    let peak = memory.peak_kib.load(Ordering::Relaxed).max(anonymous_kib());
    println!("| {what} | {seconds:.3} | {} |", peak / 1024);
    Ok(done)
}

/// The record of one pack, whose chunks are numbered on from `first`.
fn record(first: u64, chunks: u64) -> IndexRecord {
    let nonce = PackNonce(mixed(first, 1));
    let segments = (0..chunks).map(|at| SegmentInfo {
        origin_index: 0,
        ordinal: at as u32,
        offset: 300 + at * 1_000_016,
        sealed_len: 1_000_016,
        codec: Codec::Raw,
        plain_len: 1_000_000,
        chunks: vec![ChunkInfo {
            id: id_of(first + at, 2),
            role: Role::Chunk,
            page_bytes: None,
            len: 1_000_000,
        }],
    });
    IndexRecord {
        name: PackName(mixed(first, 3)),
        size: 300 + chunks * 1_000_016 + 2000,
        kind: PackKind::Data,
        nonces: vec![nonce],
        directory: Directory {
            segments: segments.collect(),
        },
    }
}

fn write_run(path: &Path, first: u64, chunks: u64) -> Outcome<()> {
    let records: Vec<IndexRecord> = (0..chunks)
        .step_by(PACK_CHUNKS as usize)
        .map(|at| record(first + at, PACK_CHUNKS.min(chunks - at)))
        .collect();
    let mut out = BufWriter::new(File::create(path)?);
    write_sorted(&records, ClassId(1), Generation(1), &mut out)?;
    out.flush()?;
    Ok(())
}

#[allow(unsafe_code)]
fn map(path: &Path) -> Outcome<Mmap> {
    // SAFETY: the files are this program's own and change no more.
    Ok(unsafe { Mmap::map(&File::open(path)?)? })
}

fn open(path: &Path) -> Outcome<SortedIndex> {
    Ok(SortedIndex::open(Box::new(map(path)?))?)
}

fn index(folder: &Path, chunks: u64) -> Outcome<()> {
    let runs: Vec<PathBuf> = (0..chunks.div_ceil(RUN_CHUNKS))
        .map(|run| folder.join(format!("run-{run}")))
        .collect();
    step(
        &format!("write {} index runs, {chunks} chunks in all", runs.len()),
        || {
            for (run, path) in (0..).zip(&runs) {
                let first = run * RUN_CHUNKS;
                write_run(path, first, RUN_CHUNKS.min(chunks - first))?;
            }
            Ok(())
        },
    )?;
    let whole = folder.join("whole");
    step("merge them into one", || {
        let inputs: Vec<SortedIndex> =
            runs.iter().map(|path| open(path)).collect::<Outcome<_>>()?;
        let mut out = BufWriter::new(File::create(&whole)?);
        merge(
            &inputs.iter().collect::<Vec<_>>(),
            &HashSet::new(),
            &mut out,
        )?;
        out.flush()?;
        Ok(())
    })?;
    let set = step("open it", || {
        let set = IndexSet::new();
        set.add(open(&whole)?, true);
        Ok(set)
    })?;
    step(&format!("find {LOOKUPS} chunks that are there"), || {
        for number in 0..LOOKUPS {
            let wanted = number.wrapping_mul(2_654_435_761) % chunks;
            set.lookup_id(&id_of(wanted, 2))?
                .ok_or("a chunk is not found")?;
        }
        Ok(())
    })?;
    step(&format!("miss {LOOKUPS} chunks that are not"), || {
        for number in 0..LOOKUPS {
            if set.lookup_id(&id_of(number, 9))?.is_some() {
                return Err("a chunk that was never stored is found".into());
            }
        }
        Ok(())
    })?;
    step(&format!("locate {LOOKUPS} segments"), || {
        for number in 0..LOOKUPS {
            let wanted = number.wrapping_mul(2_654_435_761) % chunks;
            let pack =
                wanted / RUN_CHUNKS * RUN_CHUNKS + wanted % RUN_CHUNKS / PACK_CHUNKS * PACK_CHUNKS;
            let origin = PackNonce(mixed(pack, 1)).origin();
            if set
                .lookup_segment(&origin, (wanted - pack) as u32)?
                .is_empty()
            {
                return Err("a segment is not found".into());
            }
        }
        Ok(())
    })?;
    for changed in [10_000, 100_000] {
        step(
            &format!("add a run of {changed} new chunks, and find each"),
            || {
                let path = folder.join(format!("new-{changed}"));
                write_run(&path, 1 << 40 | changed, changed)?;
                set.add(open(&path)?, true);
                for number in 0..changed {
                    let id = id_of((1 << 40 | changed) + number, 2);
                    set.lookup_id(&id)?.ok_or("a new chunk is not found")?;
                }
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// Nodes one after the other in a file; equal nodes are stored once.
struct Nodes {
    keys: Arc<ClassKeys>,
    out: BufWriter<File>,
    path: PathBuf,
    spans: Vec<(u64, u32)>,
    known: HashMap<Id, u32>,
    bytes: u64,
    mapped: Option<Mmap>,
}

impl Nodes {
    fn new(keys: Arc<ClassKeys>, path: PathBuf) -> Outcome<Self> {
        Ok(Self {
            keys,
            out: BufWriter::new(File::create(&path)?),
            path,
            spans: Vec::new(),
            known: HashMap::new(),
            bytes: 0,
            mapped: None,
        })
    }

    fn readable(&mut self) -> Outcome<()> {
        self.out.flush()?;
        self.mapped = Some(map(&self.path)?);
        Ok(())
    }
}

fn location(number: u32) -> Location {
    Location {
        origin: Origin([7; 16]),
        segment: number / 512,
        chunk: number % 512,
    }
}

impl NodeSink for Nodes {
    fn put(&mut self, role: Role, bytes: &[u8]) -> EngineResult<Location> {
        let id = self.keys.id(role, bytes);
        if let Some(number) = self.known.get(&id) {
            return Ok(location(*number));
        }
        let number = self.spans.len() as u32;
        let written = self.out.write_all(bytes);
        written.map_err(|_| EngineError::Misuse {
            what: "a full disk",
        })?;
        self.spans.push((self.bytes, bytes.len() as u32));
        self.bytes += bytes.len() as u64;
        self.known.insert(id, number);
        Ok(location(number))
    }
}

impl NodeSource for Nodes {
    fn get(&mut self, _: Role, wanted: &Location) -> EngineResult<Vec<u8>> {
        let missing = EngineError::Missing { what: "a node" };
        let number = wanted.segment as usize * 512 + wanted.chunk as usize;
        let (start, len) = *self.spans.get(number).ok_or(missing.clone())?;
        let mapped = self.mapped.as_ref().ok_or(missing.clone())?;
        let bytes = mapped.get(start as usize..start as usize + len as usize);
        Ok(bytes.ok_or(missing)?.to_vec())
    }
}

/// The `number`-th file of a scan; every `every`-th one was changed.
fn fill(entry: &mut Entry, number: u64, every: Option<u64>) {
    let changed = every.is_some_and(|every| number.is_multiple_of(every));
    let folder = number / FOLDER_FILES;
    entry.path.clear();
    // Infallible: it is a vector.
    let _ = write!(entry.path, "srv/ehr/{folder:06}/{number:09}.hl7");
    entry.mtime = (
        1_700_000_000 + i64::from(changed),
        (number % 1_000_000_000) as u32,
    );
    entry.kind = EntryKind::File {
        size: 2000,
        content: Content::Pieces(vec![Piece {
            len: 2000,
            place: Some(Location {
                origin: Origin([(number / MILLION) as u8; 16]),
                segment: (number / 64) as u32,
                chunk: (number % 64) as u32 + u32::from(changed) * 64,
            }),
        }]),
    };
}

fn blank() -> Entry {
    Entry {
        path: Vec::new(),
        kind: EntryKind::Folder,
        mode: 0o640,
        uid: 1000,
        gid: 1000,
        user: b"ward".to_vec(),
        group: b"staff".to_vec(),
        mtime: (0, 0),
        xattrs: Vec::new(),
        link_id: None,
    }
}

fn build(nodes: &mut Nodes, files: u64, every: Option<u64>) -> Outcome<Root> {
    let mut builder = TreeBuilder::new(Arc::clone(&nodes.keys));
    let mut entry = blank();
    for number in 0..files {
        fill(&mut entry, number, every);
        builder.push(&entry, nodes)?;
    }
    Ok(builder.finish(nodes)?)
}

fn compare(nodes: &mut Nodes, old: Root, new: Root) -> Outcome<u64> {
    let mut diff = Diff::new(old.location, new.location);
    let mut count = 0;
    while diff.next(nodes)?.is_some() {
        count += 1;
    }
    Ok(count)
}

fn tree(folder: &Path, files: u64) -> Outcome<()> {
    let keys = ClassKeys::new(
        VaultId([1; 16]),
        ClassId(1),
        Generation(1),
        &[3; 32],
        &[4; 32],
    );
    let mut nodes = Nodes::new(Arc::new(keys), folder.join("nodes"))?;
    let root = step(&format!("build a tree of {files} files"), || {
        build(&mut nodes, files, None)
    })?;
    let (first_nodes, first_bytes) = (nodes.spans.len(), nodes.bytes);
    nodes.readable()?;
    step("walk it against a scan in which nothing changed", || {
        let (mut cursor, mut seen) = (Cursor::new(root.location), blank());
        for number in 0..files {
            fill(&mut seen, number, None);
            if cursor.next(&mut nodes)?.as_ref() != Some(&seen) {
                return Err("the tree is not what was scanned".into());
            }
        }
        Ok(())
    })?;
    step("look up 10000 paths", || {
        let mut wanted = blank();
        for number in 0..10_000_u64 {
            fill(
                &mut wanted,
                number.wrapping_mul(2_654_435_761) % files,
                None,
            );
            lookup(root.location, &wanted.path, &mut nodes)?.ok_or("a path is not found")?;
        }
        Ok(())
    })?;
    println!(
        "| (its nodes: {first_nodes}, {} MB) | | |",
        first_bytes / MILLION
    );
    for every in [10_000, 1000, 100] {
        let (before, bytes) = (nodes.spans.len(), nodes.bytes);
        let changed = files.div_ceil(every);
        let next = step(&format!("build it again, {changed} files changed"), || {
            build(&mut nodes, files, Some(every))
        })?;
        nodes.readable()?;
        println!(
            "| (new nodes: {}, {} kB) | | |",
            nodes.spans.len() - before,
            (nodes.bytes - bytes) / 1000
        );
        let found = step(&format!("compare the two trees, {changed} changes"), || {
            compare(&mut nodes, root, next)
        })?;
        if found != changed {
            return Err("the comparison does not find what was changed".into());
        }
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().ok_or("say in which folder")?);
    let millions: u64 = words.next().map_or(Ok(10), |word| word.parse())?;
    fs::create_dir_all(&folder)?;
    println!("| work | CPU s | anonymous MiB |\n|---|---|---|");
    index(&folder, millions * MILLION)?;
    tree(&folder, millions * MILLION)
}
