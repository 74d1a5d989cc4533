//! A run stores what is on the disk, a second run stores nothing when nothing changed, and trouble with a file is a finding.
mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;

use common::{Scratch, Vault, noise, on_disk};
use holdfast_engine::PackKind;
use holdfast_engine::content::{Content, Piece};
use holdfast_engine::entry::EntryKind;
use holdfast_pipeline::ingest::FindingKind;

fn fill(scratch: &Scratch) {
    scratch.file("empty", b"");
    scratch.file("tiny", b"in the entry itself");
    scratch.file("small", &noise(1, 5000));
    scratch.file(
        "text/one",
        "OBX|1|NM|8867-4^Heart rate\r".repeat(200).as_bytes(),
    );
    scratch.file(
        "text/two",
        "OBX|1|NM|8867-4^Heart rate\r".repeat(200).as_bytes(),
    );
    scratch.file("medium", &noise(2, 200_000));
    scratch.file("large", &noise(3, 9_000_001));
    for n in 0..300 {
        scratch.file(
            &format!("many/{}/{n}", n % 7),
            &noise(n, 100 + n as usize * 10),
        );
    }
}

#[test]
fn what_is_stored_is_what_is_on_the_disk() {
    let scratch = Scratch::new("roundtrip");
    fill(&scratch);
    let mut vault = Vault::new(&scratch);
    let outcome = vault.backup(&scratch.src());
    assert_eq!(outcome.findings, []);
    let stored = vault.files(outcome.root(), &scratch.src());
    let disk = on_disk(&scratch.src());
    assert!(stored.keys().eq(disk.keys()));
    assert!(stored == disk);
    let refs = &outcome.finished.classes[0].refs;
    for (origin, segment) in refs.iter() {
        assert!(vault.index.has_segment(&origin, segment).expect("index"));
    }
    assert_eq!(outcome.finished.counts.files as usize, disk.len());
}
