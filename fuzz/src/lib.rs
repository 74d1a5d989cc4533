//! Fuzz targets of the engine's parsers: what each is fed, and what must hold besides "it does not panic".
//!
//! One function a target, the same under libFuzzer (`fuzz_targets/`, nightly) and under the replayer (`src/bin/replay.rs`,
//! stable). Where a random byte would never get past a checksum or a seal, the target makes the checksum or seals under a
//! key that it knows: what lies behind is what is tried. `docs/fuzzing.md` says which target reaches which parser.
#![deny(unsafe_op_in_unsafe_fn)]

pub mod memory;
pub mod mutate;
mod seal;
mod targets;
pub mod tell;

use memory::Meter;

#[global_allocator]
static METER: Meter = Meter;

/// One parser, or a few that belong together.
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Feeds it; panics if an oracle does not hold.
    run: fn(&[u8]),
    /// Bytes of memory it may take at once: so many per byte of input, and so many besides.
    memory: (usize, usize),
}

const MIB: usize = 1 << 20;

const fn target(name: &'static str, run: fn(&[u8]), memory: (usize, usize)) -> Target {
    Target { name, run, memory }
}

/// Every target. A parsed value is larger than its bytes: factors are those of the structures, never of a length that was read.
pub const TARGETS: [Target; 14] = [
    target("pack", targets::packs::pack, (96, 4 * MIB)),
    target("header", targets::packs::header, (96, MIB)),
    target("directory", targets::packs::directory, (64, MIB)),
    target("segment", targets::packs::segment, (16, 34 * MIB)),
    target("run", targets::index::run, (512, MIB)),
    target("sorted", targets::index::sorted, (512, MIB)),
    target("node", targets::trees::node, (768, 128 * MIB)),
    target("tree", targets::trees::tree, (768, 256 * MIB)),
    target("content", targets::contents::content, (64, MIB)),
    target("refs", targets::refs::refs, (128, MIB)),
    target("state", targets::state::state, (96, MIB)),
    target("detect", targets::detect::detect, (16, 2 * MIB)),
    target("patterns", targets::patterns::patterns, (8192, 64 * MIB)),
    target("words", targets::words::words, (16, MIB)),
];

/// The target of a name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

impl Target {
    /// Runs the target on one input. Panics if an oracle does not hold, or if more memory was taken than may be.
    pub fn feed(&self, input: &[u8]) {
        let before = memory::start();
        (self.run)(input);
        let peak = memory::peak().saturating_sub(before);
        let (factor, besides) = self.memory;
        let most = factor * input.len() + besides;
        assert!(
            peak <= most,
            "{}: {peak} bytes of memory at once for {} bytes of input, and at most {most} are accounted for",
            self.name,
            input.len()
        );
    }
}
