//! Signs of ransomware as plain rows.
use holdfast_engine::promise::Kind;
use holdfast_pipeline::ingest::KindCount;

/// Kind, files, bytes, bytes of noise, files that contradict their name, files that look encrypted, changed ones among them.
pub type KindRow = (&'static str, u64, u64, u64, u64, u64, u64);

/// Counts by kind as rows.
pub fn kind_rows(kinds: &[(Kind, KindCount)]) -> Vec<KindRow> {
    let row = |(kind, count): &(Kind, KindCount)| {
        let KindCount {
            files,
            bytes,
            noise_bytes,
            defaced,
            opaque,
            opaque_changed,
        } = *count;
        let word = kind.word();
        (
            word,
            files,
            bytes,
            noise_bytes,
            defaced,
            opaque,
            opaque_changed,
        )
    };
    kinds.iter().map(row).collect()
}
