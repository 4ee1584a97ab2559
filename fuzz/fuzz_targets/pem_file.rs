//! The property lives beside the code: see `mesher_actors::tls::fuzzing::fuzz_pem_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesher_actors::tls::fuzzing::fuzz_pem_file(data));
