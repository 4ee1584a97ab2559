//! The property lives beside the code: see `mesher::codec::fuzzing::fuzz_http2_frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesher::codec::fuzzing::fuzz_http2_frames(data));
