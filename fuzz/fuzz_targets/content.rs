//! `cargo +nightly fuzz run content`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("content")
    .expect("a target")
    .feed(input));
