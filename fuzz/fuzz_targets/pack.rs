//! `cargo +nightly fuzz run pack`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("pack")
    .expect("a target")
    .feed(input));
