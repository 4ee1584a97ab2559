//! The property lives beside the code: see `mesher::proxy::fuzzing::fuzz_tls_client_hello`.

#![no_main]

use std::sync::LazyLock;

use mesher_actors::snapshot::TlsServer;

static SERVER: LazyLock<TlsServer> = LazyLock::new(mesher_actors::tls::fuzzing::listener);

libfuzzer_sys::fuzz_target!(|data: &[u8]| mesher::proxy::fuzzing::fuzz_tls_client_hello(&SERVER, data));
