//! `cargo +nightly fuzz run sorted`
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| holdfast_fuzz::find("sorted")
    .expect("a target")
    .feed(input));
