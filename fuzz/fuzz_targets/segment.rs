//! `cargo +nightly fuzz run segment`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("segment")
    .expect("a target")
    .feed(input));
