//! Rates of the engine's parts on one core: `cargo run --release -p holdfast-engine --example measure`.
use std::sync::Arc;
use std::time::Instant;

use holdfast_engine::chunk::{CutSizes, Cutter};
use holdfast_engine::compress::Compressor;
use holdfast_engine::content::{Content, Piece};
use holdfast_engine::entry::{Entry, EntryKind};
use holdfast_engine::segment::{SegmentHead, seal_segment};
use holdfast_engine::tree::{NodeSink, TreeBuilder};
use holdfast_engine::{
    ClassId, ClassKeys, Generation, Location, Origin, PackKey, PackKind, Result, Role, RunKey,
    VaultId,
};

const MIB: usize = 1 << 20;

/// Hashes each node, as a writer does, and forgets it.
struct Hashed(Arc<ClassKeys>, u32, usize);

impl NodeSink for Hashed {
    fn put(&mut self, role: Role, bytes: &[u8]) -> Result<Location> {
        std::hint::black_box(self.0.id(role, bytes));
        self.1 += 1;
        self.2 += bytes.len();
        Ok(Location {
            origin: Origin([7; 16]),
            segment: self.1 / 512,
            chunk: self.1 % 512,
        })
    }
}

fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count / 8).flat_map(|_| next().to_le_bytes()).collect()
}

#[allow(clippy::cast_precision_loss)] // Shown to three digits.
fn rate(what: &str, bytes: usize, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    let seconds = start.elapsed().as_secs_f64();
    println!("{what}: {:.0} MiB/s", bytes as f64 / MIB as f64 / seconds);
}

fn entry(number: u32) -> Entry {
    let place = Location {
        origin: Origin([(number / 100_000) as u8; 16]),
        segment: number / 64,
        chunk: number % 64,
    };
    Entry {
        path: format!("srv/ehr/{:04}/{number:08}.hl7", number / 1000).into_bytes(),
        kind: EntryKind::File {
            size: 2000,
            content: Content::Pieces(vec![Piece {
                len: 2000,
                place: Some(place),
            }]),
        },
        mode: 0o640,
        uid: 1000,
        gid: 1000,
        user: b"ward".to_vec(),
        group: b"staff".to_vec(),
        mtime: (1_700_000_000 + i64::from(number), 5),
        xattrs: Vec::new(),
        link_id: None,
    }
}

fn main() -> Result<()> {
    let keys = Arc::new(ClassKeys::new(
        VaultId([1; 16]),
        ClassId(1),
        Generation(1),
        &[3; 32],
        &[4; 32],
    ));
    let data = noise(256 * MIB);
    rate("cut", data.len(), || {
        let mut cutter = Cutter::new(keys.gear(), CutSizes::default());
        let (mut rest, mut count) = (data.as_slice(), 0);
        while let Some(length) = cutter.next_cut(rest, true) {
            rest = &rest[length..];
            count += 1;
        }
        println!(
            "{count} chunks of {} KiB on average",
            data.len() / count / 1024
        );
    });
    rate("id", data.len(), || {
        for chunk in data.chunks(MIB) {
            std::hint::black_box(keys.id(Role::Chunk, chunk));
        }
    });
    let run = RunKey([7; 32]);
    let nonce = run.pack_nonce(&[9; 16]);
    let key = PackKey::derive(
        &run,
        keys.vault(),
        keys.class(),
        keys.generation(),
        PackKind::Data,
        &nonce,
    )?;
    let mut compressor = Compressor::new(Compressor::LEVEL)?;
    let pieces: Vec<Vec<u8>> = data.chunks(MIB).map(<[u8]>::to_vec).collect();
    rate(
        "code and seal noise (copied from cold memory)",
        data.len(),
        || {
            for (ordinal, plain) in (0..).zip(pieces) {
                let plain_len = plain.len() as u32;
                let coded = compressor.code(plain, Vec::new()).expect("a context");
                let head = SegmentHead {
                    kind: PackKind::Data,
                    class: keys.class(),
                    generation: keys.generation(),
                    vault: keys.vault(),
                    nonce,
                    ordinal,
                    codec: coded.codec,
                    plain_len,
                };
                std::hint::black_box(seal_segment(&key, &head, coded.bytes).expect("a seal"));
            }
        },
    );
    let entries: Vec<Entry> = (0..1_000_000).map(entry).collect();
    let start = Instant::now();
    let mut sink = Hashed(keys.clone(), 0, 0);
    let mut builder = TreeBuilder::new(keys);
    for entry in &entries {
        builder.push(entry, &mut sink)?;
    }
    builder.finish(&mut sink)?;
    println!(
        "tree of 1,000,000 entries: {:.2} s, {} nodes, {} MiB",
        start.elapsed().as_secs_f64(),
        sink.1,
        sink.2 / MIB
    );
    Ok(())
}
