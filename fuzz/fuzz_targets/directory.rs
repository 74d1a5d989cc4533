//! `cargo +nightly fuzz run directory`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("directory")
    .expect("a target")
    .feed(input));
