//! `cargo +nightly fuzz run tree`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("tree")
    .expect("a target")
    .feed(input));
