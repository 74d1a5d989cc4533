//! `cargo +nightly fuzz run detect`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("detect")
    .expect("a target")
    .feed(input));
