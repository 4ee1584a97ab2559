//! The property lives beside the code: see `mesher::codec::fuzzing::fuzz_grpc_frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesher::codec::fuzzing::fuzz_grpc_frames(data));
