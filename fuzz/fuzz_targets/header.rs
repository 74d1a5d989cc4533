//! `cargo +nightly fuzz run header`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("header")
    .expect("a target")
    .feed(input));
