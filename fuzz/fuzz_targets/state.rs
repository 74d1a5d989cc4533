//! `cargo +nightly fuzz run state`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("state")
    .expect("a target")
    .feed(input));
