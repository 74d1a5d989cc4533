//! `cargo +nightly fuzz run words`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("words")
    .expect("a target")
    .feed(input));
