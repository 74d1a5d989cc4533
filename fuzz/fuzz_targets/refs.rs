//! `cargo +nightly fuzz run refs`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("refs")
    .expect("a target")
    .feed(input));
