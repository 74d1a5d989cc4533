//! `cargo +nightly fuzz run node`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("node")
    .expect("a target")
    .feed(input));
