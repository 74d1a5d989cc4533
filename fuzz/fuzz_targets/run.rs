//! `cargo +nightly fuzz run run`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("run")
    .expect("a target")
    .feed(input));
