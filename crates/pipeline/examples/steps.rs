//! The floor of a backup's CPU: cutting, hashing, compressing and sealing the files of a folder, each step's time on one
//! thread, and nothing else. Reading and copying are not counted. The last line is `sum SECONDS`.
//!
//! `cargo run --release --example steps -- FOLDER`

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use holdfast_engine::chunk::{CutSizes, Cutter};
use holdfast_engine::compress::Compressor;
use holdfast_engine::id::{ClassId, Generation, PackKind, Role, VaultId};
use holdfast_engine::segment::{SegmentHead, seal_segment};
use holdfast_engine::{ClassKeys, PackKey, RunKey};
use rustix::time::{ClockId, clock_gettime};

const WINDOW_BYTES: usize = 16 << 20;
const SMALL_BYTES: usize = 64 << 10;
const BUNDLE_BYTES: usize = 1 << 20;

struct Steps {
    keys: ClassKeys,
    pack: PackKey,
    head: SegmentHead,
    compressor: Compressor,
    spare: Vec<u8>,
    bundle: Vec<u8>,
    seconds: [f64; 4],
    sealed_bytes: u64,
}

fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    #[allow(clippy::cast_precision_loss)]
    let seconds = now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9;
    seconds
}

impl Steps {
    fn new() -> Result<Self, Box<dyn Error>> {
        let (vault, class, generation) = (VaultId([1; 16]), ClassId(1), Generation(1));
        let keys = ClassKeys::new(vault, class, generation, &[2; 32], &[3; 32]);
        let run = RunKey([4; 32]);
        let nonce = run.pack_nonce(&[5; 16]);
        let pack = PackKey::derive(&run, vault, class, generation, PackKind::Data, &nonce)?;
        let head = SegmentHead {
            kind: PackKind::Data,
            class,
            generation,
            vault,
            nonce,
            ordinal: 0,
            codec: holdfast_engine::compress::Codec::Raw,
            plain_len: 0,
        };
        Ok(Self {
            keys,
            pack,
            head,
            compressor: Compressor::new(Compressor::LEVEL)?,
            spare: Vec::new(),
            bundle: Vec::new(),
            seconds: [0.0; 4],
            sealed_bytes: 0,
        })
    }

    fn hash(&mut self, content: &[u8]) {
        let begin = cpu();
        std::hint::black_box(self.keys.id(Role::Chunk, content));
        self.seconds[1] += cpu() - begin;
    }

    fn store(&mut self, plain: Vec<u8>) -> Result<(), Box<dyn Error>> {
        self.head.plain_len = u32::try_from(plain.len())?;
        let begin = cpu();
        let coded = self
            .compressor
            .code(plain, std::mem::take(&mut self.spare))?;
        let middle = cpu();
        self.head.codec = coded.codec;
        let sealed = seal_segment(&self.pack, &self.head, coded.bytes)?;
        self.seconds[3] += cpu() - middle;
        self.seconds[2] += middle - begin;
        self.head.ordinal += 1;
        self.sealed_bytes += sealed.len() as u64;
        self.spare = coded.spare;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Box<dyn Error>> {
        if self.bundle.is_empty() {
            return Ok(());
        }
        let bundle = std::mem::take(&mut self.bundle);
        self.store(bundle)
    }

    fn file(&mut self, path: &Path) -> Result<(), Box<dyn Error>> {
        let mut file = File::open(path)?;
        let mut window = Vec::new();
        if file.metadata()?.len() < SMALL_BYTES as u64 {
            file.read_to_end(&mut window)?;
            self.hash(&window);
            self.bundle.extend_from_slice(&window);
            return if self.bundle.len() >= BUNDLE_BYTES {
                self.flush()
            } else {
                Ok(())
            };
        }
        let mut cutter = Cutter::new(self.keys.gear(), CutSizes::default());
        loop {
            let wanted = WINDOW_BYTES - window.len();
            let eof = Read::by_ref(&mut file)
                .take(wanted as u64)
                .read_to_end(&mut window)?
                < wanted;
            let mut used = 0;
            loop {
                let begin = cpu();
                let cut = cutter.next_cut(&window[used..], eof);
                self.seconds[0] += cpu() - begin;
                let Some(length) = cut else { break };
                let chunk = window[used..used + length].to_vec();
                self.hash(&chunk);
                self.store(chunk)?;
                used += length;
            }
            window.drain(..used);
            if eof {
                return Ok(());
            }
        }
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files(&entry.path(), found)?;
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: steps FOLDER")?;
    let mut found = Vec::new();
    files(Path::new(&folder), &mut found)?;
    found.sort();
    let mut steps = Steps::new()?;
    for path in &found {
        steps.file(path)?;
    }
    steps.flush()?;
    let names = ["cut", "hash", "compress", "seal"];
    for (name, seconds) in names.iter().zip(steps.seconds) {
        println!("{name} {seconds:.3}");
    }
    println!("files {}", found.len());
    println!("sealed {}", steps.sealed_bytes);
    println!("sum {:.3}", steps.seconds.iter().sum::<f64>());
    Ok(())
}
