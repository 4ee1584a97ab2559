//! The property lives beside the code: see `mesher_actors::registry::servicecenter::wire::fuzzing::fuzz_servicecenter_answers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesher_actors::registry::servicecenter::wire::fuzzing::fuzz_servicecenter_answers(data));
