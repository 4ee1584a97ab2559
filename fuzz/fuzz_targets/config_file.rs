//! The property lives beside the code: see `mesher_actors::config::fuzzing::fuzz_config_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesher_actors::config::fuzzing::fuzz_config_file(data));
