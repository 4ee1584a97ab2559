//! The property lives beside the code: see `mesher::proxy::fuzzing::fuzz_request_fields`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesher::proxy::fuzzing::fuzz_request_fields(data));
