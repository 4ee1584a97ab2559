//! The property lives beside the code: see `mesher_actors::registry::file::fuzzing::fuzz_registry_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesher_actors::registry::file::fuzzing::fuzz_registry_file(data));
