//! The property lives beside the code: see `mesher::proxy::fuzzing::fuzz_whole_connection`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesher::proxy::fuzzing::fuzz_whole_connection(data));
