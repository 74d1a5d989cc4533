//! `cargo +nightly fuzz run patterns`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("patterns")
    .expect("a target")
    .feed(input));
